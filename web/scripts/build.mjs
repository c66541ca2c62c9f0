// Bundles src/ into the two assets the report embeds. With --check: compares with what is committed instead.
import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const web = join(dirname(fileURLToPath(import.meta.url)), "..");
const assets = join(web, "..", "src", "circuitune", "report", "assets");
const LIMIT = 60_000;

const preact = JSON.parse(await readFile(join(web, "node_modules/preact/package.json"), "utf8"));
const licence = (await readFile(join(web, "node_modules/preact/LICENSE"), "utf8")).trim();
const notice = `Contains Preact ${preact.version}.\n\n${licence}\n`;

const result = await build({
  entryPoints: { "report.js": join(web, "src/main.tsx"), "report.css": join(web, "src/style.css") },
  entryNames: "[name]",
  outdir: assets,
  bundle: true,
  minify: true,
  charset: "ascii",
  format: "iife",
  target: ["es2022"],
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  banner: { js: `/*!\n${notice}*/` },
  write: false,
});

const outputs = new Map([["THIRD_PARTY.txt", Buffer.from(notice)]]);
for (const file of result.outputFiles) {
  outputs.set(file.path.endsWith(".css") ? "report.css" : "report.js", Buffer.from(file.contents));
}

const size = gzipSync(Buffer.concat([outputs.get("report.js"), outputs.get("report.css")]), {
  level: 9,
}).length;
if (size > LIMIT) {
  console.error(`the bundle is ${size} bytes gzipped; at most ${LIMIT} are allowed`);
  process.exit(1);
}

const stale = [];
for (const [name, bytes] of outputs) {
  const path = join(assets, name);
  if (!process.argv.includes("--check")) await writeFile(path, bytes);
  else if (!(await readFile(path).catch(() => Buffer.alloc(0))).equals(bytes)) stale.push(name);
}
if (stale.length > 0) {
  console.error(`stale: ${stale.join(", ")}; run \`npm run build\` in web/ and commit the result`);
  process.exit(1);
}
console.log(`bundle: ${size} bytes gzipped (limit ${LIMIT})`);
