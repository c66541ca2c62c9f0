// The edges of the two circuits shown, to search, sort and take along.

import { useMemo, useState } from "preact/hooks";
import { comparedCsv, type ComparedRow, comparedRows } from "../compared.ts";
import { download } from "../csv.ts";
import { clicked, matching, type Order, ordered } from "../edges.ts";
import { count, number, plural } from "../format.ts";
import type { CircuitEntry } from "../payload.ts";
import { share } from "./notes.tsx";
import { type Scene, testKey } from "./scene.ts";
import { type Column, Sortable, TableTools } from "./sortable.tsx";

const FIRST = 50; // rows shown before the reader asks for more
const MORE = 500;

type Key = keyof ComparedRow;

/** Changed edges first shown, strongest first; `run` names the file to download. */
export function ListedEdges({ scene, run }: { scene: Scene; run: string }) {
  const { wiring, edges, words, tests, comparison } = scene;
  const rows = useMemo(
    () => comparedRows(wiring, edges, words, (edge) => tests.get(testKey(wiring, edge))),
    [wiring, edges, words, tests],
  );
  const [text, setText] = useState("");
  const [changedOnly, setChangedOnly] = useState(true);
  const [order, setOrder] = useState<Order<Key>>({ column: "strength", descending: true });
  const [most, setMost] = useState(FIRST);
  const found = useMemo(
    () => ordered(matching(rows, text, changedOnly), order),
    [rows, text, changedOnly, order],
  );
  const shown = found.slice(0, most);
  const [first, second] = [nameOf(comparison.from), nameOf(comparison.to)];
  const columns = columnsFor(words.before, words.after, tests.size > 0);
  return (
    <>
      <div class="controls">
        <TableTools
          {...{ text, setText, changedOnly, setChangedOnly }}
          save={() => download(`${run}-circuit.csv`, comparedCsv(found, first, second))}
        />
      </div>
      <p class="explained" role="status">
        {found.length === 0
          ? "No edge matches."
          : `${count(shown.length)} of ${plural(found.length, "edge")} of ${words.later ? `${first} and ${words.after}` : `${first} (${words.before}) and ${second} (${words.after})`}.`}
      </p>
      <Sortable
        label="Edges of the circuits shown"
        columns={columns}
        rows={shown}
        order={order}
        sort={(column) => setOrder(clicked(order, column))}
      />
      {found.length > most && (
        <button type="button" onClick={() => setMost(most + MORE)}>
          Show {count(Math.min(MORE, found.length - most))} more
        </button>
      )}
    </>
  );
}

/** "tune seed 0 at step 100". */
export function nameOf({ label, step }: CircuitEntry): string {
  return `${label} at step ${count(step)}`;
}

function columnsFor(before: string, after: string, tested: boolean): Column<ComparedRow>[] {
  const columns: Column<ComparedRow>[] = [
    { key: "source", title: "Source", cell: (row) => row.source },
    { key: "destination", title: "Destination", cell: (row) => row.destination },
    { key: "change", title: "Change", cell: (row) => row.change },
    { key: "before", title: `Share, ${before}`, numeric: true, cell: (row) => share(row.before) },
    { key: "after", title: `Share, ${after}`, numeric: true, cell: (row) => share(row.after) },
    { key: "difference", title: "Difference", numeric: true, cell: (row) => share(row.difference) },
    { key: "strength", title: "Strength", numeric: true, cell: (row) => share(row.strength) },
  ];
  const q = (row: ComparedRow) =>
    row.q === null ? "none" : row.q < 0.001 ? "<0.001" : number(Number(row.q.toPrecision(2)));
  return tested ? [...columns, { key: "q", title: "q", numeric: true, cell: q }] : columns;
}
