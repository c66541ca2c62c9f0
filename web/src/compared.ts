// The edges of two circuits as rows of a table, and as a file.

import type { Words } from "./comparison.ts";
import { csv } from "./csv.ts";
import type { DrawnEdge } from "./drawing.ts";
import type { EdgeRow } from "./payload.ts";
import type { Wiring } from "./wiring.ts";

export interface ComparedRow {
  source: string;
  destination: string;
  change: string;
  changed: boolean;
  before: number; // signed share of all absolute scores of its map
  after: number;
  difference: number;
  strength: number;
  q: number | null;
}

/** Rows in the order of the edges; `q` where the run tested the edge. */
export function comparedRows(
  wiring: Wiring,
  edges: readonly DrawnEdge[],
  words: Words,
  test: (edge: DrawnEdge) => EdgeRow | undefined,
): ComparedRow[] {
  return edges.map((edge) => ({
    source: wiring.nodes[edge.source]!.name,
    destination: wiring.readers[edge.reader]!.name,
    change: words.edge[edge.status],
    changed: edge.status !== "kept",
    before: edge.before,
    after: edge.after,
    difference: edge.after - edge.before,
    strength: edge.strength,
    q: test(edge)?.q ?? null,
  }));
}

/** The rows as CSV; which circuits they are of stands in every one. */
export function comparedCsv(rows: readonly ComparedRow[], first: string, second: string): string {
  return csv(
    ["before", "after", "source", "destination", "change", "share_before", "share_after", "difference", "q"],
    rows.map((row) => [
      ...[first, second, row.source, row.destination, row.change],
      ...[digits(row.before), digits(row.after), digits(row.difference), row.q],
    ]),
  );
}

/** Embedded scores carry three digits: more would pretend. */
function digits(value: number): number {
  return Number(value.toPrecision(4));
}
