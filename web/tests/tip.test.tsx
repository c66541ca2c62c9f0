import assert from "node:assert/strict";
import { test } from "node:test";
import { renderToString } from "preact-render-to-string";
import { CausalFigure, RolesTable } from "../src/figures/causal.tsx";
import { ChanceFigure } from "../src/figures/chance.tsx";
import { ChangeFigure } from "../src/figures/change.tsx";
import { LayersFigure } from "../src/figures/layers.tsx";
import { MethodsFigure } from "../src/figures/methods.tsx";
import { LayerFrequencyFigure } from "../src/figures/stability.tsx";
import { intervalWords, tip } from "../src/tip.tsx";
import { percent } from "../src/format.ts";
import { causal, chance, change, method } from "./rows.ts";

/** The tips of a figure, their lines joined by " | ". */
function tips(html: string): string[] {
  return [...html.matchAll(/data-tip="([^"]*)"/g)].map((one) =>
    one[1]!.replaceAll(/\n|&#10;/g, " | ").replaceAll("\u202f", " "),
  );
}

test("a tip leaves out what is not known", () => {
  assert.equal(tip("a", "", false, undefined, "b"), "a\nb");
  assert.equal(intervalWords(0.1, null, percent), "");
  assert.equal(intervalWords(0.1, 0.25, percent), "95\u202f% interval 10.0\u202f% to 25.0\u202f%");
});

test("a change tells its share and its counts", () => {
  const html = renderToString(
    <ChangeFigure rows={[change({}), change({ role: "null", comparison: "seeds" })]} figure={3} />,
  );
  assert.deepEqual(tips(html).toSorted(), [
    "seeds | 20 added, 20 removed, 80 kept | added and removed: 40.0 % of as many as before (100 edges)",
    "tune seed 0 | 20 added, 20 removed, 80 kept | added and removed: 40.0 % of as many as before (100 edges)",
  ]);
});

test("a measure beside chance tells its interval, a null how many comparisons it has", () => {
  const rows = [
    chance({}),
    chance({ role: "split", comparisons: 40 }),
    chance({ role: "seed", comparisons: 1 }),
  ];
  assert.deepEqual(tips(renderToString(<ChanceFigure rows={rows} verdicts={null} figure={5} />)), [
    "seed 0, before to after | 50.0 % | 95 % interval 40.0 % to 60.0 %",
    "two seeds, tune seed 0 | 50.0 %, 1 comparison",
    "halves of the pairs, tune seed 0 | mean 50.0 %, 40 comparisons | 95 % of them 40.0\u2013\u206060.0 %",
  ]);
});

test("a layer tells how often it is critical", () => {
  const row = { label: "tune seed 0", seed: 0, rule: "released", layer: 3, frequency: 0.42, chosen: false };
  assert.deepEqual(tips(renderToString(<LayerFrequencyFigure rows={[row]} agreement={null} figure={6} />)), [
    "layer 3, released rule, seed 0 | critical in 42.0 % of the draws | not critical on all pairs",
  ]);
});

test("a swap tells its interval, random swaps their draws", () => {
  const random = [0.1, 0.3].map((share, draw) => causal({ swapped: "random unchanged", share, draw }));
  assert.deepEqual(tips(renderToString(<CausalFigure rows={[causal({}), ...random]} figure={7} />)), [
    "changed, seed 0 | 80.0 % of the gain | 95 % interval 75.0 % to 85.0 % | 338 edges",
    "random unchanged, seed 0 | mean 20.0 % of the gain | 2 draws: 10.0\u2013\u206030.0 % | 338 edges",
  ]);
});

test("a layer tells its counts and those of two seeds", () => {
  const row = {
    ...{ comparison: "tune seed 0", role: "change" as const, kind: "edge" as const, side: "source" as const },
    ...{ layer: 0, possible: 900, before: 40, after: 47, added: 12, removed: 5 },
    ...{ share_absent_added: 0.1, share_present_removed: 0.1 },
  };
  const rows = [row, { ...row, role: "null" as const, added: 3, removed: 2 }, { ...row, layer: 1 }];
  assert.equal(
    tips(renderToString(<LayersFigure rows={rows} critical={null} figure={8} />)).find((one) =>
      one.startsWith("layer 0"),
    ),
    "layer 0 | 12 added, 5 removed, of 40 before | 900 possible | two seeds: 3 added, 2 removed",
  );
});

test("a method tells its interval over how many rows", () => {
  const html = renderToString(
    <MethodsFigure rows={[method({})]} arms={{ circuitlora: "Ours" }} figure={10} />,
  );
  assert.deepEqual(tips(html), [
    "Ours, seed 0 | 90.0 % | 95 % interval 85.0 % to 93.0 % | 100 rows of the test split, 1,000 parameters",
  ]);
});

test("the heads that changed most are cards that name their cells, and a table to a screen reader", () => {
  const row = {
    ...{
      label: "tune seed 0",
      seed: 0,
      place: 1,
      head: "a1.h2",
      layer: 1,
      change: 0.08,
      mass_before: 0.1,
      mass_after: 0.2,
    },
    ...{ position: -1, attention_before: 0.1, attention_after: 0.4, direct_before: 0, direct_after: 1 },
    ...{
      answer_before: 0,
      answer_after: 1,
      wrong_before: null,
      wrong_after: null,
      sentence: "It looks back.",
    },
  };
  const html = renderToString(<RolesTable rows={[row]} />);
  assert.match(html, /<table class="stacked" role="table"/);
  assert.match(html, /<td[^>]*data-column="In words"[^>]*role="cell"[^>]*>It looks back\.</);
  assert.equal(html.match(/role="columnheader"/g)?.length, 6);
});
