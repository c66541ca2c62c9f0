// What the charts share: scales, axes, the frame of a figure, its table of numbers.

import type { ComponentChildren, RefObject } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { count } from "./format.ts";

export interface Scale {
  (value: number): number;
  ticks: number[];
}

/** A linear scale; the domain is widened to whole ticks where `nice`. */
export function linear(domain: [number, number], pixels: [number, number], steps = 5, nice = false): Scale {
  const marks = ticks(domain[0], domain[1], steps, nice);
  const [low, high] = nice ? [marks[0]!, marks.at(-1)!] : domain;
  const slope = (pixels[1] - pixels[0]) / (high - low || 1);
  return Object.assign((value: number) => pixels[0] + (value - low) * slope, { ticks: marks });
}

/** About `steps` round numbers between low and high; with `around`, one beyond each end where needed. */
export function ticks(low: number, high: number, steps: number, around = false): number[] {
  const raw = (high - low) / steps || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999)!;
  const first = around ? Math.floor(low / step + 1e-9) : Math.ceil(low / step - 1e-9);
  const last = around ? Math.ceil(high / step - 1e-9) : Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/**
 * Move labels apart so that neighbours are at least `gap` from each other, keeping their order: the least squares of
 * all moves, so that a crowd stays centred where it belongs.
 */
export function spreadApart(wanted: readonly number[], gap: number, low: number, high: number): number[] {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a]! - wanted[b]!);
  // With the gaps taken out the places need only not fall: neighbours that would are pooled at their mean.
  const pools: { sum: number; size: number }[] = [];
  order.forEach((item, i) => {
    let pool = { sum: wanted[item]! - i * gap, size: 1 };
    for (let last = pools.at(-1); last && last.sum / last.size > pool.sum / pool.size; last = pools.at(-1)) {
      pool = { sum: last.sum + pool.sum, size: last.size + pool.size };
      pools.pop();
    }
    pools.push(pool);
  });
  const most = high - (wanted.length - 1) * gap;
  const places = pools.flatMap(({ sum, size }) =>
    Array<number>(size).fill(Math.min(most, Math.max(low, sum / size))),
  );
  const placed = [...wanted];
  order.forEach((item, i) => (placed[item] = places[i]! + i * gap));
  return placed;
}

/** Width of an element in pixels, followed as it changes; nothing is laid out before its time to measure it. */
export function useWidth<T extends Element>(fallback: number): [RefObject<T | null>, number] {
  const ref = useRef<T>(null);
  const [width, setWidth] = useState(fallback);
  useLayoutEffect(() => {
    const element = ref.current;
    if (!element) return;
    const observer = new ResizeObserver(([entry]) =>
      setWidth(Math.max(240, Math.floor(entry!.contentRect.width))),
    );
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}

interface FigureProps {
  id: string;
  number: number;
  title: string;
  children: ComponentChildren;
  caption: ComponentChildren;
  numbers?: ComponentChildren;
}

/** A numbered figure with its caption and, folded away, its numbers as a table. */
export function Figure({ id, number, title, children, caption, numbers }: FigureProps) {
  return (
    <figure id={id}>
      {children}
      <figcaption>
        <b>
          Figure {number}. {title}.
        </b>{" "}
        {caption}
      </figcaption>
      {numbers && (
        <details class="numbers">
          <summary>The numbers of figure {number}</summary>
          {numbers}
        </details>
      )}
    </figure>
  );
}

interface DataTableProps {
  columns: string[];
  rows: (string | number)[][];
  label: string;
  stacked?: boolean; // on a narrow screen every row is a card: the first cell, the last one, then the others by name
}

const LONG = 60; // rows up to which a table stands whole

/** The place of a table: it scrolls sideways where it is too wide, and downwards where it is long, and says so. */
export function Scroll({
  label,
  rows,
  children,
}: {
  label: string;
  rows: number;
  children: ComponentChildren;
}) {
  const long = rows > LONG;
  return (
    <>
      <section class={long ? "scroll long" : "scroll"} tabIndex={0} aria-label={label}>
        {children}
      </section>
      {long && <p class="explained">{count(rows)} rows: scroll within the table to see them all.</p>}
    </>
  );
}

const NUMBER = /^[\s\d.,+\u2212\u202f%e-]+$/;

/** A plain table; columns of numbers align right. */
export function DataTable({ columns, rows, label, stacked = false }: DataTableProps) {
  const styles = columns.map((_, i) =>
    rows.every((row) => row[i] === "none" || NUMBER.test(String(row[i]))) ? "number" : "",
  );
  // As cards the rows are no table to a browser any more; to a screen reader they stay one.
  const role = (name: "table" | "row" | "rowgroup" | "columnheader" | "cell") =>
    stacked ? { role: name } : {};
  return (
    <Scroll label={label} rows={rows.length}>
      <table class={stacked ? "stacked" : undefined} {...role("table")}>
        <thead {...role("rowgroup")}>
          <tr {...role("row")}>
            {columns.map((column, i) => (
              <th key={column} scope="col" class={styles[i]} {...role("columnheader")}>
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody {...role("rowgroup")}>
          {rows.map((row, index) => (
            <tr key={index} {...role("row")}>
              {row.map((cell, i) => (
                <td
                  key={columns[i]}
                  class={styles[i]}
                  data-column={stacked ? columns[i] : undefined}
                  {...role("cell")}
                >
                  {cell}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}

/** What stands in place of a figure the run has no data for. */
export function Missing({ id, what, table }: { id: string; what: string; table: string }) {
  return (
    <p class="missing" id={id}>
      {what} is not in this run: <code>tables/{table}.csv</code> is missing or empty.
    </p>
  );
}
