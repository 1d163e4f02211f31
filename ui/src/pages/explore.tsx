// Explore: how often, how many fail, how long; broken down by an attribute; and what sets a part of it apart.

import { useEffect, useState } from "preact/hooks";
import { FilterForm } from "../parts/filter_form.tsx";
import type { Area } from "../parts/plot.tsx";
import { shownInForm, withoutMetrics } from "../parts/query.ts";
import { QueryInput } from "../parts/query_input.tsx";
import { go, href, hrefWith } from "../place.ts";
import { useLoad } from "../api/load.ts";
import { traceqlDuration } from "../format.ts";
import { rangeOf, rangeParams, spanOf } from "../range/range.ts";
import { RangePicker } from "../range/range_picker.tsx";
import { Breakdown } from "./explore/breakdown.tsx";
import { Compare } from "./explore/compare.tsx";
import { Heatmap } from "./explore/heatmap.tsx";
import { DurationPanel, ErrorsPanel, RatePanel } from "./explore/panels.tsx";
import { loadByStatus } from "./explore/queries.ts";

/** What the panels are about: fixed when it is asked, so that all show the same moment. */
export interface Asked {
  query: string;
  span: { from: number; to: number };
  key: string;
}

export function ExplorePage({ params }: { params: URLSearchParams }) {
  const query = params.get("q") ?? "{}";
  const range = rangeOf(params);
  const [text, setText] = useState(query);
  const [runs, setRuns] = useState(0);
  const key = `${query}\n${JSON.stringify(range)}\n${params.get("tenant") ?? ""}\n${runs}`;
  const [asked, setAsked] = useState<Asked>({ query, span: spanOf(range), key });
  useEffect(() => setText(query), [query]);
  useEffect(() => setAsked({ query, span: spanOf(range), key }), [key]);
  const byStatus = useLoad(asked.key, (signal) => loadByStatus(asked, signal));

  const run = (typed = text) => {
    const wanted = withoutMetrics(typed) || "{}";
    setText(wanted);
    setRuns((before) => before + 1);
    go(hrefWith({ q: wanted }), wanted === query ? "replace" : "push");
  };
  const zoom = ({ from, to }: Area) => go(hrefWith(rangeParams({ kind: "fixed", from: from * 1000, to: to * 1000 })));
  const choose = ({ from, to, low, high }: Area) => {
    const bounds = [low > 0 ? `duration >= ${traceqlDuration(low)}` : "", Number.isFinite(high) ? `duration <= ${traceqlDuration(high)}` : ""];
    const sel = bounds.filter(Boolean).join(" && ");
    go(hrefWith({ sel: sel || "true", selfrom: Math.floor(from * 1000), selto: Math.ceil(to * 1000), tab: "compare" }));
  };
  const tab = params.get("tab") ?? "breakdown";
  return (
    <>
      <h1 class="unseen">Explore</h1>
      <section class="ask" aria-label="Query">
        <div class="ask-row">
          <QueryInput value={text} span={asked.span} error={text === query ? byStatus.error : null} onInput={setText} onRun={() => run()} />
          <RangePicker range={range} />
          <button type="button" class="primary" onClick={() => run()}>Explore</button>
        </div>
        <FilterForm query={shownInForm(text, query)} span={asked.span} onQuery={run} />
      </section>
      <div class="panels">
        <RatePanel asked={asked} byStatus={byStatus} onSelect={zoom} />
        <ErrorsPanel asked={asked} byStatus={byStatus} onSelect={zoom} />
        <DurationPanel asked={asked} onSelect={zoom} />
      </div>
      <Heatmap asked={asked} params={params} onSelect={choose} />
      <nav class="tabs explore-tabs" aria-label="Parts">
        <a {...(tab === "compare" ? {} : { "aria-current": "true" })} href={hrefWith({ tab: null })}>Breakdown</a>
        <a {...(tab === "compare" ? { "aria-current": "true" } : {})} href={hrefWith({ tab: "compare" })}>What is different</a>
        <a class="apart" href={href("search", { q: query })}>Traces</a>
      </nav>
      {tab === "compare" ? <Compare asked={asked} params={params} /> : <Breakdown asked={asked} params={params} />}
    </>
  );
}
