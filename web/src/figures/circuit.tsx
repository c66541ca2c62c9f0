// The circuit, drawn: which checkpoint against the start, how many edges, and what a node is wired to.

import { useCallback, useLayoutEffect, useMemo } from "preact/hooks";
import { DataTable, Figure, Missing } from "../chart.tsx";
import { changedEdges, type DrawnEdge, edgesByNode, nodeStatus } from "../drawing.ts";
import { makeFocus } from "../focus.ts";
import { count, number, percent, plural } from "../format.ts";
import type { CircuitEntry, GraphRecord, Payload } from "../payload.ts";
import type { View } from "../state.ts";
import { edgeName, type Wiring, wire } from "../wiring.ts";
import { Controls } from "./controls.tsx";
import { type Pair, useAddress, usePair } from "./decoded.ts";
import { Drawing, type DrawnPart } from "./drawn.tsx";
import { NodeNotes } from "./notes.tsx";

const LISTED = 25;

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
  graph: GraphRecord;
  figure: number;
}

function Explorer({ payload, graph, figure }: ExplorerProps) {
  const wiring = useMemo(() => wire(graph), [graph]);
  const labels = [...new Set(payload.circuits.map((entry) => entry.label))];
  const [state, change] = useAddress(labels[0]!);
  const focus = useMemo(() => makeFocus(), []);
  const label = labels.includes(state.label) ? state.label : labels[0]!;
  const checkpoints = payload.circuits.filter((entry) => entry.label === label);
  const from = checkpoints[0]!;
  const to = checkpoints.find((entry) => entry.step === state.step) ?? checkpoints.at(-1)!;
  const [pair, failed] = usePair(wiring, from, to);
  const all = useMemo(() => (pair ? changedEdges(wiring, pair.before, pair.after) : []), [wiring, pair]);
  const named = wiring.nodes.findIndex((node) => node.name === state.node);
  const held = named >= 0 ? named : null;
  useLayoutEffect(() => focus.hold(held), [focus, held]);
  const statuses = useMemo(() => nodeStatus(wiring, all), [wiring, all]);
  const own = useMemo(() => edgesByNode(wiring, all), [wiring, all]);
  const onHold = useCallback(
    (node: number | null) => change({ node: node === null ? null : wiring.nodes[node]!.name }),
    [change, wiring],
  );
  const drawing = { wiring, edges: all, own, limit: state.edges, statuses, focus, held, onHold };
  const parts = drawnParts(state.view, label, from, to);
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
        <NodeNotes {...{ wiring, own, pair, focus, statuses }} />
      </div>
    </Figure>
  );
}

/** Which drawings a view has, with their titles. */
function drawnParts(view: View, label: string, from: CircuitEntry, to: CircuitEntry): [DrawnPart, string][] {
  if (view === "change") return [["both", `Circuit of ${label}, step ${from.step} against step ${to.step}`]];
  return [
    ["before", `Before: step ${count(from.step)}, ${plural(from.edges, "edge")}`],
    ["after", `After: step ${count(to.step)}, ${plural(to.edges, "edge")}`],
  ];
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
