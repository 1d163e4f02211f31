// One trace: by id, or from a file. What all its views share: head, find, view, selection, all in the address.

import { useEffect, useMemo, useState } from "preact/hooks";
import { useLoad } from "../api/load.ts";
import { traceById } from "../api/trace.ts";
import { droppedTraces } from "../frame/drop.ts";
import { ErrorNotice, Notice, Progress } from "../parts/notices.tsx";
import { go, href, hrefWith } from "../place.ts";
import type { Params } from "../place.ts";
import { rangeOf, rangeParams, spanOf } from "../range/range.ts";
import type { Trace } from "../trace/model.ts";
import { selfTimes } from "../trace/self_time.ts";
import { Details } from "./trace/details.tsx";
import { DiffView } from "./trace/diff_view.tsx";
import { findSpans } from "./trace/find.ts";
import { FlameGraph } from "./trace/flame_graph.tsx";
import { TraceHead } from "./trace/head.tsx";
import { OpenFile } from "./trace/open_file.tsx";
import { SelfTimeTable } from "./trace/self_time_table.tsx";
import { Waterfall } from "./trace/waterfall.tsx";

export type View = "timeline" | "flame" | "times" | "diff";

export function TracePage({ params }: { params: URLSearchParams }) {
  const id = params.get("id");
  const file = params.get("file");
  const tenant = params.get("tenant") ?? "";
  const loaded = useLoad(id ? `${id} ${tenant}` : null, (signal) => traceById(id!, signal));
  const dropped = id ? [] : droppedTraces();
  const trace = id ? (loaded.data?.trace ?? null) : (dropped[Number(file ?? 0)] ?? null);
  return (
    <>
      <Progress loading={loaded.loading} what="Loading the trace" />
      {loaded.error && <ErrorNotice error={loaded.error} />}
      {!id && !trace && <OpenFile />}
      {!id && dropped.length > 1 && <DroppedList traces={dropped} chosen={Number(file ?? 0)} />}
      {trace && !loaded.error && <TraceView key={trace.id} trace={trace} otlp={loaded.data?.otlp ?? null} params={params} />}
    </>
  );
}

function DroppedList({ traces, chosen }: { traces: Trace[]; chosen: number }) {
  return (
    <Notice title={`${traces.length} traces in the file`}>
      <select aria-label="Trace" value={chosen} onChange={(event) => go(href("trace", { file: event.currentTarget.value }))}>
        {traces.map((trace, place) => (
          <option key={trace.id} value={place}>{`${trace.spans[0]!.name} · ${trace.spans.length} spans · ${trace.id}`}</option>
        ))}
      </select>
    </Notice>
  );
}

function TraceView({ trace, otlp, params }: { trace: Trace; otlp: unknown; params: URLSearchParams }) {
  const view = (params.get("view") ?? "timeline") as View;
  const find = params.get("find") ?? "";
  const times = useMemo(() => selfTimes(trace), [trace]);
  const found = useMemo(() => findSpans(trace, find), [trace, find]);
  const byId = useMemo(() => new Map(trace.spans.map((span, place) => [span.id, place])), [trace]);
  const selected = byId.get(params.get("span") ?? "") ?? null;
  const [zoom, setZoom] = useZoom(trace, params);
  const near = useMemo(() => rangeNear(trace, params), [trace]);

  useEffect(() => {
    const root = trace.spans[0]!;
    document.title = `${root.resource.service} ${root.name} · mosso`;
  }, [trace]);
  const select = (place: number | null) => {
    go(hrefWith({ span: place === null ? null : trace.spans[place]!.id }), "replace");
  };
  const step = (direction: number) => {
    if (!found.places.length) return;
    const from = selected ?? -1;
    const next =
      direction > 0
        ? (found.places.find((place) => place > from) ?? found.places[0]!)
        : (found.places.findLast((place) => place < from) ?? found.places.at(-1)!);
    select(next);
  };
  useFindKeys(step);

  return (
    <div class="trace">
      <TraceHead trace={trace} otlp={otlp} view={view} find={find} found={found.places.length} near={near} onStep={step} />
      {trace.incomplete && (
        <div class="notice warning" role="status">
          <strong>This trace is not whole</strong>
          <p>{trace.incomplete}</p>
        </div>
      )}
      <div class="trace-body">
        {view === "timeline" && (
          <Waterfall trace={trace} find={find} found={found} selected={selected} zoom={zoom} onZoom={setZoom} onSelect={select} />
        )}
        {view === "flame" && <FlameGraph trace={trace} found={found} />}
        {view === "times" && <SelfTimeTable trace={trace} times={times} />}
        {view === "diff" && <DiffView trace={trace} other={params.get("with") ?? ""} tenant={params.get("tenant") ?? ""} />}
        {selected !== null && view === "timeline" && (
          <Details trace={trace} place={selected} selfTime={times[selected]!} near={near} onClose={() => select(null)} onSelect={select} />
        )}
      </div>
    </div>
  );
}

/** The part of the trace that is shown, in nanoseconds; in the address in whole microseconds. */
export type Zoom = [number, number];

function useZoom(trace: Trace, params: URLSearchParams): [Zoom, (zoom: Zoom | null) => void] {
  const [from, to] = (params.get("zoom") ?? "").split("-").map((micros) => Number(micros) * 1000);
  const valid = from !== undefined && to !== undefined && from >= 0 && to > from;
  const zoom = useMemo<Zoom>(() => (valid ? [from, Math.min(to, trace.duration)] : [0, trace.duration]), [trace, from, to]);
  const set = (chosen: Zoom | null) => {
    const text = chosen ? `${Math.floor(chosen[0] / 1000)}-${Math.ceil(chosen[1] / 1000)}` : null;
    go(hrefWith({ zoom: text }), "replace");
  };
  return [zoom, set];
}

function useFindKeys(step: (direction: number) => void): void {
  const [current] = useState({ step });
  current.step = step;
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if ((event.target as Element).closest("input, textarea, select, dialog") || event.ctrlKey || event.metaKey) return;
      if (event.key === "n") current.step(1);
      if (event.key === "N") current.step(-1);
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
}

const HALF_HOUR_MILLIS = 1_800_000;

/** Where links to searches look: the range that is kept, or time around the trace when it lies elsewhere. */
function rangeNear(trace: Trace, params: URLSearchParams): Params {
  const start = Number(trace.startNanos / 1_000_000n);
  const kept = spanOf(rangeOf(params));
  if (start >= kept.from && start <= kept.to) return {};
  return rangeParams({ kind: "fixed", from: start - HALF_HOUR_MILLIS, to: start + trace.duration / 1e6 + HALF_HOUR_MILLIS });
}
