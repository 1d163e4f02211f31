// `GET /api/service-graph`: who calls whom, how often, how well and how fast.

import type { Span } from "../range/range.ts";
import { apiRange } from "../range/range.ts";
import { getJson } from "./client.ts";

export interface Quantiles {
  average: number;
  p50: number;
  p95: number;
  p99: number;
}

interface Calls {
  requests: number;
  requestsPerSecond: number;
  failed: number;
  failedPerSecond: number;
  /** As the server saw them. */
  serverSeconds?: Quantiles;
}

export interface ServiceNode extends Calls {
  name: string;
  type: "service" | "database" | "virtual";
}

export interface ServiceEdge extends Calls {
  client: string;
  server: string;
  connectionType: "" | "messaging_system" | "database" | "virtual_node";
  clientSeconds?: Quantiles;
  messagingSeconds?: Quantiles;
}

export interface ServiceGraph {
  nodes: ServiceNode[];
  edges: ServiceEdge[];
  /** Why the answer is not whole. */
  message?: string;
}

export function loadServiceGraph(query: string, span: Span, signal: AbortSignal): Promise<ServiceGraph> {
  return getJson<ServiceGraph>("api/service-graph", { q: query, ...apiRange(span) }, { signal });
}
