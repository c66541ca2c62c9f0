// The circuit, drawn: which checkpoints against each other, how many edges, and what a node is wired to.

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Figure, Missing } from "../chart.tsx";
import type { Words } from "../comparison.ts";
import { type DrawnEdge, STATUSES, type Status } from "../drawing.ts";
import { count, percent, plural } from "../format.ts";
import type { CircuitEntry, GraphRecord, Payload } from "../payload.ts";
import { isView } from "../state.ts";
import { isMerged } from "../wiring.ts";
import { chosenEdges, Controls, EdgeChoices } from "./controls.tsx";
import { Drawing, type DrawnPart } from "./drawn.tsx";
import { Find } from "./find.tsx";
import { HeatMap } from "./heatmap.tsx";
import { ListedEdges, nameOf } from "./listed.tsx";
import { NodeNotes } from "./notes.tsx";
import { type Scene, useScene } from "./scene.ts";

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
  const scene = useScene(payload, graph);
  const { wiring, comparison, pair, state, failed } = scene;
  const top = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (isView(location.hash)) top.current?.scrollIntoView(); // a link to a view of the circuit leads to it
  }, []);
  return (
    <Figure
      id="circuit"
      number={figure}
      title="The circuit before and after fine-tuning"
      caption={
        <CircuitCaption
          share={comparison.to.share}
          possible={wiring.edgeSource.length}
          parallel={wiring.parallel}
          merged={isMerged(wiring)}
        />
      }
    >
      <div ref={top}>
        <Controls scene={scene} accuracy={payload.tables.accuracy} />
      </div>
      {failed && (
        <p class="missing" role="alert">
          The circuit could not be read: {failed}
        </p>
      )}
      {state.view === "map" && pair ? (
        <>
          <Find scene={scene} />
          <Legend scene={scene} drawn={scene.edges} />
          <div class="explorer">
            <HeatMap scene={scene} pair={pair} />
            <NodeNotes scene={scene} />
          </div>
        </>
      ) : (
        <Drawings scene={scene} />
      )}
      {pair && <Table scene={scene} run={payload.run} />}
    </Figure>
  );
}

/** Made when it is opened: of a large model it has ten thousand rows. */
function Table({ scene, run }: { scene: Scene; run: string }) {
  const [open, setOpen] = useState(false);
  return (
    <details class="numbers" id="compared" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>The edges of both circuits, as a table to search, sort and download</summary>
      {open && <ListedEdges scene={scene} run={run} />}
    </details>
  );
}

/** One drawing of what changed, or the two circuits beside each other. */
function Drawings({ scene }: { scene: Scene }) {
  const { wiring, edges, words, comparison, state } = scene;
  const { edges: limit, least, into, view } = state;
  const [drawn, total] = useMemo(
    () => chosenEdges(wiring, edges, { edges: limit, least, into }),
    [wiring, edges, limit, least, into],
  );
  const apart = view === "apart";
  const { from, to } = comparison;
  const parts = apart ? sides(words, from, to) : whole(from, to);
  return (
    <>
      <EdgeChoices scene={scene} drawn={drawn.length} total={total} />
      <Find scene={scene} />
      <Legend scene={scene} drawn={drawn} />
      <div class={apart ? "explorer apart" : "explorer"}>
        <div class={apart ? "drawings apart" : "drawings"}>
          {parts.map(([part, title]) => (
            <Drawing key={part} scene={scene} drawn={drawn} part={part} title={title} titled={apart} />
          ))}
        </div>
        <NodeNotes scene={scene} />
      </div>
    </>
  );
}

function whole(from: CircuitEntry, to: CircuitEntry): [DrawnPart, string][] {
  return [["both", `Circuit of ${nameOf(to)} against ${nameOf(from)}`]];
}

function sides(words: Words, from: CircuitEntry, to: CircuitEntry): [DrawnPart, string][] {
  const title = (name: string, entry: CircuitEntry) =>
    `${name}: ${words.later ? `step ${count(entry.step)}` : nameOf(entry)}, ${plural(entry.edges, "edge")}`;
  return [
    ["before", title(words.later ? "Before" : "A", from)],
    ["after", title(words.later ? "After" : "B", to)],
  ];
}

interface CaptionProps {
  share: number;
  possible: number;
  parallel: boolean;
  merged: boolean; // the graph has no query, key and value apart
}

/** How to read the drawing and the map. */
export function CircuitCaption({ share, possible, parallel, merged }: CaptionProps) {
  return (
    <>
      Layers from the input (bottom) to the logits (top): attention heads by their number, the MLP at the
      right
      {parallel ? "" : ", above the heads that feed it"}. The circuit is the strongest {percent(share, 0)} of{" "}
      {count(possible)} possible edges, less those on no path from input to logits.{" "}
      {merged
        ? "The query, key and value of a head are one input here."
        : "An edge that enters a head at its left, middle or right third goes to its query, key or value."}{" "}
      Heavier lines are stronger: an edge's share of all absolute scores of its map, in the circuit where it
      is larger (raw scores grow in training and would hide the start). Point at a node, or move between nodes
      with the arrow keys: the dark line is the path through it, from input to logits, whose weakest edge is
      strongest. Click or Enter holds the node, and a ring marks it; a second click or Escape lets it go. The
      heat map has every possible edge, in the circuits or not: a row for each source, a column for each input
      that it can feed; of the node in focus it shades the row, as a source, and the columns of its own
      inputs. The address of this page keeps what you choose, so a link leads back to it.
    </>
  );
}

function byStatus(edges: readonly DrawnEdge[]): Record<Status, number> {
  const of = { kept: 0, added: 0, removed: 0 };
  for (const { status } of edges) of[status]++;
  return of;
}

/** What the colours say: of edges, or of a heat map of scores. */
function Legend({ scene, drawn }: { scene: Scene; drawn: readonly DrawnEdge[] }) {
  const { edges, words, comparison, state } = scene;
  const totals = useMemo(() => byStatus(edges), [edges]);
  const shown = useMemo(() => byStatus(drawn), [drawn]);
  const signs = state.heat === "change" ? ["score rose", "score fell"] : ["positive score", "negative score"];
  return (
    <p class="legend">
      {!words.later && (
        <span>
          A: <b>{nameOf(comparison.from)}</b>, B: <b>{nameOf(comparison.to)}</b>
        </span>
      )}
      {state.view === "map" && state.heat !== "circuits"
        ? (["added", "removed"] as const).map((status, i) => (
            <span key={status}>
              <i class={`swatch ${status}`} />
              {signs[i]}
            </span>
          ))
        : STATUSES.map((status) => (
            <span key={status}>
              <svg width={30} height={8} aria-hidden="true">
                <line x1={1} x2={29} y1={4} y2={4} class={`edge ${status}`} />
              </svg>
              {words.edge[status]} <b>{count(shown[status])}</b>
              {shown[status] < totals[status] && ` of ${count(totals[status])}`}
            </span>
          ))}
    </p>
  );
}
