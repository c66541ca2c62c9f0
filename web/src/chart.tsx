// What the charts share: scales, axes, the frame of a figure, its table of numbers.

import type { ComponentChildren, RefObject } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

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

/** Move labels apart so that neighbours are at least `gap` from each other, keeping their order. */
export function spreadApart(wanted: readonly number[], gap: number, low: number, high: number): number[] {
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a]! - wanted[b]!);
  const placed = [...wanted];
  order.forEach((item, i) => {
    const floor = i ? placed[order[i - 1]!]! + gap : low;
    placed[item] = Math.max(wanted[item]!, floor);
  });
  order.toReversed().forEach((item, i, reversed) => {
    const ceiling = i ? placed[reversed[i - 1]!]! - gap : high;
    placed[item] = Math.min(placed[item]!, ceiling);
  });
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
}

const NUMBER = /^[\s\d.,+\u2212\u202f%e-]+$/;

/** A plain table; columns of numbers align right. */
export function DataTable({ columns, rows, label }: DataTableProps) {
  const styles = columns.map((_, i) =>
    rows.every((row) => row[i] === "none" || NUMBER.test(String(row[i]))) ? "number" : "",
  );
  return (
    <section class="scroll" tabIndex={0} aria-label={label}>
      <table>
        <thead>
          <tr>
            {columns.map((column, i) => (
              <th key={column} scope="col" class={styles[i]}>
                {column}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, index) => (
            <tr key={index}>
              {row.map((cell, i) => (
                <td key={columns[i]} class={styles[i]}>
                  {cell}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
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
