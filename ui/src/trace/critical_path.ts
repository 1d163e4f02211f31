// Which spans the duration of a trace depends on: walked backwards from the end of the root, always into the child that
// ended last before the point reached.

import { children } from "./model.ts";
import type { Trace } from "./model.ts";

export interface Segment {
  span: number;
  from: number;
  to: number;
}

/** Stretches of time with the span that each is owed to. They do not overlap. */
export function criticalPath(trace: Trace): Segment[] {
  const { spans } = trace;
  const root = longestRoot(trace);
  if (root === null) return [];
  const segments: Segment[] = [];
  const open = [frame(root, spans[root]!.end)];
  while (open.length) {
    const top = open[open.length - 1]!;
    const span = spans[top.span]!;
    const child = nextChild(top);
    if (child === null) {
      push(top.span, span.start, top.cursor);
      open.pop();
      continue;
    }
    const end = Math.min(spans[child]!.end, top.cursor);
    push(top.span, end, top.cursor);
    top.cursor = Math.max(spans[child]!.start, span.start);
    open.push(frame(child, end));
  }
  return segments;

  function frame(span: number, cursor: number) {
    const { start } = spans[span]!;
    // a child that outlives its parent counts up to the parent's end, and only as its last one
    const ended = (place: number) => Math.min(spans[place]!.end, cursor);
    const last = [...children(spans, span)].filter((place) => spans[place]!.start < cursor && ended(place) > start);
    return { span, cursor, next: 0, last: last.sort((one, other) => ended(other) - ended(one)), first: true };
  }

  function nextChild(top: ReturnType<typeof frame>): number | null {
    while (top.next < top.last.length) {
      const child = top.last[top.next++]!;
      const { start, end } = spans[child]!;
      const usable = top.first ? start < top.cursor : end <= top.cursor;
      if (usable && end > spans[top.span]!.start) {
        top.first = false;
        return child;
      }
    }
    return null;
  }

  function push(span: number, from: number, to: number) {
    if (to > from) segments.push({ span, from, to });
  }
}

function longestRoot({ spans }: Trace): number | null {
  let longest: number | null = null;
  for (let place = 0; place < spans.length; place = spans[place]!.subtreeEnd) {
    const length = spans[place]!.end - spans[place]!.start;
    if (longest === null || length > spans[longest]!.end - spans[longest]!.start) longest = place;
  }
  return longest;
}
