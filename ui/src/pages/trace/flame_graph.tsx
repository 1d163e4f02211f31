// The flame graph: paths of operations, as wide as the time spent on them. A click makes a part the whole.

import { useMemo, useState } from "preact/hooks";
import { count, duration, percent } from "../../format.ts";
import { serviceColor } from "../../frame/theme.ts";
import type { Flame } from "../../trace/flame.ts";
import { flameOf } from "../../trace/flame.ts";
import type { Trace } from "../../trace/model.ts";
import type { Found } from "./find.ts";

const ROW = 22;
/** Narrower parts would not be seen: of 1,000 pixels, one and a half. */
const LEAST_PART = 0.0015;

interface Placed {
  flame: Flame;
  left: number;
  width: number;
  level: number;
}

export function FlameGraph({ trace, found }: { trace: Trace; found: Found }) {
  const [way, setWay] = useState<Flame[]>([]);
  const all = useMemo(() => flameOf(trace), [trace]);
  const marked = useMemo(() => new Set(found.places.map((place) => operationOf(trace, place))), [trace, found]);
  const top = way.at(-1) ?? all;
  const placed = useMemo(() => placeFlames(top), [top]);
  const levels = placed.reduce((most, { level }) => Math.max(most, level + 1), 1);
  const total = all.total || 1;
  return (
    <section class="flame" aria-label="Flame graph">
      <p class="hint">
        Width is time in which a span, or one below it, did its own work; work at the same time adds up. The table of self
        times says the same in numbers.
      </p>
      <p class="flame-way">
        <button type="button" class="link" onClick={() => setWay([])}>all {duration(all.total)}</button>
        {way.map((flame, place) => (
          <button key={place} type="button" class="link" onClick={() => setWay(way.slice(0, place + 1))}>› {flame.name}</button>
        ))}
      </p>
      <div class="flames" style={{ height: `${levels * ROW}px` }}>
        {placed.map(({ flame, left, width, level }, number) => (
          // pale colours below dark text in both themes
          <button
            key={number}
            type="button"
            class={`flame-part${marked.has(`${flame.service}\0${flame.name}`) ? " found" : ""}`}
            style={{ left: `${100 * left}%`, width: `${100 * width}%`, top: `${level * ROW}px`, background: flame === all ? "var(--sunken)" : serviceColor(flame.service, "dark") }}
            title={`${flame.service} ${flame.name}\n${duration(flame.total)} (${percent(flame.total / total)}), self ${duration(flame.self)}\n${count(flame.spans)} spans${flame.errors ? `, ${count(flame.errors)} failed` : ""}`}
            onClick={() => setWay(flame === top ? way.slice(0, -1) : [...way, ...pathTo(top, flame)])}
          >
            {width > 0.03 && <span>{flame === all ? "all" : `${flame.service} ${flame.name}`}</span>}
          </button>
        ))}
      </div>
    </section>
  );
}

function operationOf(trace: Trace, place: number): string {
  const span = trace.spans[place]!;
  return `${span.resource.service}\0${span.name}`;
}

function placeFlames(top: Flame): Placed[] {
  const placed: Placed[] = [];
  const all = top.total || 1;
  let level: Placed[] = [{ flame: top, left: 0, width: 1, level: 0 }];
  while (level.length) {
    placed.push(...level);
    level = level.flatMap(({ flame, left, level: above }) => {
      let at = left;
      return flame.children.flatMap((child) => {
        const width = child.total / all;
        const part = { flame: child, left: at, width, level: above + 1 };
        at += width;
        return width >= LEAST_PART ? [part] : [];
      });
    });
  }
  return placed;
}

function pathTo(top: Flame, wanted: Flame): Flame[] {
  for (const child of top.children) {
    if (child === wanted) return [child];
    const below = pathTo(child, wanted);
    if (below.length) return [child, ...below];
  }
  return [];
}
