// One drawing of the circuit: canvases with the edges under SVG nodes that take pointer and keyboard.
//
// The drawing must follow the pointer in models of hundreds of nodes. So pointing at a node changes no element: all
// of them fade at once, and the node, its neighbours and its edges are painted on a canvas above them.

import { type RefObject } from "preact";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { useWidth } from "../chart.tsx";
import {
  type Box,
  type Colours,
  cornerRadius,
  type DrawnEdge,
  type Layout,
  layOut,
  type Look,
  neighbourhood,
  nodeText,
  type OwnEdges,
  paint,
  paintNode,
  paintPath,
  paintRing,
  type Status,
  TOUCH,
} from "../drawing.ts";
import type { Words } from "../comparison.ts";
import type { Path } from "../paths.ts";
import { describeNode, type GraphNode, type Wiring } from "../wiring.ts";
import type { Scene } from "./scene.ts";

export type DrawnPart = "both" | "before" | "after";

interface DrawingProps {
  scene: Scene;
  drawn: DrawnEdge[]; // strongest first
  part: DrawnPart;
  title: string;
  titled: boolean;
}

/** Edges of the part shown: before has no added ones, after no removed ones. */
function ofPart(edges: DrawnEdge[], part: DrawnPart): DrawnEdge[] {
  const absent = part === "before" ? "added" : part === "after" ? "removed" : null;
  return absent ? edges.filter((edge) => edge.status !== absent) : edges;
}

/** The drawing, as wide as its place: the strongest edges on one canvas, those of the node in focus on another. */
export function Drawing(props: DrawingProps) {
  const { scene, drawn, part, title, titled } = props;
  const { wiring, statuses, words, found, focus, held, onHold } = scene;
  const [ref, width] = useWidth<HTMLDivElement>(680);
  const dark = useDark();
  const layout = useMemo(() => layOut(wiring, width), [wiring, width]);
  const shown = useMemo(() => ofPart(drawn, part), [drawn, part]);
  const base = useRef<HTMLCanvasElement>(null);
  const over = useRef<HTMLCanvasElement>(null);
  const place = { wiring, layout, strongest: scene.edges[0]?.strength || 1, dark };
  usePainted(base, place, shown);
  useFollowed(ref, over, place, props);
  const nodes = useMemo(
    () => <Nodes {...{ wiring, layout, statuses, words, found, part, title, focus, held, onHold }} />,
    [wiring, layout, statuses, words, found, part, title, focus, held, onHold],
  );
  const size = { width: `${layout.width}px`, height: `${layout.height}px` };
  return (
    <div class="drawing-place">
      {titled && <h3>{title}</h3>}
      <div ref={ref} class="drawing" data-edges={shown.length}>
        <div class="stage" style={{ height: size.height }}>
          <canvas ref={base} class="base" style={size} />
          <LayerNames layout={layout} />
          {nodes}
          <canvas ref={over} class="over" style={size} />
        </div>
      </div>
    </div>
  );
}

/** What a canvas is painted with. */
interface Place {
  wiring: Wiring;
  layout: Layout;
  strongest: number;
  dark: boolean;
}

/** Fit a canvas to the layout and to the screen's pixels; this empties it. */
function fit(canvas: HTMLCanvasElement, layout: Layout): void {
  const ratio = globalThis.devicePixelRatio || 1;
  canvas.width = Math.round(layout.width * ratio);
  canvas.height = Math.round(layout.height * ratio);
  canvas.getContext("2d")?.scale(ratio, ratio);
}

function coloursOf(element: Element): Colours {
  const styles = getComputedStyle(element);
  const colour = (status: Status) => styles.getPropertyValue(`--${status}`).trim();
  return { kept: colour("kept"), added: colour("added"), removed: colour("removed") };
}

/** Keep a canvas painted with these edges. */
function usePainted(canvas: RefObject<HTMLCanvasElement | null>, place: Place, edges: DrawnEdge[]): void {
  const { wiring, layout, strongest, dark } = place;
  useLayoutEffect(() => {
    const element = canvas.current;
    const context = element?.getContext("2d");
    if (!element || !context) return;
    fit(element, layout);
    paint(context, wiring, layout, edges, coloursOf(element), strongest);
  }, [canvas, wiring, layout, edges, strongest, dark]);
}

/** Show the node in focus, its neighbours and its edges, whenever the focus moves. */
function useFollowed(
  drawing: RefObject<HTMLElement | null>,
  canvas: RefObject<HTMLCanvasElement | null>,
  place: Place,
  { scene, part }: DrawingProps,
): void {
  const { wiring, layout, strongest, dark } = place;
  const { focus, chosen, statuses, held, found, pathOf } = scene;
  useLayoutEffect(() => {
    const root = drawing.current;
    const context = canvas.current?.getContext("2d");
    if (!root || !canvas.current || !context) return;
    fit(canvas.current, layout);
    const colours = coloursOf(root);
    const ink = getComputedStyle(root).color;
    const look = looksOf(root);
    const show = (node: number | null) => {
      root.toggleAttribute("data-focused", node !== null);
      const { into, out } = node === null ? NO_EDGES : chosen[node]!;
      const mine = { into: ofPart(into, part), out: ofPart(out, part) };
      paint(context, wiring, layout, [...mine.into, ...mine.out], colours, strongest, true);
      if (node === null) return;
      const path = pathIn(part, pathOf(node));
      if (path) paintPath(context, wiring, layout, path, ink);
      const near = neighbourhood(wiring, mine, node);
      for (const hop of path?.hops ?? []) near.add(hop.from).add(hop.to);
      if (held !== null) near.add(held);
      for (const i of near) {
        paintNode(context, wiring.nodes[i]!, layout.boxes[i]!, look(i, i === node));
      }
      if (held !== null) paintRing(context, wiring.nodes[held]!, layout.boxes[held]!, ink);
    };
    show(focus.node);
    return focus.listen(show);
  }, [drawing, canvas, wiring, layout, strongest, dark, focus, chosen, part, statuses, held, found, pathOf]);
}

/** A path as far as it belongs to the part shown: whole, or not at all. */
function pathIn(part: DrawnPart, path: Path | null): Path | null {
  if (!path || part === "both") return path;
  const edges = path.hops.map((hop) => hop.edge);
  return ofPart(edges, part).length === edges.length ? path : null;
}

/** How each node looks by the style sheet, read once for all that share a class; the one in focus is inverted. */
function looksOf(root: Element): (node: number, inverted: boolean) => Look {
  const elements = root.querySelectorAll("[data-node]");
  const known = new Map<string, Look>();
  const read = (element: Element): Look => {
    const [rect, text] = [getComputedStyle(element.querySelector("rect")!), getComputedStyle(element)];
    return {
      fill: rect.fill,
      stroke: rect.stroke,
      width: Number.parseFloat(rect.strokeWidth),
      dash: rect.strokeDasharray.split(",").map(Number.parseFloat).filter(Number.isFinite),
      ink: getComputedStyle(element.querySelector("text")!).fill,
      font: `${text.fontSize} ${text.fontFamily}`,
    };
  };
  return (node, inverted) => {
    const name = elements[node]!.getAttribute("class")!;
    const look = known.get(name) ?? read(elements[node]!);
    known.set(name, look);
    if (!inverted) return look;
    const ink = getComputedStyle(root).color;
    return { ...look, fill: ink, stroke: ink, ink: look.fill };
  };
}

const NO_EDGES: OwnEdges = { into: [], out: [] };

/** Whether the page is dark, followed as it changes: the canvas must be painted again. */
export function useDark(): boolean {
  const query = useMemo(() => matchMedia("(prefers-color-scheme: dark)"), []);
  const [dark, setDark] = useState(query.matches);
  useEffect(() => {
    const follow = () => setDark(query.matches);
    query.addEventListener("change", follow);
    return () => query.removeEventListener("change", follow);
  }, [query]);
  return dark;
}

type NodesProps = Pick<DrawingProps, "part" | "title"> &
  Pick<Scene, "wiring" | "statuses" | "words" | "found" | "focus" | "held" | "onHold"> & { layout: Layout };

/** All nodes; events are taken where they bubble to, and which node is tabbed to is kept on the elements. */
function Nodes(props: NodesProps) {
  const { wiring, statuses, words, found, part, title, focus, held, onHold, layout } = props;
  const at = ({ target }: Event) => {
    const element = (target as Element).closest<SVGElement>("[data-node]");
    return element ? Number(element.dataset["index"]) : null;
  };
  const toggle = (node: number | null) => node !== null && onHold(held === node ? null : node);
  const move = (event: KeyboardEvent) => {
    const node = at(event);
    if (node === null) return;
    if (event.key === "Enter" || event.key === " ") toggle(node);
    else if (event.key.startsWith("Arrow"))
      step(event.currentTarget as Element, node, neighbour(layout, node, event.key));
    else return;
    event.preventDefault();
  };
  return (
    <svg
      width={layout.width}
      height={layout.height}
      role="group"
      aria-label={title}
      class="nodes"
      onPointerOver={(event) => focus.point(at(event))}
      onPointerLeave={() => focus.point(null)}
      onFocusIn={(event) => focus.point(at(event))}
      onFocusOut={() => focus.point(null)}
      onClick={(event) => toggle(at(event))}
      onKeyDown={move}
    >
      {wiring.nodes.map((node, i) => (
        <g
          key={node.name}
          role="button"
          data-node={node.name}
          data-index={i}
          tabindex={i === 0 ? 0 : -1}
          aria-pressed={held === i}
          aria-label={`${describeNode(node)}, ${inWords(words, statuses[i])}`}
          class={`node ${shownStatus(statuses[i], part)}${held === i ? " held" : ""}${found.has(i) ? " found" : ""}`}
        >
          <NodeShape node={node} layout={layout} index={i} />
        </g>
      ))}
    </svg>
  );
}

/** In a picture of their own: nodes fade while one is in focus, the names of layers do not. */
function LayerNames({ layout: { width, height, gutter, layerY } }: { layout: Layout }) {
  return (
    <svg width={width} height={height} class="layer-names">
      {layerY.map((y, layer) => (
        <text key={y} x={0} y={y + 4}>
          {gutter < 40 ? layer : `layer ${layer}`}
        </text>
      ))}
    </svg>
  );
}

/** Move keyboard focus, and the one node that Tab reaches, from a node to another. */
function step(svg: Element, from: number, to: number): void {
  const element = (node: number) => svg.querySelector<SVGElement>(`[data-index="${node}"]`)!;
  element(from).tabIndex = -1;
  element(to).tabIndex = 0;
  element(to).focus();
}

function NodeShape({ node, layout, index }: { node: GraphNode; layout: Layout; index: number }) {
  const box = layout.boxes[index]!;
  return (
    <>
      <rect
        x={box.x - box.width / 2}
        y={box.y - box.height / 2}
        width={box.width}
        height={box.height}
        rx={cornerRadius(node, box)}
      />
      <text x={box.x} y={box.y + 4} text-anchor="middle">
        {nodeText(node, box)}
      </text>
      <path d={touched(box, layout.step)} class="hit" />
    </>
  );
}

/** Where a node takes a finger: its box, and around it as far as a finger needs and its neighbours leave room. */
function touched({ x, y, width, height }: Box, step: number): string {
  const [wide, high] = [Math.max(width, Math.min(step, TOUCH)), Math.max(height, TOUCH)];
  return `M${x - wide / 2} ${y - high / 2}h${wide}v${high}h${-wide}z`;
}

/** In one of two drawings a node that is not in that circuit is as absent as any other. */
function shownStatus(status: Status | undefined, part: DrawnPart): string {
  if ((part === "before" && status === "added") || (part === "after" && status === "removed"))
    return "absent";
  return status ?? "absent";
}

/** A node's status, in words. */
export function inWords(words: Words, status: Status | undefined): string {
  return status ? words.node[status] : "not in the circuit";
}

/** The nearest node in the direction of an arrow key, or the node itself at the border. */
export function neighbour(layout: Layout, node: number, key: string): number {
  const here = layout.boxes[node]!;
  const sideways = key === "ArrowLeft" || key === "ArrowRight";
  const sign = key === "ArrowRight" || key === "ArrowDown" ? 1 : -1;
  let best = node;
  let least = Number.POSITIVE_INFINITY;
  layout.boxes.forEach((box, i) => {
    const [dx, dy] = [box.x - here.x, box.y - here.y];
    const along = sign * (sideways ? dx : dy);
    const across = Math.abs(sideways ? dy : dx);
    const row = sideways ? across < 1 : along > 1;
    const cost = along + (sideways ? 100 : 0.05) * across;
    if (along > 0.5 && row && cost < least) [best, least] = [i, cost];
  });
  return best;
}
