// The picture of the map: nodes and edges, each a link or a button that shows what is known of it.

import { useMemo } from "preact/hooks";
import type { ServiceEdge, ServiceGraph, ServiceNode } from "../../api/service_graph.ts";
import { duration, percent, short } from "../../format.ts";
import { serviceColor, useTheme } from "../../frame/theme.ts";
import type { Placed, Point } from "./layout.ts";
import { NODE_HEIGHT, NODE_WIDTH, edgeKey, path, placed } from "./layout.ts";

interface Props {
  graph: ServiceGraph;
  /** What is chosen: a node's name, or an edge's key. */
  chosen: string;
  onChoose: (chosen: string) => void;
}

const LONGEST_NAME = 21;

export function ServiceMap({ graph, chosen, onChoose }: Props) {
  const shape = JSON.stringify([graph.nodes.map(({ name }) => name), graph.edges.map(edgeKey)]);
  const place = useMemo(() => placed(graph), [shape]);
  const most = Math.max(...graph.edges.map(({ requests }) => requests), 1);
  return (
    <div class="service-map" tabIndex={0} role="region" aria-label="Map; the table below says the same">
      <svg width={place.width} height={place.height} viewBox={`0 0 ${place.width} ${place.height}`} role="group" aria-label="Services">
        <defs>
          <marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse" markerUnits="userSpaceOnUse">
            <path d="M0 0L8 4L0 8z" />
          </marker>
        </defs>
        {graph.edges.map((edge, number) => (
          <Edge key={edgeKey(edge)} edge={edge} points={place.edges[number]!} share={edge.requests / most} isChosen={chosen === edgeKey(edge)} onChoose={onChoose} />
        ))}
        {graph.nodes.map((node) => (
          <Node key={node.name} node={node} place={place} isChosen={chosen === node.name} onChoose={onChoose} />
        ))}
      </svg>
    </div>
  );
}

function Edge(props: { edge: ServiceEdge; points: Point[]; share: number; isChosen: boolean; onChoose: Props["onChoose"] }) {
  const { edge, points, share, isChosen, onChoose } = props;
  const line = path(points);
  const middle = points[Math.floor(points.length / 2)]!;
  const failing = edge.failed > 0;
  return (
    <g class={`edge${failing ? " failing" : ""}${isChosen ? " chosen" : ""}${edge.connectionType === "messaging_system" ? " message" : ""}`}>
      <path class="hit" d={line} {...asButton(edgeWords(edge), isChosen, () => onChoose(edgeKey(edge)))} />
      <path class="line" d={line} stroke-width={1 + 3 * Math.sqrt(share)} marker-end="url(#arrow)" />
      <text aria-hidden="true" x={middle.x} y={middle.y - 5}>{short(edge.requestsPerSecond)}/s</text>
    </g>
  );
}

function Node({ node, place, isChosen, onChoose }: { node: ServiceNode; place: Placed; isChosen: boolean; onChoose: Props["onChoose"] }) {
  const theme = useTheme();
  const { x, y } = place.nodes.get(node.name)!;
  const p95 = node.serverSeconds?.p95;
  const rate = node.requests ? `${short(node.requestsPerSecond)}/s${p95 === undefined ? "" : ` · p95 ${duration(p95 * 1e9)}`}` : "calls others";
  const share = node.failed / Math.max(node.requests, Number.MIN_VALUE);
  return (
    <g class={`node ${node.type}${isChosen ? " chosen" : ""}`} transform={`translate(${x - NODE_WIDTH / 2} ${y - NODE_HEIGHT / 2})`}>
      <rect
        class="box"
        width={NODE_WIDTH}
        height={NODE_HEIGHT}
        rx={node.type === "database" ? 16 : 5}
        {...asButton(nodeWords(node), isChosen, () => onChoose(node.name))}
      >
        <title>{nodeWords(node)}</title>
      </rect>
      <rect class="colour" x="6" y="7" width="4" height={NODE_HEIGHT - 14} rx="2" fill={serviceColor(node.name, theme)} />
      <text aria-hidden="true" class="name" x="17" y="19">{shortened(node.name)}</text>
      <text aria-hidden="true" class="figures" x="17" y="35">{rate}</text>
      {node.failed > 0 && <rect class="failed" x="17" y={NODE_HEIGHT - 6} height="3" rx="1.5" width={Math.max(3, (NODE_WIDTH - 27) * share)} />}
    </g>
  );
}

/** For keys and screen readers: an element of a picture that can be pressed. */
function asButton(words: string, pressed: boolean, onPress: () => void) {
  return {
    role: "button",
    // in SVG names of attributes are told apart by case
    tabindex: 0,
    "aria-label": words,
    "aria-pressed": pressed,
    onClick: onPress,
    onKeyDown: (event: KeyboardEvent) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      onPress();
    },
  } as const;
}

function nodeWords(node: ServiceNode): string {
  const kind = { service: "service", database: "database", virtual: "sends no spans" }[node.type];
  return `${node.name}, ${kind}, ${figures(node)}`;
}

function edgeWords(edge: ServiceEdge): string {
  return `${edge.client} to ${edge.server}, ${figures(edge)}`;
}

function figures({ requests, requestsPerSecond, failed, serverSeconds }: ServiceNode | ServiceEdge): string {
  if (!requests) return "no requests";
  const p95 = serverSeconds ? `, p95 ${duration(serverSeconds.p95 * 1e9)}` : "";
  return `${short(requestsPerSecond)} requests per second, ${percent(failed / requests)} failed${p95}`;
}

function shortened(name: string): string {
  return name.length > LONGEST_NAME ? `${name.slice(0, LONGEST_NAME - 1)}…` : name;
}
