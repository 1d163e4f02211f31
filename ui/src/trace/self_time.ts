// Where time is spent: of each span the part in which none of its children ran, summed up by service and operation.

import { children } from "./model.ts";
import type { Trace } from "./model.ts";

export interface OperationTimes {
  service: string;
  name: string;
  spans: number;
  errors: number;
  /** Sum of the durations, nanoseconds. */
  total: number;
  self: number;
  longest: number;
}

/** Self time of every span, in the order of `trace.spans`. */
export function selfTimes(trace: Trace): Float64Array {
  const { spans } = trace;
  const times = new Float64Array(spans.length);
  for (let place = 0; place < spans.length; place++) {
    const { start, end } = spans[place]!;
    let covered = 0;
    let upTo = start;
    // children come by start, so one sweep adds up the union of their times
    for (const child of children(spans, place)) {
      const from = Math.max(spans[child]!.start, upTo);
      const to = Math.min(spans[child]!.end, end);
      if (to > from) {
        covered += to - from;
        upTo = to;
      }
    }
    times[place] = end - start - covered;
  }
  return times;
}

/** Most self time first. */
export function operationTimes(trace: Trace, times = selfTimes(trace)): OperationTimes[] {
  const operations = new Map<string, OperationTimes>();
  trace.spans.forEach((span, place) => {
    const key = `${span.resource.service}\0${span.name}`;
    let found = operations.get(key);
    if (!found) {
      found = { service: span.resource.service, name: span.name, spans: 0, errors: 0, total: 0, self: 0, longest: 0 };
      operations.set(key, found);
    }
    found.spans += 1;
    found.errors += Number(span.error);
    found.total += span.end - span.start;
    found.self += times[place]!;
    found.longest = Math.max(found.longest, span.end - span.start);
  });
  return [...operations.values()].sort((one, other) => other.self - one.self);
}
