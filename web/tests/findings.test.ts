import assert from "node:assert/strict";
import { test } from "node:test";
import {
  changeFinding,
  criticalFinding,
  difference,
  methodFindings,
  nullCaution,
  ratioFinding,
  seedCaution,
  startCaution,
  verdict,
} from "../src/findings.ts";
import { change, method } from "./rows.ts";

test("a verdict compares all changes with all nulls", () => {
  assert.equal(verdict([0.5, 0.6], [0.2]), "larger");
  assert.equal(verdict([0.5, 0.6], [0.45]), "barely larger");
  assert.equal(verdict([0.5, 0.6], [0.1, 0.45]), "barely larger");
  assert.equal(verdict([0.5, 0.6], [0.55]), "overlapping");
  assert.equal(verdict([0.5, 0.6], [0.6]), "not larger");
  assert.equal(verdict([0.5], [0.5]), "not larger");
  assert.equal(verdict([0.5], []), "no null");
  assert.equal(verdict([], [0.5]), "no change");
});

test("a change below its null is said to be no larger", () => {
  const rows = [change({ rate: 0.4, jaccard: 0.6 }), change({ role: "null", rate: 0.5, jaccard: 0.5 })];
  const text = changeFinding(rows, "edge");
  assert.match(text, /40\.0.%; two seeds of the same fine-tuning differ by 50\.0.%/);
  assert.match(text, /not larger than the null: another seed alone changes as much/);
  assert.doesNotMatch(text, /is larger/);
});

test("a change beyond its null is said to be larger, with the ratio", () => {
  const rows = [change({ rate: 0.9, jaccard: 0.3 }), change({ role: "null", rate: 0.3, jaccard: 0.7 })];
  assert.match(changeFinding(rows, "edge"), /larger than the null \(at least 3\.00 times it\)\.$/);
});

test("rows of the other kind do not count", () => {
  const rows = [
    change({ kind: "node", rate: 0.1 }),
    change({ rate: 0.9 }),
    change({ role: "null", rate: 0.2 }),
  ];
  assert.match(changeFinding(rows, "node"), /no null/);
});

test("where Jaccard orders them otherwise, both are told", () => {
  const rows = [change({ rate: 0.9, jaccard: 0.6 }), change({ role: "null", rate: 0.3, jaccard: 0.5 })];
  assert.match(
    changeFinding(rows, "edge"),
    /By Jaccard distance the change is not larger: the two measures disagree/,
  );
});

test("an undefined rate is not a change of zero", () => {
  assert.match(changeFinding([change({ rate: null })], "edge"), /no change to show/);
});

test("edges per node are held against the same ratio between seeds", () => {
  const rows = (edge: number, node: number, role: "change" | "null") => [
    change({ role, comparison: role, rate: edge }),
    change({ role, comparison: role, kind: "node", rate: node }),
  ];
  assert.match(
    ratioFinding([...rows(0.9, 0.3, "change"), ...rows(1, 0.2, "null")])!,
    /3\.0 times as much as nodes, between seeds 5\.0 times; so the ratio shows no more than chance does/,
  );
  assert.equal(ratioFinding(rows(0.9, 0, "change")), null);
});

test("few comparisons of seeds are called a yardstick", () => {
  assert.match(nullCaution([change({ role: "null" })]), /1 comparison of seeds: a yardstick, not a test/);
  assert.match(nullCaution([change({})]), /Without a second seed/);
});

test("critical layers are listed by place, and disagreement is told", () => {
  const row = (rule: string, layer: number, place: number) => ({
    rule,
    layer,
    place,
    importance: 1,
    chosen: place < 3,
  });
  const rows = [row("released", 3, 2), row("released", 5, 1), row("released", 1, 3), row("normalised", 5, 1)];
  assert.match(
    criticalFinding([...rows, row("normalised", 2, 2)]),
    /released rule 5 and 3; normalised rule 5 and 2\. The rules share only 5:/,
  );
  assert.match(criticalFinding([...rows, row("normalised", 3, 2)]), /The rules agree/);
});

test("a difference the test rows cannot show is called that, and one seed an illustration", () => {
  const rows = [method({}), method({ arm: "uniform", accuracy: 0.89, low: 0.84, high: 0.92, layers: "" })];
  const [against, caution] = methodFindings(rows);
  assert.match(against!, /The test rows cannot tell the two apart\.$/);
  assert.equal(caution, "One seed: an illustration.");
});

test("unequal budgets are not called equal", () => {
  const rows = [method({}), method({ arm: "uniform", parameters: 999 })];
  assert.match(methodFindings(rows)[0]!, /of another number of parameters/);
});

test("the interval of a difference is Newcombe's", () => {
  // Newcombe 1998, table II: 56/70 against 48/80, method 10: 0.0524 to 0.3339.
  const a = method({ accuracy: 56 / 70, low: 0.6916, high: 0.8769 });
  const b = method({ accuracy: 48 / 80, low: 0.4902, high: 0.7002 });
  const [low, high] = difference(a, b);
  assert.ok(Math.abs(low - 0.0524) < 1e-3 && Math.abs(high - 0.3339) < 1e-3, `${low} ${high}`);
});

test("eight seeds are no illustration", () => {
  const rows = Array.from({ length: 8 }, (_, seed) => method({ seed }));
  assert.equal(seedCaution(rows), "8 seeds.");
});

test("a start without an effect of its own is told", () => {
  const row = {
    ...{ label: "a", arm: "tune", seed: 0, edges: 10, nodes: 5, metric: "logit_diff", model: 0, circuit: 0 },
    ...{ corrupted: 0, normalized_low: null, normalized_high: null, reason: "", kl: 0, accuracy: 0 },
    percent_released: null,
  };
  const rows = (first: number | null, last: number | null) => [
    { ...row, share: 0.05, step: 0, normalized: first },
    { ...row, share: 0.05, step: 100, normalized: last },
    { ...row, share: 0.2, step: 0, normalized: null },
  ];
  assert.match(startCaution(rows(null, 0.9), 0.05)!, /logit_diff cannot be told from .* may be noise/);
  assert.equal(startCaution(rows(0.5, null), 0.05), null);
});
