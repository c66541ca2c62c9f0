import assert from "node:assert/strict";
import { test } from "node:test";
import { renderToString } from "preact-render-to-string";
import { App } from "../src/app.tsx";
import { CircuitCaption } from "../src/figures/circuit.tsx";
import { Primer } from "../src/opening.tsx";
import { percent } from "../src/format.ts";
import { parsePayload, type Tables } from "../src/payload.ts";
import { change, GROUPED, method, NO_TABLES, payload, robustness } from "./rows.ts";

test("shares are rounded as the run's sentences are", () => {
  assert.equal(percent(0.3125), "31.2\u202f%");
  assert.equal(percent(0.3135), "31.4\u202f%");
  assert.equal(percent(-0.3125), "\u221231.2\u202f%");
  assert.equal(percent(0.1875, 1), "18.8\u202f%");
  assert.equal(percent(0.125, 0), "12\u202f%");
});

test("a run without tables says for each figure what is missing", () => {
  const html = renderToString(<App payload={payload({})} />);
  for (const table of [
    "accuracy",
    "faithfulness",
    "change",
    "transitions",
    "layers",
    "circuits",
    "methods",
    "chance",
    "edges",
    "stability",
    "layer_frequency",
    "causal",
    "roles",
  ]) {
    assert.ok(html.includes(`tables/${table}.csv</code> is missing or empty`), table);
  }
  assert.doesNotMatch(html, /NaN|Infinity|>undefined/);
});

test("text from data is text", () => {
  const html = renderToString(
    <App payload={payload({ title: "<script>alert(1)</script>", notes: ["a <b> & c"] })} />,
  );
  assert.ok(!html.includes("<script>"));
  assert.ok(html.includes("&lt;script>alert(1)&lt;/script>"));
  assert.ok(html.includes("a &lt;b> &amp; c"));
});

test("findings are shown as they were reached, above their figures", () => {
  const findings = {
    ...{ training: ["It learned."], changes: ["It changed."], cautions: ["Beware."] },
    ...{ chance: ["More than chance."], causal: ["It passes through."] },
    ...{ robust: ["Other pairs, other edges."], composition: ["The union does less."] },
    ...{ where: ["There."], contest: ["No better."] },
  };
  const tables = { ...NO_TABLES, robustness: [robustness({})] };
  const html = renderToString(<App payload={payload({ findings, tables })} />);
  for (const text of Object.values(findings).flat()) assert.ok(html.includes(`<p>${text}</p>`), text);
  assert.ok(html.indexOf("It changed.") < html.indexOf('id="change"'));
});

test("what the summary says word for word is not said again in its section", () => {
  const findings = { ...payload({}).findings, training: ["It learned.", "From -3.5 to 95 %."] };
  const html = renderToString(<App payload={payload({ findings, sentences: ["It learned."] })} />);
  assert.equal(html.match(/It learned\./g)?.length, 1);
  assert.ok(html.includes("From \u22123.5 to 95\u202f%."));
});

test("the words of the page are told before it, with a pair of the run", () => {
  const pairs = {
    ...{ name: "sums", parts: { train: 2 }, left_out: [], wrong: "given" as const, metric: "logit_diff" },
    size: { parameters: 1249728, layers: 2, tokens: 4 },
    example: { clean: "36 - 36 =", corrupted: "36 + 36 =", answer: " 0", wrong: " 72" },
  };
  const primer = renderToString(<Primer payload={payload({ pairs, graph: GROUPED })} />);
  assert.match(
    primer,
    /<q>36 - 36 =<\/q> with the answer <q> 0<\/q>, and <q>36 \+ 36 =<\/q> with <q> 72<\/q>/,
  );
  assert.match(primer, /1,249,728 parameters, 2 layers of 2 heads/);
  assert.match(renderToString(<App payload={payload({})} />), /Faithfulness<\/b>/);
});

test("only what changed, the circuit and what to do stand open", () => {
  const html = renderToString(
    <App payload={payload({ tables: { ...NO_TABLES, robustness: [robustness({})] } })} />,
  );
  const folds = [...html.matchAll(/<section id="(\w+)"[^>]*><details ([^>]*)>/g)];
  const open = folds.filter((one) => /\bopen\b/.test(one[2]!)).map((one) => one[1]);
  assert.equal(folds.length, 9);
  assert.deepEqual(open, ["changes", "wiring", "contest"]);
});

test("the contents name the sections that there are", () => {
  const links = (tables: Tables) =>
    [...renderToString(<App payload={payload({ tables })} />).matchAll(/href="#([a-z]+)"/g)].map(
      (one) => one[1]!,
    );
  const html = renderToString(<App payload={payload({})} />);
  for (const id of links(NO_TABLES)) assert.ok(html.includes(`<section id="${id}"`), id);
  assert.ok(!links(NO_TABLES).includes("generality"));
  assert.ok(links({ ...NO_TABLES, robustness: [robustness({})] }).includes("generality"));
});

test("settings that are not set, and memory, read as such", () => {
  const environment: [string, string][] = [
    ["seconds", "none"],
    ["peak_memory", String(3 * 2 ** 29)],
  ];
  const html = renderToString(<App payload={payload({ environment })} />);
  assert.match(html, /<dd>not set<\/dd>/);
  assert.match(html, /<dd>1\.5 GiB<\/dd>/);
});

test("the comparison of methods says how many seeds it has", () => {
  const tables = { ...NO_TABLES, methods: [method({}), method({ arm: "uniform", layers: "" })] };
  const arms = { circuitlora: "First arm", uniform: "Second arm" };
  const html = renderToString(<App payload={payload({ tables, arms })} />);
  assert.match(html, /placed differently \(1 seed\)/);
  for (const name of Object.values(arms)) assert.equal(html.split(name).length, 4, name); // drawn, its tip, and in the table
});

test("a single comparison without a null still draws", () => {
  const html = renderToString(<App payload={payload({ tables: { ...NO_TABLES, change: [change({})] } })} />);
  assert.match(html, /fine-tuning 40\.0/);
  assert.doesNotMatch(html, /NaN|Infinity|>undefined/);
});

test("critical layers say which seed they are of", () => {
  const row = (seed: number, layer: number) => ({
    ...{ seed, rule: "released", layer, importance: 1, place: 1, chosen: true },
  });
  const shown = (rows: ReturnType<typeof row>[]) =>
    renderToString(<App payload={payload({ tables: { ...NO_TABLES, critical_layers: rows } })} />);
  assert.match(shown([row(4, 0)]), /phase 1 of seed 4/);
  assert.doesNotMatch(shown([row(4, 0)]), /<option/);
  assert.match(shown([row(4, 0), row(5, 1)]), /<option[^>]*>seed 5</);
});

test("faithfulness that is nowhere defined gives way to KL, with the reason", () => {
  const row = {
    ...{ label: "a", arm: "tune", seed: 0, share: 0.05, edges: 10, nodes: 5, metric: "logit_diff", model: 0 },
    ...{ circuit: 0, corrupted: 0, normalized: null, normalized_low: null, normalized_high: null },
    ...{ reason: "the interval contains 0", kl: 0.25, accuracy: 0, percent_released: null },
  };
  const tables = { ...NO_TABLES, faithfulness: [0, 100].map((step) => ({ ...row, step })) };
  const html = renderToString(<App payload={payload({ tables })} />);
  assert.match(html, /KL\(model/);
  assert.match(html, /Undefined for 2 of 2 circuits \(the interval contains 0\)/);
  assert.doesNotMatch(html, /NaN|Infinity/);
});

test("the caption speaks of query, key and value as what they are in this graph", () => {
  const caption = (merged: boolean) =>
    renderToString(<CircuitCaption share={0.05} possible={100} parallel merged={merged} />);
  assert.match(caption(false), /goes to its query, key or value/);
  assert.match(caption(true), /The query, key and value of a head are one input here/);
  assert.doesNotMatch(caption(true), /third/);
});

test("a payload of another format is refused", () => {
  assert.throws(() => parsePayload('{"format": 2, "tables": {}}'), /payload format 2/);
});

test("tables come back as rows", () => {
  const text = JSON.stringify({
    format: 1,
    tables: { accuracy: { columns: ["a", "b"], rows: [[1, null]] }, change: null },
  });
  const { tables } = parsePayload(text);
  assert.deepEqual(tables.accuracy, [{ a: 1, b: null }]);
  assert.equal(tables.change, null);
});
