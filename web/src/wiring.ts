// The graph as the page uses it: what each name means, and the edges in the order of the data blocks.

import type { GraphRecord } from "./payload.ts";

export type NodeKind = "input" | "head" | "mlp" | "logits";

/** One box of the drawing: an attention head or an MLP with its layer, or one of the two ends. */
export interface GraphNode {
  name: string;
  kind: NodeKind;
  layer: number;
  head: number;
}

/** Whether heads have one input in place of a query, a key and a value. */
export function isMerged({ readers }: Pick<Wiring, "readers">): boolean {
  return readers.every((reader) => reader.letter === "");
}

/** Where an edge arrives: the nodes that the input feeds (all heads of a group for k and v), and its letter. */
export interface Reader {
  name: string;
  nodes: number[];
  letter: "q" | "k" | "v" | "";
}

/** A graph with its edges listed destination by destination, as the data blocks are. */
export interface Wiring {
  layers: number;
  heads: number;
  parallel: boolean;
  nodes: GraphNode[];
  readers: Reader[];
  readable: number[]; // by reader, how many sources, counted from the first, have an edge into it
  edgeSource: Uint32Array;
  edgeReader: Uint32Array;
}

/** Build the wiring; sources become nodes 0..S-1 and the logits node S. */
export function wire(graph: GraphRecord): Wiring {
  const nodes = [...graph.sources, "logits"].map((name) => parseNode(name, graph.layers));
  const index = new Map(nodes.map((node, i) => [node.name, i]));
  const readers = graph.destinations.map((name) => parseReader(name, graph, index));
  const total = graph.readable.reduce((sum, n) => sum + n, 0);
  const edgeSource = new Uint32Array(total);
  const edgeReader = new Uint32Array(total);
  let edge = 0;
  graph.readable.forEach((sources, reader) => {
    for (let source = 0; source < sources; source++) {
      edgeSource[edge] = source;
      edgeReader[edge++] = reader;
    }
  });
  return { ...graph, nodes, readers, edgeSource, edgeReader };
}

/** "a0.h1->m2", the name of one edge. */
export function edgeName(wiring: Wiring, edge: number): string {
  return `${wiring.nodes[wiring.edgeSource[edge]!]!.name}->${wiring.readers[wiring.edgeReader[edge]!]!.name}`;
}

/** What a node is, in words. */
export function describeNode(node: GraphNode): string {
  if (node.kind === "input") return "input (token embeddings)";
  if (node.kind === "logits") return "logits (the model's answer)";
  return node.kind === "mlp" ? `MLP of layer ${node.layer}` : `head ${node.head} of layer ${node.layer}`;
}

function parseNode(name: string, layers: number): GraphNode {
  const head = /^a(\d+)\.h(\d+)$/.exec(name);
  if (head) return { name, kind: "head", layer: Number(head[1]), head: Number(head[2]) };
  const mlp = /^m(\d+)$/.exec(name);
  if (mlp) return { name, kind: "mlp", layer: Number(mlp[1]), head: -1 };
  return name === "input"
    ? { name, kind: "input", layer: -1, head: -1 }
    : { name, kind: "logits", layer: layers, head: -1 };
}

function parseReader(name: string, graph: GraphRecord, index: Map<string, number>): Reader {
  const own = index.get(name);
  if (own !== undefined) return { name, nodes: [own], letter: "" };
  const parts = /^a(\d+)\.(h|kv)(\d+)<([qkv])>$/.exec(name);
  if (!parts) throw new Error(`unknown destination ${name}`);
  const group = parts[2] === "kv" ? graph.heads / graph.kv_heads : 1;
  const first = Number(parts[3]) * group;
  const heads = Array.from({ length: group }, (_, i) => index.get(`a${parts[1]}.h${first + i}`)!);
  return { name, nodes: heads, letter: parts[4] as Reader["letter"] };
}
