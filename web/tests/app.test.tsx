import assert from "node:assert/strict";
import { test } from "node:test";
import { renderToString } from "preact-render-to-string";
import { App } from "../src/app.tsx";
import { CircuitCaption } from "../src/figures/circuit.tsx";
import { parsePayload } from "../src/payload.ts";
import { change, method, NO_TABLES, payload, robustness } from "./rows.ts";

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

test("the comparison of methods says how many seeds it has", () => {
  const tables = { ...NO_TABLES, methods: [method({}), method({ arm: "uniform", layers: "" })] };
  const arms = { circuitlora: "First arm", uniform: "Second arm" };
  const html = renderToString(<App payload={payload({ tables, arms })} />);
  assert.match(html, /placed differently \(1 seed\)/);
  for (const name of Object.values(arms)) assert.equal(html.split(name).length, 3, name); // drawn, and in the table
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
