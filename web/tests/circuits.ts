// A small graph, and circuits of it given edge by edge.

import type { EdgeData } from "../src/binary.ts";
import { edgeName, wire } from "../src/wiring.ts";
import { GROUPED } from "./rows.ts";

export const WIRING = wire(GROUPED);
export const NAMES = Array.from({ length: WIRING.edgeSource.length }, (_, edge) => edgeName(WIRING, edge));

/** A circuit of these edges, all others zero; `beside`: scores of edges that are not in it. */
export function circuit(scores: Record<string, number>, beside: Record<string, number> = {}): EdgeData {
  const values = new Float32Array(NAMES.length);
  const inside = new Uint8Array(NAMES.length);
  for (const [name, score] of Object.entries({ ...beside, ...scores })) values[place(name)] = score;
  for (const name of Object.keys(scores)) inside[place(name)] = 1;
  return { values, inside, total: values.reduce((sum, value) => sum + Math.abs(value), 0) || 1 };
}

export function node(name: string): number {
  return WIRING.nodes.findIndex((candidate) => candidate.name === name);
}

function place(name: string): number {
  const edge = NAMES.indexOf(name);
  if (edge < 0) throw new Error(`no edge ${name}`);
  return edge;
}
