// Search: a query or a form, a scatter of what was found, and the traces, newest first, while they arrive.

import { useEffect, useState } from "preact/hooks";
import { FilterForm } from "../parts/filter_form.tsx";
import { ErrorNotice, Notice, Progress } from "../parts/notices.tsx";
import { isMetricsQuery, narrowed, shownInForm, withoutMetrics } from "../parts/query.ts";
import { QueryInput } from "../parts/query_input.tsx";
import type { Area } from "../parts/plot.tsx";
import { go, href, hrefWith } from "../place.ts";
import { count, plural, traceqlDuration } from "../format.ts";
import { rangeOf, rangeParams, spanOf } from "../range/range.ts";
import { RangePicker } from "../range/range_picker.tsx";
import { Results } from "./search/results.tsx";
import { Scatter } from "./search/scatter.tsx";
import { useSearch } from "./search/use_search.ts";

export function SearchPage({ params }: { params: URLSearchParams }) {
  const asked = params.get("q") ?? "{}";
  const range = rangeOf(params);
  const rangeKey = JSON.stringify(range);
  const [text, setText] = useState(asked);
  const [runs, setRuns] = useState(0);
  useEffect(() => setText(asked), [asked]);
  const search = useSearch(asked, range, `${asked}\n${rangeKey}\n${params.get("tenant") ?? ""}\n${runs}`);

  const run = (query = text) => {
    if (isMetricsQuery(query)) return go(href("explore", { q: withoutMetrics(query) }));
    setText(query);
    setRuns((before) => before + 1);
    go(hrefWith({ q: query.trim() || "{}" }), query.trim() === asked ? "replace" : "push");
  };
  const narrow = ({ from, to, low, high }: Area) => {
    const terms = [];
    if (low > 0) terms.push({ name: "trace:duration", operator: ">=", value: traceqlDuration(low) });
    if (Number.isFinite(high)) terms.push({ name: "trace:duration", operator: "<=", value: traceqlDuration(high) });
    const query = terms.length ? narrowed(asked, terms) : asked;
    go(hrefWith({ q: query, ...rangeParams({ kind: "fixed", from: from * 1000, to: to * 1000 }) }));
  };

  return (
    <>
      <h1 class="unseen">Search</h1>
      <section class="ask" aria-label="Query">
        <div class="ask-row">
          <QueryInput value={text} span={spanOf(range)} error={text === asked ? search.error : null} onInput={setText} onRun={() => run()} />
          <RangePicker range={range} />
          <button type="button" class="primary" onClick={() => run()}>Search</button>
        </div>
        <FilterForm query={shownInForm(text, asked)} span={spanOf(range)} onQuery={run} />
      </section>
      <Progress loading={search.loading} what="Searching" />
      {search.error && <ErrorNotice error={search.error} />}
      {search.traces.length > 0 && (
        <section aria-label="Traces">
          <div class="section-head">
            <h2>{search.next ? `${count(search.traces.length)}+ traces` : plural(search.traces.length, "trace")}</h2>
            <p class="hint">Drag over the plot to narrow range and duration; click a point to open its trace.</p>
            <a href={href("explore", { q: asked })}>Explore these</a>
          </div>
          <Scatter traces={search.traces} span={search.span} onSelect={narrow} />
          <Results traces={search.traces} query={asked} />
          {search.next && (
            <button type="button" class="more" disabled={search.loading} onClick={search.more}>
              {search.loading ? "Loading…" : "More"}
            </button>
          )}
        </section>
      )}
      {!search.loading && !search.error && !search.traces.length && <Nothing query={asked} />}
    </>
  );
}

function Nothing({ query }: { query: string }) {
  if (query !== "{}") return <Notice title="No trace matches"><p>Try a longer range, or fewer conditions.</p></Notice>;
  return (
    <Notice title="No traces in this range">
      <p>Send some: any OpenTelemetry SDK or collector does, with</p>
      <pre>OTEL_EXPORTER_OTLP_ENDPOINT=http://{location.hostname}:4317</pre>
      <p>or try a longer range.</p>
    </Notice>
  );
}
