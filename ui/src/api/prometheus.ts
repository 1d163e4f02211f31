// Counters and gauges in Prometheus' text form.

import { getBeside } from "./client.ts";

export interface Sample {
  labels: Record<string, string>;
  value: number;
}

/** All samples at one moment, by name. */
export class Metrics {
  constructor(
    readonly at: number,
    private readonly byName: Map<string, Sample[]>,
  ) {}

  samples(name: string): Sample[] {
    return this.byName.get(name) ?? [];
  }

  /** The sum of all samples whose labels are as given. */
  sum(name: string, labels: Record<string, string> = {}): number {
    const wanted = Object.entries(labels);
    return this.samples(name).reduce(
      (sum, sample) => (wanted.every(([label, value]) => sample.labels[label] === value) ? sum + sample.value : sum),
      0,
    );
  }

  has(name: string): boolean {
    return this.byName.has(name);
  }

  /** The values that a label has in all samples of a name. */
  values(name: string, label: string): string[] {
    return [...new Set(this.samples(name).flatMap((sample) => sample.labels[label] ?? []))];
  }
}

export async function fetchMetrics(signal: AbortSignal): Promise<Metrics> {
  const response = await getBeside("metrics", { signal, accept: "text/plain" });
  return parseMetrics(await response.text(), Date.now());
}

/** The effective configuration, as YAML. */
export async function fetchConfig(signal: AbortSignal): Promise<string> {
  return (await getBeside("config", { signal, accept: "text/plain" })).text();
}

const LINE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /([\w]+)="((?:[^"\\]|\\.)*)"/g;

export function parseMetrics(text: string, at: number): Metrics {
  const byName = new Map<string, Sample[]>();
  for (const line of text.split("\n")) {
    const match = LINE.exec(line);
    if (!match) continue;
    const labels = Object.fromEntries([...(match[2] ?? "").matchAll(LABEL)].map(([, name, value]) => [name, unescaped(value!)]));
    const samples = byName.get(match[1]!);
    const sample = { labels, value: Number(match[3]) };
    if (samples) samples.push(sample);
    else byName.set(match[1]!, [sample]);
  }
  return new Metrics(at, byName);
}

function unescaped(value: string): string {
  return value.replace(/\\(.)/g, (_all, char: string) => (char === "n" ? "\n" : char));
}
