// Times above the rows, at round distances.

import { duration } from "../../format.ts";
import type { Zoom } from "../trace.tsx";

const MOST_TICKS = 6;

export function Ruler({ zoom: [from, to] }: { zoom: Zoom }) {
  const step = roundStep((to - from) / MOST_TICKS);
  const ticks: number[] = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) ticks.push(at);
  return (
    <div class="ruler" aria-hidden="true">
      {ticks.map((at) => {
        const left = (100 * (at - from)) / (to - from);
        return left < 96 && <span key={at} style={{ left: `${left}%` }}>{at === 0 ? "0" : duration(at)}</span>;
      })}
    </div>
  );
}

const MINUTE = 60e9;
const MINUTES = [1, 2, 5, 10, 15, 30, 60, 120, 360, 720, 1440];

function roundStep(atLeast: number): number {
  if (atLeast > 30e9) return (MINUTES.find((minutes) => minutes * MINUTE >= atLeast) ?? Math.ceil(atLeast / (1440 * MINUTE)) * 1440) * MINUTE;
  const power = 10 ** Math.floor(Math.log10(Math.max(atLeast, 1)));
  return ([1, 2, 5, 10].find((times) => times * power >= atLeast) ?? 10) * power;
}
