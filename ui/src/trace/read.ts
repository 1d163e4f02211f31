// OTLP JSON, as files, SDKs and Tempo's API write it, into the model. Ids are hex or base64, batches have three names.

import type { KeyValue, Resource, Scope, Span, SpanEvent, SpanLink, Trace } from "./model.ts";

interface OtlpSpan {
  traceId?: string;
  spanId?: string;
  parentSpanId?: string;
  name?: string;
  kind?: string | number;
  startTimeUnixNano?: string | number;
  endTimeUnixNano?: string | number;
  attributes?: KeyValue[];
  events?: { name?: string; timeUnixNano?: string | number; attributes?: KeyValue[] }[];
  links?: { traceId?: string; spanId?: string; attributes?: KeyValue[] }[];
  status?: { code?: string | number; message?: string };
}

interface OtlpScopeSpans {
  scope?: { name?: string; version?: string };
  instrumentationLibrary?: { name?: string; version?: string };
  spans?: OtlpSpan[];
}

export interface OtlpResourceSpans {
  resource?: { attributes?: KeyValue[] };
  scopeSpans?: OtlpScopeSpans[];
  instrumentationLibrarySpans?: OtlpScopeSpans[];
}

export interface OtlpTrace {
  resourceSpans?: OtlpResourceSpans[];
  batches?: OtlpResourceSpans[];
  trace?: OtlpTrace;
  status?: string;
  message?: string;
}

interface Flat {
  span: OtlpSpan;
  resource: Resource;
  scope: Scope;
  start: bigint;
  end: bigint;
}

const KINDS = ["unspecified", "internal", "server", "client", "producer", "consumer"];

/** All traces of a text of OTLP JSON, or of several such lines, as collectors write files. Throws what is wrong. */
export function readText(text: string): Trace[] {
  let parsed: OtlpTrace[];
  try {
    parsed = [JSON.parse(text) as OtlpTrace];
  } catch (failure) {
    const lines = text.split("\n").filter((line) => line.trim());
    if (lines.length < 2) throw new Error(`this is not JSON: ${(failure as Error).message}`);
    parsed = lines.map((line, number) => parseLine(line, number));
  }
  const batches = parsed.flatMap((one) => resourceSpans(one));
  const traces = readTraces(batches, parsed[0]?.message ?? "");
  if (!traces.length) throw new Error("no spans in it: expected OTLP JSON with resourceSpans");
  return traces;
}

export function resourceSpans(answer: OtlpTrace): OtlpResourceSpans[] {
  return answer.trace ? resourceSpans(answer.trace) : (answer.resourceSpans ?? answer.batches ?? []);
}

/** One model for each trace id, the largest first. */
export function readTraces(batches: OtlpResourceSpans[], incomplete = ""): Trace[] {
  const byTrace = new Map<string, Flat[]>();
  for (const flat of flatten(batches)) {
    const id = flat.span.traceId ?? "";
    const spans = byTrace.get(id);
    if (spans) spans.push(flat);
    else byTrace.set(id, [flat]);
  }
  const traces = [...byTrace].map(([id, flats]) => build(hexId(id), flats, incomplete));
  return traces.sort((one, other) => other.spans.length - one.spans.length);
}

function parseLine(line: string, number: number): OtlpTrace {
  try {
    return JSON.parse(line) as OtlpTrace;
  } catch (failure) {
    throw new Error(`line ${number + 1} is not JSON: ${(failure as Error).message}`);
  }
}

function* flatten(batches: OtlpResourceSpans[]): Generator<Flat> {
  for (const batch of batches) {
    const attributes = batch.resource?.attributes ?? [];
    const named = attributes.find((one) => one.key === "service.name")?.value;
    const resource = { service: named && "stringValue" in named ? String(named.stringValue) : "", attributes };
    for (const { scope, instrumentationLibrary, spans } of batch.scopeSpans ?? batch.instrumentationLibrarySpans ?? []) {
      const owner = scope ?? instrumentationLibrary;
      const shared = { name: owner?.name ?? "", version: owner?.version ?? "" };
      for (const span of spans ?? []) {
        const start = BigInt(span.startTimeUnixNano ?? 0);
        const end = BigInt(span.endTimeUnixNano ?? 0);
        yield { span, resource, scope: shared, start, end: end > start ? end : start };
      }
    }
  }
}

function build(id: string, flats: Flat[], incomplete: string): Trace {
  let startNanos = flats[0]!.start;
  let endNanos = startNanos;
  for (const { start, end } of flats) {
    if (start < startNanos) startNanos = start;
    if (end > endNanos) endNanos = end;
  }
  const spans = inTreeOrder(flats.map((flat) => toSpan(flat, startNanos)));
  return {
    id,
    startNanos,
    duration: Math.max(1, Number(endNanos - startNanos)),
    spans,
    services: countServices(spans),
    errors: spans.reduce((errors, span) => errors + Number(span.error), 0),
    depth: spans.reduce((deepest, span) => Math.max(deepest, span.depth + 1), 0),
    incomplete,
  };
}

function toSpan({ span, resource, scope, start, end }: Flat, startNanos: bigint): Span {
  return {
    id: hexId(span.spanId ?? ""),
    parentId: hexId(span.parentSpanId ?? ""),
    name: span.name ?? "",
    kind: kindName(span.kind),
    start: Number(start - startNanos),
    end: Number(end - startNanos),
    error: span.status?.code === 2 || span.status?.code === "STATUS_CODE_ERROR",
    statusMessage: span.status?.message ?? "",
    resource,
    scope,
    attributes: span.attributes ?? NONE,
    events: span.events ? span.events.map((event) => toEvent(event, startNanos)) : NONE,
    links: span.links ? span.links.map(toLink) : NONE,
    depth: 0,
    parent: -1,
    subtreeEnd: 0,
  };
}

const NONE: never[] = [];

function toEvent(event: NonNullable<OtlpSpan["events"]>[number], startNanos: bigint): SpanEvent {
  const at = Number(BigInt(event.timeUnixNano ?? 0) - startNanos);
  return { name: event.name ?? "", at, attributes: event.attributes ?? NONE };
}

function toLink(link: NonNullable<OtlpSpan["links"]>[number]): SpanLink {
  return { traceId: hexId(link.traceId ?? ""), spanId: hexId(link.spanId ?? ""), attributes: link.attributes ?? NONE };
}

function kindName(kind: string | number | undefined): string {
  return typeof kind === "number" ? (KINDS[kind] ?? "") : (kind ?? "").replace("SPAN_KIND_", "").toLowerCase();
}

/** Depth first. A span without a parent in the trace is a root; spans that are each other's parents are, too. */
function inTreeOrder(spans: Span[]): Span[] {
  const byId = new Map(spans.map((span) => [span.id, span]));
  const below = new Map<Span, Span[]>();
  const roots: Span[] = [];
  for (const span of spans) {
    const parent = span.parentId ? byId.get(span.parentId) : undefined;
    if (!parent || parent === span) roots.push(span);
    else if (below.has(parent)) below.get(parent)!.push(span);
    else below.set(parent, [span]);
  }
  const ordered: Span[] = [];
  const placed = new Set<Span>();
  for (const root of roots.sort(byStart)) place(root, below, placed, ordered);
  // what is left hangs on a cycle
  for (const span of spans) if (!placed.has(span)) place(span, below, placed, ordered);
  return ordered;
}

function place(root: Span, below: Map<Span, Span[]>, placed: Set<Span>, ordered: Span[]): void {
  const open: { span: Span; at: number; children: Span[]; next: number }[] = [];
  const enter = (span: Span, parent: number, depth: number) => {
    placed.add(span);
    span.parent = parent;
    span.depth = depth;
    span.subtreeEnd = ordered.push(span);
    const own = below.get(span);
    if (own) open.push({ span, at: ordered.length - 1, children: own.sort(byStart), next: 0 });
  };
  enter(root, -1, 0);
  while (open.length) {
    const top = open[open.length - 1]!;
    const child = top.children[top.next++];
    if (child === undefined) {
      open.pop();
      top.span.subtreeEnd = ordered.length;
    } else if (!placed.has(child)) {
      enter(child, top.at, top.span.depth + 1);
    }
  }
}

function byStart(one: Span, other: Span): number {
  return one.start - other.start || other.end - one.end;
}

function countServices(spans: Span[]): Trace["services"] {
  const services = new Map<string, { name: string; spans: number; errors: number }>();
  for (const { resource, error } of spans) {
    const found = services.get(resource.service) ?? { name: resource.service, spans: 0, errors: 0 };
    found.spans += 1;
    found.errors += Number(error);
    services.set(resource.service, found);
  }
  return [...services.values()].sort((one, other) => other.spans - one.spans);
}

/** Ids as lower-case hex, whether they come as hex (OTLP JSON) or as base64 (protobuf's JSON, as Tempo answers). */
export function hexId(id: string): string {
  if (id === "" || /^[0-9a-f]{16}$|^[0-9a-f]{32}$/i.test(id)) return id.toLowerCase();
  let hex = "";
  try {
    for (const char of atob(id)) hex += char.charCodeAt(0).toString(16).padStart(2, "0");
  } catch {
    return id.toLowerCase();
  }
  return /^0*$/.test(hex) ? "" : hex;
}
