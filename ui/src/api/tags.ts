// Names and values of attributes, for forms and completion.

import type { Span } from "../range/range.ts";
import { apiRange } from "../range/range.ts";
import { place } from "../place.ts";
import { getJson } from "./client.ts";

export interface TagValue {
  type: string;
  value: string;
}

const SCOPES = new Set(["resource", "span", "event", "link", "instrumentation"]);

/** How many values a list shows; more is found by typing. */
const VALUES_LIMIT = 500;
const ANSWER_MILLIS = 60_000;

const answers = new Map<string, { at: number; answer: Promise<unknown> }>();

/** Names as TraceQL writes them, intrinsics first. */
export function tagNames(span: Span): Promise<string[]> {
  return remembered(`names ${minute(span)}`, async () => {
    const answer = await getJson<{ scopes?: { name: string; tags?: string[] }[] }>("api/v2/search/tags", apiRange(span));
    const names = (answer.scopes ?? []).flatMap(({ name, tags }) => {
      return (tags ?? []).map((tag) => (SCOPES.has(name) ? `${name}.${quoted(tag)}` : tag));
    });
    const isIntrinsic = (name: string) => !SCOPES.has(name.split(".")[0]!);
    return names.sort((one, other) => Number(isIntrinsic(other)) - Number(isIntrinsic(one)) || (one < other ? -1 : 1));
  });
}

/** Values of one attribute, of the spans that `query` finds. */
export function tagValues(tag: string, span: Span, query = ""): Promise<TagValue[]> {
  return remembered(`values ${tag} ${query} ${minute(span)}`, async () => {
    const params = { ...apiRange(span), q: query || null, limit: VALUES_LIMIT };
    const answer = await getJson<{ tagValues: { type: string; value?: string }[] }>(
      `api/v2/search/tag/${encodeURIComponent(tag)}/values`,
      params,
    );
    return answer.tagValues.flatMap(({ type, value }) => (value === undefined ? [] : [{ type, value }])).sort(byValue);
  });
}

/** A value as TraceQL writes it. */
export function literal({ type, value }: TagValue): string {
  return type === "string" ? JSON.stringify(value) : value;
}

/** An attribute's name, quoted where TraceQL asks for it. */
export function quoted(name: string): string {
  return /^[\p{L}\p{N}_.\-:/]+$/u.test(name) ? name : JSON.stringify(name);
}

function byValue(one: TagValue, other: TagValue): number {
  const numbers = Number(one.value) - Number(other.value);
  return Number.isNaN(numbers) ? (one.value < other.value ? -1 : 1) : numbers;
}

function remembered<T>(question: string, ask: () => Promise<T>): Promise<T> {
  const key = `${place().params.get("tenant") ?? ""} ${question}`;
  const found = answers.get(key);
  if (found && Date.now() - found.at < ANSWER_MILLIS) return found.answer as Promise<T>;
  const answer = ask();
  answers.set(key, { at: Date.now(), answer });
  answer.catch(() => answers.delete(key));
  return answer;
}

/** Ranges that move with the clock share an answer for a minute. */
function minute(span: Span): string {
  return `${Math.floor(span.from / 60_000)}-${Math.floor(span.to / 60_000)}`;
}
