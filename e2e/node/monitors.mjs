// Validates objects of the Prometheus operator against its schemas: a JSON array of them on standard input.
//
// The schemas let unknown fields pass, as an API server does that prunes them. A misspelt one is found by its name, which then
// stands nowhere in the package's type declarations.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import * as models from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/index";

const FREE_NAMES = new Set(["labels", "annotations", "matchLabels"]);

function declaredNames() {
  const folder = dirname(fileURLToPath(import.meta.resolve("@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/index")));
  const declarations = readdirSync(folder).filter((file) => file.endsWith(".d.ts"));
  const text = declarations.map((file) => readFileSync(join(folder, file), "utf8")).join("\n");
  const kubernetes = ["apiVersion", "kind", "metadata", "name", "namespace", "matchLabels", "matchExpressions", "operator", "values", "key"];
  return new Set([...kubernetes, ...Array.from(text.matchAll(/^\s+"?(\w+)"?\??:/gm), ([, name]) => name)]);
}

function refuseUnknown(value, known, path) {
  if (typeof value !== "object" || value === null) return;
  for (const [name, inner] of Object.entries(value)) {
    if (!Array.isArray(value) && !known.has(name)) throw new Error(`unknown field ${path}.${name}`);
    if (!FREE_NAMES.has(name)) refuseUnknown(inner, known, `${path}.${name}`);
  }
}

const known = declaredNames();
for (const object of JSON.parse(readFileSync(0, "utf8"))) {
  const Model = models[object.kind];
  if (!Model) throw new Error(`no schema for ${object.kind}`);
  new Model(object).validate();
  refuseUnknown(object, known, object.kind);
}
