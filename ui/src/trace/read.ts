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
  const byId = new Map<string, Collected>();
  for (const batch of batches) {
    const resource = resourceOf(batch);
    for (const scopeSpans of batch.scopeSpans ?? batch.instrumentationLibrarySpans ?? []) {
      const scope = scopeOf(scopeSpans);
      for (const span of scopeSpans.spans ?? []) {
        const id = span.traceId ?? "";
        let collected = byId.get(id);
        if (!collected) byId.set(id, (collected = { spans: [], baseSeconds: secondsOf(span.startTimeUnixNano) }));
        collected.spans.push(toSpan(span, resource, scope, collected.baseSeconds));
      }
    }
  }
  const traces = [...byId].map(([id, collected]) => build(hexId(id), collected, incomplete));
  return traces.sort((one, other) => other.spans.length - one.spans.length);
}

function parseLine(line: string, number: number): OtlpTrace {
  try {
    return JSON.parse(line) as OtlpTrace;
  } catch (failure) {
    throw new Error(`line ${number + 1} is not JSON: ${(failure as Error).message}`);
  }
}

/** Spans of a trace in the order they came, with times since a whole second near its start. */
interface Collected {
  spans: Span[];
  baseSeconds: number;
}

type Nanos = string | number | undefined;

const NANOS = 1e9;

/** Nanoseconds since the epoch do not fit into a number, seconds and the rest of them do. */
function secondsOf(nanos: Nanos): number {
  return typeof nanos === "string" ? Number(nanos.slice(0, -9)) : Math.floor((nanos ?? 0) / NANOS);
}

function nanosSince(baseSeconds: number, nanos: Nanos): number {
  const rest = typeof nanos === "string" ? Number(nanos.slice(-9)) : (nanos ?? 0) % NANOS;
  return (secondsOf(nanos) - baseSeconds) * NANOS + rest;
}

function resourceOf({ resource }: OtlpResourceSpans): Resource {
  const attributes = resource?.attributes ?? [];
  const named = attributes.find((one) => one.key === "service.name")?.value;
  return { service: named && "stringValue" in named ? String(named.stringValue) : "", attributes };
}

function scopeOf({ scope, instrumentationLibrary }: OtlpScopeSpans): Scope {
  const owner = scope ?? instrumentationLibrary;
  return { name: owner?.name ?? "", version: owner?.version ?? "" };
}

function build(id: string, { spans: collected, baseSeconds }: Collected, incomplete: string): Trace {
  const first = collected.reduce((least, span) => Math.min(least, span.start), Number.POSITIVE_INFINITY);
  for (const span of collected) shift(span, -first);
  const spans = inTreeOrder(collected);
  return {
    id,
    startNanos: BigInt(baseSeconds) * 1_000_000_000n + BigInt(first),
    duration: spans.reduce((end, span) => Math.max(end, span.end), 1),
    spans,
    services: countServices(spans),
    errors: spans.reduce((errors, span) => errors + Number(span.error), 0),
    depth: spans.reduce((deepest, span) => Math.max(deepest, span.depth + 1), 0),
    incomplete,
  };
}

function shift(span: Span, by: number): void {
  span.start += by;
  span.end += by;
  for (const event of span.events) event.at += by;
}

const NONE: never[] = [];

function toSpan(span: OtlpSpan, resource: Resource, scope: Scope, baseSeconds: number): Span {
  const start = nanosSince(baseSeconds, span.startTimeUnixNano);
  return {
    id: hexId(span.spanId ?? ""),
    parentId: hexId(span.parentSpanId ?? ""),
    name: span.name ?? "",
    kind: kindName(span.kind),
    start,
    end: Math.max(start, nanosSince(baseSeconds, span.endTimeUnixNano)),
    error: span.status?.code === 2 || span.status?.code === "STATUS_CODE_ERROR",
    statusMessage: span.status?.message ?? "",
    resource,
    scope,
    attributes: span.attributes ?? NONE,
    events: span.events ? span.events.map((event) => toEvent(event, baseSeconds)) : NONE,
    links: span.links ? span.links.map(toLink) : NONE,
    depth: 0,
    parent: -1,
    subtreeEnd: 0,
  };
}

function toEvent(event: NonNullable<OtlpSpan["events"]>[number], baseSeconds: number): SpanEvent {
  return { name: event.name ?? "", at: nanosSince(baseSeconds, event.timeUnixNano), attributes: event.attributes ?? NONE };
}

function toLink(link: NonNullable<OtlpSpan["links"]>[number]): SpanLink {
  return { traceId: hexId(link.traceId ?? ""), spanId: hexId(link.spanId ?? ""), attributes: link.attributes ?? NONE };
}

function kindName(kind: string | number | undefined): string {
  return typeof kind === "number" ? (KINDS[kind] ?? "") : (kind ?? "").replace("SPAN_KIND_", "").toLowerCase();
}

/** No span: the end of a list of children. */
const END = -1;

/**
 * Depth first, children by start. A span without a parent in the trace is a root; of spans that are each other's
 * parents, the first. Children are lists linked by index: large traces would need an array for each of their parents.
 */
function inTreeOrder(spans: Span[]): Span[] {
  const byId = new Map(spans.map((span, index) => [span.id, index]));
  const child = new Int32Array(spans.length).fill(END);
  const sibling = new Int32Array(spans.length).fill(END);
  const roots: number[] = [];
  for (const index of latestFirst(spans)) {
    const { parentId } = spans[index]!;
    const parent = parentId ? byId.get(parentId) : undefined;
    if (parent === undefined || parent === index) {
      roots.push(index);
    } else {
      sibling[index] = child[parent]!;
      child[parent] = index;
    }
  }
  const ordered: Span[] = [];
  const placeOf = new Int32Array(spans.length).fill(END);
  const open: number[] = [];
  const enter = (index: number, parent: number, depth: number) => {
    const span = spans[index]!;
    span.parent = parent;
    span.depth = depth;
    placeOf[index] = ordered.length;
    ordered.push(span);
    open.push(index);
  };
  const placeTree = (root: number) => {
    if (placeOf[root] === END) enter(root, -1, 0);
    while (open.length) {
      const top = open[open.length - 1]!;
      const next = child[top]!;
      if (next === END) {
        open.pop();
        spans[top]!.subtreeEnd = ordered.length;
      } else {
        child[top] = sibling[next]!;
        if (placeOf[next] === END) enter(next, placeOf[top]!, spans[top]!.depth + 1);
      }
    }
  };
  for (const root of roots.reverse()) placeTree(root);
  // what is left hangs on a cycle
  for (let index = 0; index < spans.length; index++) placeTree(index);
  return ordered;
}

/** Of spans that start together, the longer one comes first in the tree. */
function latestFirst(spans: Span[]): number[] {
  const indices = spans.map((_span, index) => index);
  return indices.sort((one, other) => spans[other]!.start - spans[one]!.start || spans[one]!.end - spans[other]!.end);
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
  if (id === "" || ((id.length === 16 || id.length === 32) && /^[0-9a-f]+$/i.test(id))) return id.toLowerCase();
  const hex = hexOfBase64(id);
  return /^0*$/.test(hex) ? "" : hex;
}

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const SIX_BITS = new Uint8Array(128);
for (let bits = 0; bits < BASE64.length; bits++) SIX_BITS[BASE64.charCodeAt(bits)] = bits;

/** Two characters of base64 are three digits of hex. */
const THREE_DIGITS = Array.from({ length: 4096 }, (_, bits) => bits.toString(16).padStart(3, "0"));

/** Large traces have a hundred thousand ids: this is several times as fast as `atob`. */
function hexOfBase64(text: string): string {
  const length = text.indexOf("=") < 0 ? text.length : text.indexOf("=");
  let hex = "";
  for (let at = 0; at < length; at += 2) {
    const low = at + 1 < length ? SIX_BITS[text.charCodeAt(at + 1) & 127]! : 0;
    hex += THREE_DIGITS[(SIX_BITS[text.charCodeAt(at) & 127]! << 6) | low]!;
  }
  return hex.slice(0, Math.floor((length * 6) / 8) * 2);
}
