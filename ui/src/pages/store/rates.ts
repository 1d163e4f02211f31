// Rates of counters between polls.

import type { Metrics } from "../../api/prometheus.ts";

export type Read = (metrics: Metrics) => number;

/** Per second between the last two polls; `null` while there is but one, and after a restart. */
export function rateNow(history: Metrics[], read: Read): number | null {
  const [before, after] = history.slice(-2);
  return before && after ? rateBetween(before, after, read) : null;
}

/** Per second for each poll but the first. */
export function ratesOf(history: Metrics[], read: Read): (number | null)[] {
  return history.slice(1).map((after, place) => rateBetween(history[place]!, after, read));
}

function rateBetween(before: Metrics, after: Metrics, read: Read): number | null {
  const grown = read(after) - read(before);
  const seconds = (after.at - before.at) / 1000;
  return grown < 0 || seconds <= 0 ? null : grown / seconds;
}

/** The mean of a histogram since the start. */
export function mean(metrics: Metrics, name: string, labels: Record<string, string> = {}): number | null {
  const number = metrics.sum(`${name}_count`, labels);
  return number ? metrics.sum(`${name}_sum`, labels) / number : null;
}
