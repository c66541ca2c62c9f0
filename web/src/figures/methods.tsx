// The contest: ways to spend the same number of LoRA parameters.

import { DataTable, Figure, linear, Missing, type Scale, useWidth } from "../chart.tsx";
import { count, list, number, percent, plural } from "../format.ts";
import type { MethodRow, Payload } from "../payload.ts";
import { intervalWords, tip } from "../tip.tsx";

const TOP = 6;
const NARROW = 600; // below it, what a method is takes a line of its own

interface MethodsProps extends Pick<Payload, "arms"> {
  rows: MethodRow[] | null;
  figure: number;
}

/** One row per arm and draw: a dot per seed with its interval. */
export function MethodsFigure({ rows, arms, figure }: MethodsProps) {
  if (!rows?.length) return <Missing id="methods" what="The comparison of methods" table="methods" />;
  return (
    <Figure
      id="methods"
      number={figure}
      title={`The same number of parameters, placed differently (${plural(new Set(rows.map((row) => row.seed)).size, "seed")})`}
      caption={`Accuracy on the ${count(rows[0]!.examples)} rows of the test split at the end of training, with 95\u202f% Wilson intervals over the rows. The intervals say nothing of how much another seed would change.`}
      numbers={
        <DataTable
          label="Comparison of methods"
          columns={[
            "Method",
            "Draw",
            "Seed",
            "High-rank layers",
            "Rank",
            "High rank",
            "Parameters",
            "Planned",
            "Steps",
            "Accuracy",
            "Low",
            "High",
            "Loss",
          ]}
          rows={rows.map((row) => [
            arms[row.arm]!,
            row.draw,
            row.seed,
            row.layers || "none",
            row.rank,
            row.critical_rank,
            count(row.parameters),
            count(row.planned),
            count(row.steps),
            percent(row.accuracy),
            percent(row.low),
            percent(row.high),
            row.loss === null ? "none" : number(row.loss),
          ])}
        />
      }
    >
      <Dots rows={rows} arms={arms} />
    </Figure>
  );
}

function Dots({ rows, arms }: { rows: MethodRow[] } & Pick<Payload, "arms">) {
  const [ref, width] = useWidth<HTMLDivElement>(640);
  const groups = [...new Map(rows.map((row) => [`${row.arm} ${row.draw}`, row])).keys()].map((key) =>
    rows.filter((row) => `${row.arm} ${row.draw}` === key),
  );
  const low = Math.min(...rows.map((row) => row.low));
  const high = Math.max(...rows.map((row) => row.high));
  const x = linear([Math.max(0, low), Math.min(1, high)], [8, width - 30], width < 480 ? 3 : 6, true);
  const rowHeight = width < NARROW ? 68 : 50;
  const bottom = TOP + rowHeight * groups.length;
  const digits = x.ticks.every((tick) => Math.abs(100 * tick - Math.round(100 * tick)) < 1e-6) ? 0 : 1;
  const ours = rows.filter((row) => row.arm === "circuitlora");
  return (
    <div ref={ref} class="chart">
      <svg
        role="img"
        aria-label="Accuracy of each method with its interval"
        width={width}
        height={bottom + 40}
      >
        {x.ticks.map((tick) => (
          <g key={tick} class="frame">
            <line x1={x(tick)} x2={x(tick)} y1={TOP} y2={bottom} class="grid" />
            <text x={x(tick)} y={bottom + 16} text-anchor={tick === x.ticks[0] ? "start" : "middle"}>
              {percent(tick, digits)}
            </text>
          </g>
        ))}
        <text x={width / 2} y={bottom + 36} text-anchor="middle" class="quiet title">
          accuracy on the test split
        </text>
        {ours.length === 1 && (
          <line x1={x(ours[0]!.accuracy)} x2={x(ours[0]!.accuracy)} y1={TOP + 34} y2={bottom} class="guide" />
        )}
        {groups.map((group, i) => (
          <Method
            key={`${group[0]!.arm} ${group[0]!.draw}`}
            rows={group}
            name={arms[group[0]!.arm]!}
            x={x}
            y={TOP + rowHeight * i}
            narrow={width < NARROW}
          />
        ))}
      </svg>
    </div>
  );
}

/** "rank 1, and 5 in layers 0 and 3" as short as a phone needs it. */
export function placement(row: MethodRow): string {
  if (!row.layers) return `rank ${row.rank} everywhere`;
  const layers = row.layers.split(" ");
  const where = `${layers.length === 1 ? "layer" : "layers"} ${list(layers)}`;
  return `rank ${row.critical_rank} in ${where}, ${row.rank} elsewhere`;
}

interface MethodProps {
  rows: MethodRow[];
  name: string;
  x: Scale;
  y: number;
  narrow: boolean;
}

function Method({ rows, name, x, y, narrow }: MethodProps) {
  const row = rows[0]!;
  const line = y + (narrow ? 50 : 34);
  return (
    <g class={row.arm === "circuitlora" ? "method ours" : "method"}>
      <text x={8} y={y + 14}>
        <tspan class="strong">
          {name}
          {row.arm === "random" ? `, draw ${row.draw}` : ""}
        </tspan>
        <tspan class="quiet" {...(narrow ? { x: 8, dy: 17 } : { dx: 8 })}>
          {placement(row)} {"\u00b7"} {count(row.parameters)} parameters
        </tspan>
      </text>
      {rows.map((one, i) => {
        const at = line + (i - (rows.length - 1) / 2) * 5;
        return (
          <g
            key={one.seed}
            data-tip={tip(
              `${name}, seed ${one.seed}`,
              percent(one.accuracy),
              intervalWords(one.low, one.high, percent),
              `${plural(one.examples, "row")} of the test split, ${count(one.parameters)} parameters`,
            )}
          >
            <rect
              x={x(one.low)}
              y={at - 5}
              width={Math.max(10, x(one.high) - x(one.low))}
              height={10}
              class="hit"
            />
            <line x1={x(one.low)} x2={x(one.high)} y1={at} y2={at} class="interval" />
            <circle cx={x(one.accuracy)} cy={at} r={5} class="dot" />
          </g>
        );
      })}
    </g>
  );
}
