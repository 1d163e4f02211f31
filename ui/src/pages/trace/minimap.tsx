// All rows at once, as thin lines: dragging shows that part of the time, a band marks the rows in sight.

import { useEffect, useRef, useState } from "preact/hooks";
import { color, useTheme } from "../../frame/theme.ts";
import type { Trace } from "../../trace/model.ts";
import type { Zoom } from "../trace.tsx";
import { ROW_HEIGHT } from "./waterfall.tsx";

const HEIGHT = 64;
const LEAST_DRAG = 4;

interface Props {
  trace: Trace;
  rows: number[];
  colours: Map<string, string>;
  zoom: Zoom;
  sight: { top: number; height: number };
  onZoom: (zoom: Zoom | null) => void;
}

export function Minimap({ trace, rows, colours, zoom, sight, onZoom }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [width, setWidth] = useState(0);
  const [drag, setDrag] = useState<[number, number] | null>(null);
  const current = useTheme();

  useEffect(() => {
    const element = canvas.current!.parentElement!;
    const resized = new ResizeObserver(() => setWidth(element.clientWidth));
    resized.observe(element);
    return () => resized.disconnect();
  }, []);
  useEffect(() => {
    if (width > 0) draw(canvas.current!, width, trace, rows, colours);
  }, [width, trace, rows, colours, current]);

  const at = (event: PointerEvent) => {
    const box = canvas.current!.getBoundingClientRect();
    return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
  };
  const finish = () => {
    if (!drag) return;
    const [from, to] = drag[0] < drag[1] ? drag : [drag[1], drag[0]];
    setDrag(null);
    if ((to - from) * width >= LEAST_DRAG) onZoom([from * trace.duration, to * trace.duration]);
  };
  const [from, to] = drag ? [Math.min(...drag), Math.max(...drag)] : [zoom[0] / trace.duration, zoom[1] / trace.duration];
  const all = rows.length * ROW_HEIGHT;
  return (
    <div
      class="minimap"
      title="Drag to show a part; double-click for the whole trace"
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        setDrag([at(event), at(event)]);
      }}
      onPointerMove={(event) => drag && setDrag([drag[0], at(event)])}
      onPointerUp={finish}
      onPointerCancel={() => setDrag(null)}
      onDblClick={() => onZoom(null)}
    >
      <canvas ref={canvas} aria-hidden="true" style={{ height: `${HEIGHT}px` }} />
      <i class="outside" style={{ left: 0, width: `${100 * from}%` }} />
      <i class="outside" style={{ left: `${100 * to}%`, right: 0 }} />
      {all > sight.height && (
        <i class="sight" style={{ top: `${(100 * sight.top) / all}%`, height: `${Math.max(2, (100 * sight.height) / all)}%` }} />
      )}
    </div>
  );
}

function draw(canvas: HTMLCanvasElement, width: number, trace: Trace, rows: number[], colours: Map<string, string>): void {
  const scale = devicePixelRatio;
  canvas.width = width * scale;
  canvas.height = HEIGHT * scale;
  canvas.style.width = `${width}px`;
  const context = canvas.getContext("2d")!;
  const error = color("error");
  const thick = Math.max(1, Math.min(3 * scale, canvas.height / rows.length - 1));
  let drawn = "";
  rows.forEach((place, row) => {
    const span = trace.spans[place]!;
    const colour = span.error ? error : colours.get(span.resource.service)!;
    if (colour !== drawn) context.fillStyle = drawn = colour;
    const left = (span.start / trace.duration) * canvas.width;
    const long = Math.max(scale, ((span.end - span.start) / trace.duration) * canvas.width);
    context.fillRect(left, Math.floor((row / rows.length) * canvas.height), long, thick);
  });
}
