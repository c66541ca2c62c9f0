// Geometry and painting of the circuit: layers bottom to top, edges on a canvas under the nodes.

import type { EdgeData } from "./binary.ts";
import type { GraphNode, Wiring } from "./wiring.ts";

export type Status = "kept" | "added" | "removed";

/** One edge to draw; `strength` is its share of its map's total absolute score, the larger of before and after. */
export interface DrawnEdge {
  edge: number;
  source: number;
  reader: number;
  status: Status;
  strength: number;
}

export interface Box {
  x: number; // centre
  y: number;
  width: number;
  height: number;
}

export interface Layout {
  width: number;
  height: number;
  gutter: number;
  boxes: Box[]; // by node
  layerY: number[]; // by layer, the height of its label
}

export type Colours = Record<Status, string>;

const MOST_BOW = 44;
const DASHES: Record<Status, number[]> = { kept: [], added: [], removed: [5, 3.5] };

/** Edges of the circuit before or after, strongest first. */
export function changedEdges(wiring: Wiring, before: EdgeData, after: EdgeData): DrawnEdge[] {
  const [totalBefore, totalAfter] = [total(before.values), total(after.values)];
  const edges: DrawnEdge[] = [];
  for (let edge = 0; edge < wiring.edgeSource.length; edge++) {
    const was = before.inside[edge] === 1;
    const is = after.inside[edge] === 1;
    if (!was && !is) continue;
    edges.push({
      edge,
      source: wiring.edgeSource[edge]!,
      reader: wiring.edgeReader[edge]!,
      status: was && is ? "kept" : is ? "added" : "removed",
      strength: Math.max(
        was ? Math.abs(before.values[edge]!) / totalBefore : 0,
        is ? Math.abs(after.values[edge]!) / totalAfter : 0,
      ),
    });
  }
  return edges.sort((a, b) => b.strength - a.strength || a.edge - b.edge);
}

function total(values: Float32Array): number {
  return values.reduce((sum, value) => sum + Math.abs(value), 0) || 1;
}

/** Status of every node from all edges of the circuit; undefined where it is in neither. */
export function nodeStatus(wiring: Wiring, edges: readonly DrawnEdge[]): (Status | undefined)[] {
  const before = new Set<number>();
  const after = new Set<number>();
  for (const { source, reader, status } of edges) {
    for (const node of [source, ...wiring.readers[reader]!.nodes]) {
      if (status !== "added") before.add(node);
      if (status !== "removed") after.add(node);
    }
  }
  return wiring.nodes.map((_, node) => {
    if (before.has(node)) return after.has(node) ? "kept" : "removed";
    return after.has(node) ? "added" : undefined;
  });
}

/** The edges of one node, in the order in which all were given. */
export interface OwnEdges {
  into: DrawnEdge[];
  out: DrawnEdge[];
}

/** The edges of every node, by node. */
export function edgesByNode(wiring: Wiring, edges: readonly DrawnEdge[]): OwnEdges[] {
  const own = wiring.nodes.map((): OwnEdges => ({ into: [], out: [] }));
  for (const edge of edges) {
    own[edge.source]!.out.push(edge);
    for (const node of wiring.readers[edge.reader]!.nodes) own[node]!.into.push(edge);
  }
  return own;
}

/** A node and all that one of its edges joins it to. */
export function neighbourhood(wiring: Wiring, { into, out }: OwnEdges, node: number): Set<number> {
  const near = new Set([node]);
  for (const edge of into) near.add(edge.source);
  for (const edge of [...into, ...out]) for (const at of wiring.readers[edge.reader]!.nodes) near.add(at);
  return near;
}

/** Place every node for a drawing of this width. */
export function layOut(wiring: Wiring, width: number): Layout {
  const gutter = width < 480 ? 22 : 58;
  const step = (width - gutter - 6 - MOST_BOW / 2) / (wiring.heads + 1.7);
  const boxWidth = Math.min(46, step * 0.74);
  const boxHeight = Math.max(10, Math.min(22, boxWidth * 0.62));
  const row = Math.max(34, Math.min(66, 760 / (wiring.layers + 2))) * (wiring.parallel ? 1 : 1.5);
  const top = boxHeight / 2 + 4;
  const height = Math.round(2 * top + (wiring.layers + 1) * row);
  const layerY = Array.from({ length: wiring.layers }, (_, layer) => height - top - (layer + 1) * row);
  const columnX = (column: number) => gutter + step * (column + 0.5);
  const lift = wiring.parallel ? 0 : row * 0.42; // in serial blocks the heads feed the MLP of their layer
  const boxes = wiring.nodes.map(({ kind, layer, head }): Box => {
    if (kind === "head") return { x: columnX(head), y: layerY[layer]!, width: boxWidth, height: boxHeight };
    if (kind === "mlp") {
      return {
        x: columnX(wiring.heads + 0.45),
        y: layerY[layer]! - lift,
        width: step * 1.05,
        height: boxHeight,
      };
    }
    const x = gutter + (width - gutter) / 2;
    return {
      x,
      y: kind === "input" ? height - top : top,
      width: Math.min(120, width / 3),
      height: boxHeight,
    };
  });
  return { width, height, gutter, boxes, layerY };
}

/** Paint edges over an empty canvas; those of a node `alone` are never faint. `strongest` sets the scale. */
export function paint(
  canvas: CanvasRenderingContext2D,
  wiring: Wiring,
  layout: Layout,
  edges: readonly DrawnEdge[],
  colours: Colours,
  strongest: number,
  alone = false,
): void {
  canvas.clearRect(0, 0, layout.width, layout.height);
  const rank = { kept: 0, removed: 1, added: 2 };
  const order = edges.toSorted((a, b) => rank[a.status] - rank[b.status] || a.strength - b.strength);
  for (const edge of order) {
    const strength = Math.sqrt(edge.strength / strongest);
    const alpha = edge.status === "kept" ? 0.16 + 0.6 * strength : 0.36 + 0.59 * strength;
    canvas.globalAlpha = alone ? Math.max(alpha, 0.65) : alpha;
    canvas.lineWidth = 0.9 + 2.1 * strength;
    canvas.strokeStyle = colours[edge.status];
    canvas.setLineDash(DASHES[edge.status]);
    for (const node of wiring.readers[edge.reader]!.nodes) trace(canvas, wiring, layout, edge, node);
  }
  canvas.globalAlpha = 1;
}

/** How a node looks: what the style sheet says of its box and its letters. */
export interface Look {
  fill: string;
  stroke: string;
  width: number;
  dash: number[];
  ink: string;
  font: string;
}

/** Corners of a node's box. */
export function cornerRadius(node: GraphNode, box: Box): number {
  return node.kind === "head" ? 3 : box.height / 2;
}

/** What stands in a node's box; nothing where it would not fit. */
export function nodeText(node: GraphNode, box: Box): string {
  const text = { input: "input", logits: "logits", mlp: "MLP", head: String(node.head) }[node.kind];
  return text.length * 6.2 < box.width - 2 ? text : "";
}

/** Paint one node as its SVG element is drawn. */
export function paintNode(canvas: CanvasRenderingContext2D, node: GraphNode, box: Box, look: Look): void {
  canvas.beginPath();
  const [x, y] = [box.x - box.width / 2, box.y - box.height / 2];
  canvas.roundRect(x, y, box.width, box.height, cornerRadius(node, box));
  canvas.fillStyle = look.fill;
  canvas.fill();
  canvas.strokeStyle = look.stroke;
  canvas.lineWidth = look.width;
  canvas.setLineDash(look.dash);
  canvas.stroke();
  canvas.fillStyle = look.ink;
  canvas.font = look.font;
  canvas.textAlign = "center";
  canvas.fillText(nodeText(node, box), box.x, box.y + 4);
}

/** From the top of the source to the q, k or v part of the reader's underside. */
function trace(
  canvas: CanvasRenderingContext2D,
  wiring: Wiring,
  layout: Layout,
  edge: DrawnEdge,
  node: number,
): void {
  const from = layout.boxes[edge.source]!;
  const to = layout.boxes[node]!;
  const shift = { q: -0.3, k: 0, v: 0.3, "": 0 }[wiring.readers[edge.reader]!.letter] * to.width;
  const [x0, y0] = [from.x + spread(from, to.x), from.y - from.height / 2];
  const [x1, y1] = [
    to.x + shift + (wiring.readers[edge.reader]!.letter ? 0 : spread(to, from.x)),
    to.y + to.height / 2,
  ];
  const bend = Math.max(12, (y0 - y1) * 0.45);
  canvas.beginPath();
  canvas.moveTo(x0, y0);
  const bow = Math.abs(x1 - x0) < to.width * 0.6 ? Math.min(MOST_BOW, Math.max(0, (y0 - y1) * 0.16 - 8)) : 0; // past the boxes in its own column
  canvas.bezierCurveTo(x0 + bow, y0 - bend, x1 + bow, y1 + bend, x1, y1);
  canvas.stroke();
}

/** Where along a wide box an edge leaves or arrives: towards its other end. */
function spread(box: Box, x: number): number {
  const half = box.width * 0.36;
  return Math.max(-half, Math.min(half, (x - box.x) * 0.12));
}
