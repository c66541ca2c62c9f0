import assert from "node:assert/strict";
import { test } from "node:test";
import { renderToString } from "preact-render-to-string";
import { App } from "../src/app.tsx";
import { CompositionFigure, compositionLines, RobustnessFigure } from "../src/figures/generality.tsx";
import { composition, NO_TABLES, payload, robustness } from "./rows.ts";

const BROKEN = /NaN|Infinity|>undefined</;

test("a run that does not ask has no such section", () => {
  assert.doesNotMatch(renderToString(<App payload={payload({})} />), /Does the circuit belong to the task/);
  const tables = { ...NO_TABLES, composition: [composition({})] };
  const html = renderToString(<App payload={payload({ tables })} />);
  assert.match(html, /Does the circuit belong to the task/);
  assert.doesNotMatch(html, /id="robustness"/);
});

test("noise is drawn for every model, disjoint parts are said", () => {
  const rows = (["before", "after", "random"] as const).flatMap((model) => [
    robustness({ model }),
    robustness({ model, level: 0.9, edge_jaccard: 0.4 }),
    robustness({ model, kind: "parts", level: null, pairs: 199 }),
  ]);
  const html = renderToString(<RobustnessFigure rows={rows} figure={11} />);
  assert.match(html, /random weights/);
  assert.match(html, /Between disjoint parts of 199 pairs: 0\.70 before, 0\.70 after, 0\.70 random/);
  assert.doesNotMatch(html, BROKEN);
});

test("data of one's own has parts only, and no empty chart", () => {
  const html = renderToString(
    <RobustnessFigure rows={[robustness({ kind: "parts", level: null })]} figure={11} />,
  );
  assert.doesNotMatch(html, /<svg/);
  assert.doesNotMatch(html, BROKEN);
});

test("random draws are one line of their mean, plain unions are none", () => {
  const rows = [
    composition({}),
    composition({ kind: "plain union" }),
    composition({ kind: "random", name: "", draw: 0, normalized: 0.1 }),
    composition({ kind: "random", name: "", draw: 1, normalized: 0.3 }),
  ];
  const lines = compositionLines(rows, true);
  assert.deepEqual(
    lines.map((line) => line.name),
    ["a + b", "random edges"],
  );
  assert.ok(Math.abs(lines[1]!.points[0]!.y! - 0.2) < 1e-12);
});

test("undefined faithfulness gives its reason and the divergence instead", () => {
  const row = composition({
    normalized: null,
    normalized_low: null,
    normalized_high: null,
    reason: "no gap",
  });
  const html = renderToString(<CompositionFigure rows={[row]} figure={12} />);
  assert.match(html, /lower is better: no gap/);
  assert.doesNotMatch(html, BROKEN);
});
