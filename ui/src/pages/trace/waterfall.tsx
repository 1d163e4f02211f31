// The timeline: a row for each span, of which only those in sight exist, below a map of all.

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { duration } from "../../format.ts";
import { serviceColor, useTheme } from "../../frame/theme.ts";
import type { Segment } from "../../trace/critical_path.ts";
import { criticalPath } from "../../trace/critical_path.ts";
import type { Trace } from "../../trace/model.ts";
import type { Zoom } from "../trace.tsx";
import type { Found } from "./find.ts";
import { Minimap } from "./minimap.tsx";
import { Row } from "./row.tsx";
import { Ruler } from "./ruler.tsx";

export const ROW_HEIGHT = 24;
/** Rows beyond the edge of sight, so that scrolling meets no gap. */
const SPARE_ROWS = 12;

interface Props {
  trace: Trace;
  find: string;
  found: Found;
  selected: number | null;
  zoom: Zoom;
  onZoom: (zoom: Zoom | null) => void;
  onSelect: (place: number | null) => void;
}

export function Waterfall({ trace, find, found, selected, zoom, onZoom, onSelect }: Props) {
  const scroller = useRef<HTMLDivElement>(null);
  const [closed, setClosed] = useState<ReadonlySet<number>>(new Set());
  const [onlyFound, setOnlyFound] = useState(false);
  const [sight, setSight] = useState({ top: 0, height: 600 });
  const [nameWidth, setNameWidth] = useState(38);
  const current = useTheme();
  const critical = useMemo(() => segmentsBySpan(criticalPath(trace)), [trace]);
  const colours = useMemo(() => new Map(trace.services.map(({ name }) => [name, serviceColor(name, current)])), [trace, current]);
  const filtered = onlyFound && find.trim() !== "";
  const rows = useMemo(() => (filtered ? found.places : openRows(trace, closed)), [trace, closed, filtered, found]);
  const rowOf = useMemo(() => new Map(rows.map((place, row) => [place, row])), [rows]);

  useLayoutEffect(() => {
    const element = scroller.current!;
    const measure = () => setSight({ top: element.scrollTop, height: element.clientHeight });
    measure();
    const resized = new ResizeObserver(measure);
    resized.observe(element);
    return () => resized.disconnect();
  }, []);
  useEffect(() => {
    if (selected === null || filtered) return;
    const above = ancestors(trace, selected).filter((place) => closed.has(place));
    if (above.length) setClosed(without(closed, above));
  }, [selected]);
  useEffect(() => {
    const row = selected === null ? undefined : rowOf.get(selected);
    if (row !== undefined) bringIntoSight(scroller.current!, row);
  }, [selected, rowOf]);

  const toggle = (place: number) => setClosed(closed.has(place) ? without(closed, [place]) : new Set([...closed, place]));
  const move = (row: number) => onSelect(rows[Math.max(0, Math.min(rows.length - 1, row))] ?? null);
  const onKeyDown = (event: KeyboardEvent) => {
    const row = selected === null ? -1 : (rowOf.get(selected) ?? -1);
    const page = Math.floor(sight.height / ROW_HEIGHT) - 1;
    const span = selected === null ? null : trace.spans[selected]!;
    const hasChildren = span !== null && span.subtreeEnd > selected! + 1;
    switch (event.key) {
      case "ArrowDown": move(row + 1); break;
      case "ArrowUp": move(row - 1); break;
      case "PageDown": move(row + page); break;
      case "PageUp": move(row - page); break;
      case "Home": move(0); break;
      case "End": move(rows.length - 1); break;
      case "Escape": onSelect(null); break;
      case "ArrowLeft":
        if (hasChildren && !closed.has(selected!)) toggle(selected!);
        else if (span && span.parent >= 0) onSelect(span.parent);
        break;
      case "ArrowRight":
        if (hasChildren && closed.has(selected!)) toggle(selected!);
        else if (hasChildren) onSelect(selected! + 1);
        break;
      default: return;
    }
    event.preventDefault();
  };

  const first = Math.max(0, Math.floor(sight.top / ROW_HEIGHT) - SPARE_ROWS);
  const last = Math.min(rows.length, Math.ceil((sight.top + sight.height) / ROW_HEIGHT) + SPARE_ROWS);
  return (
    <section class="waterfall" aria-label="Timeline" style={{ "--name-width": `${nameWidth}%` }}>
      <Minimap trace={trace} rows={rows} colours={colours} zoom={zoom} onZoom={onZoom} sight={sight} />
      <div class="waterfall-tools">
        <button type="button" class="link" onClick={() => setClosed(new Set())}>Open all</button>
        <button type="button" class="link" onClick={() => setClosed(closedBelow(trace, 1))}>Close all</button>
        {find.trim() && (
          <label>
            <input type="checkbox" checked={onlyFound} onChange={(event) => setOnlyFound(event.currentTarget.checked)} /> Only spans found
          </label>
        )}
        <span class="legend hint"><i class="critical-line" /> critical path</span>
        {(zoom[0] > 0 || zoom[1] < trace.duration) && (
          <button type="button" class="link" onClick={() => onZoom(null)}>Whole trace ({duration(trace.duration)})</button>
        )}
      </div>
      <div class="waterfall-head">
        <span>Service and operation</span>
        <Divider onWidth={setNameWidth} width={nameWidth} />
        <Ruler zoom={zoom} />
      </div>
      <div
        class="rows"
        ref={scroller}
        role="treegrid"
        tabIndex={0}
        aria-label={`Spans of the trace: ${rows.length} rows`}
        aria-rowcount={rows.length}
        {...(selected !== null ? { "aria-activedescendant": `span-${selected}` } : {})}
        onScroll={(event) => setSight({ top: event.currentTarget.scrollTop, height: event.currentTarget.clientHeight })}
        onKeyDown={onKeyDown}
      >
        <div class="rows-space" style={{ height: `${rows.length * ROW_HEIGHT}px` }}>
          {rows.slice(first, last).map((place, offset) => (
            <Row
              key={place}
              trace={trace}
              place={place}
              row={first + offset}
              zoom={zoom}
              colour={colours.get(trace.spans[place]!.resource.service)!}
              segments={critical.get(place)}
              closed={closed.has(place)}
              flat={filtered}
              selected={place === selected}
              found={found.has(place)}
              onToggle={toggle}
              onSelect={onSelect}
            />
          ))}
        </div>
      </div>
    </section>
  );
}

/** The line between names and times, to drag or to move by arrow keys. */
function Divider({ width, onWidth }: { width: number; onWidth: (width: number) => void }) {
  const bounded = (percent: number) => onWidth(Math.max(15, Math.min(70, percent)));
  return (
    <div
      class="divider"
      role="separator"
      aria-orientation="vertical"
      aria-label="Width of the names"
      aria-valuenow={Math.round(width)}
      tabIndex={0}
      onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
      onPointerMove={(event) => {
        if (!event.currentTarget.hasPointerCapture(event.pointerId)) return;
        const head = event.currentTarget.parentElement!.getBoundingClientRect();
        bounded((100 * (event.clientX - head.left)) / head.width);
      }}
      onKeyDown={(event) => {
        if (event.key === "ArrowLeft") bounded(width - 2);
        if (event.key === "ArrowRight") bounded(width + 2);
      }}
    />
  );
}

function openRows({ spans }: Trace, closed: ReadonlySet<number>): number[] {
  const rows: number[] = [];
  for (let place = 0; place < spans.length; place = closed.has(place) ? spans[place]!.subtreeEnd : place + 1) rows.push(place);
  return rows;
}

function closedBelow({ spans }: Trace, depth: number): Set<number> {
  const closed = new Set<number>();
  spans.forEach((span, place) => {
    if (span.depth >= depth && span.subtreeEnd > place + 1) closed.add(place);
  });
  return closed;
}

function ancestors({ spans }: Trace, place: number): number[] {
  const above: number[] = [];
  for (let at = spans[place]!.parent; at >= 0; at = spans[at]!.parent) above.push(at);
  return above;
}

function without(set: ReadonlySet<number>, places: number[]): ReadonlySet<number> {
  const left = new Set(set);
  for (const place of places) left.delete(place);
  return left;
}

function segmentsBySpan(path: Segment[]): Map<number, Segment[]> {
  const bySpan = new Map<number, Segment[]>();
  for (const segment of path) {
    const own = bySpan.get(segment.span);
    if (own) own.push(segment);
    else bySpan.set(segment.span, [segment]);
  }
  return bySpan;
}

function bringIntoSight(element: HTMLElement, row: number): void {
  const top = row * ROW_HEIGHT;
  const seen = top >= element.scrollTop && top + ROW_HEIGHT <= element.scrollTop + element.clientHeight;
  if (seen) return;
  const near = Math.abs(top - element.scrollTop) < 2 * element.clientHeight;
  const above = top < element.scrollTop;
  const edge = above ? top : top + ROW_HEIGHT - element.clientHeight;
  element.scrollTop = near ? edge : top - element.clientHeight / 2;
}
