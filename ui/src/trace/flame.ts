// A flame graph: spans on the same path of services and operations laid together, as wide as their self times.

import type { Trace } from "./model.ts";
import { selfTimes } from "./self_time.ts";

export interface Flame {
  service: string;
  name: string;
  spans: number;
  errors: number;
  self: number;
  /** Self time of this and all below. */
  total: number;
  children: Flame[];
}

export function flameOf(trace: Trace): Flame {
  const times = selfTimes(trace);
  const all = newFlame("", "all");
  const byPath: { flame: Flame; children: Map<string, number> }[] = [{ flame: all, children: new Map() }];
  const ofSpan = new Uint32Array(trace.spans.length);
  trace.spans.forEach((span, place) => {
    const above = byPath[span.parent < 0 ? 0 : ofSpan[span.parent]!]!;
    const key = `${span.resource.service}\0${span.name}`;
    let at = above.children.get(key);
    if (at === undefined) {
      const flame = newFlame(span.resource.service, span.name);
      above.flame.children.push(flame);
      at = byPath.push({ flame, children: new Map() }) - 1;
      above.children.set(key, at);
    }
    ofSpan[place] = at;
    const { flame } = byPath[at]!;
    flame.spans += 1;
    flame.errors += Number(span.error);
    flame.self += times[place]!;
  });
  // children stand behind their parents, so sums run from the end
  for (const { flame } of byPath.reverse()) {
    flame.total = flame.children.reduce((sum, child) => sum + child.total, flame.self);
    flame.children.sort((one, other) => other.total - one.total);
  }
  return all;
}

function newFlame(service: string, name: string): Flame {
  return { service, name, spans: 0, errors: 0, self: 0, total: 0, children: [] };
}
