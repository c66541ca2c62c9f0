import assert from "node:assert/strict";
import { test } from "node:test";
import { fromLog, stopOf, stopsFor, stopValue, toLog } from "../src/scales.ts";
import { isView, type PageState, readState, writeState } from "../src/state.ts";

test("the address restores a view", () => {
  const state: PageState = {
    ...{ label: "tune-seed1", step: 300, against: "tune seed 2", from: 0, edges: 80, least: 0.012 },
    ...{ into: "k", view: "apart", heat: "change", node: "a3.h5", find: "layer 3 & more" },
  };
  assert.deepEqual(readState(writeState(state, "tune-seed0")), state);
});

test("the first view has no address, and nonsense is ignored", () => {
  const first = readState("");
  assert.equal(writeState(first, ""), "");
  assert.deepEqual(readState("#step=x&edges=-3&view=cube&into=w&heat=hot&least=-1&from=1.5"), first);
  assert.deepEqual(readState("#wiring"), first);
  assert.ok(!isView("#wiring"));
  assert.ok(isView(writeState({ ...first, node: "m0" }, "")));
});

test("each stop of the slider is a number of edges, the last one all", () => {
  for (const total of [1, 20, 199, 474, 2000, 9999]) {
    const last = stopsFor(total);
    assert.ok(stopValue(last) >= total, String(total));
    assert.ok(last === 1 || stopValue(last - 1) < total, String(total));
  }
  for (let stop = 1; stop < 390; stop++) assert.equal(stopOf(stopValue(stop)), stop);
  assert.equal(stopValue(stopsFor(50_000)), 10_000);
  assert.equal(stopValue(21), 21);
});

test("thresholds run from none to the strongest edge, and come back from the address", () => {
  const [weakest, strongest] = [0.0002, 0.0371];
  assert.equal(fromLog(0, weakest, strongest), 0);
  assert.equal(fromLog(100, weakest, strongest), 3.71);
  for (let step = 0; step <= 100; step++) {
    const share = fromLog(step, weakest, strongest) / 100;
    assert.ok(share <= strongest);
    assert.ok(Math.abs(toLog(share, weakest, strongest) - step) <= 1);
  }
  assert.equal(toLog(0.5, 0.1, 0.1), 0);
});
