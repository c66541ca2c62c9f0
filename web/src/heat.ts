// The heat map: every possible edge as a cell, sources from below, destinations from the left.

import type { EdgeData } from "./binary.ts";
import type { Heat } from "./state.ts";
import type { Wiring } from "./wiring.ts";

/** Colours of cells, in the order of `tone`. */
export const TONES = ["kept", "added", "removed", "outside"] as const;

/** By edge: which colour its cell has, and how much of it, 0 to 1. */
export interface Heated {
  tone: Uint8Array;
  amount: Float32Array;
  most: number; // the share of all scores, or the change of it, that has all of its colour
}

/** What to show of every edge: membership in both circuits, the change of its share of all scores, or its share. */
export function heat(kind: Heat, before: EdgeData, after: EdgeData): Heated {
  const edges = before.values.length;
  const value = (edge: number) => {
    const [old, now] = [before.values[edge]! / before.total, after.values[edge]! / after.total];
    if (kind === "circuits") return Math.max(Math.abs(old), Math.abs(now));
    return kind === "change" ? now - old : kind === "before" ? old : now;
  };
  const heated = { tone: new Uint8Array(edges), amount: new Float32Array(edges), most: 0 };
  for (let edge = 0; edge < edges; edge++) {
    const own = value(edge);
    heated.tone[edge] =
      kind === "circuits" ? membership(before.inside[edge]!, after.inside[edge]!) : own < 0 ? 2 : 1;
    heated.amount[edge] = Math.abs(own);
    heated.most = Math.max(heated.most, heated.amount[edge]!);
  }
  // Scores span decades: roots keep the small ones in sight.
  for (let edge = 0; edge < edges; edge++) {
    const root = Math.cbrt(heated.amount[edge]! / (heated.most || 1));
    const member = kind === "circuits" && heated.tone[edge] !== 3;
    heated.amount[edge] = member ? 0.6 + 0.4 * root : kind === "circuits" ? 0.5 * root ** 2 : root;
  }
  return heated;
}

function membership(was: number, is: number): number {
  if (was) return is ? 0 : 2;
  return is ? 1 : 3;
}

/** By reader, the place of its first edge in the lists of edges. */
export function firstEdges(wiring: Wiring): Uint32Array {
  const first = new Uint32Array(wiring.readers.length + 1).fill(wiring.edgeReader.length);
  for (let edge = wiring.edgeReader.length - 1; edge >= 0; edge--) first[wiring.edgeReader[edge]!] = edge;
  return first;
}

export type Rgb = readonly [red: number, green: number, blue: number];

/**
 * Pixels of the map, four bytes each. Where several cells share a pixel the one with most colour has it: a mean
 * would wash out the few edges of a circuit.
 */
export function raster(
  wiring: Wiring,
  { tone, amount }: Pick<Heated, "tone" | "amount">,
  [width, height]: readonly [number, number],
  colours: readonly Rgb[], // of the tones, then that of a possible edge's ground
): Uint8ClampedArray<ArrayBuffer> {
  const most = new Float32Array(width * height).fill(-1);
  const pixels = new Uint8ClampedArray(4 * width * height);
  const columns = wiring.readers.length;
  const rows = wiring.nodes.length - 1;
  const ground = colours.at(-1)!;
  for (let edge = 0; edge < amount.length; edge++) {
    const [column, row] = [wiring.edgeReader[edge]!, rows - 1 - wiring.edgeSource[edge]!];
    const [x0, x1] = span(column, columns, width);
    const [y0, y1] = span(row, rows, height);
    const here = amount[edge]!;
    const colour = colours[tone[edge]!]!;
    for (let y = y0; y < y1; y++) {
      for (let x = x0; x < x1; x++) {
        const at = y * width + x;
        if (here <= most[at]!) continue;
        most[at] = here;
        for (let c = 0; c < 3; c++) pixels[4 * at + c] = ground[c]! + here * (colour[c]! - ground[c]!);
        pixels[4 * at + 3] = 255;
      }
    }
  }
  return pixels;
}

/** Pixels of one cell of many; at least one. */
function span(cell: number, cells: number, pixels: number): [from: number, to: number] {
  const from = Math.min(pixels - 1, Math.floor((cell * pixels) / cells));
  return [from, Math.max(from + 1, Math.floor(((cell + 1) * pixels) / cells))];
}
