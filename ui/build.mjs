// Bundles src/ into what mosso serves: dist/index.html, app.js, app.css and the licences of what is bundled.
//
//   node build.mjs [--watch]
//
// The output depends on the sources and package-lock.json alone, so that e2e/test_page.py can hold the committed one
// against a fresh one, byte by byte.

import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build, context } from "esbuild";

const folder = fileURLToPath(new URL(".", import.meta.url));
const options = {
  absWorkingDir: folder,
  entryPoints: { app: "src/main.tsx" },
  outdir: "dist",
  bundle: true,
  minify: true,
  format: "esm",
  target: ["es2023", "chrome115", "firefox115", "safari16.4"],
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  charset: "utf8",
  logLevel: "warning",
};

await mkdir(`${folder}dist`, { recursive: true });
await copyFile(`${folder}index.html`, `${folder}dist/index.html`);
await writeFile(`${folder}dist/licences.txt`, await licences());
if (process.argv.includes("--watch")) {
  await (await context(options)).watch();
} else {
  await build(options);
}

async function licences() {
  const { packages } = JSON.parse(await readFile(`${folder}package-lock.json`, "utf8"));
  const bundled = Object.keys(packages).filter((path) => path !== "" && !packages[path].dev && !packages[path].optional);
  const names = bundled.map((path) => path.replace(/^node_modules\//, "")).sort();
  const texts = names.map(async (name) => {
    const text = await readFile(`${folder}node_modules/${name}/LICENSE`, "utf8");
    return `${name}\n\n${text.trim()}\n`;
  });
  return (await Promise.all(texts)).join("\n----\n\n");
}
