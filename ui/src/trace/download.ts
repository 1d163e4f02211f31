// A trace as a file of OTLP JSON: ids in hex and enums as numbers, as the protocol asks, whatever form the API answers.

import { hexId } from "./read.ts";

const IDS = new Set(["traceId", "spanId", "parentSpanId"]);
const ENUMS: Record<string, number> = {
  SPAN_KIND_UNSPECIFIED: 0,
  SPAN_KIND_INTERNAL: 1,
  SPAN_KIND_SERVER: 2,
  SPAN_KIND_CLIENT: 3,
  SPAN_KIND_PRODUCER: 4,
  SPAN_KIND_CONSUMER: 5,
  STATUS_CODE_UNSET: 0,
  STATUS_CODE_OK: 1,
  STATUS_CODE_ERROR: 2,
};

export function otlpJson(resourceSpans: unknown): string {
  return JSON.stringify({ resourceSpans }, (key, value: unknown) => {
    if (IDS.has(key) && typeof value === "string") return hexId(value);
    if ((key === "kind" || key === "code") && typeof value === "string") return ENUMS[value] ?? value;
    return value;
  });
}

export function download(name: string, text: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
