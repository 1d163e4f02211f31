// Spans that hold a text: in name, service, status, attributes or events.

import type { KeyValue, Span, Trace } from "../../trace/model.ts";
import { valueText } from "../../trace/model.ts";

export interface Found {
  places: number[];
  has: (place: number) => boolean;
}

const NOTHING: Found = { places: [], has: () => false };

export function findSpans(trace: Trace, text: string): Found {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return NOTHING;
  const places: number[] = [];
  trace.spans.forEach((span, place) => {
    if (holds(span, wanted)) places.push(place);
  });
  const set = new Set(places);
  return { places, has: (place) => set.has(place) };
}

function holds(span: Span, wanted: string): boolean {
  const own = [span.name, span.resource.service, span.statusMessage, span.id, span.error ? "status=error" : ""];
  if (own.some((text) => text.toLowerCase().includes(wanted))) return true;
  if (span.attributes.some((one) => pairHolds(one, wanted))) return true;
  return span.events.some((event) => event.name.toLowerCase().includes(wanted) || event.attributes.some((one) => pairHolds(one, wanted)));
}

function pairHolds({ key, value }: KeyValue, wanted: string): boolean {
  return `${key}=${valueText(value)}`.toLowerCase().includes(wanted);
}
