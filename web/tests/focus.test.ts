import assert from "node:assert/strict";
import { test } from "node:test";
import { makeFocus } from "../src/focus.ts";

/** A focus whose frames come when the test says so. */
function stepped() {
  const frames: (() => void)[] = [];
  const focus = makeFocus((callback) => frames.push(callback));
  const told: (number | null)[] = [];
  const stop = focus.listen((node) => told.push(node));
  const paint = () => {
    for (const callback of frames.splice(0)) callback();
  };
  return { focus, told, stop, paint, frames };
}

test("moves between two frames are told once, as the last", () => {
  const { focus, told, paint, frames } = stepped();
  for (const node of [1, null, 2]) focus.point(node);
  assert.equal(frames.length, 1);
  paint();
  assert.deepEqual(told, [2]);
});

test("what comes back to where it was is not told", () => {
  const { focus, told, paint } = stepped();
  focus.point(1);
  focus.point(null);
  paint();
  assert.deepEqual(told, []);
});

test("the node pointed at goes before the node held", () => {
  const { focus, told, paint } = stepped();
  focus.hold(3);
  paint();
  focus.point(1);
  assert.equal(focus.node, 1);
  paint();
  focus.point(null);
  paint();
  assert.deepEqual(told, [3, 1, 3]);
});

test("who stops listening is told no more", () => {
  const { focus, told, stop, paint } = stepped();
  stop();
  focus.point(1);
  paint();
  assert.deepEqual(told, []);
});
