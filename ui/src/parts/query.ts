// TraceQL as the page needs it: simple filters as terms that a form can edit, tokens to colour, and what may follow.

export interface Term {
  name: string;
  operator: string;
  /** As TraceQL writes it: texts in quotes. */
  value: string;
}

const TERM = /^((?:[\w:]+\.)?(?:"(?:[^"\\]|\\.)*"|[\p{L}\p{N}_.:\-/]+))\s*(!=|=~|!~|>=|<=|=|>|<)\s*("(?:[^"\\]|\\.)*"|`[^`]*`|[\w.\-]+)$/u;

/** The terms of `{ a = 1 && b = "x" }`; `null` for a query that says more than such a list. */
export function termsOf(query: string): Term[] | null {
  const text = query.trim();
  if (text === "" || /^\{\s*(true)?\s*\}$/.test(text)) return [];
  const inner = insideBraces(text);
  if (inner === null) return null;
  const terms = splitOutsideQuotes(inner, "&&").map((part) => TERM.exec(part.trim()));
  if (terms.some((term) => term === null)) return null;
  return terms.map((term) => ({ name: term![1]!, operator: term![2]!, value: term![3]! }));
}

/** What a form shows while a person types: what is typed, once it is whole; until then what was asked before. */
export function shownInForm(typed: string, asked: string): string {
  return termsOf(typed) ? typed : asked;
}

export function queryOf(terms: Term[]): string {
  if (!terms.length) return "{}";
  return `{ ${terms.map((term) => `${term.name} ${term.operator} ${term.value}`).join(" && ")} }`;
}

/** The query with one more condition: inside its braces where it is one filter, else on the spans that it finds. */
export function narrowed(query: string, terms: Term[]): string {
  const simple = termsOf(query);
  if (simple) {
    const replaced = (old: Term) => terms.some((one) => one.name === old.name && one.operator === old.operator);
    return queryOf([...simple.filter((old) => !replaced(old)), ...terms]);
  }
  const conditions = terms.map((term) => `${term.name} ${term.operator} ${term.value}`).join(" && ");
  const inner = insideBraces(query.trim());
  if (inner !== null) return `{ (${inner.trim()}) && ${conditions} }`;
  return `${query.trim()} | { ${conditions} }`;
}

const METRICS_STAGE =
  /\|\s*(rate|count_over_time|min_over_time|max_over_time|avg_over_time|sum_over_time|quantile_over_time|histogram_over_time|compare)\s*\(/;

export function isMetricsQuery(query: string): boolean {
  return METRICS_STAGE.test(query);
}

/** The spans that a metrics query measures. */
export function withoutMetrics(query: string): string {
  const stage = METRICS_STAGE.exec(query);
  return stage ? query.slice(0, stage.index).trim() : query.trim();
}

export interface Token {
  kind: "text" | "name" | "keyword" | "number" | "operator" | "plain";
  text: string;
}

const KEYWORDS =
  /^(true|false|nil|error|ok|unset|server|client|internal|producer|consumer|unspecified|with|by|select|coalesce|count|min|max|avg|sum|rate|count_over_time|min_over_time|max_over_time|avg_over_time|sum_over_time|quantile_over_time|histogram_over_time|compare|topk|bottomk)$/;
const TOKEN = /("(?:[^"\\]|\\.)*"?|`[^`]*`?)|(\d[\d.]*[a-zµ]*)|((?:\.|[\p{L}_])[\p{L}\p{N}_.:\-/]*)|([{}()|&=!<>~+*/^%,]+)|(\s+|.)/gsu;

export function tokens(query: string): Token[] {
  return [...query.matchAll(TOKEN)].map(([text, quote, number, word, operator]) => {
    if (quote) return { kind: "text", text };
    if (number) return { kind: "number", text };
    if (word) return { kind: KEYWORDS.test(word) ? "keyword" : "name", text };
    return { kind: operator ? "operator" : "plain", text };
  });
}

/** What a person is about to write at the end of `before`. */
export type Expected =
  | { kind: "name"; typed: string }
  | { kind: "value"; name: string; typed: string; filter: string }
  | { kind: "stage"; typed: string }
  | null;

const NAME_AT_END = /((?:[\p{L}_.][\p{L}\p{N}_.:\-/]*)?)$/u;
const VALUE_AT_END = /((?:[\w:]+\.)?(?:"(?:[^"\\]|\\.)*"|[\p{L}\p{N}_.:\-/]+))\s*(?:!=|=~|!~|>=|<=|=|>|<)\s*("(?:[^"\\]|\\.)*|[\w.\-]*)$/u;

export function expected(before: string): Expected {
  const value = VALUE_AT_END.exec(before);
  if (value) {
    const filter = termsOf(`${before.slice(0, value.index).replace(/(&&|\|\|)\s*$/, "")}}`);
    return { kind: "value", name: value[1]!, typed: value[2]!, filter: filter?.length ? queryOf(filter) : "" };
  }
  if (insideQuotes(before)) return null;
  const typed = NAME_AT_END.exec(before)![1]!;
  const rest = before.slice(0, before.length - typed.length).trimEnd();
  if (/(^|[^|])\|$/.test(rest)) return { kind: "stage", typed };
  const opens = /([{(,!]|&&|\|\|)$/.test(rest);
  return opens ? { kind: "name", typed } : null;
}

export const STAGES = [
  "rate()",
  "count_over_time()",
  "quantile_over_time(duration, .5, .95)",
  "histogram_over_time(duration)",
  "avg_over_time(duration)",
  "max_over_time(duration)",
  "compare({ status = error })",
  "count() > 1",
  "avg(duration) > 1s",
  "max(duration) > 1s",
  "by(resource.service.name)",
  "select(status)",
];

const QUOTED = /"(?:[^"\\]|\\.)*"|`[^`]*`/g;

/** What one filter holds; `null` for more than one, or what is none. */
function insideBraces(text: string): string | null {
  const inner = /^\{(.*)\}$/s.exec(text)?.[1];
  return inner === undefined || /[{}]/.test(inner.replace(QUOTED, "")) ? null : inner;
}

function insideQuotes(text: string): boolean {
  return (text.match(/(?<!\\)"/g)?.length ?? 0) % 2 === 1;
}

function splitOutsideQuotes(text: string, separator: string): string[] {
  const parts = [""];
  for (const piece of text.split(/("(?:[^"\\]|\\.)*"|`[^`]*`)/)) {
    if (/^["`]/.test(piece)) {
      parts.push(parts.pop()! + piece);
      continue;
    }
    const [first = "", ...others] = piece.split(separator);
    parts.push(parts.pop()! + first, ...others);
  }
  return parts;
}
