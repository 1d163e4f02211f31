// What the panels ask.

import { overTime, stepSeconds } from "../../api/metrics.ts";
import type { Series } from "../../api/metrics.ts";
import type { Asked } from "../explore.tsx";

/** Rates on shared times: of all spans, and of those that failed. */
export interface Rates {
  /** Seconds since the epoch. */
  times: number[];
  all: number[];
  failed: number[];
  step: number;
}

export async function loadByStatus({ query, span }: Asked, signal: AbortSignal): Promise<Rates> {
  const step = stepSeconds(span);
  const series = await overTime(`${query} | rate() by(status)`, span, step, signal);
  return { ...rates(series), step };
}

/** Sums up series that differ by status. */
export function rates(series: Series[]): Omit<Rates, "step"> {
  const times = timesOf(series);
  const all = new Array<number>(times.length).fill(0);
  const failed = new Array<number>(times.length).fill(0);
  const placeOf = new Map(times.map((time, place) => [time, place]));
  for (const { labels, samples } of series) {
    for (const [millis, value] of samples) {
      const place = placeOf.get(millis / 1000)!;
      all[place]! += value;
      if (labels.get("status") === "error") failed[place]! += value;
    }
  }
  return { times, all, failed };
}

/** All times at which one of the series has a sample, in seconds. */
export function timesOf(series: Series[]): number[] {
  return [...new Set(series.flatMap(({ samples }) => samples.map(([millis]) => millis / 1000)))].sort((one, other) => one - other);
}

/** The values of a series on `times`; `null` where it has none. */
export function valuesOn(times: number[], { samples }: Series): (number | null)[] {
  const byTime = new Map(samples.map(([millis, value]) => [millis / 1000, value]));
  return times.map((time) => byTime.get(time) ?? null);
}
