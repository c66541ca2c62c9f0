// Every possible edge at once: sources from below, destinations from the left, a cell each.

import { type RefObject } from "preact";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { useWidth } from "../chart.tsx";
import { rgbOf } from "../drawing.ts";
import { firstEdges, heat, raster, type Rgb, TONES } from "../heat.ts";
import type { Heat } from "../state.ts";
import type { Wiring } from "../wiring.ts";
import { Named } from "./controls.tsx";
import type { Pair } from "./decoded.ts";
import { useDark } from "./drawn.tsx";
import { share, tested } from "./notes.tsx";
import { type Scene, testKey } from "./scene.ts";

const LEFT = 46;
const BOTTOM = 22;

interface Cell {
  source: number;
  reader: number;
}

/** The plane of the map on the page: pixels of the style sheet, of which each cell is a share. */
interface Plane {
  width: number;
  height: number;
  rows: number;
  columns: number;
}

function planeOf(wiring: Wiring, room: number): Plane {
  const [rows, columns] = [wiring.nodes.length - 1, wiring.readers.length];
  const width = room - LEFT;
  return { width, height: Math.round(Math.min(560, width * 0.8, rows * 8)), rows, columns };
}

/** The map with what to colour, and in words the cell pointed at or walked to. */
export function HeatMap({ scene, pair }: { scene: Scene; pair: Pair }) {
  const { wiring, words, state, change, focus } = scene;
  const [ref, room] = useWidth<HTMLDivElement>(680);
  const plane = useMemo(() => planeOf(wiring, room), [wiring, room]);
  const [cell, setCell] = useState<Cell | null>(null);
  const base = useRef<HTMLCanvasElement>(null);
  const over = useRef<HTMLCanvasElement>(null);
  const dark = useDark();
  useHeat(base, wiring, plane, pair, state.heat, dark);
  useCross(over, scene, plane, cell, dark);
  const colours: Record<Heat, string> = {
    circuits: "the circuits",
    change: "change of score",
    before: `score, ${words.before}`,
    after: `score, ${words.after}`,
  };
  const point = (next: Cell | null) => {
    setCell(next);
    focus.point(next?.source ?? null);
  };
  const size = { width: `${plane.width}px`, height: `${plane.height}px`, left: `${LEFT}px` };
  return (
    <div class="drawing-place">
      <Named title="Colour" names={colours} chosen={state.heat} choose={(kind) => change({ heat: kind })} />
      <p class="reading-out" role="status">
        {cell ? (
          <Reading scene={scene} pair={pair} cell={cell} />
        ) : (
          "Point at a cell, or walk with the arrow keys."
        )}
      </p>
      <div
        ref={ref}
        class="heat"
        role="application"
        tabIndex={0}
        aria-label="Heat map of all edges, sources from below, destinations from the left; walk with the arrow keys, Enter holds the source"
        style={{ height: `${plane.height + BOTTOM}px` }}
        onPointerMove={(event) => point(cellAt(wiring, plane, event))}
        onPointerLeave={() => point(null)}
        onBlur={() => point(null)}
        onClick={(event) => hold(scene, cellAt(wiring, plane, event))}
        onKeyDown={(event) => {
          if (event.key === "Enter") hold(scene, cell);
          else if (event.key.startsWith("Arrow")) point(walked(wiring, cell, event.key));
          else return;
          event.preventDefault();
        }}
      >
        <canvas ref={base} style={size} />
        <canvas ref={over} class="over" style={size} />
        <Axes wiring={wiring} plane={plane} />
      </div>
    </div>
  );
}

function hold({ held, onHold }: Scene, cell: Cell | null): void {
  if (cell) onHold(held === cell.source ? null : cell.source);
}

/** Paint the cells, pixel by pixel of the screen. */
function useHeat(
  canvas: RefObject<HTMLCanvasElement | null>,
  wiring: Wiring,
  plane: Plane,
  pair: Pair,
  kind: Heat,
  dark: boolean,
): void {
  const heated = useMemo(() => heat(kind, pair.before, pair.after), [kind, pair]);
  useLayoutEffect(() => {
    const element = canvas.current;
    const context = element && fit(element, plane);
    if (!context) return;
    const { width, height } = element;
    const pixels = raster(wiring, heated, [width, height], coloursOf(element, context));
    context.putImageData(new ImageData(pixels, width, height), 0, 0);
  }, [canvas, wiring, plane, heated, dark]);
}

/** Fit a canvas to the plane and to the screen's pixels; this empties it. */
function fit(canvas: HTMLCanvasElement, plane: Plane): CanvasRenderingContext2D | null {
  const ratio = globalThis.devicePixelRatio || 1;
  canvas.width = Math.round(plane.width * ratio);
  canvas.height = Math.round(plane.height * ratio);
  return canvas.getContext("2d");
}

/** The colours of the style sheet as numbers: of the tones, then of the ground. */
function coloursOf(element: Element, context: CanvasRenderingContext2D): Rgb[] {
  const styles = getComputedStyle(element);
  return [...TONES, "ground"].map((name) =>
    rgbOf(context, styles.getPropertyValue(name === "outside" ? "--soft" : `--${name}`).trim()),
  );
}

/** Mark the row and the columns of the node in focus, and the cell pointed at. */
function useCross(
  canvas: RefObject<HTMLCanvasElement | null>,
  { wiring, focus, held }: Scene,
  plane: Plane,
  cell: Cell | null,
  dark: boolean,
): void {
  useLayoutEffect(() => {
    const element = canvas.current;
    const context = element && fit(element, plane);
    if (!context) return;
    const [across, up] = [element.width / plane.columns, element.height / plane.rows];
    const ink = getComputedStyle(element).color;
    const show = (node: number | null) => {
      context.clearRect(0, 0, element.width, element.height);
      context.fillStyle = context.strokeStyle = ink;
      if (node !== null) {
        context.globalAlpha = 0.16;
        if (node < plane.rows)
          context.fillRect(0, element.height - (node + 1) * up, element.width, Math.max(1, up));
        wiring.readers.forEach(({ nodes }, reader) => {
          if (nodes.includes(node)) context.fillRect(reader * across, 0, Math.max(1, across), element.height);
        });
      }
      context.globalAlpha = 1;
      if (!cell) return;
      context.lineWidth = 2;
      const [x, y] = [cell.reader * across, element.height - (cell.source + 1) * up];
      context.strokeRect(x - 2, y - 2, Math.max(across, 1) + 4, Math.max(up, 1) + 4);
    };
    show(focus.node);
    return focus.listen(show);
  }, [canvas, wiring, plane, cell, focus, held, dark]);
}

/** The possible edge under a pointer. */
function cellAt(wiring: Wiring, plane: Plane, event: MouseEvent): Cell | null {
  const box = (event.currentTarget as Element).getBoundingClientRect();
  const reader = Math.floor(((event.clientX - box.left - LEFT) / plane.width) * plane.columns);
  const source = plane.rows - 1 - Math.floor(((event.clientY - box.top) / plane.height) * plane.rows);
  return isEdge(wiring, source, reader) ? { source, reader } : null;
}

function isEdge(wiring: Wiring, source: number, reader: number): boolean {
  return source >= 0 && source < (wiring.readable[reader] ?? 0);
}

/** The next possible edge in the direction of an arrow key, from the input's first one. */
function walked(wiring: Wiring, cell: Cell | null, key: string): Cell {
  if (!cell) return { source: 0, reader: 0 };
  const along = { ArrowLeft: -1, ArrowRight: 1 }[key] ?? 0;
  const up = { ArrowUp: 1, ArrowDown: -1 }[key] ?? 0;
  const next = { source: cell.source + up, reader: cell.reader + along };
  return isEdge(wiring, next.source, next.reader) ? next : cell;
}

/** One edge in words. */
function Reading({ scene, pair, cell }: { scene: Scene; pair: Pair; cell: Cell }) {
  const { wiring, words, tests } = scene;
  const first = useMemo(() => firstEdges(wiring), [wiring]);
  const edge = first[cell.reader]! + cell.source;
  const [was, is] = [pair.before.inside[edge] === 1, pair.after.inside[edge] === 1];
  const status = was ? (is ? "kept" : "removed") : is ? "added" : null;
  const test = tests.get(testKey(wiring, cell));
  return (
    <>
      <b>
        {wiring.nodes[cell.source]!.name} {"\u2192"} {wiring.readers[cell.reader]!.name}
      </b>{" "}
      {status ? words.edge[status] : "in neither circuit"};{" "}
      {share(pair.before.values[edge]! / pair.before.total)} {"\u2192"}{" "}
      {share(pair.after.values[edge]! / pair.after.total)} of all scores
      {test && `, ${tested(test.q)}`}
    </>
  );
}

/** Layers along both sides; where they are many, every second or fourth. */
function Axes({ wiring, plane }: { wiring: Wiring; plane: Plane }) {
  const middle = (places: number[]) => (places[0]! + places.at(-1)! + 1) / 2;
  const layers = Array.from({ length: wiring.layers }, (_, layer) => {
    const sources = wiring.nodes.flatMap((node, i) => (node.layer === layer ? [i] : []));
    const readers = wiring.readers.flatMap(({ nodes }, i) =>
      wiring.nodes[nodes[0]!]!.layer === layer ? [i] : [],
    );
    return {
      layer,
      x: LEFT + (middle(readers) / plane.columns) * plane.width,
      left: LEFT + (readers[0]! / plane.columns) * plane.width,
      y: plane.height * (1 - middle(sources) / plane.rows),
      low: plane.height * (1 - sources[0]! / plane.rows),
    };
  });
  const every = Math.max(
    1,
    Math.ceil((wiring.layers * 22) / plane.width),
    Math.ceil((wiring.layers * 14) / plane.height),
  );
  return (
    <svg width={LEFT + plane.width} height={plane.height + BOTTOM} aria-hidden="true">
      {layers.map(({ layer, x, left, y, low }) => (
        <g key={layer}>
          <line x1={left} x2={left} y1={0} y2={plane.height} />
          <line x1={LEFT} x2={LEFT + plane.width} y1={low} y2={low} />
          {layer % every === 0 && (
            <>
              <text x={x} y={plane.height + 14} text-anchor="middle">
                {layer}
              </text>
              <text x={LEFT - 6} y={y + 4} text-anchor="end">
                {layer === 0 ? "layer 0" : layer}
              </text>
            </>
          )}
        </g>
      ))}
    </svg>
  );
}
