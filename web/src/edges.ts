// Edges as a list to search, sort and take along.

import { csv } from "./csv.ts";
import type { EdgeRow } from "./payload.ts";

export interface Order<Column extends string> {
  column: Column;
  descending: boolean;
}

interface Listed {
  source: string;
  destination: string;
  changed: boolean;
}

/** What stays when the list is searched: rows that hold every word, in either end. */
export function matching<Row extends Listed>(
  rows: readonly Row[],
  text: string,
  changedOnly: boolean,
): Row[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return rows.filter((row) => {
    const ends = `${row.source} ${row.destination}`.toLowerCase();
    return (!changedOnly || row.changed) && words.every((word) => ends.includes(word));
  });
}

const names = new Intl.Collator("en", { numeric: true }); // h10 comes after h9

/** A sorted copy; equals keep their order. */
export function ordered<Row, Column extends keyof Row & string>(
  rows: readonly Row[],
  { column, descending }: Order<Column>,
): Row[] {
  const sign = descending ? -1 : 1;
  return rows.toSorted((one, other) => {
    const [a, b] = [one[column], other[column]];
    if (typeof a === "string" && typeof b === "string") return sign * names.compare(a, b);
    return sign * (Number(a) - Number(b));
  });
}

/** The order after a click on a column: ascending first, then the reverse. */
export function clicked<Column extends string>(order: Order<Column>, column: Column): Order<Column> {
  return { column, descending: order.column === column && !order.descending };
}

const COLUMNS: (keyof EdgeRow)[] = [
  ...(["label", "seed", "source", "destination", "in_before", "in_after"] as const),
  ...(["score_before", "score_after", "t", "p", "q", "changed"] as const),
];

/** The rows as edges.csv has them. */
export function edgesCsv(rows: readonly EdgeRow[]): string {
  return csv(
    COLUMNS,
    rows.map((row) => COLUMNS.map((column) => row[column])),
  );
}
