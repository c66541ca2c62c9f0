import assert from "node:assert/strict";
import { test } from "node:test";
import { csv } from "../src/csv.ts";
import { clicked, edgesCsv, matching, ordered } from "../src/edges.ts";
import { edge } from "./rows.ts";

const ROWS = [
  edge({ source: "a0.h10", q: 0.2, changed: false }),
  edge({ source: "a0.h9", destination: "m3", q: 1e-9, score_before: -0.5 }),
  edge({ source: "input", destination: "M3", q: 0.04 }),
];
const sources = (rows: typeof ROWS) => rows.map((row) => row.source);

test("every word must be in one of the ends, in any case", () => {
  assert.deepEqual(sources(matching(ROWS, "m3", false)), ["a0.h9", "input"]);
  assert.deepEqual(sources(matching(ROWS, "  M3 h9 ", false)), ["a0.h9"]);
  assert.deepEqual(sources(matching(ROWS, "", true)), ["a0.h9", "input"]);
  assert.deepEqual(matching(ROWS, "nowhere", false), []);
});

test("names sort by their numbers, numbers by value, both ways", () => {
  assert.deepEqual(sources(ordered(ROWS, { column: "source", descending: false })), [
    "a0.h9",
    "a0.h10",
    "input",
  ]);
  assert.deepEqual(sources(ordered(ROWS, { column: "q", descending: true })), ["a0.h10", "input", "a0.h9"]);
  assert.deepEqual(sources(ordered(ROWS, { column: "score_before", descending: false }))[0], "a0.h9");
  assert.deepEqual(sources(ROWS), ["a0.h10", "a0.h9", "input"]); // the rows themselves stay
});

test("a second click on a column turns the order round", () => {
  const first = clicked({ column: "q", descending: true }, "source");
  assert.deepEqual(first, { column: "source", descending: false });
  assert.deepEqual(clicked(first, "source"), { column: "source", descending: true });
});

test("text that reads as a formula is disarmed, numbers are not touched", () => {
  const rows = [
    ["=cmd|' /C calc'!A0", -1.5],
    ["@a", null],
    ["-1", true],
    ['say "a,b"', 1e-29],
    ["\uff1d1\r", 0],
  ];
  assert.equal(
    csv(["text", "value"], rows),
    `text,value\n'=cmd|' /C calc'!A0,-1.5\n'@a,\n'-1,true\n"say ""a,b""",1e-29\n"'\uff1d1\r",0\n`,
  );
});

test("edges are written as the table of the run has them", () => {
  assert.equal(
    edgesCsv([edge({})]),
    "label,seed,source,destination,in_before,in_after,score_before,score_after,t,p,q,changed\n" +
      "tune seed 0,0,input,a0.h0<q>,true,false,0.01,-0.002,,0.001,0.01,true\n",
  );
});
