// TraceQL metrics over HTTP: series over a range, or one number each.

import type { Span } from "../range/range.ts";
import { apiRange } from "../range/range.ts";
import { getJson } from "./client.ts";

export interface Series {
  labels: Map<string, string>;
  /** Literals of TraceQL, to write a filter from a label. */
  literals: Map<string, string | null>;
  /** Milliseconds of the right edge of an interval, and the value. */
  samples: [number, number][];
  value: number;
}

interface LabelValue {
  stringValue?: string;
  intValue?: string;
  doubleValue?: number | string;
  boolValue?: boolean;
}

interface Answer {
  series?: {
    labels?: { key: string; value?: LabelValue }[];
    samples?: { timestampMs: string; value?: number | string }[];
    value?: number | string;
  }[];
  message?: string;
}

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400];

/** Seconds of an interval, so that a plot has `points` of them or fewer. */
export function stepSeconds(span: Span, points = 120): number {
  const least = (span.to - span.from) / 1000 / points;
  return STEPS.find((step) => step >= least) ?? STEPS.at(-1)!;
}

export async function overTime(query: string, span: Span, step: number, signal: AbortSignal): Promise<Series[]> {
  const params = { q: query, ...apiRange(span), step: `${step}s`, exemplars: 0 };
  return series(await getJson<Answer>("api/metrics/query_range", params, { signal }));
}

export async function atOnce(query: string, span: Span, signal: AbortSignal): Promise<Series[]> {
  return series(await getJson<Answer>("api/metrics/query", { q: query, ...apiRange(span) }, { signal }));
}

function series(answer: Answer): Series[] {
  return (answer.series ?? []).map(({ labels = [], samples = [], value }) => ({
    labels: new Map(labels.map((label) => [label.key, labelText(label.value)])),
    literals: new Map(labels.map((label) => [label.key, labelLiteral(label.key, label.value)])),
    samples: samples.map((sample): [number, number] => [Number(sample.timestampMs), Number(sample.value ?? 0)]),
    value: Number(value ?? 0),
  }));
}

function labelText(value: LabelValue | undefined): string {
  return String(value?.stringValue ?? value?.intValue ?? value?.doubleValue ?? value?.boolValue ?? "");
}

const KEYWORDS = new Set(["status", "kind", "span:status", "span:kind"]);

function labelLiteral(key: string, value: LabelValue | undefined): string | null {
  if (value?.stringValue === undefined) return value ? labelText(value) : null;
  if (value.stringValue === "nil") return null;
  return KEYWORDS.has(key) ? value.stringValue : JSON.stringify(value.stringValue);
}
