// What the node under the pointer is wired to, how that changed, and what the node does.

import { linear } from "../chart.tsx";
import { type DrawnEdge, type Status, STATUSES } from "../drawing.ts";
import { useFocused } from "../focus.ts";
import { count, number, percent, plural } from "../format.ts";
import type { Path } from "../paths.ts";
import type { NodeRow } from "../payload.ts";
import { describeNode, type Wiring } from "../wiring.ts";
import { INTOS } from "./controls.tsx";
import { inWords } from "./drawn.tsx";
import { type Scene, testKey } from "./scene.ts";

const LISTED = 6;
const SURE = 0.05; // the q below which the run calls an edge different
const GLYPHS: Record<Status, string> = { kept: "\u00b7", added: "+", removed: "\u2212" };

/** All of one node in the two circuits, the strongest edges named. */
export function NodeNotes({ scene }: { scene: Scene }) {
  const { wiring, chosen, pair, focus, statuses, words, moves, roles, state } = scene;
  const node = useFocused(focus);
  if (node === null || !pair) {
    const nodes = (status: Status) => statuses.filter((one) => one === status).length;
    return (
      <aside class="notes" aria-live="polite" aria-label="The node pointed at">
        <p>Nodes: {STATUSES.map((status) => `${nodes(status)} ${words.edge[status]}`).join(", ")}.</p>
        <p class="quiet">
          Point at a node to see its edges alone, its way to the logits, and its scores here; click to hold
          it, click again or press Escape to let it go.
        </p>
      </aside>
    );
  }
  const named = wiring.nodes[node]!;
  const { into, out } = chosen[node]!;
  const move = moves.get(named.name);
  const role = roles.get(named.name);
  return (
    <aside class="notes" aria-live="polite" aria-label="The node pointed at">
      <h3>{named.name}</h3>
      <Held scene={scene} node={node} />
      <p>
        {describeNode(named)}: {inWords(words, statuses[node])}.
      </p>
      {move && <Move row={move} />}
      {role && (
        <p>
          <b>What it does</b> {role.sentence}
        </p>
      )}
      <Way wiring={wiring} path={scene.pathOf(node)} />
      <Tested scene={scene} edges={[...into, ...out]} />
      {state.view !== "map" && state.into !== "all" && (
        <p class="quiet">Only edges into {INTOS[state.into]} are listed, as in the drawing.</p>
      )}
      <EdgeList
        title="In"
        edges={into}
        name={(edge) => source(wiring, edge)}
        split={byLetter(wiring, into)}
        scene={scene}
      />
      <EdgeList title="Out" edges={out} name={(edge) => wiring.readers[edge.reader]!.name} scene={scene} />
    </aside>
  );
}

/** Whether the page stays at this node, or at which other one. */
function Held({ scene, node }: { scene: Scene; node: number }) {
  const { wiring, held, onHold } = scene;
  if (held === null) return null;
  return (
    <p class="held-mark">
      <b>{held === node ? "Held" : `${wiring.nodes[held]!.name} is held`}</b>
      <button type="button" onClick={() => onHold(null)}>
        Release (Esc)
      </button>
    </p>
  );
}

const STRIP = { bars: 112, width: 250, row: 17 };

/** How far the node's share of all scores moved, with its interval, above what halves of the pairs and seeds make. */
function Move({ row }: { row: NodeRow }) {
  const { bars, width, row: height } = STRIP;
  const nulls: [string, number][] = [];
  if (row.halves !== null) nulls.push(["halves of the pairs", row.halves]);
  if (row.seeds !== null) nulls.push(["two seeds", row.seeds]);
  const ends = [row.change, row.low ?? 0, row.high ?? 0, ...nulls.map(([, bound]) => bound)];
  const most = Math.max(...ends.map(Math.abs)) || 1;
  const x = linear([-most, most], [6, bars - 6]);
  const label = (at: number, text: string) => (
    <text x={bars + 4} y={at * height + 12}>
      {text}
    </text>
  );
  return (
    <>
      <p>
        <b>Its change</b> {row.sentence}
      </p>
      <svg class="move" width={width} height={height * (1 + nulls.length)} aria-hidden="true">
        {nulls.map(([name, bound], i) => (
          <g key={name}>
            <rect x={x(-bound)} width={x(bound) - x(-bound)} y={(i + 1) * height + 4} height={9} />
            {label(i + 1, name)}
          </g>
        ))}
        <line x1={x(0)} x2={x(0)} y1={0} y2={height * (1 + nulls.length)} class="zero" />
        {row.low !== null && row.high !== null && (
          <line x1={x(row.low)} x2={x(row.high)} y1={8} y2={8} class="interval" />
        )}
        <circle cx={x(row.change)} cy={8} r={4} class="dot" />
        {label(0, "after less before")}
      </svg>
    </>
  );
}

/** The path through the node whose weakest edge is the strongest. */
function Way({ wiring, path }: { wiring: Wiring; path: Path | null }) {
  if (!path) return null;
  const names = [path.hops[0]!.from, ...path.hops.map((hop) => hop.to)].map((i) => wiring.nodes[i]!.name);
  return (
    <p>
      <b>Strongest path</b> <span class="path">{names.join(" \u2192 ")}</span>{" "}
      <span class="quiet">(weakest edge {share(path.weakest)})</span>
    </p>
  );
}

/** How many edges of the node differ by more than chance, where the run tested them. */
function Tested({ scene, edges }: { scene: Scene; edges: DrawnEdge[] }) {
  const rows = edges.flatMap((edge) => scene.tests.get(testKey(scene.wiring, edge)) ?? []);
  if (rows.length === 0) return null;
  const sure = rows.filter((row) => row.q < SURE);
  const moved = sure.filter((row) => row.changed).length;
  return (
    <p>
      <b>Against chance</b> of {plural(rows.length, "tested edge")}, {count(sure.length)} differ (q below{" "}
      {SURE}
      ); {count(moved)} of these joined or left the circuit.
    </p>
  );
}

/** Where an edge comes from, with the letter of the input it arrives at. */
function source(wiring: Wiring, edge: DrawnEdge): string {
  const letter = wiring.readers[edge.reader]!.letter;
  return `${wiring.nodes[edge.source]!.name}${letter ? ` \u2192 ${letter}` : ""}`;
}

/** "3 into query, 4 into value", of a head's inputs that have any. */
function byLetter(wiring: Wiring, edges: DrawnEdge[]): string {
  const total = (letter: string) =>
    edges.filter((edge) => wiring.readers[edge.reader]!.letter === letter).length;
  return Object.entries({ query: total("q"), key: total("k"), value: total("v") })
    .filter(([, edges]) => edges > 0)
    .map(([name, edges]) => `${edges} into ${name}`)
    .join(", ");
}

interface EdgeListProps {
  title: string;
  edges: DrawnEdge[];
  name: (edge: DrawnEdge) => string;
  split?: string;
  scene: Scene;
}

function EdgeList({ title, edges, name, split, scene }: EdgeListProps) {
  const { wiring, words, tests } = scene;
  const total = (status: Status) => edges.filter((edge) => edge.status === status).length;
  return (
    <>
      <p class="sum">
        <b>{title}</b> {count(edges.length)}:{" "}
        {STATUSES.map((status) => `${total(status)} ${words.edge[status]}`).join(", ")}
        {split && `; ${split}`}
      </p>
      {edges.length > 0 && (
        <ol>
          {edges.slice(0, LISTED).map((edge) => {
            const test = tests.get(testKey(wiring, edge));
            return (
              <li key={edge.edge} class={edge.status}>
                <span class="glyph" title={words.edge[edge.status]}>
                  {GLYPHS[edge.status]}
                </span>
                <span>{name(edge)}</span>
                <span class="scores">
                  {share(edge.before)} {"\u2192"} {share(edge.after)}
                  {test && <i title="q: chance alone would do as much in this share">{tested(test.q)}</i>}
                </span>
              </li>
            );
          })}
        </ol>
      )}
      {edges.length > LISTED && (
        <p class="quiet">and {count(edges.length - LISTED)} more; the table below has all</p>
      )}
    </>
  );
}

/** "q 0.03"; very small ones are not told apart. */
export function tested(q: number): string {
  return q < 0.001 ? "q <0.001" : `q ${number(Number(q.toPrecision(1)))}`;
}

/** A share of all scores; embedded scores carry three digits. */
export function share(value: number): string {
  const size = Math.abs(100 * value);
  const digits = size >= 9.995 ? 1 : size >= 0.1 ? 2 : 3;
  return percent(value, size > 0 && size < 0.0005 ? 5 : digits);
}
