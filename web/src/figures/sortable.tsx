// A table of edges whose columns sort.

import type { ComponentChildren } from "preact";
import { Scroll } from "../chart.tsx";
import type { Order } from "../edges.ts";

export interface Column<Row> {
  key: keyof Row & string;
  title: string;
  numeric?: boolean;
  cell: (row: Row) => ComponentChildren;
}

interface SortableProps<Row> {
  label: string;
  columns: Column<Row>[];
  rows: Row[];
  order: Order<keyof Row & string>;
  sort: (column: keyof Row & string) => void;
}

/** Every header is a button; a second press turns the order round. */
export function Sortable<Row extends { source: string; destination: string }>(props: SortableProps<Row>) {
  const { label, columns, rows, order, sort } = props;
  return (
    <Scroll label={label} rows={rows.length}>
      <table>
        <thead>
          <tr>
            {columns.map(({ key, title, numeric }) => (
              <th
                key={key}
                scope="col"
                class={numeric ? "number" : ""}
                aria-sort={key !== order.column ? "none" : order.descending ? "descending" : "ascending"}
              >
                <button type="button" onClick={() => sort(key)}>
                  {title}
                </button>
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={`${row.source} ${row.destination}`}>
              {columns.map(({ key, numeric, cell }) => (
                <td key={key} class={numeric ? "number" : undefined}>
                  {cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

interface SearchProps {
  text: string;
  setText: (text: string) => void;
  changedOnly: boolean;
  setChangedOnly: (only: boolean) => void;
  save: () => void;
}

/** What stands above such a table: a filter, and the way to take it along. */
export function TableTools({ text, setText, changedOnly, setChangedOnly, save }: SearchProps) {
  return (
    <>
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
      <button type="button" onClick={save}>
        Download as CSV
      </button>
    </>
  );
}
