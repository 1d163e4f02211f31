// A trace as the page shows it: spans in the order of the tree, a parent above its children, children by start.
//
// Times are nanoseconds since the start of the trace: exact, and small enough for a number. The spans below span `i` are
// those from `i + 1` to `subtreeEnd - 1`.

export type AnyValue =
  | { stringValue: string }
  | { boolValue: boolean }
  | { intValue: string | number }
  | { doubleValue: number | string }
  | { arrayValue: { values?: AnyValue[] } }
  | { kvlistValue: { values?: KeyValue[] } }
  | { bytesValue: string }
  | Record<string, never>;

export interface KeyValue {
  key: string;
  value?: AnyValue;
}

export interface SpanEvent {
  name: string;
  /** Nanoseconds since the start of the trace. */
  at: number;
  attributes: KeyValue[];
}

export interface SpanLink {
  traceId: string;
  spanId: string;
  attributes: KeyValue[];
}

export interface Resource {
  service: string;
  attributes: KeyValue[];
}

export interface Scope {
  name: string;
  version: string;
}

export interface Span {
  id: string;
  parentId: string;
  name: string;
  kind: string;
  start: number;
  end: number;
  error: boolean;
  statusMessage: string;
  resource: Resource;
  scope: Scope;
  attributes: KeyValue[];
  events: SpanEvent[];
  links: SpanLink[];

  depth: number;
  /** Place of the parent in `spans`, or -1. */
  parent: number;
  subtreeEnd: number;
}

export interface Trace {
  id: string;
  startNanos: bigint;
  duration: number;
  spans: Span[];
  /** By number of spans, most first. */
  services: { name: string; spans: number; errors: number }[];
  errors: number;
  depth: number;
  /** What the server says when spans are missing. */
  incomplete: string;
}

export type Children = (span: number) => Generator<number>;

/** Places of the direct children of a span. */
export function* children(spans: Span[], parent: number): Generator<number> {
  const end = spans[parent]!.subtreeEnd;
  for (let child = parent + 1; child < end; child = spans[child]!.subtreeEnd) yield child;
}

export function attribute(attributes: KeyValue[], key: string): AnyValue | undefined {
  return attributes.find((one) => one.key === key)?.value;
}

/** A value as text, as a person reads it. */
export function valueText(value: AnyValue | undefined): string {
  if (!value) return "";
  if ("stringValue" in value) return value.stringValue as string;
  if ("boolValue" in value) return String(value.boolValue);
  if ("intValue" in value) return String(value.intValue);
  if ("doubleValue" in value) return String(value.doubleValue);
  if ("bytesValue" in value) return `base64 ${value.bytesValue as string}`;
  return JSON.stringify(plain(value), null, 1);
}

/** A value as TraceQL compares it; `null` where TraceQL has no such value. */
export function valueLiteral(value: AnyValue | undefined): string | null {
  if (!value) return null;
  if ("stringValue" in value) return JSON.stringify(value.stringValue);
  if ("boolValue" in value || "intValue" in value || "doubleValue" in value) return valueText(value);
  return null;
}

function plain(value: AnyValue | undefined): unknown {
  if (!value) return null;
  if ("arrayValue" in value) return ((value.arrayValue as { values?: AnyValue[] }).values ?? []).map(plain);
  if ("kvlistValue" in value) {
    const members = (value.kvlistValue as { values?: KeyValue[] }).values ?? [];
    return Object.fromEntries(members.map((one) => [one.key, plain(one.value)]));
  }
  return valueText(value);
}

/** How far a span reaches beyond its parent: what clocks that disagree look like, or work that outlives its caller. */
export function beyondParent(trace: Trace, span: Span): { before: number; after: number } | null {
  const parent = trace.spans[span.parent];
  if (!parent) return null;
  const before = Math.max(0, parent.start - span.start);
  const after = Math.max(0, span.end - parent.end);
  return before || after ? { before, after } : null;
}
