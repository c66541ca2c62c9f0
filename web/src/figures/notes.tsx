// What the node under the pointer is wired to.

import type { DrawnEdge, OwnEdges, Status } from "../drawing.ts";
import { type Focus, useFocused } from "../focus.ts";
import { count, number } from "../format.ts";
import { describeNode, type Wiring } from "../wiring.ts";
import type { Pair } from "./decoded.ts";
import { inWords } from "./drawn.tsx";

const LISTED = 6;
const GLYPHS: Record<Status, string> = { kept: "\u00b7", added: "+", removed: "\u2212" };

interface NotesProps {
  wiring: Wiring;
  own: OwnEdges[]; // by node, strongest first
  pair: Pair | null;
  focus: Focus;
  statuses: (Status | undefined)[];
}

/** All edges of one node in the circuit before or after, the strongest named. */
export function NodeNotes({ wiring, own, pair, focus, statuses }: NotesProps) {
  const node = useFocused(focus);
  const nodes = (status: Status) => statuses.filter((one) => one === status).length;
  if (node === null || !pair) {
    return (
      <aside class="notes" aria-live="polite">
        <p>
          Nodes: {nodes("kept")} kept, {nodes("added")} added, {nodes("removed")} removed.
        </p>
        <p class="quiet">Point at a node to see its edges alone, and their scores here.</p>
      </aside>
    );
  }
  const named = wiring.nodes[node]!;
  const { into, out } = own[node]!;
  return (
    <aside class="notes" aria-live="polite">
      <h3>{named.name}</h3>
      <p>
        {describeNode(named)}: {inWords(statuses[node])}.
      </p>
      <EdgeList title="In" edges={into} name={(edge) => source(wiring, edge)} pair={pair} />
      <EdgeList title="Out" edges={out} name={(edge) => wiring.readers[edge.reader]!.name} pair={pair} />
    </aside>
  );
}

/** Where an edge comes from, with the letter of the input it arrives at. */
function source(wiring: Wiring, edge: DrawnEdge): string {
  const letter = wiring.readers[edge.reader]!.letter;
  return `${wiring.nodes[edge.source]!.name}${letter ? ` \u2192 ${letter}` : ""}`;
}

interface EdgeListProps {
  title: string;
  edges: DrawnEdge[];
  name: (edge: DrawnEdge) => string;
  pair: Pair;
}

function EdgeList({ title, edges, name, pair }: EdgeListProps) {
  const total = (status: Status) => edges.filter((edge) => edge.status === status).length;
  return (
    <>
      <p class="sum">
        <b>{title}</b> {count(edges.length)}: {total("kept")} kept, {total("added")} added, {total("removed")}{" "}
        removed
      </p>
      {edges.length > 0 && (
        <ol>
          {edges.slice(0, LISTED).map((edge) => (
            <li key={edge.edge} class={edge.status}>
              <span class="glyph" title={edge.status}>
                {GLYPHS[edge.status]}
              </span>
              <span>{name(edge)}</span>
              <span class="scores">
                {number(round(pair.before.values[edge.edge]! * pair.from.scale))} {"\u2192"}{" "}
                {number(round(pair.after.values[edge.edge]! * pair.to.scale))}
              </span>
            </li>
          ))}
        </ol>
      )}
    </>
  );
}

/** Embedded scores carry three digits. */
function round(value: number): number {
  return Number(value.toPrecision(3));
}
