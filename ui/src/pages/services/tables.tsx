// What the map shows, in words and numbers: all edges, and what is known of the one thing that is chosen.

import type { ServiceEdge, ServiceGraph, ServiceNode } from "../../api/service_graph.ts";
import { count, duration, percent, short } from "../../format.ts";
import { Service } from "../../parts/service.tsx";
import { href, hrefWith } from "../../place.ts";
import { edgeKey } from "./layout.ts";
import { ofEdge, ofNode } from "./queries.ts";

const KINDS = { "": "request", messaging_system: "message", database: "database", virtual_node: "request" } as const;

export function Edges({ graph, query, chosen }: { graph: ServiceGraph; query: string; chosen: string }) {
  const known = graph.nodes.some(({ name }) => name === chosen) || graph.edges.some((edge) => edgeKey(edge) === chosen);
  const edges = known ? graph.edges.filter((edge) => [edge.client, edge.server, edgeKey(edge)].includes(chosen)) : graph.edges;
  return (
    <table class="edges" aria-label="Calls">
      <thead>
        <tr>
          <th scope="col">From</th>
          <th scope="col">To</th>
          <th scope="col">Kind</th>
          <th scope="col" class="number">Requests</th>
          <th scope="col" class="number">Rate</th>
          <th scope="col" class="number">Errors</th>
          <th scope="col" class="number">p50</th>
          <th scope="col" class="number">p95</th>
          <th scope="col" class="number">p99</th>
          <th scope="col">Traces</th>
        </tr>
      </thead>
      <tbody>
        {edges.map((edge) => <Row key={edgeKey(edge)} edge={edge} query={query} isChosen={edgeKey(edge) === chosen} />)}
      </tbody>
    </table>
  );
}

function Row({ edge, query, isChosen }: { edge: ServiceEdge; query: string; isChosen: boolean }) {
  const seconds = edge.serverSeconds ?? edge.clientSeconds;
  const time = (nanos: number | undefined) => (nanos === undefined ? "–" : duration(nanos * 1e9));
  return (
    <tr {...(isChosen ? { class: "chosen" } : {})}>
      <td><a href={hrefWith({ at: edge.client })}><Service name={edge.client} /></a></td>
      <td><a href={hrefWith({ at: edge.server })}><Service name={edge.server} /></a></td>
      <td>{KINDS[edge.connectionType]}</td>
      <td class="number">{count(edge.requests)}</td>
      <td class="number">{short(edge.requestsPerSecond)}/s</td>
      <td class="number">{edge.failed ? <b class="error-text">{percent(edge.failed / edge.requests)}</b> : "0 %"}</td>
      <td class="number">{time(seconds?.p50)}</td>
      <td class="number">{time(seconds?.p95)}</td>
      <td class="number">{time(seconds?.p99)}</td>
      <td><a href={href("search", { q: ofEdge(query, edge) })} aria-label={`Traces of ${edge.client} to ${edge.server}`}>traces</a></td>
    </tr>
  );
}

const TYPES = { service: "Service", database: "Database", virtual: "Sends no spans" } as const;

/** What is chosen, and the way to its traces. */
export function Chosen({ graph, query, chosen }: { graph: ServiceGraph; query: string; chosen: string }) {
  const node = graph.nodes.find(({ name }) => name === chosen);
  const edge = graph.edges.find((one) => edgeKey(one) === chosen);
  if (!node && !edge) return null;
  return (
    <section class="chosen-details" aria-label="Chosen">
      <h2>{node ? <Service name={node.name} /> : <><Service name={edge!.client} /> → <Service name={edge!.server} /></>}</h2>
      <Figures of={(node ?? edge)!} />
      {node && <span class="tag">{TYPES[node.type]}</span>}
      <Links query={node ? ofNode(query, node) : ofEdge(query, edge!)} failed={(node ?? edge)!.failed} />
      <a class="quiet" href={hrefWith({ at: null })}>Show all</a>
    </section>
  );
}

function Figures({ of }: { of: ServiceNode | ServiceEdge }) {
  const seconds = of.serverSeconds ?? ("clientSeconds" in of ? of.clientSeconds : undefined);
  const between = "messagingSeconds" in of ? of.messagingSeconds : undefined;
  return (
    <span class="hint">
      {of.requests ? `${short(of.requestsPerSecond)}/s, ${percent(of.failed / of.requests)} failed` : "no requests"}
      {seconds && `, p50 ${duration(seconds.p50 * 1e9)}, p95 ${duration(seconds.p95 * 1e9)}, p99 ${duration(seconds.p99 * 1e9)}`}
      {between && `, ${duration(between.p95 * 1e9)} on the way (p95)`}
    </span>
  );
}

function Links({ query, failed }: { query: string | null; failed: number }) {
  if (query === null) return null;
  return (
    <>
      <a href={href("search", { q: query })}>Traces</a>
      {failed > 0 && <a href={href("search", { q: `${query} | { status = error }` })}>Failed</a>}
      <a href={href("explore", { q: query })}>Explore</a>
    </>
  );
}
