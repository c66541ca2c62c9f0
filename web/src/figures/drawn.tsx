// One drawing of the circuit: a canvas with the edges under SVG nodes that take pointer and keyboard.

import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { useWidth } from "../chart.tsx";
import {
  type DrawnEdge,
  type Layout,
  layOut,
  neighbourhood,
  paint,
  type Status,
  touches,
} from "../drawing.ts";
import { describeNode, type GraphNode, type Wiring } from "../wiring.ts";

export type DrawnPart = "both" | "before" | "after";

interface DrawingProps {
  wiring: Wiring;
  edges: DrawnEdge[]; // all, strongest first
  limit: number;
  statuses: (Status | undefined)[];
  part: DrawnPart;
  title: string;
  titled: boolean;
  focus: number | null;
  pinned: number | null;
  onHover: (node: number | null) => void;
  onPin: (node: number | null) => void;
}

/** Edges of the part shown: before has no added ones, after no removed ones. */
function ofPart(edges: DrawnEdge[], part: DrawnPart): DrawnEdge[] {
  const absent = part === "before" ? "added" : part === "after" ? "removed" : null;
  return absent ? edges.filter((edge) => edge.status !== absent) : edges;
}

/** The drawing, as wide as its place: all edges on one canvas, those of the node in focus on another. */
export function Drawing(props: DrawingProps) {
  const { wiring, part, focus, limit } = props;
  const [ref, width] = useWidth<HTMLDivElement>(680);
  const dark = useDark();
  const layout = useMemo(() => layOut(wiring, width), [wiring, width]);
  const all = useMemo(() => ofPart(props.edges, part), [props.edges, part]);
  const shown = useMemo(() => ofPart(props.edges.slice(0, limit), part), [props.edges, part, limit]);
  const own = useMemo(
    () => (focus === null ? [] : all.filter((edge) => touches(wiring, edge, focus))),
    [wiring, all, focus],
  );
  const near = useMemo(
    () => (focus === null ? null : neighbourhood(wiring, own, focus)),
    [wiring, own, focus],
  );
  const strongest = props.edges[0]?.strength || 1;
  const base = usePainted(wiring, layout, shown, strongest, false, dark);
  const over = usePainted(wiring, layout, own, strongest, true, dark);
  const size = { width: `${layout.width}px`, height: `${layout.height}px` };
  return (
    <div class="drawing-place">
      {props.titled && <h3>{props.title}</h3>}
      <div ref={ref} class={near ? "drawing focused" : "drawing"} data-edges={shown.length}>
        <div class="stage" style={{ height: size.height }}>
          <canvas ref={base} class="base" style={size} />
          <canvas ref={over} style={size} />
          <Nodes {...props} layout={layout} near={near} />
        </div>
      </div>
    </div>
  );
}

/** A canvas that is painted again only when its edges, its size or the colours change. */
function usePainted(
  wiring: Wiring,
  layout: Layout,
  edges: DrawnEdge[],
  strongest: number,
  alone: boolean,
  dark: boolean,
) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const element = canvas.current;
    const context = element?.getContext("2d");
    if (!element || !context) return;
    const ratio = globalThis.devicePixelRatio || 1;
    element.width = Math.round(layout.width * ratio);
    element.height = Math.round(layout.height * ratio);
    context.scale(ratio, ratio);
    const styles = getComputedStyle(element);
    const colour = (status: Status) => styles.getPropertyValue(`--${status}`).trim();
    const colours = { kept: colour("kept"), added: colour("added"), removed: colour("removed") };
    paint(context, wiring, layout, edges, colours, strongest, alone);
  }, [wiring, layout, edges, strongest, alone, dark]);
  return canvas;
}

/** Whether the page is dark, followed as it changes: the canvas must be painted again. */
function useDark(): boolean {
  const query = useMemo(() => matchMedia("(prefers-color-scheme: dark)"), []);
  const [dark, setDark] = useState(query.matches);
  useEffect(() => {
    const follow = () => setDark(query.matches);
    query.addEventListener("change", follow);
    return () => query.removeEventListener("change", follow);
  }, [query]);
  return dark;
}

interface NodesProps extends DrawingProps {
  layout: Layout;
  near: Set<number> | null;
}

function Nodes(props: NodesProps) {
  const { wiring, statuses, part, title, focus, pinned, near, onHover, onPin, layout } = props;
  const svg = useRef<SVGSVGElement>(null);
  const [current, setCurrent] = useState(0);
  const move = (event: KeyboardEvent, node: number) => {
    if (event.key === "Enter" || event.key === " ") onPin(pinned === node ? null : node);
    else if (event.key === "Escape") onPin(null);
    else if (event.key.startsWith("Arrow")) {
      const next = neighbour(layout, node, event.key);
      setCurrent(next);
      svg.current?.querySelector<SVGElement>(`[data-node="${wiring.nodes[next]!.name}"]`)?.focus();
    } else return;
    event.preventDefault();
  };
  return (
    <svg ref={svg} width={layout.width} height={layout.height} role="group" aria-label={title} class="nodes">
      {layout.layerY.map((y, layer) => (
        <text key={y} x={0} y={y + 4} class="layer">
          {layout.gutter < 40 ? layer : `layer ${layer}`}
        </text>
      ))}
      {wiring.nodes.map((node, i) => (
        <g
          key={node.name}
          role="button"
          data-node={node.name}
          tabIndex={i === current ? 0 : -1}
          aria-pressed={pinned === i}
          aria-label={`${describeNode(node)}, ${inWords(statuses[i])}`}
          class={[
            `node ${shownStatus(statuses[i], part)}`,
            focus === i ? "focus" : "",
            pinned === i ? "pinned" : "",
            near && !near.has(i) ? "far" : "",
          ].join(" ")}
          onPointerEnter={() => onHover(i)}
          onPointerLeave={() => onHover(null)}
          onFocus={() => onHover(i)}
          onBlur={() => onHover(null)}
          onClick={() => onPin(pinned === i ? null : i)}
          onKeyDown={(event) => move(event, i)}
        >
          <NodeShape node={node} layout={layout} index={i} />
        </g>
      ))}
    </svg>
  );
}

function NodeShape({ node, layout, index }: { node: GraphNode; layout: Layout; index: number }) {
  const box = layout.boxes[index]!;
  const text = { input: "input", logits: "logits", mlp: "MLP", head: String(node.head) }[node.kind];
  const fits = text.length * 6.2 < box.width - 2;
  return (
    <>
      <rect
        x={box.x - box.width / 2}
        y={box.y - box.height / 2}
        width={box.width}
        height={box.height}
        rx={node.kind === "head" ? 3 : box.height / 2}
      />
      {fits && (
        <text x={box.x} y={box.y + 4} text-anchor="middle">
          {text}
        </text>
      )}
    </>
  );
}

/** In one of two drawings a node that is not in that circuit is as absent as any other. */
function shownStatus(status: Status | undefined, part: DrawnPart): string {
  if ((part === "before" && status === "added") || (part === "after" && status === "removed"))
    return "absent";
  return status ?? "absent";
}

/** A node's status, in words. */
export function inWords(status: Status | undefined): string {
  const words = {
    kept: "in the circuit before and after",
    added: "added to the circuit",
    removed: "removed from the circuit",
  };
  return status ? words[status] : "not in the circuit";
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
