// A trace by id.

import type { Trace } from "../trace/model.ts";
import type { OtlpResourceSpans, OtlpTrace } from "../trace/read.ts";
import { readTraces, resourceSpans } from "../trace/read.ts";
import { ApiError, getJson } from "./client.ts";

export interface FetchedTrace {
  trace: Trace;
  otlp: OtlpResourceSpans[];
}

export async function traceById(id: string, signal?: AbortSignal): Promise<FetchedTrace> {
  const answer = await getJson<OtlpTrace>(`api/v2/traces/${encodeURIComponent(id)}`, {}, signal ? { signal } : {});
  const otlp = resourceSpans(answer);
  const trace = readTraces(otlp, answer.status === "PARTIAL" ? (answer.message ?? "spans are missing") : "")[0];
  if (!trace) throw new ApiError(404, `there is no trace ${id}: it may be older than the retention, or of another tenant`);
  return { trace, otlp };
}
