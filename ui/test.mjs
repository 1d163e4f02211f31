// Runs test/*.test.ts under Node's test runner, bundled first since Node 20 does not read TypeScript.

import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const folder = fileURLToPath(new URL("test/", import.meta.url));
const tests = (await readdir(folder)).filter((name) => name.endsWith(".test.ts"));
const outdir = await mkdtemp(join(tmpdir(), "mosso-ui-"));
try {
  await build({
    entryPoints: tests.map((name) => join(folder, name)),
    outdir,
    outExtension: { ".js": ".mjs" },
    bundle: true,
    platform: "node",
    format: "esm",
    logLevel: "warning",
  });
  const files = tests.map((name) => join(outdir, name.replace(/\.ts$/, ".mjs")));
  process.exitCode = spawnSync("node", ["--test", ...files], { stdio: "inherit" }).status ?? 1;
} finally {
  await rm(outdir, { recursive: true });
}
