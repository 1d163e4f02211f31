import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import type { ServiceEdge, ServiceGraph, ServiceNode } from "../src/api/service_graph.ts";
import { NODE_WIDTH, path, placed } from "../src/pages/services/layout.ts";
import { ofEdge, ofNode } from "../src/pages/services/queries.ts";

const CALLS = { requests: 1, requestsPerSecond: 1, failed: 0, failedPerSecond: 0 };

function edge(client: string, server: string, connectionType: ServiceEdge["connectionType"] = ""): ServiceEdge {
  return { client, server, connectionType, ...CALLS };
}

function node(name: string, type: ServiceNode["type"] = "service"): ServiceNode {
  return { name, type, ...CALLS };
}

const SHOP: ServiceGraph = {
  nodes: ["cart", "db", "shop", "stock", "user"].map((name) => node(name)),
  edges: [edge("user", "shop", "virtual_node"), edge("shop", "cart"), edge("cart", "db", "database"), edge("shop", "stock"), edge("cart", "cart")],
};

test("callers stand at the left of whom they call", () => {
  const { nodes, edges, width, height } = placed(SHOP);
  const x = (name: string) => nodes.get(name)!.x;
  equal(x("user") < x("shop") && x("shop") < x("cart") && x("cart") < x("db"), true);
  equal(x("db") + NODE_WIDTH / 2 <= width && height > 0, true);
  equal(edges.length, SHOP.edges.length);
  equal(edges.every((points) => points.length >= 2), true);
});

test("numbers do not move the picture, nor does the order of edges", () => {
  const busier = { ...SHOP, edges: [...SHOP.edges].reverse().map((one) => ({ ...one, requests: 7 })) };
  deepEqual(placed(busier).nodes, placed(SHOP).nodes);
  deepEqual(placed(busier).edges.reverse(), placed(SHOP).edges);
});

test("calls in circles are placed, too", () => {
  const { nodes } = placed({ nodes: SHOP.nodes, edges: [edge("shop", "cart"), edge("cart", "shop"), edge("shop", "cart", "messaging_system")] });
  equal([...nodes.values()].every(({ x, y }) => Number.isFinite(x) && Number.isFinite(y)), true);
});

test("a line goes from the first point to the last", () => {
  equal(path([{ x: 0, y: 0 }, { x: 10, y: 10 }, { x: 20, y: 0 }]), "M0.0 0.0Q10.0 10.0 15.0 5.0L20.0 0.0");
  equal(path([]), "");
});

test("a node and an edge lead to their spans", () => {
  equal(ofNode("{}", node("cart")), '{ resource.service.name = "cart" }');
  equal(ofNode("{ status = error }", node("cart")), '{ status = error && resource.service.name = "cart" }');
  equal(ofNode("{}", node("user", "virtual")), null);
  equal(ofEdge("{}", edge("shop", "cart")), '{ resource.service.name = "shop" } > { resource.service.name = "cart" }');
  equal(
    ofEdge("{ status = error }", edge("shop", "cart")),
    '{ resource.service.name = "shop" } > { resource.service.name = "cart" } | { status = error }',
  );
  equal(ofEdge("{}", edge("cart", "db", "database")), '{ resource.service.name = "cart" && kind = client }');
  equal(ofEdge("{}", edge("user", "shop", "virtual_node")), '{ resource.service.name = "shop" && nestedSetParent < 0 }');
  equal(ofEdge("{}", edge("shop", "rates", "virtual_node")).endsWith(') && resource.service.name = "shop" }'), true);
});
