import assert from "node:assert/strict";
import { test } from "node:test";
import { linear, spreadApart, ticks } from "../src/chart.tsx";
import { count, list, number, percent, plural, range } from "../src/format.ts";
import { stretches } from "../src/lines.tsx";

test("ticks are round and inside, or around", () => {
  assert.deepEqual(ticks(0, 1, 4), [0, 0.25, 0.5, 0.75, 1]);
  assert.deepEqual(ticks(0.873, 0.942, 5, true), [0.86, 0.88, 0.9, 0.92, 0.94, 0.96]);
  assert.deepEqual(ticks(3, 3, 5), [3]);
});

test("a nice scale covers its data", () => {
  const x = linear([0.873, 0.942], [0, 100], 5, true);
  assert.equal(x(0.86), 0);
  assert.equal(x(0.96), 100);
});

test("labels are moved apart, in order, within bounds", () => {
  assert.deepEqual(spreadApart([10, 12, 50], 14, 0, 100), [4, 18, 50]);
  assert.deepEqual(spreadApart([12, 10, 60, 61, 62], 14, 8, 100), [22, 8, 47, 61, 75]);
  assert.deepEqual(spreadApart([98, 99], 14, 0, 100), [86, 100]);
});

test("undefined values break a line", () => {
  const found = stretches([1, null, 2, 3].map((y, x) => ({ x, y })));
  assert.deepEqual(
    found.map((part) => part.map((point) => point.x)),
    [[0], [2, 3]],
  );
});

test("numbers read as in a text", () => {
  assert.equal(percent(0.9314), "93.1\u202f%");
  assert.equal(percent(-0.05, 0), "\u22125\u202f%");
  assert.equal(count(18432), "18,432");
  assert.equal(number(0), "0");
  assert.equal(number(-0.00001234), "\u22121.23e-5");
  assert.equal(number(Math.PI), "3.142");
  assert.equal(plural(1, "edge"), "1 edge");
  assert.equal(list(["0", "4", "6"]), "0, 4 and 6");
  assert.equal(list([]), "none");
  assert.equal(range([0.5, 0.5]), "50.0\u202f%");
  assert.equal(range([0.6, 0.25]), "25.0\u2013\u206060.0\u202f%");
});
