import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { criticalPath } from "../src/trace/critical_path.ts";
import { diffOf } from "../src/trace/diff.ts";
import { otlpJson } from "../src/trace/download.ts";
import { flameOf } from "../src/trace/flame.ts";
import { beyondParent } from "../src/trace/model.ts";
import { hexId, readText } from "../src/trace/read.ts";
import { operationTimes, selfTimes } from "../src/trace/self_time.ts";
import { names, traceOf } from "./traces.ts";

test("spans stand in the order of the tree, children by start, the longer one first", () => {
  const trace = traceOf([[4, 2, 30, 40], [3, 1, 60, 70], [2, 1, 10, 50], [1, 0, 0, 100], [5, 1, 10, 20]]);
  deepEqual(names(trace), ["1", "2", "4", "5", "3"]);
  deepEqual(trace.spans.map(({ depth }) => depth), [0, 1, 2, 1, 1]);
  deepEqual(trace.spans.map(({ parent }) => parent), [-1, 0, 1, 0, 0]);
  deepEqual(trace.spans.map(({ subtreeEnd }) => subtreeEnd), [5, 3, 3, 4, 5]);
  equal(trace.depth, 3);
});

test("times are exact to the nanosecond, and the trace begins with its first span", () => {
  const trace = traceOf([[1, 0, 7, 1_000_000_008]]);
  equal(trace.startNanos, 1_795_960_000_000_000_007n);
  equal(trace.duration, 1_000_000_001);
});

test("orphans and spans that are each other's parents are roots, and none is lost", () => {
  deepEqual(names(traceOf([[1, 9, 5, 6], [2, 0, 0, 9]])), ["2", "1"]);
  const cycle = traceOf([[1, 2, 0, 9], [2, 1, 1, 8], [3, 3, 2, 3]]);
  deepEqual([...names(cycle)].sort(), ["1", "2", "3"]);
  equal(cycle.spans.filter(({ parent }) => parent < 0).length, 2);
});

test("ids come as hex and as base64", () => {
  for (const [given, expected] of [
    ["0AF7651916CD43DD", "0af7651916cd43dd"],
    ["CvdlGRbNQ90=", "0af7651916cd43dd"],
    ["CvdlGRbNQ92ESOshHIAxnA==", "0af7651916cd43dd8448eb211c80319c"],
    ["AAAAAAAAAAE=", "0000000000000001"],
    ["AAAAAAAAAAA=", ""],
    ["", ""],
  ] as const) {
    equal(hexId(given), expected, given);
  }
});

test("files are one object, a line for each batch, or of an old version", () => {
  const spans = [{ traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "0af7651916cd43dd", name: "a", kind: 2 }];
  const batch = { resource: {}, scopeSpans: [{ spans }] };
  equal(readText(JSON.stringify({ resourceSpans: [batch] }))[0]!.spans[0]!.kind, "server");
  equal(readText(JSON.stringify({ trace: { resourceSpans: [batch] } }))[0]!.spans.length, 1);
  equal(readText(JSON.stringify({ batches: [{ instrumentationLibrarySpans: [{ spans }] }] }))[0]!.spans.length, 1);
  const other = { resourceSpans: [{ scopeSpans: [{ spans: [{ ...spans[0], spanId: "1af7651916cd43dd" }] }] }] };
  equal(readText(`${JSON.stringify({ resourceSpans: [batch] })}\n${JSON.stringify(other)}\n`)[0]!.spans.length, 2);
  throws(() => readText("{}"), /no spans/);
  throws(() => readText("nonsense"), /not JSON/);
  throws(() => readText('{}\n{"a":\n'), /line 2 is not JSON/);
});

test("a downloaded file has ids in hex and numbers for enums", () => {
  const answer = [{ scopeSpans: [{ spans: [{ spanId: "CvdlGRbNQ90=", kind: "SPAN_KIND_CLIENT", status: { code: "STATUS_CODE_ERROR" } }] }] }];
  const { resourceSpans } = JSON.parse(otlpJson(answer)) as { resourceSpans: typeof answer };
  deepEqual(resourceSpans[0]!.scopeSpans[0]!.spans[0], { spanId: "0af7651916cd43dd", kind: 3, status: { code: 2 } });
});

test("self time leaves out the time in which any child ran", () => {
  const trace = traceOf([[1, 0, 0, 100], [2, 1, 10, 40], [3, 1, 30, 60], [4, 1, 90, 130]]);
  deepEqual([...selfTimes(trace)], [40, 30, 30, 40]);
  equal(operationTimes(trace)[0]!.self, 40);
});

test("the critical path goes into what ended last, and covers the root without overlaps", () => {
  const path = (rows: Parameters<typeof traceOf>[0]) => {
    const trace = traceOf(rows);
    return criticalPath(trace).map(({ span, from, to }) => [trace.spans[span]!.name, from, to]).reverse();
  };
  // one after the other
  deepEqual(path([[1, 0, 0, 100], [2, 1, 10, 40], [3, 1, 50, 90]]), [
    ["1", 0, 10], ["2", 10, 40], ["1", 40, 50], ["3", 50, 90], ["1", 90, 100],
  ]);
  // at the same time: the one that ends later
  deepEqual(path([[1, 0, 0, 100], [2, 1, 10, 60], [3, 1, 10, 90]]), [["1", 0, 10], ["3", 10, 90], ["1", 90, 100]]);
  // a child that outlives its parent counts up to its end
  deepEqual(path([[1, 0, 0, 100], [2, 1, 20, 150]]), [["1", 0, 20], ["2", 20, 100]]);
});

test("a flame graph lays the same paths together, and its widths add up", () => {
  const trace = traceOf([[1, 0, 0, 100], [2, 1, 10, 40], [3, 2, 20, 30]]);
  trace.spans[2]!.name = "2";
  const all = flameOf(trace);
  equal(all.total, 100);
  equal(all.children[0]!.children[0]!.total, 30);
  const twice = traceOf([[1, 0, 0, 100], [2, 1, 10, 20], [3, 1, 30, 45]]);
  twice.spans[2]!.name = "2";
  deepEqual(flameOf(twice).children[0]!.children.map(({ spans, total }) => [spans, total]), [[2, 25]]);
});

test("a difference names what only one trace has, and orders by how much longer it took", () => {
  const rows = diffOf(
    flameOf(traceOf([[1, 0, 0, 100], [2, 1, 0, 10], [3, 1, 10, 20]])),
    flameOf(traceOf([[1, 0, 0, 150], [2, 1, 0, 60], [4, 1, 60, 61]])),
  );
  deepEqual(
    rows.map(({ name, longer, before, after }) => [name, longer, before !== null, after !== null]),
    [["1", 50, true, true], ["2", 50, true, true], ["3", -10, true, false], ["4", 1, false, true]],
  );
});

test("a child that begins before its parent shows how far", () => {
  const trace = traceOf([[1, 0, 10, 100], [2, 1, 4, 120]]);
  const child = trace.spans.find(({ name }) => name === "2")!;
  deepEqual(beyondParent(trace, child), { before: 6, after: 20 });
});
