// Where nodes and edges of the map stand: callers at the left, whom they call at the right.

import { Graph, layout } from "@dagrejs/dagre";
import type { ServiceGraph } from "../../api/service_graph.ts";

export interface Point {
  x: number;
  y: number;
}

export interface Placed {
  width: number;
  height: number;
  /** Middles of nodes, by name. */
  nodes: Map<string, Point>;
  /** Courses of edges, in the order of the graph's. */
  edges: Point[][];
}

export const NODE_WIDTH = 170;
export const NODE_HEIGHT = 46;

/** The same graph is placed in the same way, whatever its numbers. */
export function placed({ nodes, edges }: ServiceGraph): Placed {
  const graph = new Graph({ multigraph: true });
  graph.setGraph({ rankdir: "LR", nodesep: 26, ranksep: 90, edgesep: 16, marginx: 14, marginy: 14 });
  for (const { name } of nodes) graph.setNode(name, { width: NODE_WIDTH, height: NODE_HEIGHT });
  const byName = edges.map((edge, number) => ({ ...edge, number })).sort((one, other) => (edgeKey(one) < edgeKey(other) ? -1 : 1));
  for (const { client, server, number } of byName) graph.setEdge(client, server, {}, String(number));
  layout(graph);
  const { width = 0, height = 0 } = graph.graph() as { width?: number; height?: number };
  return {
    width,
    height,
    nodes: new Map(nodes.map(({ name }) => [name, graph.node(name) as Point])),
    edges: edges.map(({ client, server }, number) => (graph.edge(client, server, String(number)) as { points: Point[] }).points),
  };
}

export function edgeKey({ client, server, connectionType }: ServiceGraph["edges"][number]): string {
  return JSON.stringify([client, server, connectionType]);
}

/** A smooth line through the points. */
export function path(points: Point[]): string {
  const [first, ...rest] = points;
  if (!first) return "";
  const parts = [`M${round(first)}`];
  rest.forEach((point, place) => {
    const next = rest[place + 1];
    // ends in the middle of two corners, so that the line has none
    const end = next ? { x: (point.x + next.x) / 2, y: (point.y + next.y) / 2 } : point;
    parts.push(next ? `Q${round(point)} ${round(end)}` : `L${round(end)}`);
  });
  return parts.join("");
}

function round({ x, y }: Point): string {
  return `${x.toFixed(1)} ${y.toFixed(1)}`;
}
