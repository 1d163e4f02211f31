// Traces for tests, written as a list of spans.

import type { Trace } from "../src/trace/model.ts";
import { readTraces } from "../src/trace/read.ts";

const START = 1_795_960_000_000_000_000n;

/** `[id, parent, start, end]` with times in nanoseconds since the start; the id is the name, too. */
export type Row = [id: number, parent: number, start: number, end: number];

export function traceOf(rows: Row[], service = "shop"): Trace {
  const spans = rows.map(([id, parent, start, end]) => ({
    traceId: "0af7651916cd43dd8448eb211c80319c",
    spanId: hex(id),
    parentSpanId: parent ? hex(parent) : "",
    name: String(id),
    startTimeUnixNano: String(START + BigInt(start)),
    endTimeUnixNano: String(START + BigInt(end)),
  }));
  const resource = { attributes: [{ key: "service.name", value: { stringValue: service } }] };
  return readTraces([{ resource, scopeSpans: [{ spans }] }])[0]!;
}

export function names(trace: Trace): string[] {
  return trace.spans.map((span) => span.name);
}

function hex(id: number): string {
  return id.toString(16).padStart(16, "0");
}
