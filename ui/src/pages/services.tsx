// The service map: which services call which, how often, how well and how fast; a click leads to the traces.

import { useEffect, useState } from "preact/hooks";
import { useLoad } from "../api/load.ts";
import { loadServiceGraph } from "../api/service_graph.ts";
import { FilterForm } from "../parts/filter_form.tsx";
import { ErrorNotice, Notice, Progress } from "../parts/notices.tsx";
import { shownInForm, withoutMetrics } from "../parts/query.ts";
import { QueryInput } from "../parts/query_input.tsx";
import { go, href, hrefWith } from "../place.ts";
import { rangeOf, spanOf } from "../range/range.ts";
import { RangePicker } from "../range/range_picker.tsx";
import { ServiceMap } from "./services/map.tsx";
import { Chosen, Edges } from "./services/tables.tsx";

export function ServicesPage({ params }: { params: URLSearchParams }) {
  const query = params.get("q") ?? "{}";
  const range = rangeOf(params);
  const [text, setText] = useState(query);
  const [runs, setRuns] = useState(0);
  const key = `${query}\n${JSON.stringify(range)}\n${params.get("tenant") ?? ""}\n${runs}`;
  const [asked, setAsked] = useState({ query, span: spanOf(range), key });
  useEffect(() => setText(query), [query]);
  useEffect(() => setAsked({ query, span: spanOf(range), key }), [key]);
  const { data: graph, error, loading } = useLoad(asked.key, (signal) => loadServiceGraph(asked.query, asked.span, signal));

  const run = (typed = text) => {
    const wanted = withoutMetrics(typed) || "{}";
    setText(wanted);
    setRuns((before) => before + 1);
    go(hrefWith({ q: wanted }), wanted === query ? "replace" : "push");
  };
  const chosen = params.get("at") ?? "";
  const choose = (at: string) => go(hrefWith({ at: at === chosen ? null : at }));
  return (
    <>
      <h1 class="unseen">Services</h1>
      <section class="ask" aria-label="Query">
        <div class="ask-row">
          <QueryInput value={text} span={asked.span} error={text === query ? error : null} onInput={setText} onRun={() => run()} />
          <RangePicker range={range} />
          <button type="button" class="primary" onClick={() => run()}>Show</button>
        </div>
        <FilterForm query={shownInForm(text, query)} span={asked.span} onQuery={run} />
      </section>
      <Progress loading={loading} what="Adding up the calls" />
      {error && <ErrorNotice error={error} />}
      {graph?.message && <Notice title="Not all is shown"><p>{graph.message}</p></Notice>}
      {graph && graph.edges.length === 0 && (
        <Notice title="No calls in this range">
          <p>A call is a client span and the server span below it. <a href={href("search", { q: query })}>Search for spans</a></p>
        </Notice>
      )}
      {graph && graph.edges.length > 0 && (
        <>
          <ServiceMap graph={graph} chosen={chosen} onChoose={choose} />
          <Chosen graph={graph} query={query} chosen={chosen} />
          <Edges graph={graph} query={query} chosen={chosen} />
        </>
      )}
    </>
  );
}
