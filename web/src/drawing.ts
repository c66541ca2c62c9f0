// Geometry and painting of the circuit: layers bottom to top, edges on a canvas under the nodes.

import type { EdgeData } from "./binary.ts";
import { type Curve, flatten, Layer } from "./hairs.ts";
import type { Rgb } from "./heat.ts";
import type { Path } from "./paths.ts";
import type { Into } from "./state.ts";
import type { GraphNode, Reader, Wiring } from "./wiring.ts";

export const STATUSES = ["kept", "added", "removed"] as const;
export type Status = (typeof STATUSES)[number];

/** One edge to draw, with its signed shares of its map's total absolute score before and after. */
export interface DrawnEdge {
  edge: number;
  source: number;
  reader: number;
  status: Status;
  before: number;
  after: number;
  strength: number; // the larger share of the circuits it is in
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
  step: number; // from a head to the next
  boxes: Box[]; // by node
  layerY: number[]; // by layer, the height of its label
}

export type Colours = Record<Status, string>;

const MOST_BOW = 44;
const DASHES: Record<Status, number[]> = { kept: [], added: [], removed: [5, 3.5] };

/** Edges of the circuit before or after, strongest first. */
export function changedEdges(wiring: Wiring, before: EdgeData, after: EdgeData): DrawnEdge[] {
  const edges: DrawnEdge[] = [];
  for (let edge = 0; edge < wiring.edgeSource.length; edge++) {
    const was = before.inside[edge] === 1;
    const is = after.inside[edge] === 1;
    if (!was && !is) continue;
    const [old, now] = [before.values[edge]! / before.total, after.values[edge]! / after.total];
    edges.push({
      edge,
      source: wiring.edgeSource[edge]!,
      reader: wiring.edgeReader[edge]!,
      status: was && is ? "kept" : is ? "added" : "removed",
      before: old,
      after: now,
      strength: Math.max(was ? Math.abs(old) : 0, is ? Math.abs(now) : 0),
    });
  }
  return edges.sort((a, b) => b.strength - a.strength || a.edge - b.edge);
}

/** Edges into one kind of input, in the order given. */
export function arriving(wiring: Wiring, edges: readonly DrawnEdge[], into: Into): readonly DrawnEdge[] {
  if (into === "all") return edges;
  return edges.filter(({ reader }) => inputOf(wiring.readers[reader]!, wiring) === into);
}

/** The letter of a head's input, or what else it is the input of. */
function inputOf({ letter, nodes }: Reader, wiring: Wiring): string {
  return letter || wiring.nodes[nodes[0]!]!.kind;
}

/** The strongest of these edges, strongest first as they come. */
export function strongestOf(edges: readonly DrawnEdge[], limit: number, least: number): DrawnEdge[] {
  const weak = least > 0 ? edges.findIndex((edge) => edge.strength < least) : -1;
  return edges.slice(0, Math.min(limit, weak < 0 ? edges.length : weak));
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
/** Pixels that a finger needs, where the drawing has them: nodes are touched around their boxes too. */
export const TOUCH = 32;

export function layOut(wiring: Wiring, width: number): Layout {
  const gutter = width < 480 ? 22 : 58;
  const step = (width - gutter - 6 - MOST_BOW / 2) / (wiring.heads + 1.7);
  const boxWidth = Math.min(46, step * 0.74);
  const boxHeight = Math.max(10, Math.min(22, boxWidth * 0.62));
  const row = Math.max(34, Math.min(66, 760 / (wiring.layers + 2))) * (wiring.parallel ? 1 : 1.5);
  const top = Math.max(boxHeight, TOUCH) / 2 + 4;
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
  return { width, height, gutter, step, boxes, layerY };
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
  const thick = strongestFew(edges);
  const order = edges.toSorted((a, b) => RANK[a.status] - RANK[b.status] || a.strength - b.strength);
  const alpha = ({ status, strength }: DrawnEdge) => {
    const root = Math.sqrt(strength / strongest);
    const own = status === "kept" ? 0.16 + 0.6 * root : 0.36 + 0.59 * root;
    return alone ? Math.max(own, 0.65) : own;
  };
  if (thick.size < edges.length)
    paintHairs(
      canvas,
      wiring,
      layout,
      order.filter((edge) => !thick.has(edge)),
      colours,
      alpha,
    );
  for (const edge of order) {
    if (!thick.has(edge)) continue;
    canvas.globalAlpha = alpha(edge);
    canvas.lineWidth = 0.9 + 2.1 * Math.sqrt(edge.strength / strongest);
    canvas.strokeStyle = colours[edge.status];
    canvas.setLineDash(DASHES[edge.status]);
    for (const node of wiring.readers[edge.reader]!.nodes) trace(canvas, wiring, layout, edge, node);
  }
  canvas.globalAlpha = 1;
}

const RANK: Record<Status, number> = { kept: 0, removed: 1, added: 2 };
const MOST_THICK = 250;

/** The edges that are worth a wide line; of a few, all. */
function strongestFew(edges: readonly DrawnEdge[]): ReadonlySet<DrawnEdge> {
  if (edges.length <= 2 * MOST_THICK) return new Set(edges);
  return new Set(edges.toSorted((a, b) => b.strength - a.strength).slice(0, MOST_THICK));
}

/** Paint edges as hair lines: among thousands nobody could tell wider ones apart, and these are quick. */
function paintHairs(
  canvas: CanvasRenderingContext2D,
  wiring: Wiring,
  layout: Layout,
  edges: readonly DrawnEdge[],
  colours: Colours,
  alpha: (edge: DrawnEdge) => number,
): void {
  const { width, height } = canvas.canvas;
  const ratio = canvas.getTransform().a;
  const byRank = STATUSES.toSorted((a, b) => RANK[a] - RANK[b]);
  const layers = byRank.map((status) => new Layer(width, height, DASHES[status].length > 0));
  for (const edge of edges) {
    for (const node of wiring.readers[edge.reader]!.nodes) {
      const curve = curveOf(wiring, layout, edge, node).map((pixel) => pixel * ratio);
      layers[RANK[edge.status]]!.curve(curve as unknown as Curve, alpha(edge));
    }
  }
  const pixels = flatten(
    layers,
    byRank.map((status) => rgbOf(canvas, colours[status])),
  );
  canvas.putImageData(new ImageData(pixels, width, height), 0, 0);
}

/** A colour of the style sheet in numbers. */
export function rgbOf(canvas: CanvasRenderingContext2D, colour: string): Rgb {
  canvas.fillStyle = colour; // the canvas reads it as #rrggbb
  const hex = Number.parseInt(canvas.fillStyle.slice(1), 16);
  return [hex >> 16, (hex >> 8) & 255, hex & 255];
}

/** Paint a path over what is there, in the colour of the text. */
export function paintPath(
  canvas: CanvasRenderingContext2D,
  wiring: Wiring,
  layout: Layout,
  path: Path,
  ink: string,
): void {
  canvas.strokeStyle = ink;
  canvas.lineWidth = 2.4;
  canvas.setLineDash([]);
  for (const hop of path.hops) trace(canvas, wiring, layout, hop.edge, hop.to);
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

const RING = 4; // pixels between a box and the ring round it

/** Paint the mark of a held node: a second line round its box. */
export function paintRing(canvas: CanvasRenderingContext2D, node: GraphNode, box: Box, ink: string): void {
  const [width, height] = [box.width + 2 * RING, box.height + 2 * RING];
  canvas.beginPath();
  canvas.roundRect(box.x - width / 2, box.y - height / 2, width, height, cornerRadius(node, box) + RING);
  canvas.strokeStyle = ink;
  canvas.lineWidth = 1.6;
  canvas.setLineDash([]);
  canvas.stroke();
}

/** From the top of the source to the q, k or v part of the reader's underside. */
function trace(
  canvas: CanvasRenderingContext2D,
  wiring: Wiring,
  layout: Layout,
  edge: DrawnEdge,
  node: number,
): void {
  const [x0, y0, x1, y1, x2, y2, x3, y3] = curveOf(wiring, layout, edge, node);
  canvas.beginPath();
  canvas.moveTo(x0, y0);
  canvas.bezierCurveTo(x1, y1, x2, y2, x3, y3);
  canvas.stroke();
}

/** Ends and handles: x and y of the start, of both handles, of the end. */
function curveOf(wiring: Wiring, layout: Layout, edge: DrawnEdge, node: number): Curve {
  const from = layout.boxes[edge.source]!;
  const to = layout.boxes[node]!;
  const { letter } = wiring.readers[edge.reader]!;
  const shift = { q: -0.3, k: 0, v: 0.3, "": 0 }[letter] * to.width;
  const [x0, y0] = [from.x + spread(from, to.x), from.y - from.height / 2];
  const [x1, y1] = [to.x + shift + (letter ? 0 : spread(to, from.x)), to.y + to.height / 2];
  const bend = Math.max(12, (y0 - y1) * 0.45);
  // Past the boxes in its own column.
  const bow = Math.abs(x1 - x0) < to.width * 0.6 ? Math.min(MOST_BOW, Math.max(0, (y0 - y1) * 0.16 - 8)) : 0;
  return [x0, y0, x0 + bow, y0 - bend, x1 + bow, y1 + bend, x1, y1];
}

/** Where along a wide box an edge leaves or arrives: towards its other end. */
function spread(box: Box, x: number): number {
  const half = box.width * 0.36;
  return Math.max(-half, Math.min(half, (x - box.x) * 0.12));
}
