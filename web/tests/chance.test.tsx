import assert from "node:assert/strict";
import { test } from "node:test";
import { renderToString } from "preact-render-to-string";
import { CausalFigure } from "../src/figures/causal.tsx";
import { ChanceFigure } from "../src/figures/chance.tsx";
import { EdgesTable } from "../src/figures/edges.tsx";
import { LayerFrequencyFigure, StabilityTable } from "../src/figures/stability.tsx";
import { causal, chance, edge } from "./rows.ts";

const BROKEN = /NaN|Infinity|>undefined</;
const verdict = (label: string, seed: number, outcome: string) => ({
  ...{ label, seed, outcome, measure: "edge_rate", sentence: "" },
});

test("what a measure is held against is named, once or per seed, and looks like no verdict", () => {
  const shown = (second: string) =>
    renderToString(
      <ChanceFigure
        rows={[chance({}), chance({ label: "tune seed 1", seed: 1 })]}
        verdicts={[verdict("tune seed 0", 0, "more than chance"), verdict("tune seed 1", 1, second)]}
        figure={5}
      />,
    );
  assert.match(
    shown("more than chance"),
    /held against halves of the pairs \(another choice of pairs\): more</,
  );
  assert.doesNotMatch(shown("more than chance"), /seed 1 more|class="verdict/);
  assert.match(shown("not enough to say"), /pairs\): seed 0 more, seed 1 not enough to say</);
});

test("measures that grow with change and overlaps that shrink stand apart, each with its direction", () => {
  const shown = (measures: string[]) =>
    renderToString(
      <ChanceFigure
        rows={measures.flatMap((measure) => [chance({ measure }), chance({ measure, role: "split" })])}
        verdicts={null}
        figure={5}
      />,
    );
  const both = shown(["edge_jaccard", "edge_rate", "weighted_jaccard"]);
  const [change, overlap] = both.split('aria-label="Overlaps');
  assert.match(change!, /right of its bar.*Edges changed/);
  assert.doesNotMatch(change!, /class="measure"><b>Edges shared/);
  assert.match(overlap!, /left of its bar.*<b>Edges shared/);
  assert.equal(both.match(/<svg/g)?.length, 2); // of the mass shared there is no null
  assert.doesNotMatch(shown(["edge_rate"]), /Overlaps/);
});

test("nulls without a value, without an end and of one comparison say so", () => {
  const rows = [
    chance({ measure: "ratio", estimate: 3, low: 2, high: 4 }),
    chance({
      ...{ measure: "ratio", role: "random", estimate: null, low: null, high: null },
      ...{ comparisons: 40, undefined: 35 },
    }),
    chance({ measure: "ratio", role: "split", estimate: 3, low: 1, high: null }),
    chance({ measure: "ratio", role: "seed", comparisons: 1, estimate: 1.5, low: 1.5, high: 1.5 }),
  ];
  const html = renderToString(<ChanceFigure rows={rows} verdicts={null} figure={5} />);
  assert.match(html, /undefined in 35 of 40/);
  assert.match(html, />from 1\.0</);
  assert.match(html, />1\.5 \(one\)</);
  assert.doesNotMatch(html, BROKEN);
});

test("a change without an interval gives its reason", () => {
  const rows = [
    chance({ role: "split" }),
    chance({ estimate: null, low: null, high: null, reason: "no node" }),
  ];
  assert.match(
    renderToString(<ChanceFigure rows={rows} verdicts={[]} figure={5} />),
    /undefined \(no node\)/,
  );
});

test("the swap shows the metric, both ways, and the mean of the draws", () => {
  const rows = (["removal", "insertion"] as const).flatMap((direction) => [
    causal({ direction }),
    ...[0.1, 0.3].map((share, draw) => causal({ direction, swapped: "random unchanged", draw, share })),
    causal({ direction, measure: "accuracy", share: null, low: null, high: null, reason: "no gain" }),
  ]);
  const html = renderToString(<CausalFigure rows={rows} figure={7} />);
  assert.equal(html.match(/<svg/g)?.length, 2);
  assert.match(html, /gain in logit_diff/);
  assert.match(html, /drawn at random 2 times/);
  assert.match(html, />20\.0\u202f%</);
  assert.match(html, /none \(no gain\)/);
  assert.doesNotMatch(html, BROKEN);
});

test("what is unstable is called so", () => {
  const row = {
    ...{
      label: "tune seed 0",
      seed: 0,
      what: "circuit before",
      jaccard: 0.7,
      unstable: true,
      reason: "no effect",
    },
    ...{ consensus_edges: 12, normalized: null, normalized_low: null, normalized_high: null },
  };
  const html = renderToString(
    <StabilityTable rows={[row, { ...row, what: "circuit after", unstable: false }]} />,
  );
  assert.match(html, />unstable</);
  assert.match(html, />stable</);
  assert.match(html, /Not defined for circuit before, seed 0: no effect/);
});

test("each rule has a row of bars, the critical ones marked", () => {
  const rows = ["released", "normalised"].flatMap((rule) =>
    [1, 0.25].map((frequency, layer) => ({
      ...{ label: "tune seed 0", seed: 0, rule, layer, frequency, chosen: layer === 0 },
    })),
  );
  const html = renderToString(<LayerFrequencyFigure rows={rows} agreement={null} figure={6} />);
  assert.equal(html.match(/<svg/g)?.length, 2);
  assert.equal(html.match(/often chosen/g)?.length, 2);
});

test("the first fifty edges are shown, the smallest q first", () => {
  const rows = Array.from({ length: 60 }, (_, i) => edge({ source: `s${i}`, q: 1 - i / 100 }));
  const html = renderToString(<EdgesTable rows={rows} total={9000} run="test" />);
  assert.equal(html.match(/<tr/g)?.length, 51);
  assert.match(html, /<tbody><tr><td>s59</);
  assert.match(html, /50 of 60 edges\./);
  assert.match(html, /aria-sort="ascending"/);
  assert.match(html, /60 in all; the table of the run has 9,000/);
});

test("every fine-tuning's number of changed edges is told", () => {
  const shown = (...edges: number[]) =>
    renderToString(
      <CausalFigure
        rows={edges.map((count, seed) => causal({ label: `tune seed ${seed}`, seed, edges: count }))}
        figure={7}
      />,
    );
  assert.match(shown(303, 317), />303 and 317 edges</);
  assert.match(shown(303, 303), />303 edges</);
  assert.match(shown(303, 290, 317, 330), />290\u2013\u2060330 edges</);
});
