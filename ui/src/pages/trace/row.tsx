// One span in the timeline: its place in the tree, and its bar with critical path, events and what is odd.

import { count, duration } from "../../format.ts";
import type { Segment } from "../../trace/critical_path.ts";
import type { Span, Trace } from "../../trace/model.ts";
import { beyondParent } from "../../trace/model.ts";
import type { Zoom } from "../trace.tsx";
import { ROW_HEIGHT } from "./waterfall.tsx";

const INDENT = 12;
/** Deeper trees do not push their names out of sight. */
const MOST_INDENTS = 18;
const SHOWN_EVENTS = 30;

interface Props {
  trace: Trace;
  place: number;
  row: number;
  zoom: Zoom;
  colour: string;
  segments: Segment[] | undefined;
  closed: boolean;
  /** Spans found without their tree. */
  flat: boolean;
  selected: boolean;
  found: boolean;
  onToggle: (place: number) => void;
  onSelect: (place: number) => void;
}

export function Row(props: Props) {
  const { trace, place, row, closed, flat, selected, found } = props;
  const span = trace.spans[place]!;
  const below = span.subtreeEnd - place - 1;
  const parent = trace.spans[span.parent];
  const named = flat || parent?.resource.service !== span.resource.service;
  return (
    <div
      id={`span-${place}`}
      class={`row${selected ? " selected" : ""}${found ? " found" : ""}${span.error ? " failed" : ""}`}
      role="row"
      aria-level={span.depth + 1}
      aria-rowindex={row + 1}
      aria-selected={selected}
      {...(below > 0 && !flat ? { "aria-expanded": !closed } : {})}
      style={{ transform: `translateY(${row * ROW_HEIGHT}px)` }}
      onClick={() => props.onSelect(place)}
    >
      <div class="name" role="gridcell" style={{ paddingLeft: `${8 + (flat ? 0 : Math.min(span.depth, MOST_INDENTS) * INDENT)}px` }}>
        {below > 0 && !flat ? (
          <button
            type="button"
            class="fold"
            tabIndex={-1}
            aria-label={closed ? "Open" : "Close"}
            onClick={(event) => {
              event.stopPropagation();
              props.onToggle(place);
            }}
          >
            {closed ? "▸" : "▾"}
          </button>
        ) : (
          <span class="fold" />
        )}
        <i class="dot" style={{ background: props.colour }} />
        {named && <b>{span.resource.service || "no service"}</b>}
        <span class="operation">{span.name}</span>
        {closed && !flat && <span class="tag">+{count(below)}</span>}
        {span.error && <span class="tag error">error</span>}
        {span.links.length > 0 && <span class="tag" title="Links to other spans">↗ {span.links.length}</span>}
        <ClockTag trace={trace} span={span} />
      </div>
      <div class="time" role="gridcell">
        <Bar {...props} span={span} />
      </div>
    </div>
  );
}

/** A child of another service that begins before its caller: clocks disagree, or the trace lacks what came between. */
function ClockTag({ trace, span }: { trace: Trace; span: Span }) {
  const beyond = beyondParent(trace, span);
  const parent = trace.spans[span.parent];
  if (!beyond?.before || parent?.resource.service === span.resource.service) return null;
  return (
    <span class="tag warning" title={`Begins ${duration(beyond.before)} before its parent: the clocks of the two services disagree`}>
      clock −{duration(beyond.before)}
    </span>
  );
}

function Bar({ trace, span, zoom, colour, segments }: Props & { span: Span }) {
  const [from, to] = zoom;
  const percent = (time: number) => (100 * (time - from)) / (to - from);
  const left = percent(span.start);
  const right = percent(span.end);
  if (right < 0) return <span class="beyond">‹ {duration(span.end - span.start)}</span>;
  if (left > 100) return <span class="beyond after">{duration(span.end - span.start)} ›</span>;
  const shownLeft = Math.max(0, left);
  const shownRight = Math.min(100, right);
  const gap = gapBefore(trace, span);
  return (
    <>
      {gap !== null && <i class="wait" style={{ left: `${Math.max(0, percent(gap))}%`, width: `${Math.max(0, left - Math.max(0, percent(gap)))}%` }} />}
      <i class={`bar${span.error ? " error" : ""}`} style={{ left: `${shownLeft}%`, width: `${shownRight - shownLeft}%`, background: colour }} />
      {segments?.map(({ from: start, to: end }) => (
        <i key={start} class="critical" style={{ left: `${Math.max(0, percent(start))}%`, width: `${Math.min(100, percent(end)) - Math.max(0, percent(start))}%` }} />
      ))}
      {span.events.slice(0, SHOWN_EVENTS).map((event, number) => {
        const at = percent(event.at);
        const failed = event.name === "exception";
        return at >= 0 && at <= 100 && <i key={number} class={`event${failed ? " error" : ""}`} title={event.name} style={{ left: `${at}%` }} />;
      })}
      <Length nanos={span.end - span.start} left={shownLeft} right={shownRight} />
    </>
  );
}

/** The duration beside the bar, where there is room, else on it. */
function Length({ nanos, left, right }: { nanos: number; left: number; right: number }) {
  const text = duration(nanos);
  if (right < 88) return <span class="length" style={{ left: `${right}%` }}>{text}</span>;
  if (left > 12) return <span class="length" style={{ right: `${100 - left}%` }}>{text}</span>;
  return <span class="length on-bar" style={{ right: `calc(${100 - right}% + 4px)` }}>{text}</span>;
}

/** A span that follows its parent only through a queue begins after the parent ended: where the wait began. */
function gapBefore(trace: Trace, span: Span): number | null {
  const parent = trace.spans[span.parent];
  return parent && span.start > parent.end ? parent.end : null;
}
