// Duration over time, a point for each trace. Drag narrows the search, a click opens the trace.

import { useMemo } from "preact/hooks";
import type uPlot from "uplot";
import type { FoundTrace } from "../../api/search.ts";
import { color } from "../../frame/theme.ts";
import { duration, plural } from "../../format.ts";
import type { Area } from "../../parts/plot.tsx";
import { Plot, timeAxis, valueAxis } from "../../parts/plot.tsx";
import { go, href } from "../../place.ts";
import type { Span } from "../../range/range.ts";

/** How near, in pixels, a click has to be. */
const NEAR = 12;

interface Props {
  traces: FoundTrace[];
  span: Span;
  onSelect: (area: Area) => void;
}

export function Scatter({ traces, span, onSelect }: Props) {
  const ordered = useMemo(() => [...traces].sort((one, other) => one.start - other.start), [traces]);
  const data = useMemo<uPlot.AlignedData>(
    () => [ordered.map((trace) => trace.start / 1000), ordered.map((trace) => Math.max(trace.duration, 1e5))],
    [ordered],
  );
  const failed = traces.filter((trace) => trace.errors).length;
  const label = `Duration over time of ${plural(traces.length, "trace")}, ${failed} with errors; the table below has the same`;
  return (
    <Plot
      label={label}
      height={150}
      data={data}
      optionsKey={`${span.from} ${span.to}`}
      selectHeight
      onSelect={onSelect}
      onClick={(plot) => {
        const trace = nearest(plot, ordered);
        if (trace) go(href("trace", { id: trace.id }));
      }}
      options={() => ({
        padding: [8, 20, 0, 0],
        scales: { x: { range: [span.from / 1000, span.to / 1000] }, y: { distr: 3, log: 10 } },
        axes: [timeAxis(), powersOfTen(valueAxis(duration))],
        series: [{}, { paths: () => null, points: { show: false } }],
        cursor: { points: { show: false } },
        hooks: { draw: [(plot: uPlot) => drawPoints(plot, ordered)] },
      })}
    />
  );
}

function drawPoints(plot: uPlot, traces: FoundTrace[]): void {
  const { ctx } = plot;
  const radius = 3 * devicePixelRatio;
  const [plain, failed] = [color("accent"), color("error")];
  ctx.save();
  ctx.globalAlpha = 0.65;
  for (const errors of [false, true]) {
    ctx.fillStyle = errors ? failed : plain;
    for (const trace of traces) {
      if (trace.errors > 0 !== errors) continue;
      const x = plot.valToPos(trace.start / 1000, "x", true);
      const y = plot.valToPos(Math.max(trace.duration, 1e5), "y", true);
      ctx.beginPath();
      ctx.arc(x, y, radius, 0, 2 * Math.PI);
      ctx.fill();
    }
  }
  ctx.restore();
}

function nearest(plot: uPlot, traces: FoundTrace[]): FoundTrace | null {
  const { left = -1, top = -1 } = plot.cursor;
  let found: FoundTrace | null = null;
  let least = NEAR;
  for (const trace of traces) {
    const dx = plot.valToPos(trace.start / 1000, "x") - left;
    const dy = plot.valToPos(Math.max(trace.duration, 1e5), "y") - top;
    const distance = Math.hypot(dx, dy);
    if (distance < least) [least, found] = [distance, trace];
  }
  return found;
}

/** An axis of a logarithmic scale with lines and texts at powers of ten alone. */
function powersOfTen(axis: uPlot.Axis): uPlot.Axis {
  const filter: uPlot.Axis.Filter = (_plot, splits) => splits.map((value) => (isPowerOfTen(value) ? value : null));
  return { ...axis, filter, grid: { ...axis.grid, filter }, ticks: { ...axis.ticks, filter } };
}

function isPowerOfTen(value: number): boolean {
  const power = Math.log10(value);
  return Math.abs(power - Math.round(power)) < 1e-6;
}
