// The way through a node: from the input to it, and on to the logits.

import type { DrawnEdge, OwnEdges } from "./drawing.ts";
import type { Wiring } from "./wiring.ts";

export type Side = "before" | "after";

/** One edge of a path with the nodes it joins there: a key/value input feeds several. */
export interface Hop {
  edge: DrawnEdge;
  from: number;
  to: number;
}

export interface Path {
  hops: Hop[];
  weakest: number; // share of its map's scores, of the weakest edge
}

/**
 * The path through each node whose weakest edge is strongest, in the circuit before or after.
 *
 * Nodes come in the order in which a model computes them, so one pass each way finds the widest way to the logits
 * and from the input.
 */
export function widestPaths(
  wiring: Wiring,
  own: readonly OwnEdges[],
  side: Side,
): (node: number) => Path | null {
  const last = wiring.nodes.length - 1;
  const order = own.map((_, node) => node);
  const onward = widest(last, order.toReversed(), (node) =>
    own[node]!.out.flatMap((edge) =>
      wiring.readers[edge.reader]!.nodes.map((to): Hop => ({ edge, from: node, to })),
    ),
  );
  const back = widest(0, order, (node) =>
    own[node]!.into.map((edge): Hop => ({ edge, from: edge.source, to: node })),
  );
  return (node) => {
    const hops = [...walk(back, node, 0).reverse(), ...walk(onward, node, last)];
    const whole = (node === 0 || back[node]) && (node === last || onward[node]) && hops.length > 0;
    return whole ? { hops, weakest: Math.min(...hops.map((hop) => width(hop.edge))) } : null;
  };

  function width(edge: DrawnEdge): number {
    const absent = side === "before" ? "added" : "removed";
    return edge.status === absent ? 0 : Math.abs(edge[side]);
  }

  /** For each node the first hop of its widest way to the end. */
  function widest(end: number, order: number[], hops: (node: number) => Hop[]): (Hop | undefined)[] {
    const reach = own.map((_, node) => (node === end ? Number.POSITIVE_INFINITY : 0));
    const first: (Hop | undefined)[] = [];
    for (const node of order) {
      for (const hop of hops(node)) {
        const wide = Math.min(width(hop.edge), reach[hop.from === node ? hop.to : hop.from]!);
        if (wide > reach[node]!) [reach[node], first[node]] = [wide, hop];
      }
    }
    return first;
  }

  function walk(first: (Hop | undefined)[], start: number, end: number): Hop[] {
    const hops: Hop[] = [];
    for (let node = start, hop = first[node]; node !== end && hop; hop = first[node]) {
      hops.push(hop);
      node = hop.from === node ? hop.to : hop.from;
    }
    return hops;
  }
}
