import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { bytes, duration, percent, traceqlDuration } from "../src/format.ts";
import { expected, narrowed, queryOf, termsOf, tokens, withoutMetrics } from "../src/parts/query.ts";
import { apiRange, parseWords, rangeOf, rangeParams, spanOf } from "../src/range/range.ts";

test("filters that a form can show are read and written without change", () => {
  for (const query of [
    "{}",
    '{ resource.service.name = "payment" && duration >= 100ms }',
    '{ name = "a && } \\" b" && status != error }',
    '{ span."odd name" =~ "x.*" && event:name = "exception" && span.n > -1 }',
  ]) {
    const terms = termsOf(query);
    equal(terms && queryOf(terms), query);
  }
  for (const query of ["{ a = 1 || b = 2 }", "{ .a = 1 } >> { .b = 2 }", "{ .a = 1 } | count() > 2", "{ .a }", "{ span.a = "]) {
    equal(termsOf(query), null, query);
  }
});

test("a narrower filter replaces the same bound, and goes behind what is no simple filter", () => {
  const bound = [{ name: "duration", operator: ">=", value: "2s" }];
  equal(narrowed("{}", bound), "{ duration >= 2s }");
  equal(narrowed("{ duration >= 1s && kind = server }", bound), "{ kind = server && duration >= 2s }");
  equal(narrowed("{ .a = 1 || .b = 2 }", bound), "{ (.a = 1 || .b = 2) && duration >= 2s }");
  equal(narrowed("{ .a = 1 } >> { .b = 2 }", bound), "{ .a = 1 } >> { .b = 2 } | { duration >= 2s }");
});

test("what may follow is known at each place of a query", () => {
  deepEqual(expected("{ span.ca"), { kind: "name", typed: "span.ca" });
  deepEqual(expected("{ .a = 1 && "), { kind: "name", typed: "" });
  deepEqual(expected("{ name = "), { kind: "value", name: "name", typed: "", filter: "" });
  deepEqual(expected('{ kind = server && span.b = "x'), { kind: "value", name: "span.b", typed: '"x', filter: "{ kind = server }" });
  deepEqual(expected("{ .a = 1 } | ra"), { kind: "stage", typed: "ra" });
  deepEqual(expected("{ .a = 1 } | rate() by("), { kind: "name", typed: "" });
  equal(expected("{ .a = 1 }"), null);
});

test("tokens hold the whole query", () => {
  for (const query of ['{ span.a = "x\\"y" && duration > 1.5ms } | rate() by(name) # ü', '{ "open', "\n\t{}", "§"]) {
    equal(tokens(query).map(({ text }) => text).join(""), query);
  }
});

test("a metrics query loses its stage", () => {
  equal(withoutMetrics("{ .a = 1 } | select(name) | rate() by(name)"), "{ .a = 1 } | select(name)");
  equal(withoutMetrics(" { .a = 1 } "), "{ .a = 1 }");
});

test("ranges are read from words", () => {
  const now = Date.parse("2026-11-29T14:00:00");
  const midnight = Date.parse("2026-11-29T00:00");
  for (const [words, range] of [
    ["15 min", { kind: "last", seconds: 900 }],
    ["last hour", { kind: "last", seconds: 3600 }],
    ["3d", { kind: "last", seconds: 259_200 }],
    ["today", { kind: "fixed", from: midnight, to: now }],
    ["yesterday", { kind: "fixed", from: midnight - 86_400_000, to: midnight }],
    ["2026-11-29 10:00 to 11:30", { kind: "fixed", from: midnight + 36_000_000, to: midnight + 41_400_000 }],
  ] as const) {
    deepEqual(parseWords(words, now), range, words);
  }
  equal(typeof parseWords("next week", now), "string");
  equal(parseWords("11:00 to 10:00", now), "the range ends before it begins");
});

test("a range survives the address, and a week is a week to the second", () => {
  for (const range of [{ kind: "last", seconds: 604_800 }, { kind: "fixed", from: 1000, to: 2000 }] as const) {
    const params = new URLSearchParams();
    for (const [name, value] of Object.entries(rangeParams(range))) if (value !== null) params.set(name, String(value));
    deepEqual(rangeOf(params), range);
  }
  const { start, end } = apiRange(spanOf({ kind: "last", seconds: 604_800 }, 1_795_960_000_123));
  equal(end - start, 604_800);
});

test("numbers are short", () => {
  deepEqual([0, 999, 1500, 14_700_000, 1_220_000_000, 125e9, 3600e9].map(duration), ["0", "999 ns", "1.5 µs", "14.7 ms", "1.22 s", "2m 5s", "1h"]);
  deepEqual([1.5e9, 14_700_000, 2500].map(traceqlDuration), ["1.5s", "14.7ms", "2.5us"]);
  deepEqual([512, 1536, 3 * 2 ** 30].map(bytes), ["512 B", "1.5 KiB", "3 GiB"]);
  deepEqual([0, 0.0004, 0.042, 0.94].map(percent), ["0 %", "< 0.1 %", "4.2 %", "94 %"]);
});
