// Thousands of thin lines at once, painted here: a browser without a graphics card takes several times as long.
//
// Lines of one colour go on one layer, which keeps for every pixel the share of light that they let through. So a
// line costs one multiplication a pixel, and the layers are laid over each other once, at the end.

import type { Rgb } from "./heat.ts";

/** Ends and handles: x and y of the start, of both handles, of the end. */
export type Curve = readonly [number, number, number, number, number, number, number, number];

const ON = 5; // pixels of a broken line that are drawn,
const PERIOD = 8.5; // of so many

export class Layer {
  private readonly through: Float32Array;

  constructor(
    readonly width: number,
    readonly height: number,
    private readonly broken: boolean,
  ) {
    this.through = new Float32Array(width * height).fill(1);
  }

  /** Add a curve, in pixels. */
  curve([x0, y0, x1, y1, x2, y2, x3, y3]: Curve, alpha: number): void {
    const count = Math.min(14, 4 + Math.round((Math.abs(x3 - x0) + Math.abs(y3 - y0)) / 50));
    let [px, py, along] = [x0, y0, 0];
    for (let i = 1; i <= count; i++) {
      const t = i / count;
      const u = 1 - t;
      const x = u * u * u * x0 + 3 * t * u * u * x1 + 3 * t * t * u * x2 + t * t * t * x3;
      const y = u * u * u * y0 + 3 * t * u * u * y1 + 3 * t * t * u * y2 + t * t * t * y3;
      along = this.line(px, py, x, y, alpha, along);
      px = x;
      py = y;
    }
  }

  /** A straight piece, each pixel shared between the two it lies on; `along`: length drawn before, then after. */
  private line(x0: number, y0: number, x1: number, y1: number, alpha: number, along: number): number {
    const { width, height, through, broken } = this;
    const steep = Math.abs(y1 - y0) > Math.abs(x1 - x0);
    const steps = Math.max(1, Math.round(steep ? Math.abs(y1 - y0) : Math.abs(x1 - x0)));
    const [dx, dy] = [(x1 - x0) / steps, (y1 - y0) / steps];
    const each = Math.hypot(dx, dy);
    const beside = steep ? 1 : width;
    for (let i = 0; i < steps; i++, along += each) {
      if (broken && along % PERIOD > ON) continue;
      const x = x0 + i * dx - 0.5;
      const y = y0 + i * dy - 0.5;
      const column = steep ? Math.floor(x) : Math.round(x);
      const row = steep ? Math.round(y) : Math.floor(y);
      if (column < 0 || row < 0 || column >= width - 1 || row >= height - 1) continue;
      const off = steep ? x - column : y - row;
      const at = row * width + column;
      through[at]! *= 1 - alpha * (1 - off);
      through[at + beside]! *= 1 - alpha * off;
    }
    return along;
  }

  /** How much of a pixel the lines cover, 0 to 1. */
  covered(pixel: number): number {
    return 1 - this.through[pixel]!;
  }
}

/** Layers from the lowest to the highest in one picture, four bytes a pixel. */
export function flatten(layers: readonly Layer[], colours: readonly Rgb[]): Uint8ClampedArray<ArrayBuffer> {
  const { width, height } = layers[0]!;
  const pixels = new Uint8ClampedArray(4 * width * height);
  for (let i = 0; i < width * height; i++) {
    let [red, green, blue, alpha] = [0, 0, 0, 0];
    for (let k = 0; k < layers.length; k++) {
      const own = layers[k]!.covered(i);
      if (own === 0) continue;
      const colour = colours[k]!;
      red += own * (colour[0] - red);
      green += own * (colour[1] - green);
      blue += own * (colour[2] - blue);
      alpha += own * (1 - alpha);
    }
    if (alpha === 0) continue;
    // The sums are of colour times alpha; the picture wants colour.
    pixels[4 * i] = red / alpha;
    pixels[4 * i + 1] = green / alpha;
    pixels[4 * i + 2] = blue / alpha;
    pixels[4 * i + 3] = 255 * alpha;
  }
  return pixels;
}
