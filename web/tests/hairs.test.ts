import assert from "node:assert/strict";
import { test } from "node:test";
import { type Curve, flatten, Layer } from "../src/hairs.ts";

const ACROSS: Curve = [2, 5.5, 10, 5.5, 30, 5.5, 38, 5.5];

function layer(broken: boolean, alpha = 0.5): Layer {
  const own = new Layer(40, 12, broken);
  own.curve(ACROSS, alpha);
  return own;
}

const row = (own: Layer, y: number) => Array.from({ length: 40 }, (_, x) => own.covered(40 * y + x));

test("a line covers its own pixels, about as much as it is opaque, and no others", () => {
  const own = layer(false);
  const middle = row(own, 5).slice(4, 36);
  assert.ok(middle.filter((value) => Math.abs(value - 0.5) < 0.02).length > 24); // pieces may meet in a pixel
  assert.ok(middle.every((value) => value < 0.8));
  assert.ok(
    row(own, 5)
      .slice(39)
      .every((value) => value === 0),
  );
  for (const y of [3, 7]) assert.ok(row(own, y).every((value) => value === 0));
});

test("a broken line leaves gaps", () => {
  const gaps = row(layer(true), 5)
    .slice(4, 36)
    .filter((value) => value === 0).length;
  assert.ok(gaps >= 8 && gaps <= 18, String(gaps));
});

test("lines over each other add up to less than the whole", () => {
  const own = layer(false);
  own.curve(ACROSS, 0.5);
  assert.ok(Math.abs(own.covered(40 * 5 + 20) - 0.75) < 0.02);
});

test("a line that leaves the picture is cut off", () => {
  const own = new Layer(40, 12, false);
  own.curve([20, 6, 20, -50, 20, -50, 90, -90], 1);
  assert.ok(row(own, 5).some((value) => value > 0));
});

test("higher layers hide lower ones, empty pixels stay clear", () => {
  const pixels = flatten(
    [layer(false, 1), layer(false, 0.5)],
    [
      [200, 0, 0],
      [0, 0, 100],
    ],
  );
  const at = 4 * (40 * 5 + 20);
  const [red, green, blue, alpha] = pixels.slice(at, at + 4);
  assert.ok(Math.abs(red! - 100) < 4 && green === 0 && Math.abs(blue! - 50) < 3 && alpha! > 250);
  assert.equal(pixels[3], 0);
});
