// Every possible edge at once: sources from below, destinations from the left, a cell each.

import { type RefObject } from "preact";
import { useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { useWidth } from "../chart.tsx";
import { rgbOf } from "../drawing.ts";
import { firstEdges, heat, type Heated, raster, type Rgb, TONES } from "../heat.ts";
import type { Heat } from "../state.ts";
import { isMerged, type Wiring } from "../wiring.ts";
import { Named } from "./controls.tsx";
import type { Pair } from "./decoded.ts";
import { useDark } from "./drawn.tsx";
import { share, tested } from "./notes.tsx";
import { type Scene, testKey } from "./scene.ts";

const LEFT = 62; // room for what stands along both sides
const BOTTOM = 46;

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
  const heated = useMemo(() => heat(state.heat, pair.before, pair.after), [state.heat, pair]);
  useHeat(base, wiring, plane, heated, dark);
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
      {state.heat !== "circuits" && <ColourScale most={heated.most} />}
      <p class="reading-out" role="status">
        {cell ? (
          <Reading scene={scene} pair={pair} cell={cell} />
        ) : (
          "Point at a cell or tap it, or walk with the arrow keys."
        )}
      </p>
      <div
        ref={ref}
        class="heat"
        role="application"
        tabIndex={0}
        aria-label="Heat map of all edges, sources from below, destinations from the left; walk with the arrow keys, Enter holds the source"
        style={{ height: `${plane.height + BOTTOM}px` }}
        onPointerMove={(event) => hovers(event) && point(cellAt(wiring, plane, event))}
        onPointerLeave={(event) => hovers(event) && point(null)}
        onBlur={() => point(null)}
        onClick={(event) => {
          const next = cellAt(wiring, plane, event);
          setCell(next);
          hold(scene, next, sameCell(cell, next));
        }}
        onKeyDown={(event) => {
          if (event.key === "Enter") hold(scene, cell, true);
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

/** A finger does not hover: what it taps is read out until it taps elsewhere. */
function hovers(event: PointerEvent): boolean {
  return event.pointerType !== "touch";
}

function sameCell(one: Cell | null, two: Cell | null): boolean {
  return one?.source === two?.source && one?.reader === two?.reader;
}

/** Hold the source of a cell; let it go where the same cell is chosen `again`. */
function hold({ held, onHold }: Scene, cell: Cell | null, again: boolean): void {
  if (cell) onHold(again && held === cell.source ? null : cell.source);
}

/** What the colours stand for; the cube root of a share sets its colour, so half of it is an eighth of the share. */
function ColourScale({ most }: { most: number }) {
  return (
    <div class="colour-scale">
      <i />
      {[-1, -1 / 8, 0, 1 / 8, 1].map((part) => (
        <span key={part}>{part === 0 ? "0" : share(part * most)}</span>
      ))}
      <small>of all scores</small>
    </div>
  );
}

/** Paint the cells, pixel by pixel of the screen. */
function useHeat(
  canvas: RefObject<HTMLCanvasElement | null>,
  wiring: Wiring,
  plane: Plane,
  heated: Heated,
  dark: boolean,
): void {
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

/** The inputs of one kind within a layer, side by side. */
interface Run {
  letter: string;
  from: number;
  to: number;
}

function runsOf({ readers, nodes }: Wiring): Run[] {
  const runs: Run[] = [];
  let last = "";
  readers.forEach(({ letter, nodes: [first] }, i) => {
    const place = `${letter}${nodes[first!]!.layer}`;
    if (letter && place === last) runs.at(-1)!.to = i + 1;
    else if (letter) runs.push({ letter, from: i, to: i + 1 });
    last = letter ? place : "";
  });
  return runs;
}

/** What the sides are, in as many words as there is room for. */
function AxisTitles({ wiring, plane }: { wiring: Wiring; plane: Plane }) {
  const inputs = isMerged(wiring) ? "heads, then MLP" : "queries, keys, values, MLP";
  const from = plane.height > 200 ? "from, by layer: heads, then MLP" : "from";
  return (
    <>
      <text x={LEFT + plane.width / 2} y={plane.height + 42} text-anchor="middle">
        to, by layer: {inputs}
      </text>
      <text transform={`translate(9 ${plane.height / 2}) rotate(-90)`} text-anchor="middle">
        {from}
      </text>
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
  const wide = plane.width / plane.columns;
  const right = LEFT + plane.width;
  return (
    <svg width={right} height={plane.height + BOTTOM} aria-hidden="true">
      <AxisTitles wiring={wiring} plane={plane} />
      {runsOf(wiring).map(
        ({ letter, from, to }) =>
          (to - from) * wide > 9 && (
            <text key={from} x={LEFT + ((from + to) / 2) * wide} y={plane.height + 11} text-anchor="middle">
              {letter}
            </text>
          ),
      )}
      <text x={LEFT - 6} y={plane.height * (1 - 0.5 / plane.rows) + 4} text-anchor="end">
        input
      </text>
      <text x={right} y={plane.height + 26} text-anchor="end">
        logits
      </text>
      {layers.map(({ layer, x, left, y, low }) => (
        <g key={layer}>
          <line x1={left} x2={left} y1={0} y2={plane.height} />
          <line x1={LEFT} x2={LEFT + plane.width} y1={low} y2={low} />
          {layer % every === 0 && (
            <>
              {x < right - 40 && (
                <text x={x} y={plane.height + 26} text-anchor="middle">
                  {layer}
                </text>
              )}
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
