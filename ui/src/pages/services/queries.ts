// Links from the map to the traces behind a node or an edge: filters as the search page and its forms write them.

import type { ServiceEdge, ServiceNode } from "../../api/service_graph.ts";
import { narrowed } from "../../parts/query.ts";

const SERVICE = "resource.service.name";

/** The spans with which a service answers; of a name that sends none, those that name it. */
export function ofNode(query: string, { name, type }: ServiceNode): string | null {
  if (type === "service") return narrowed(query, [{ name: SERVICE, operator: "=", value: JSON.stringify(name) }]);
  return name === "user" ? null : naming(query, name);
}

/** The spans of the server that the client calls; where it sends none, those of the client that name it. A user calls roots. */
export function ofEdge(query: string, { client, server, connectionType }: ServiceEdge): string {
  const from = { name: SERVICE, operator: "=", value: JSON.stringify(client) };
  const to = { name: SERVICE, operator: "=", value: JSON.stringify(server) };
  if (connectionType === "database") return narrowed(query, [from, { name: "kind", operator: "=", value: "client" }]);
  if (connectionType !== "virtual_node") {
    const caller = narrowed("{}", [from]);
    return `${caller} > ${narrowed("{}", [to])}${rest(query)}`;
  }
  if (client === "user") return narrowed(query, [to, { name: "nestedSetParent", operator: "<", value: "0" }]);
  return narrowed(naming(query, server), [from]);
}

/** Attributes that name the other end of a call. */
const PEERS = ["span.peer.service", "span.server.address", "span.db.system.name", "span.db.system", "span.db.namespace", "span.db.name"];

function naming(query: string, name: string): string {
  const any = PEERS.map((peer) => `${peer} = ${JSON.stringify(name)}`).join(" || ");
  return isAll(query) ? `{ ${any} }` : `${query} | { ${any} }`;
}

/** What else the spans must be that a structural filter finds. */
function rest(query: string): string {
  return isAll(query) ? "" : ` | ${query}`;
}

function isAll(query: string): boolean {
  return /^\{\s*(true)?\s*\}$/.test(query.trim());
}
