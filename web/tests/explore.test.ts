import assert from "node:assert/strict";
import { test } from "node:test";
import { comparedCsv, comparedRows } from "../src/compared.ts";
import { compared, isWhole, wordsFor } from "../src/comparison.ts";
import { changedEdges, edgesByNode } from "../src/drawing.ts";
import { firstEdges, heat, raster, type Rgb } from "../src/heat.ts";
import { widestPaths } from "../src/paths.ts";
import { findNodes } from "../src/search.ts";
import { readState } from "../src/state.ts";
import { circuit, NAMES, node, WIRING } from "./circuits.ts";
import { edge, entry } from "./rows.ts";

const CIRCUITS = [
  ...[0, 50, 100].map((step) => entry({ label: "tune seed 0", step })),
  ...[0, 100].map((step) => entry({ label: "tune seed 1", step })),
];
const asked = (hash: string) => compared(CIRCUITS, readState(hash));

test("a fine-tuning is compared with its start, checkpoints with each other, seeds at their ends", () => {
  const ends = (hash: string) => {
    const { from, to } = asked(hash);
    return [from.label, from.step, to.label, to.step];
  };
  assert.deepEqual(ends(""), ["tune seed 0", 0, "tune seed 0", 100]);
  assert.deepEqual(ends("#from=50&step=100"), ["tune seed 0", 50, "tune seed 0", 100]);
  assert.deepEqual(ends("#against=tune+seed+1"), ["tune seed 0", 100, "tune seed 1", 100]);
  assert.deepEqual(ends("#from=100&step=50"), ["tune seed 0", 50, "tune seed 0", 100]);
  assert.deepEqual(ends("#circuit=tune+seed+1&against=nowhere&step=7"), [
    "tune seed 1",
    0,
    "tune seed 1",
    100,
  ]);
});

test("only later checkpoints add and remove; circuits beside each other have what is in one", () => {
  assert.equal(wordsFor(asked("")).edge.added, "added");
  assert.equal(wordsFor(asked("#from=100&step=50")).edge.added, "added");
  assert.equal(wordsFor(asked("#against=tune+seed+1")).edge.removed, "only in A");
});

test("what the run tested is the whole fine-tuning", () => {
  assert.ok(isWhole(asked("")));
  for (const hash of ["#step=50", "#from=50", "#against=tune+seed+1"]) assert.ok(!isWhole(asked(hash)), hash);
});

test("nodes are found by name, by kind and by place; numbers match whole", () => {
  const names = (text: string) => findNodes(WIRING, text).map((i) => WIRING.nodes[i]!.name);
  assert.deepEqual(names(""), []);
  assert.deepEqual(names("a1"), ["a1.h0", "a1.h1"]);
  assert.deepEqual(names("MLP"), ["m0", "m1"]);
  assert.deepEqual(names("head 1 layer 0"), ["a0.h1"]);
  assert.deepEqual(names("log"), ["logits"]);
  assert.deepEqual(names("h("), []);
});

const BEFORE = circuit({ "input->m0": 4, "m0->logits": 4, "input->a0.h1<q>": 1, "a0.h1->m0": 1 });
const AFTER = circuit({
  ...{ "input->m0": 1, "m0->m1": 3, "m1->logits": 6, "input->a0.kv0<v>": 5, "a0.h1->m0": 4 },
  ...{ "m0->logits": 1 },
});
const EDGES = changedEdges(WIRING, BEFORE, AFTER);

test("the path through a node is the one whose weakest edge is strongest, in its own circuit", () => {
  const own = edgesByNode(WIRING, EDGES);
  const told = (side: "before" | "after", name: string) => {
    const path = widestPaths(WIRING, own, side)(node(name));
    return path && [0, ...path.hops.map((hop) => hop.to)].map((i) => WIRING.nodes[i]!.name).join(" ");
  };
  assert.equal(told("before", "m0"), "input m0 logits");
  assert.equal(told("after", "m0"), "input a0.h1 m0 m1 logits");
  assert.equal(told("after", "input"), "input a0.h1 m0 m1 logits");
  assert.equal(told("after", "logits"), "input a0.h1 m0 m1 logits");
  assert.equal(told("before", "a0.h1"), "input a0.h1 m0 logits");
  assert.equal(told("before", "m1"), null);
  const path = widestPaths(WIRING, own, "after")(node("m0"))!;
  assert.equal(path.weakest.toFixed(4), (3 / 20).toFixed(4));
});

test("rows of the table carry signed shares, the word for the change, and the test", () => {
  const words = wordsFor(asked(""));
  const rows = comparedRows(WIRING, EDGES, words, ({ edge: i }) =>
    NAMES[i] === "input->m0" ? edge({ q: 0.03 }) : undefined,
  );
  const row = rows.find((one) => one.source === "input" && one.destination === "m0")!;
  assert.equal(row.change, "kept");
  assert.equal(row.q, 0.03);
  assert.equal(row.difference.toFixed(3), (1 / 20 - 4 / 10).toFixed(3));
  assert.match(
    comparedCsv([row], "one", "two"),
    /^before,after,.*\none,two,input,m0,kept,0\.4,0\.05,-0\.35,0\.03\n$/,
  );
});

const COLOURS: Rgb[] = [
  [1, 1, 1],
  [2, 2, 2],
  [3, 3, 3],
  [4, 4, 4],
  [0, 0, 0],
];

test("every edge has its cell, coloured by what it is; the impossible stay empty", () => {
  const [width, height] = [WIRING.readers.length, WIRING.nodes.length - 1];
  const heated = heat("circuits", BEFORE, circuit({ "input->m0": 1 }, { "m1->logits": 9 }));
  const first = firstEdges(WIRING);
  assert.deepEqual(
    [...heated.tone.slice(first[4], first[5])], // into m0: from input, a0.h0, a0.h1
    [0, 3, 2],
  );
  const pixels = raster(WIRING, heated, [width, height], COLOURS);
  const filled = Array.from({ length: width * height }, (_, i) => pixels[4 * i + 3] === 255);
  assert.equal(filled.filter(Boolean).length, NAMES.length);
  assert.ok(filled[width * (height - 1)], "input to the first query, at the lower left");
  assert.ok(!filled[0], "the last source does not feed the first reader");
});

test("where cells share a pixel the strongest has it", () => {
  const heated = heat("after", BEFORE, circuit({ "input->a0.h1<q>": -1 }, { "m0->m1": 0.01 }));
  const pixels = raster(WIRING, heated, [1, 1], COLOURS);
  assert.deepEqual([...pixels], [3, 3, 3, 255]);
});

test("the change of an edge is that of its share", () => {
  const [one, two] = [
    circuit({ "input->m0": 1, "m0->logits": 1 }),
    circuit({ "input->m0": 90, "m0->logits": 30 }),
  ];
  const { tone, amount } = heat("change", one, two);
  const at = (name: string) => NAMES.indexOf(name);
  assert.deepEqual([tone[at("input->m0")], tone[at("m0->logits")]], [1, 2]);
  assert.deepEqual([amount[at("input->m0")], amount[at("m0->logits")], amount[0]], [1, 1, 0]);
});
