// Bundles tests/ for Node (its own runner does not read TypeScript) and runs them.
import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const web = join(dirname(fileURLToPath(import.meta.url)), "..");
const sources = (await readdir(join(web, "tests"))).filter((name) => /\.test\.tsx?$/.test(name));
const out = await mkdtemp(join(web, "node_modules", ".tests-"));
try {
  await build({
    entryPoints: sources.map((name) => join(web, "tests", name)),
    outdir: out,
    bundle: true,
    platform: "node",
    packages: "external",
    format: "esm",
    outExtension: { ".js": ".mjs" },
    jsx: "automatic",
    jsxImportSource: "preact",
    sourcemap: "inline",
  });
  const files = sources.map((name) => join(out, name.replace(/\.tsx?$/, ".mjs")));
  const run = spawnSync(process.execPath, ["--enable-source-maps", "--test", ...files], { stdio: "inherit" });
  process.exitCode = run.status ?? 1;
} finally {
  await rm(out, { recursive: true });
}
