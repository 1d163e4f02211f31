// uPlot as a component: sized to its place, in the page's colours, with dragging told as values.

import { useEffect, useRef } from "preact/hooks";
import uPlot from "uplot";
import type { Theme } from "../frame/theme.ts";
import { color, useTheme } from "../frame/theme.ts";

export interface Area {
  from: number;
  to: number;
  low: number;
  high: number;
}

export type PlotOptions = Omit<uPlot.Options, "width" | "height">;

interface Props {
  /** What a screen reader says in place of the picture. */
  label: string;
  height: number;
  data: uPlot.AlignedData;
  options: (theme: Theme) => PlotOptions;
  /** Changes whenever `options` gives something else. */
  optionsKey: string;
  onSelect?: (area: Area) => void;
  /** Whether a drag bounds the height, too. */
  selectHeight?: boolean;
  onClick?: (plot: uPlot) => void;
}

/** Less than this is a click with an unsteady hand. */
const LEAST_DRAG = 4;

export function Plot(props: Props) {
  const place = useRef<HTMLDivElement>(null);
  const newest = useRef(props);
  newest.current = props;
  const current = useTheme();

  useEffect(() => {
    const element = place.current!;
    const given = props.options(current);
    const plot = new uPlot(
      {
        ...given,
        width: Math.max(1, element.clientWidth),
        height: props.height,
        legend: given.legend ?? { show: false },
        cursor: {
          ...given.cursor,
          drag: { x: true, y: props.selectHeight ?? false, setScale: false, uni: 8 },
        },
        hooks: { ...given.hooks, setSelect: [(of: uPlot) => selected(of, newest.current)] },
      },
      props.data,
      element,
    );
    const click = () => {
      if (plot.select.width < LEAST_DRAG) newest.current.onClick?.(plot);
    };
    plot.over.addEventListener("click", click);
    const resized = new ResizeObserver(() => {
      if (element.clientWidth !== plot.width) plot.setSize({ width: Math.max(1, element.clientWidth), height: props.height });
    });
    resized.observe(element);
    return () => {
      resized.disconnect();
      plot.destroy();
    };
  }, [props.data, props.optionsKey, props.height, current]);

  return <div class="plot" ref={place} role="img" aria-label={props.label} style={{ height: `${props.height}px` }} />;
}

function selected(plot: uPlot, { onSelect, selectHeight }: Props): void {
  const { left, top, width, height } = plot.select;
  if (width < LEAST_DRAG) return;
  const flat = !selectHeight || height < LEAST_DRAG;
  // a drag that reaches the edge means all beyond it
  const bottomless = flat || top + height > plot.over.clientHeight - LEAST_DRAG;
  const topless = flat || top < LEAST_DRAG;
  onSelect?.({
    from: plot.posToVal(left, "x"),
    to: plot.posToVal(left + width, "x"),
    low: bottomless ? Number.NEGATIVE_INFINITY : plot.posToVal(top + height, "y"),
    high: topless ? Number.POSITIVE_INFINITY : plot.posToVal(top, "y"),
  });
  plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
}

const STAMPS: Intl.DateTimeFormatOptions = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };

/** An axis of times: one line of clock, and the day where it changes. */
export function timeAxis(): uPlot.Axis {
  return {
    ...axisColours(),
    space: 70,
    size: 26,
    values: (_plot, splits, _axis, _space, step) => {
      const options = step < 60 ? { ...STAMPS, second: "2-digit" as const } : STAMPS;
      const format = new Intl.DateTimeFormat("sv-SE", options);
      return splits.map((second, place) => {
        const at = new Date(second * 1000);
        const midnight = at.getHours() === 0 && at.getMinutes() === 0 && (place > 0 || step >= 3600);
        return midnight ? `${at.getMonth() + 1}/${at.getDate()}` : format.format(at);
      });
    },
  };
}

export function valueAxis(text: (value: number) => string): uPlot.Axis {
  return { ...axisColours(), size: 64, space: 28, values: (_plot, splits) => splits.map((value) => (value === null ? "" : text(value))) };
}

function axisColours(): uPlot.Axis {
  const line = color("line-faint");
  return {
    stroke: color("text-faint"),
    font: "11px system-ui, sans-serif",
    grid: { stroke: line, width: 1 },
    ticks: { stroke: line, width: 1, size: 4 },
  };
}
