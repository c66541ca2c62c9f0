// Every edge of the circuits before and after, to search, sort and take along.

import { useState } from "preact/hooks";
import { Missing } from "../chart.tsx";
import { download } from "../csv.ts";
import { clicked, type EdgeColumn, edgesCsv, matching, type Order, ordered } from "../edges.ts";
import { count, fixed, labelsOf, number, plural } from "../format.ts";
import type { EdgeRow } from "../payload.ts";
import { OneOf } from "./controls.tsx";

const FIRST = 50; // rows shown before the reader asks for all

const COLUMNS: [column: EdgeColumn, title: string, numeric: boolean][] = [
  ["source", "Source", false],
  ["destination", "Destination", false],
  ["in_before", "In before", false],
  ["in_after", "In after", false],
  ["score_before", "Score before", true],
  ["score_after", "Score after", true],
  ["q", "q", true],
  ["changed", "Changed", false],
];

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
  const [order, setOrder] = useState<Order>({ column: "q", descending: false });
  const [all, setAll] = useState(false);
  const own = rows.filter((row) => row.label === label);
  const found = ordered(matching(own, text, changedOnly), order);
  const shown = all ? found : found.slice(0, FIRST);
  return (
    <>
      <p class="explained">
        Scores are means over the pairs, in percent of the sum over all edges (each map is scaled, because all
        scores grow in fine-tuning). q: if all edges with a q up to this one were called different, about this
        share of them would be so by chance. Changed: q below 0.05, and in one of the two circuits only.
        {total > rows.length &&
          ` Listed are the edges of smallest q, ${count(rows.length)} in all; the table of the run has ${count(total)}.`}
      </p>
      <div class="controls">
        <OneOf title="Edges of" names={labels} chosen={label} choose={chooseLabel} />
        <label class="choice">
          Filter{" "}
          <input
            type="search"
            value={text}
            placeholder="a2.h1 m3"
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </label>
        <label>
          <input
            type="checkbox"
            checked={changedOnly}
            onChange={(event) => setChangedOnly(event.currentTarget.checked)}
          />{" "}
          changed only
        </label>
        <button type="button" onClick={() => download(`${run}-edges.csv`, edgesCsv(found))}>
          Download as CSV
        </button>
      </div>
      <p class="explained" role="status">
        {found.length === 0
          ? "No edge matches."
          : `${count(shown.length)} of ${plural(found.length, "edge")}${found.length < own.length ? ` that match, of ${count(own.length)}` : ""}.`}
      </p>
      <Rows rows={shown} order={order} sort={(column) => setOrder(clicked(order, column))} />
      {found.length > FIRST && (
        <button type="button" onClick={() => setAll(!all)}>
          {all ? `Show the first ${FIRST}` : `Show all ${count(found.length)}`}
        </button>
      )}
    </>
  );
}

interface RowsProps {
  rows: EdgeRow[];
  order: Order;
  sort: (column: EdgeColumn) => void;
}

function Rows({ rows, order, sort }: RowsProps) {
  const digits = digitsFor(rows);
  return (
    <section class="scroll" tabIndex={0} aria-label="Edges of both circuits">
      <table>
        <thead>
          <tr>
            {COLUMNS.map(([column, title, numeric]) => (
              <th
                key={column}
                scope="col"
                class={numeric ? "number" : ""}
                aria-sort={column !== order.column ? "none" : order.descending ? "descending" : "ascending"}
              >
                <button type="button" onClick={() => sort(column)}>
                  {title}
                </button>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={`${row.source} ${row.destination}`}>
              <td>{row.source}</td>
              <td>{row.destination}</td>
              <td>{row.in_before ? "yes" : "no"}</td>
              <td>{row.in_after ? "yes" : "no"}</td>
              <td class="number">{fixed(100 * row.score_before, digits)}</td>
              <td class="number">{fixed(100 * row.score_after, digits)}</td>
              <td class="number">{number(Number(row.q.toPrecision(2)))}</td>
              <td>{row.changed ? <b>yes</b> : "no"}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
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
