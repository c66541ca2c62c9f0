import assert from "node:assert/strict";
import { test } from "node:test";
import {
  arriving,
  changedEdges,
  edgesByNode,
  layOut,
  neighbourhood,
  nodeStatus,
  strongestOf,
} from "../src/drawing.ts";
import { neighbour } from "../src/figures/drawn.tsx";
import { circuit, NAMES, node, WIRING } from "./circuits.ts";

test("edges are listed destination by destination", () => {
  assert.equal(NAMES.length, 36);
  assert.deepEqual(NAMES.slice(0, 7), [
    ...["input->a0.h0<q>", "input->a0.h1<q>", "input->a0.kv0<k>", "input->a0.kv0<v>"],
    ...["input->m0", "a0.h0->m0", "a0.h1->m0"],
  ]);
  assert.equal(NAMES.at(-1), "m1->logits");
});

test("an edge into a key/value head reaches every head of its group", () => {
  const reader = WIRING.readers[2]!;
  assert.deepEqual(
    reader.nodes.map((i) => WIRING.nodes[i]!.name),
    ["a0.h0", "a0.h1"],
  );
  assert.equal(reader.letter, "k");
});

const BEFORE = circuit({ "input->a0.h0<q>": 0.5, "a0.h0->logits": -0.25, "input->m0": 0.25 });
const AFTER = circuit({ "input->a0.h0<q>": 5, "m1->logits": 15, "a0.h0->logits": 5 });
const EDGES = changedEdges(WIRING, BEFORE, AFTER);

test("edges are kept, added or removed, strongest share first", () => {
  assert.deepEqual(
    EDGES.map((edge) => [NAMES[edge.edge], edge.status, Math.round(100 * edge.strength)]),
    [
      ["m1->logits", "added", 60],
      ["input->a0.h0<q>", "kept", 50],
      ["input->m0", "removed", 25],
      ["a0.h0->logits", "kept", 25],
    ],
  );
});

test("growth of all scores alone changes nothing", () => {
  const grown = circuit({ "input->a0.h0<q>": 25, "a0.h0->logits": -12.5, "input->m0": 12.5 });
  for (const edge of changedEdges(WIRING, BEFORE, grown)) assert.equal(edge.status, "kept");
  assert.equal(changedEdges(WIRING, BEFORE, grown)[0]!.strength, 0.5);
});

test("drawn are at most so many, none below the threshold, into one kind of input", () => {
  const names = (edges: readonly { edge: number }[]) => edges.map((edge) => NAMES[edge.edge]);
  assert.deepEqual(names(strongestOf(EDGES, 3, 0)), names(EDGES.slice(0, 3)));
  assert.deepEqual(names(strongestOf(EDGES, 3, 0.3)), ["m1->logits", "input->a0.h0<q>"]);
  assert.deepEqual(names(strongestOf(EDGES, 9, 0.9)), []);
  assert.deepEqual(names(arriving(WIRING, EDGES, "q")), ["input->a0.h0<q>"]);
  assert.deepEqual(names(arriving(WIRING, EDGES, "mlp")), ["input->m0"]);
  assert.deepEqual(names(arriving(WIRING, EDGES, "logits")), ["m1->logits", "a0.h0->logits"]);
  assert.equal(arriving(WIRING, EDGES, "all").length, 4);
});

test("nodes follow from all edges", () => {
  const statuses = nodeStatus(WIRING, EDGES);
  assert.equal(statuses[node("a0.h0")], "kept");
  assert.equal(statuses[node("m0")], "removed");
  assert.equal(statuses[node("m1")], "added");
  assert.equal(statuses[node("a1.h0")], undefined);
});

test("a node's neighbours are what one edge joins it to", () => {
  const own = edgesByNode(WIRING, EDGES);
  const names = (edges: readonly { edge: number }[]) => edges.map((edge) => NAMES[edge.edge]);
  const head = node("a0.h0");
  assert.deepEqual(names(own[head]!.into), ["input->a0.h0<q>"]);
  assert.deepEqual(names(own[head]!.out), ["a0.h0->logits"]);
  const near = [...neighbourhood(WIRING, own[head]!, head)].map((i) => WIRING.nodes[i]!.name).sort();
  assert.deepEqual(near, ["a0.h0", "input", "logits"]);
});

test("an edge into a key/value head is an edge of every head of its group", () => {
  const own = edgesByNode(WIRING, changedEdges(WIRING, BEFORE, circuit({ "input->a0.kv0<k>": 1 })));
  const key = NAMES.indexOf("input->a0.kv0<k>");
  for (const head of ["a0.h0", "a0.h1"])
    assert.ok(
      own[node(head)]!.into.some(({ edge }) => edge === key),
      head,
    );
});

for (const width of [280, 720, 1040]) {
  test(`at ${width} pixels every node lies inside and none overlaps another`, () => {
    const { boxes, height } = layOut(WIRING, width);
    boxes.forEach((a, i) => {
      assert.ok(a.x - a.width / 2 >= 0 && a.x + a.width / 2 <= width && a.y - a.height / 2 >= 0);
      assert.ok(a.y + a.height / 2 <= height);
      for (const b of boxes.slice(i + 1)) {
        const apart =
          Math.abs(a.x - b.x) >= (a.width + b.width) / 2 || Math.abs(a.y - b.y) >= (a.height + b.height) / 2;
        assert.ok(apart, JSON.stringify([a, b]));
      }
    });
  });
}

test("sources lie below what they feed", () => {
  const { boxes } = layOut(WIRING, 720);
  WIRING.edgeSource.forEach((source, edge) => {
    for (const reader of WIRING.readers[WIRING.edgeReader[edge]!]!.nodes) {
      assert.ok(boxes[source]!.y > boxes[reader]!.y, NAMES[edge]);
    }
  });
});

test("arrow keys walk to the neighbours", () => {
  const layout = layOut(WIRING, 720);
  const walk = (from: string, key: string) => WIRING.nodes[neighbour(layout, node(from), key)]!.name;
  assert.equal(walk("a0.h0", "ArrowRight"), "a0.h1");
  assert.equal(walk("a0.h1", "ArrowLeft"), "a0.h0");
  assert.equal(walk("a0.h0", "ArrowLeft"), "a0.h0");
  assert.equal(walk("input", "ArrowDown"), "input");
  assert.equal(WIRING.nodes[neighbour(layout, node("input"), "ArrowUp")]!.layer, 0);
  assert.equal(walk("logits", "ArrowUp"), "logits");
});
