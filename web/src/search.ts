// Nodes by name or by what they are.

import { describeNode, type Wiring } from "./wiring.ts";

/** Nodes whose name or description holds every word: "a3", "mlp", "head 5 layer 2"; none where nothing is asked. */
export function findNodes(wiring: Wiring, text: string): number[] {
  const words = (text.toLowerCase().match(/(?:layer|head)\s+\d+|\S+/g) ?? []).map(pattern);
  if (words.length === 0) return [];
  return wiring.nodes.flatMap((node, i) => {
    const known = ` ${node.name} ${describeNode(node)}`.toLowerCase();
    return words.every((word) => word.test(known)) ? [i] : [];
  });
}

/** A word may be cut short, a number may not: "layer 1" is not layer 11, and "3" alone no part of a name. */
function pattern(word: string): RegExp {
  const literal = word.replace(/\s+/, " ").replace(/[^\p{L}\p{N} ]/gu, "\\$&");
  return new RegExp(`${/^\d/.test(word) ? "(?<=\\s)" : ""}${literal}${/\d$/.test(word) ? "(?!\\d)" : ""}`);
}
