// Three plots over time: rate, share of errors, duration.

import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import type uPlot from "uplot";
import type { Loaded } from "../../api/load.ts";
import { useLoad } from "../../api/load.ts";
import { overTime, stepSeconds } from "../../api/metrics.ts";
import { duration, percent, short } from "../../format.ts";
import { color } from "../../frame/theme.ts";
import { ErrorNotice, Progress } from "../../parts/notices.tsx";
import type { Area } from "../../parts/plot.tsx";
import { Plot, timeAxis, valueAxis } from "../../parts/plot.tsx";
import { readout } from "../../parts/readout.ts";
import type { Asked } from "../explore.tsx";
import type { Rates } from "./queries.ts";
import { timesOf, valuesOn } from "./queries.ts";

const HEIGHT = 150;

interface Props {
  asked: Asked;
  onSelect: (area: Area) => void;
}

interface Line {
  label: string;
  colour: string;
  fill?: boolean;
}

export function RatePanel({ asked, byStatus, onSelect }: Props & { byStatus: Loaded<Rates> }) {
  const rates = byStatus.data;
  const data = useMemo<uPlot.AlignedData | null>(() => (rates ? [rates.times, rates.all, rates.failed] : null), [rates]);
  const mean = rates ? average(rates.all) : 0;
  return (
    <Panel title="Rate" now={rates ? `${short(mean)} spans/s` : ""} loaded={byStatus}>
      {data && (
        <LinePlot
          asked={asked}
          data={data}
          label={`Spans per second over time, ${short(mean)} on average`}
          lines={[{ label: "all", colour: "accent", fill: true }, { label: "errors", colour: "error", fill: true }]}
          text={(value) => `${short(value)}/s`}
          onSelect={onSelect}
        />
      )}
    </Panel>
  );
}

export function ErrorsPanel({ asked, byStatus, onSelect }: Props & { byStatus: Loaded<Rates> }) {
  const rates = byStatus.data;
  const data = useMemo<uPlot.AlignedData | null>(() => (rates ? [rates.times, shareOfErrors(rates)] : null), [rates]);
  const share = rates ? average(rates.failed) / (average(rates.all) || 1) : 0;
  return (
    <Panel title="Errors" now={rates ? percent(share) : ""} loaded={byStatus}>
      {data && (
        <LinePlot
          asked={asked}
          data={data}
          label={`Share of spans that failed over time, ${percent(share)} in all`}
          lines={[{ label: "errors", colour: "error", fill: true }]}
          text={percent}
          onSelect={onSelect}
        />
      )}
    </Panel>
  );
}

const QUANTILES: [number, string, string][] = [
  [0.5, "p50", "accent"],
  [0.95, "p95", "warning"],
  [0.99, "p99", "error"],
];

export function DurationPanel({ asked, onSelect }: Props) {
  const loaded = useLoad(asked.key, (signal) => {
    const quantiles = QUANTILES.map(([quantile]) => quantile).join(", ");
    return overTime(`${asked.query} | quantile_over_time(duration, ${quantiles})`, asked.span, stepSeconds(asked.span), signal);
  });
  const data = useMemo<uPlot.AlignedData | null>(() => {
    if (!loaded.data) return null;
    const times = timesOf(loaded.data);
    const found = (quantile: number) => loaded.data!.find(({ labels }) => Number(labels.get("p")) === quantile);
    // an interval without spans has no duration, not one of zero
    const nanos = ([quantile]: (typeof QUANTILES)[number]) => {
      const series = found(quantile);
      return series ? valuesOn(times, series).map((value) => (value ? value * 1e9 : null)) : times.map(() => null);
    };
    return [times, ...QUANTILES.map(nanos)];
  }, [loaded.data]);
  return (
    <Panel title="Duration" now="p50, p95, p99" loaded={loaded}>
      {data && (
        <LinePlot
          asked={asked}
          data={data}
          label="Duration over time: the median, the 95th and the 99th of a hundred"
          lines={QUANTILES.map(([, label, colour]) => ({ label, colour }))}
          text={duration}
          onSelect={onSelect}
        />
      )}
    </Panel>
  );
}

export function Panel(props: { title: string; now: string; loaded: Loaded<unknown>; children: ComponentChildren }) {
  return (
    <section class="panel" aria-label={props.title}>
      <header>
        <h2>{props.title}</h2>
        <span class="hint">{props.now}</span>
      </header>
      <Progress loading={props.loaded.loading} what={`Loading ${props.title}`} />
      {props.loaded.error ? <ErrorNotice error={props.loaded.error} /> : props.children}
    </section>
  );
}

interface LinePlotProps {
  asked: Asked;
  data: uPlot.AlignedData;
  label: string;
  lines: Line[];
  text: (value: number) => string;
  onSelect: (area: Area) => void;
}

function LinePlot({ asked, data, label, lines, text, onSelect }: LinePlotProps) {
  return (
    <Plot
      label={label}
      height={HEIGHT}
      data={data}
      optionsKey={asked.key}
      onSelect={onSelect}
      options={() => ({
        padding: [8, 20, 0, 0],
        scales: {
          x: { range: [asked.span.from / 1000, asked.span.to / 1000] },
          y: { range: (_plot, _low, high) => [0, high > 0 ? high * 1.1 : 1] },
        },
        axes: [timeAxis(), valueAxis(text)],
        series: [{}, ...lines.map((line) => lineOptions(line))],
        cursor: { y: false, points: { size: 6 } },
        plugins: [readout(lines.map((line) => line.label), text)],
      })}
    />
  );
}

function lineOptions({ label, colour, fill }: Line): uPlot.Series {
  const stroke = color(colour);
  return { label, stroke, width: 1.5, points: fill ? { show: false } : { show: true, size: 3, fill: stroke }, ...(fill ? { fill: `color-mix(in srgb, ${stroke} 16%, transparent)` } : {}) };
}

function shareOfErrors({ all, failed }: Rates): (number | null)[] {
  return all.map((value, place) => (value > 0 ? failed[place]! / value : null));
}

function average(values: number[]): number {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : 0;
}
