// The circuit, drawn: which checkpoint against the start, how many edges, and what a node is wired to.

import { useEffect, useMemo, useState } from "preact/hooks";
import { decodeEdges, type EdgeData } from "../binary.ts";
import { DataTable, Figure, Missing } from "../chart.tsx";
import { changedEdges, type DrawnEdge, nodeStatus } from "../drawing.ts";
import { count, number, percent, plural } from "../format.ts";
import type { AccuracyRow, CircuitEntry, Payload } from "../payload.ts";
import { type PageState, readState, type View, writeState } from "../state.ts";
import { edgeName, type Wiring, wire } from "../wiring.ts";
import { Drawing, type DrawnPart } from "./drawn.tsx";
import { NodeNotes } from "./notes.tsx";

const MOST_EDGES = 2000;
const LISTED = 25;

/** Before and after of the chosen fine-tuning, decoded. */
interface Pair {
  before: EdgeData;
  after: EdgeData;
  from: CircuitEntry;
  to: CircuitEntry;
}

type Blocks = Map<string, Promise<EdgeData>>;

/** The data block of one circuit, decoded once. */
function load(blocks: Blocks, entry: CircuitEntry, wiring: Wiring): Promise<EdgeData> {
  const known = blocks.get(entry.blob);
  if (known) return known;
  const text = document.getElementById(entry.blob)?.textContent ?? "";
  const loading = decodeEdges(text, wiring.edgeSource.length);
  blocks.set(entry.blob, loading);
  return loading;
}

function usePair(wiring: Wiring, from: CircuitEntry, to: CircuitEntry): [Pair | null, failed: boolean] {
  const blocks = useMemo((): Blocks => new Map(), []);
  const [pair, setPair] = useState<Pair | null>(null);
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    let current = true;
    Promise.all([load(blocks, from, wiring), load(blocks, to, wiring)]).then(
      ([before, after]) => {
        if (current) setPair({ before, after, from, to });
      },
      () => setFailed(true),
    );
    return () => {
      current = false;
    };
  }, [blocks, wiring, from, to]);
  return [pair, failed];
}

/** The address follows the choices; where a browser forbids that for files, nothing is lost but the link. */
function useAddress(firstLabel: string): [PageState, (change: Partial<PageState>) => void] {
  const [state, setState] = useState(() => readState(globalThis.location?.hash ?? ""));
  useEffect(() => {
    const follow = () => setState(readState(location.hash));
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  const change = (part: Partial<PageState>) => {
    const next = { ...state, ...part };
    setState(next);
    try {
      history.replaceState(null, "", writeState(next, firstLabel) || location.pathname + location.search);
    } catch {
      // A sandboxed frame may refuse: the view itself has changed all the same.
    }
  };
  return [state, change];
}

/** The whole figure, or what is missing. */
export function CircuitFigure({ payload, figure }: { payload: Payload; figure: number }) {
  if (payload.tables.circuits?.length && !payload.graph) {
    return (
      <p class="missing" id="circuit">
        No circuit of this run could be read: the notes at the top of this page say why.
      </p>
    );
  }
  if (!payload.graph) {
    return <Missing id="circuit" what="The circuit" table="circuits" />;
  }
  return <Explorer payload={payload} graph={payload.graph} figure={figure} />;
}

interface ExplorerProps {
  payload: Payload;
  graph: NonNullable<Payload["graph"]>;
  figure: number;
}

function Explorer({ payload, graph, figure }: ExplorerProps) {
  const wiring = useMemo(() => wire(graph), [graph]);
  const labels = [...new Set(payload.circuits.map((entry) => entry.label))];
  const [state, change] = useAddress(labels[0]!);
  const [hovered, setHovered] = useState<number | null>(null);
  const label = labels.includes(state.label) ? state.label : labels[0]!;
  const checkpoints = payload.circuits.filter((entry) => entry.label === label);
  const from = checkpoints[0]!;
  const to = checkpoints.find((entry) => entry.step === state.step) ?? checkpoints.at(-1)!;
  const [pair, failed] = usePair(wiring, from, to);
  const all = useMemo(() => (pair ? changedEdges(wiring, pair.before, pair.after) : []), [wiring, pair]);
  const pinned = wiring.nodes.findIndex((node) => node.name === state.node);
  const focus = hovered ?? (pinned >= 0 ? pinned : null);
  const statuses = useMemo(() => nodeStatus(wiring, all), [wiring, all]);
  const drawing = {
    wiring,
    edges: all,
    limit: state.edges,
    statuses,
    focus,
    pinned: pinned >= 0 ? pinned : null,
    onHover: setHovered,
    onPin: (node: number | null) => change({ node: node === null ? null : wiring.nodes[node]!.name }),
  };
  const parts: [DrawnPart, string][] =
    state.view === "change"
      ? [["both", `Circuit of ${label}, step ${from.step} against step ${to.step}`]]
      : [
          ["before", `Before: step ${count(from.step)}, ${plural(from.edges, "edge")}`],
          ["after", `After: step ${count(to.step)}, ${plural(to.edges, "edge")}`],
        ];
  return (
    <Figure
      id="circuit"
      number={figure}
      title="The circuit before and after fine-tuning"
      caption={
        <CircuitCaption share={to.share} possible={wiring.edgeSource.length} parallel={wiring.parallel} />
      }
      numbers={pair && <EdgeTable wiring={wiring} pair={pair} edges={all} />}
    >
      <Controls
        {...{ labels, label, checkpoints, to, state, change, total: all.length }}
        accuracy={payload.tables.accuracy}
      />
      {failed && <p class="missing">This browser could not read the embedded circuit.</p>}
      <Legend edges={all} />
      <div class={parts.length > 1 ? "explorer apart" : "explorer"}>
        <div class={parts.length > 1 ? "drawings apart" : "drawings"}>
          {parts.map(([part, title]) => (
            <Drawing key={part} {...drawing} part={part} title={title} titled={parts.length > 1} />
          ))}
        </div>
        <NodeNotes wiring={wiring} edges={all} pair={pair} node={focus} statuses={statuses} />
      </div>
    </Figure>
  );
}

function CircuitCaption({
  share,
  possible,
  parallel,
}: {
  share: number;
  possible: number;
  parallel: boolean;
}) {
  return (
    <>
      Layers from the input (bottom) to the logits (top): attention heads by their number, the MLP at the
      right
      {parallel ? "" : ", above the heads that feed it"}. The circuit is the strongest {percent(share, 0)} of{" "}
      {count(possible)} possible edges, less those on no path from input to logits. An edge that enters a head
      at its left, middle or right third goes to its query, key or value. Heavier lines are stronger: an
      edge's share of all absolute scores of its map, before or after, whichever is larger (raw scores grow in
      training and would hide the start). Point at a node, or move between nodes with the arrow keys; click or
      Enter holds it.
    </>
  );
}

function Legend({ edges }: { edges: DrawnEdge[] }) {
  const total = (status: DrawnEdge["status"]) => edges.filter((edge) => edge.status === status).length;
  return (
    <p class="legend">
      {(["kept", "added", "removed"] as const).map((status) => (
        <span key={status}>
          <svg width={30} height={8} aria-hidden="true">
            <line x1={1} x2={29} y1={4} y2={4} class={`edge ${status}`} />
          </svg>
          {status} <b>{count(total(status))}</b>
        </span>
      ))}
    </p>
  );
}

interface ControlsProps {
  labels: string[];
  label: string;
  checkpoints: CircuitEntry[];
  to: CircuitEntry;
  state: PageState;
  change: (part: Partial<PageState>) => void;
  total: number;
  accuracy: AccuracyRow[] | null;
}

function Controls({ labels, label, checkpoints, to, state, change, total, accuracy }: ControlsProps) {
  const most = Math.max(1, Math.min(MOST_EDGES, total));
  const views: Record<View, string> = { change: "change", apart: "before and after, side by side" };
  return (
    <>
      <div class="controls">
        <label class="choice">
          Fine-tuning{" "}
          <select
            value={label}
            onChange={(event) => change({ label: event.currentTarget.value, step: null })}
          >
            {labels.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
        <fieldset class="choice">
          <legend>Show</legend>
          {(Object.keys(views) as View[]).map((view) => (
            <label key={view}>
              <input
                type="radio"
                name="view"
                checked={state.view === view}
                onChange={() => change({ view })}
              />
              {views[view]}
            </label>
          ))}
        </fieldset>
      </div>
      <div class="controls sliders">
        <label class="slider">
          <span>
            Checkpoint: <b>step {count(to.step)}</b>
          </span>
          <AccuracyCurve checkpoints={checkpoints} to={to} label={label} rows={accuracy} />
          <input
            type="range"
            min={0}
            max={checkpoints.length - 1}
            value={checkpoints.indexOf(to)}
            aria-valuetext={`step ${to.step}`}
            onInput={(event) => change({ step: checkpoints[event.currentTarget.valueAsNumber]!.step })}
          />
        </label>
        <label class="slider">
          <span>
            Edges drawn: <b>{count(Math.min(state.edges, total))}</b> of {count(total)}, strongest first
          </span>
          <input
            type="range"
            min={1}
            max={most}
            value={Math.min(state.edges, most)}
            onInput={(event) => change({ edges: event.currentTarget.valueAsNumber })}
          />
        </label>
      </div>
    </>
  );
}

interface CurveProps {
  checkpoints: CircuitEntry[];
  to: CircuitEntry;
  label: string;
  rows: AccuracyRow[] | null;
}

/** Accuracy at each stop of the slider below it; in percent of the box, so it needs no measuring. */
function AccuracyCurve({ checkpoints, to, label, rows }: CurveProps) {
  const known = (rows ?? []).filter((row) => row.label === label);
  const stops = checkpoints.flatMap((entry, i) => {
    const row = known.find((candidate) => candidate.step === entry.step && candidate.split === "test");
    return row
      ? [{ entry, x: (100 * i) / Math.max(1, checkpoints.length - 1), y: 36 - 32 * row.accuracy, row }]
      : [];
  });
  if (stops.length < 2) return null;
  const here = stops.find((stop) => stop.entry === to);
  return (
    <span class="curve">
      <svg viewBox="0 0 100 40" preserveAspectRatio="none" aria-hidden="true">
        <polyline points={stops.map((stop) => `${stop.x},${stop.y}`).join(" ")} />
        {here && <line x1={here.x} x2={here.x} y1={here.y} y2={40} />}
      </svg>
      {here && <span class="stop" style={{ left: `${here.x}%`, top: `${(100 * here.y) / 40}%` }} />}
      {here && <span class="at">accuracy {percent(here.row.accuracy)}</span>}
    </span>
  );
}

/** The strongest changed edges in words, for those who cannot or would not look. */
function EdgeTable({ wiring, pair, edges }: { wiring: Wiring; pair: Pair; edges: DrawnEdge[] }) {
  const changed = edges.filter((edge) => edge.status !== "kept").slice(0, LISTED);
  return (
    <DataTable
      label="The strongest changed edges"
      columns={["Edge", "Change", `Score at step ${pair.from.step}`, `Score at step ${pair.to.step}`]}
      rows={changed.map(({ edge, status }) => [
        edgeName(wiring, edge),
        status,
        number(pair.before.values[edge]! * pair.from.scale),
        number(pair.after.values[edge]! * pair.to.scale),
      ])}
    />
  );
}
