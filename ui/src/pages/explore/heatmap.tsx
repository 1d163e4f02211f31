// Durations over time, darker where there are more. A drag chooses spans to compare with the others.

import { useMemo } from "preact/hooks";
import type uPlot from "uplot";
import { useLoad } from "../../api/load.ts";
import { overTime, stepSeconds } from "../../api/metrics.ts";
import type { Series } from "../../api/metrics.ts";
import { duration } from "../../format.ts";
import { color } from "../../frame/theme.ts";
import type { Area } from "../../parts/plot.tsx";
import { Plot, timeAxis, valueAxis } from "../../parts/plot.tsx";
import type { Asked } from "../explore.tsx";
import { Panel } from "./panels.tsx";
import { timesOf } from "./queries.ts";

const HEIGHT = 190;
const COLUMNS = 100;

interface Props {
  asked: Asked;
  params: URLSearchParams;
  onSelect: (area: Area) => void;
}

export function Heatmap({ asked, params, onSelect }: Props) {
  const step = stepSeconds(asked.span, COLUMNS);
  const loaded = useLoad(asked.key, (signal) => overTime(`${asked.query} | histogram_over_time(duration)`, asked.span, step, signal));
  const map = useMemo(() => (loaded.data ? heatOf(loaded.data) : null), [loaded.data]);
  const chosen = { from: Number(params.get("selfrom")), to: Number(params.get("selto")), ...boundsOf(params.get("sel") ?? "") };
  return (
    <Panel title="Durations" now="drag over a part to see what is different about it" loaded={loaded}>
      {map && (
        <Plot
          label="Number of spans by duration over time; the breakdown below has numbers"
          height={HEIGHT}
          data={map.data}
          optionsKey={`${asked.key} ${JSON.stringify(chosen)}`}
          selectHeight
          onSelect={onSelect}
          options={() => ({
            padding: [8, 20, 0, 0],
            scales: {
              x: { range: [asked.span.from / 1000, asked.span.to / 1000] },
              y: { distr: 3, log: 2, range: [map.low, map.high] },
            },
            axes: [timeAxis(), everyThird(valueAxis(duration))],
            series: [{}, { paths: () => null, points: { show: false } }],
            cursor: { points: { show: false } },
            hooks: { draw: [(plot: uPlot) => drawCells(plot, map, step), (plot: uPlot) => drawChosen(plot, chosen)] },
          })}
        />
      )}
    </Panel>
  );
}

interface Heat {
  data: uPlot.AlignedData;
  series: { upper: number; samples: [number, number][] }[];
  most: number;
  low: number;
  high: number;
}

function heatOf(series: Series[]): Heat {
  const buckets = series.map(({ labels, samples }) => ({ upper: Number(labels.get("__bucket")) * 1e9, samples }));
  const uppers = buckets.map(({ upper }) => upper).filter((upper) => upper > 0);
  const times = timesOf(series);
  return {
    data: [times, times.map(() => null)],
    series: buckets,
    most: buckets.reduce((most, { samples }) => Math.max(most, ...samples.map(([, value]) => value)), 1),
    low: Math.min(...uppers, 1e9) / 2,
    high: Math.max(...uppers, 1e6),
  };
}

/** Powers of two are many: every third is named. */
function everyThird(axis: uPlot.Axis): uPlot.Axis {
  const filter: uPlot.Axis.Filter = (_plot, splits) => splits.map((value) => (Math.round(Math.log2(value)) % 3 === 0 ? value : null));
  return { ...axis, filter, grid: { show: false }, ticks: { ...axis.ticks, filter } };
}

function drawCells(plot: uPlot, heat: Heat, step: number): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.fillStyle = color("accent");
  for (const { upper, samples } of heat.series) {
    const top = plot.valToPos(upper, "y", true);
    const bottom = plot.valToPos(upper / 2, "y", true);
    for (const [millis, value] of samples) {
      if (!value) continue;
      const left = plot.valToPos(millis / 1000 - step, "x", true);
      const right = plot.valToPos(millis / 1000, "x", true);
      // few spans are still to be seen beside many
      ctx.globalAlpha = 0.15 + 0.85 * Math.sqrt(value / heat.most);
      ctx.fillRect(left, top + 1, Math.max(1, right - left - 1), bottom - top - 1);
    }
  }
  ctx.restore();
}

function drawChosen(plot: uPlot, { from, to, low, high }: { from: number; to: number; low: number; high: number }): void {
  if (!(from > 0 && to > from)) return;
  const { ctx, bbox } = plot;
  const left = plot.valToPos(from / 1000, "x", true);
  const right = plot.valToPos(to / 1000, "x", true);
  const top = Number.isFinite(high) ? plot.valToPos(high, "y", true) : bbox.top;
  const bottom = low > 0 ? plot.valToPos(low, "y", true) : bbox.top + bbox.height;
  ctx.save();
  ctx.strokeStyle = color("text");
  ctx.lineWidth = 1.5 * devicePixelRatio;
  ctx.strokeRect(left, top, right - left, bottom - top);
  ctx.restore();
}

const UNIT_NANOS: Record<string, number> = { ns: 1, us: 1e3, ms: 1e6, s: 1e9 };

/** The bounds of a selection as this page writes it. */
function boundsOf(selection: string): { low: number; high: number } {
  const bound = (operator: string) => {
    const match = new RegExp(`duration ${operator} ([\\d.]+)(ns|us|ms|s)`).exec(selection);
    return match ? Number(match[1]) * UNIT_NANOS[match[2]!]! : null;
  };
  return { low: bound(">=") ?? 0, high: bound("<=") ?? Number.POSITIVE_INFINITY };
}
