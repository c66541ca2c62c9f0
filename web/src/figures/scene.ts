// What all parts of the circuit figure look at: two circuits, their edges, and the node in focus.

import { useCallback, useEffect, useLayoutEffect, useMemo } from "preact/hooks";
import { type Comparison, compared, isWhole, type Words, wordsFor } from "../comparison.ts";
import {
  arriving,
  changedEdges,
  type DrawnEdge,
  edgesByNode,
  nodeStatus,
  type OwnEdges,
  type Status,
} from "../drawing.ts";
import { type Focus, makeFocus } from "../focus.ts";
import { type Path, type Side, widestPaths } from "../paths.ts";
import type { EdgeRow, GraphRecord, HeadRoleRow, NodeRow, Payload } from "../payload.ts";
import { findNodes } from "../search.ts";
import type { PageState } from "../state.ts";
import { type Wiring, wire } from "../wiring.ts";
import { type Pair, useAddress, usePair } from "./decoded.ts";

export type Change = (part: Partial<PageState>) => void;

export interface Scene {
  wiring: Wiring;
  comparison: Comparison;
  words: Words;
  pair: Pair | null;
  failed: string; // why the circuits cannot be read
  edges: DrawnEdge[]; // of both circuits, strongest first
  own: OwnEdges[]; // the same by node
  chosen: OwnEdges[]; // and of these those into the inputs that the drawing is about
  statuses: (Status | undefined)[]; // by node
  pathOf: (node: number) => Path | null;
  found: ReadonlySet<number>; // nodes that the search names
  focus: Focus;
  held: number | null;
  onHold: (node: number | null) => void;
  tests: ReadonlyMap<string, EdgeRow>; // of single edges, by `testKey`; empty unless they are of this comparison
  moves: ReadonlyMap<string, NodeRow>; // changes of nodes by name; empty as well
  roles: ReadonlyMap<string, HeadRoleRow>; // by head, of the fine-tuning from start to end
  state: PageState;
  change: Change;
}

/** The scene that the address asks for. */
export function useScene(payload: Payload, graph: GraphRecord): Scene {
  const wiring = useMemo(() => wire(graph), [graph]);
  const [state, change] = useAddress(payload.circuits[0]!.label);
  const comparison = compared(payload.circuits, state);
  const { from, to } = comparison;
  const [pair, failed] = usePair(wiring, from, to);
  const focus = useMemo(() => makeFocus(), []);
  const named = wiring.nodes.findIndex((node) => node.name === state.node);
  const held = named >= 0 ? named : null;
  useLayoutEffect(() => focus.hold(held), [focus, held]);
  const onHold = useCallback(
    (node: number | null) => change({ node: node === null ? null : wiring.nodes[node]!.name }),
    [change, wiring],
  );
  useReleased(held, onHold);
  const words = useMemo(() => wordsFor({ from, to }), [from, to]);
  const found = useMemo(() => new Set(findNodes(wiring, state.find)), [wiring, state.find]);
  const whole = isWhole(comparison);
  const { edges: tested, nodes: moved, roles: told } = payload.tables;
  const tests = useMemo(
    () => byName(whole ? tested : null, to.label, (row) => `${row.source} ${row.destination}`),
    [tested, whole, to.label],
  );
  const moves = useMemo(
    () => byName(whole ? moved : null, to.label, (row) => row.node),
    [whole, moved, to.label],
  );
  const roles = useMemo(
    () => byName(words.later ? told : null, to.label, (row) => row.head),
    [told, words, to.label],
  );
  const known = useEdges(wiring, pair);
  const into = state.view === "map" ? "all" : state.into;
  const chosen = useMemo(
    () => (into === "all" ? known.own : edgesByNode(wiring, arriving(wiring, known.edges, into))),
    [wiring, known, into],
  );
  return {
    ...{ wiring, comparison, words, pair, failed, found, focus, held, onHold, state, change },
    ...{ tests, moves, roles, chosen },
    ...known,
  };
}

/** Escape lets a held node go, wherever the keyboard is. */
function useReleased(held: number | null, onHold: Scene["onHold"]): void {
  useEffect(() => {
    if (held === null) return;
    const release = (event: KeyboardEvent) => {
      if (event.key === "Escape") onHold(null);
    };
    addEventListener("keydown", release);
    return () => removeEventListener("keydown", release);
  }, [held, onHold]);
}

/** What follows from the two circuits alone. */
function useEdges(wiring: Wiring, pair: Pair | null): Pick<Scene, "edges" | "own" | "statuses" | "pathOf"> {
  return useMemo(() => {
    const edges = pair ? changedEdges(wiring, pair.before, pair.after) : [];
    const own = edgesByNode(wiring, edges);
    const statuses = nodeStatus(wiring, edges);
    const ways: Partial<Record<Side, (node: number) => Path | null>> = {}; // found when first asked for
    const pathOf = (node: number) => {
      const side = statuses[node] === "removed" ? "before" : "after";
      return (ways[side] ??= widestPaths(wiring, own, side))(node);
    };
    return { edges, own, statuses, pathOf };
  }, [wiring, pair]);
}

/** How an edge is found among the tests. */
export function testKey(wiring: Wiring, { source, reader }: { source: number; reader: number }): string {
  return `${wiring.nodes[source]!.name} ${wiring.readers[reader]!.name}`;
}

/** The rows of one fine-tuning by name. */
function byName<Row extends { label: string }>(
  rows: Row[] | null,
  label: string,
  name: (row: Row) => string,
): ReadonlyMap<string, Row> {
  const own = (rows ?? []).filter((row) => row.label === label);
  return new Map(own.map((row) => [name(row), row]));
}
