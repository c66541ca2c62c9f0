// Every edge of the circuits before and after, to search, sort and take along.

import { useState } from "preact/hooks";
import { Missing } from "../chart.tsx";
import { download } from "../csv.ts";
import { clicked, edgesCsv, matching, type Order, ordered } from "../edges.ts";
import { count, fixed, labelsOf, number, plural } from "../format.ts";
import type { EdgeRow } from "../payload.ts";
import { OneOf } from "./controls.tsx";
import { type Column, Sortable, TableTools } from "./sortable.tsx";

const FIRST = 50; // rows shown before the reader asks for all

type Key = keyof EdgeRow;

function columnsFor(rows: EdgeRow[]): Column<EdgeRow>[] {
  const digits = digitsFor(rows);
  const yes = (value: boolean) => (value ? "yes" : "no");
  const score = (value: number) => fixed(100 * value, digits);
  return [
    { key: "source", title: "Source", cell: (row) => row.source },
    { key: "destination", title: "Destination", cell: (row) => row.destination },
    { key: "in_before", title: "In before", cell: (row) => yes(row.in_before) },
    { key: "in_after", title: "In after", cell: (row) => yes(row.in_after) },
    { key: "score_before", title: "Score before", numeric: true, cell: (row) => score(row.score_before) },
    { key: "score_after", title: "Score after", numeric: true, cell: (row) => score(row.score_after) },
    {
      key: "q",
      title: "q",
      numeric: true,
      cell: (row) => (row.q < 0.001 ? "<0.001" : number(Number(row.q.toPrecision(2)))),
    },
    { key: "changed", title: "Joined or left", cell: (row) => (row.changed ? <b>yes</b> : "no") },
  ];
}

interface EdgesProps {
  rows: EdgeRow[];
  total: number; // in the run's table
  run: string; // names the file to download
}

/** Folded away: it is long. */
export function EdgesTable({ rows, total, run }: Omit<EdgesProps, "rows"> & { rows: EdgeRow[] | null }) {
  if (!rows?.length) return <Missing id="edges" what="The table of single edges" table="edges" />;
  return (
    <details id="edges" class="edges">
      <summary>The edges of both circuits one by one ({count(rows.length)} rows)</summary>
      <Edges rows={rows} total={total} run={run} />
    </details>
  );
}

function Edges({ rows, total, run }: EdgesProps) {
  const labels = labelsOf(rows);
  const [label, chooseLabel] = useState(labels[0]!);
  const [text, setText] = useState("");
  const [changedOnly, setChangedOnly] = useState(false);
  const [order, setOrder] = useState<Order<Key>>({ column: "q", descending: false });
  const [all, setAll] = useState(false);
  const own = rows.filter((row) => row.label === label);
  const found = ordered(matching(own, text, changedOnly), order);
  const shown = all ? found : found.slice(0, FIRST);
  return (
    <>
      <p class="explained">
        Scores are means over the pairs, in percent of the sum over all edges (each map is scaled, because all
        scores grow in fine-tuning). q: if all edges with a q up to this one were called different, about this
        share of them would be so by chance. Joined or left: in one of the two circuits only, and q below
        0.05; an edge of both can differ strongly and has not joined or left.
        {total > rows.length &&
          ` Listed are the edges of smallest q, ${count(rows.length)} in all; the table of the run has ${count(total)}.`}
      </p>
      <div class="controls">
        <OneOf title="Edges of" names={labels} chosen={label} choose={chooseLabel} />
        <TableTools
          {...{ text, setText, changedOnly, setChangedOnly }}
          save={() => download(`${run}-edges.csv`, edgesCsv(found))}
        />
      </div>
      <p class="explained" role="status">
        {found.length === 0
          ? "No edge matches."
          : `${count(shown.length)} of ${plural(found.length, "edge")}${found.length < own.length ? ` that match, of ${count(own.length)}` : ""}.`}
      </p>
      <Sortable
        label="Edges of both circuits"
        columns={columnsFor(shown)}
        rows={shown}
        order={order}
        sort={(column) => setOrder(clicked(order, column))}
      />
      {found.length > FIRST && (
        <button type="button" onClick={() => setAll(!all)}>
          {all ? `Show the first ${FIRST}` : `Show all ${count(found.length)}`}
        </button>
      )}
    </>
  );
}

/** Digits after the point that give the largest score four in all. */
function digitsFor(rows: EdgeRow[]): number {
  const largest = Math.max(
    ...rows.flatMap((row) => [Math.abs(row.score_before), Math.abs(row.score_after)]),
    1e-9,
  );
  return Math.min(9, Math.max(2, 3 - Math.floor(Math.log10(100 * largest))));
}
