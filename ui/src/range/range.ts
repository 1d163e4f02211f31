// The range of time that a page looks at: relative to now or fixed, as words, as numbers, and in the address.

import type { Params } from "../place.ts";

export type Range = { kind: "last"; seconds: number } | { kind: "fixed"; from: number; to: number };

/** Milliseconds since the epoch. */
export interface Span {
  from: number;
  to: number;
}

export const DEFAULT_RANGE: Range = { kind: "last", seconds: 3600 };

const UNIT_SECONDS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

export const PRESETS: Range[] = [300, 900, 3600, 10_800, 21_600, 86_400, 172_800, 604_800].map((seconds) => ({
  kind: "last",
  seconds,
}));

export function rangeOf(params: URLSearchParams): Range {
  const from = Number(params.get("from"));
  const to = Number(params.get("to"));
  if (from > 0 && to > from) return { kind: "fixed", from, to };
  const seconds = shortSeconds(params.get("range") ?? "");
  return seconds ? { kind: "last", seconds } : DEFAULT_RANGE;
}

export function rangeParams(range: Range): Params {
  if (range.kind === "last") return { range: shortText(range.seconds), from: null, to: null };
  return { range: null, from: Math.floor(range.from), to: Math.ceil(range.to) };
}

/** A relative range ends at the next whole second, so that the longest range that the server takes stays one in seconds. */
export function spanOf(range: Range, now = Date.now()): Span {
  if (range.kind === "fixed") return { from: range.from, to: range.to };
  const to = Math.ceil(now / 1000) * 1000;
  return { from: to - range.seconds * 1000, to };
}

/** `start` and `end` of an API request: whole seconds that hold all of the span. */
export function apiRange(span: Span): { start: number; end: number } {
  return { start: Math.floor(span.from / 1000), end: Math.max(Math.ceil(span.to / 1000), Math.floor(span.from / 1000) + 1) };
}

export function rangeWords(range: Range): string {
  if (range.kind === "last") {
    const [number, unit] = largestUnit(range.seconds);
    const noun = { s: "second", m: "minute", h: "hour", d: "day", w: "week" }[unit]!;
    return number === 1 ? `last ${noun}` : `last ${number} ${noun}s`;
  }
  return `${stamp(range.from)} – ${sameDay(range.from, range.to) ? stamp(range.to).slice(11) : stamp(range.to)}`;
}

/** What a person typed; a text says what is not understood. */
export function parseWords(text: string, now = Date.now()): Range | string {
  const words = text.trim().toLowerCase();
  if (words === "today") return { kind: "fixed", from: midnight(now), to: now };
  if (words === "yesterday") return { kind: "fixed", from: midnight(midnight(now) - 1), to: midnight(now) };
  const relative = /^(?:last|past)?\s*(\d*)\s*(s|sec|m|min|h|hr|d|w|second|minute|hour|day|week)s?(?:\s+ago)?$/.exec(words);
  if (relative) {
    const unit = relative[2]!.startsWith("min") ? "m" : relative[2]![0]!;
    return { kind: "last", seconds: Number(relative[1] || "1") * UNIT_SECONDS[unit]! };
  }
  const parts = words.split(/\s+(?:to|until|–|-)\s+/);
  const from = parseTime(parts[0]!, now);
  const to = parts[1] === undefined ? now : parseTime(parts[1], from ?? now);
  if (parts.length > 2 || from === null || to === null) {
    return `“${text.trim()}” is not a range: try “15 min”, “yesterday” or “2026-01-31 14:00 to 15:30”`;
  }
  return to > from ? { kind: "fixed", from, to } : "the range ends before it begins";
}

function parseTime(text: string, day: number): number | null {
  if (text === "now") return Date.now();
  if (/^\d{10}$/.test(text)) return Number(text) * 1000;
  if (/^\d{13}$/.test(text)) return Number(text);
  const time = /^(\d{1,2}):(\d{2})(?::(\d{2}))?$/.exec(text);
  if (time) return midnight(day) + (Number(time[1]) * 3600 + Number(time[2]) * 60 + Number(time[3] ?? 0)) * 1000;
  const parsed = /^\d{4}-\d{2}-\d{2}$/.test(text) ? Date.parse(`${text}T00:00`) : Date.parse(text.replace(" ", "T"));
  return Number.isNaN(parsed) ? null : parsed;
}

function midnight(millis: number): number {
  return new Date(millis).setHours(0, 0, 0, 0);
}

function sameDay(one: number, other: number): boolean {
  return midnight(one) === midnight(other);
}

function stamp(millis: number): string {
  const local = new Date(millis - new Date(millis).getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19).replace("T", " ");
}

function shortSeconds(text: string): number | null {
  const match = /^(\d+)([smhdw])$/.exec(text);
  return match ? Number(match[1]) * UNIT_SECONDS[match[2]!]! : null;
}

function shortText(seconds: number): string {
  const [number, unit] = largestUnit(seconds);
  return `${number}${unit}`;
}

function largestUnit(seconds: number): [number, string] {
  for (const unit of ["w", "d", "h", "m"]) {
    const size = UNIT_SECONDS[unit]!;
    // a day and an hour read better as 24 and 1 hours than as fractions
    if (seconds >= size && seconds % size === 0) return [seconds / size, unit];
  }
  return [seconds, "s"];
}
