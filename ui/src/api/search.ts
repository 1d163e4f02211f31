// Search, page by page: newest first, each page from where the one before ended.

import type { Span } from "../range/range.ts";
import { apiRange } from "../range/range.ts";
import { get } from "./client.ts";

export interface FoundTrace {
  id: string;
  service: string;
  name: string;
  /** Milliseconds since the epoch. */
  start: number;
  /** Nanoseconds. */
  duration: number;
  matched: number;
  spans: number;
  errors: number;
  services: { name: string; spans: number; errors: number }[];
  /** The first of the matching spans. */
  span: string | null;
}

export interface SearchPage {
  traces: FoundTrace[];
  /** Where the next page begins; `null` at the end. */
  next: string | null;
}

interface Answer {
  traces: {
    traceID: string;
    rootServiceName?: string;
    rootTraceName?: string;
    startTimeUnixNano?: string;
    durationMs?: number;
    spanSets?: { matched?: number; spans: { spanID: string }[] }[];
    serviceStats?: Record<string, { spanCount?: number; errorCount?: number }>;
  }[];
}

export async function searchPage(
  query: string,
  span: Span,
  limit: number,
  cursor: string | null,
  signal: AbortSignal,
): Promise<SearchPage> {
  const params = { q: query, ...apiRange(span), limit, spss: 1, cursor };
  const response = await get("api/search", params, { signal });
  const answer = (await response.json()) as Answer;
  return { traces: answer.traces.map(foundTrace), next: response.headers.get("X-Mosso-Next-Cursor") };
}

function foundTrace(trace: Answer["traces"][number]): FoundTrace {
  const services = Object.entries(trace.serviceStats ?? {})
    .map(([name, stats]) => ({ name, spans: stats.spanCount ?? 0, errors: stats.errorCount ?? 0 }))
    .sort((one, other) => other.spans - one.spans);
  const sum = (pick: (service: (typeof services)[number]) => number) => services.reduce((all, one) => all + pick(one), 0);
  return {
    id: trace.traceID.padStart(32, "0"),
    service: trace.rootServiceName ?? "",
    name: trace.rootTraceName ?? "",
    start: Number((trace.startTimeUnixNano ?? "0").padStart(7, "0").slice(0, -6)),
    duration: (trace.durationMs ?? 0) * 1e6,
    matched: (trace.spanSets ?? []).reduce((all, set) => all + (set.matched ?? set.spans.length), 0),
    spans: sum((service) => service.spans),
    errors: sum((service) => service.errors),
    services,
    span: trace.spanSets?.[0]?.spans[0]?.spanID ?? null,
  };
}
