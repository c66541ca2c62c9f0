// Does the gain of fine-tuning pass through the changed edges? Swaps in both directions, and the heads that changed most.

import { useState } from "preact/hooks";
import { DataTable, Figure, linear, Missing, type Scale, useWidth } from "../chart.tsx";
import {
  count,
  fixed,
  labelsOf,
  lineName,
  list,
  number,
  percent,
  plural,
  range,
  typeset,
} from "../format.ts";
import type { CausalRow, HeadRoleRow } from "../payload.ts";
import { intervalWords, tip } from "../tip.tsx";
import { OneOf } from "./controls.tsx";

const LEFT = 56; // room for the names of the fine-tunings
const RIGHT = 60; // and for the numbers
const TOP = 4;
const HEAD = 24;
const ROW = 20;
const MANY = 3; // from here on counts are given as a range

const DIRECTIONS: Record<CausalRow["direction"], string> = {
  removal: "Tuned model with the base model\u2019s activations: gain lost",
  insertion: "Base model with the tuned model\u2019s activations: gain won",
};
const RANDOM = "random unchanged";
const SETS = ["changed", "strongest unchanged", RANDOM];

/** A panel per direction: what share of the gain goes with each set of edges. */
export function CausalFigure({ rows, figure }: { rows: CausalRow[] | null; figure: number }) {
  const measures = [...new Set((rows ?? []).map((row) => row.measure))];
  const measure = measures.find((one) => one !== "accuracy") ?? measures[0];
  if (!rows || measure === undefined)
    return <Missing id="causal" what="The swap of changed edges" table="causal" />;
  const shown = rows.filter((row) => row.measure === measure && SETS.includes(row.swapped));
  const draws = new Set(shown.filter((row) => row.swapped === RANDOM).map((row) => row.draw)).size;
  return (
    <Figure
      id="causal"
      number={figure}
      title={`The share of the gain in ${measure} that goes with the edges`}
      caption={
        <>
          One model runs, but on some edges it is given what the other model sends along them, on pairs that
          the circuits were not found on. 0{"\u202f"}%: nothing of the gain follows; 100{"\u202f"}%: all of
          it, as when every edge is swapped. Large dots: the changed edges, in the circuit before or after but
          not in both, and as many unchanged ones, the strongest (unchanged: in both circuits, or in neither);
          lines are 95{"\u202f"}% intervals over the pairs.{" "}
          {draws > 0 &&
            `Small dots: as many unchanged edges, drawn at random ${plural(draws, "time")} (their height within the row means nothing); stroke and number: their mean. `}
          Accuracies of this section are on these pairs, not on the test split.
        </>
      }
      numbers={<CausalTable rows={rows} />}
    >
      <div class="panels">
        {(Object.keys(DIRECTIONS) as CausalRow["direction"][]).map((direction) => (
          <Swaps
            key={direction}
            title={DIRECTIONS[direction]}
            rows={shown.filter((row) => row.direction === direction)}
            all={shown}
          />
        ))}
      </div>
    </Figure>
  );
}

/** `all`: what the scale must hold, so that both panels share it. */
function Swaps({ title, rows, all }: { title: string; rows: CausalRow[]; all: CausalRow[] }) {
  const [ref, width] = useWidth<HTMLDivElement>(480);
  if (rows.length === 0) return null;
  const ends = all.flatMap((row) => [row.low ?? row.share ?? 0, row.high ?? row.share ?? 0]);
  const x = linear([Math.min(0, ...ends), Math.max(1, ...ends)], [LEFT, width - RIGHT], width < 420 ? 3 : 5);
  const labels = labelsOf(rows);
  const sets = SETS.filter((name) => rows.some((row) => row.swapped === name));
  const height = HEAD + ROW * labels.length;
  const bottom = TOP + height * sets.length + 6;
  return (
    <div>
      <p class="measure">
        <b>{title}</b>
      </p>
      <div ref={ref} class="chart">
        <svg role="img" aria-label={title} width={width} height={bottom + 20} class="swaps">
          {x.ticks.map((tick) => (
            <g key={tick} class="frame">
              <line x1={x(tick)} x2={x(tick)} y1={TOP} y2={bottom} class="grid" />
              <text x={x(tick)} y={bottom + 16} text-anchor="middle">
                {percent(tick, 0)}
              </text>
            </g>
          ))}
          <line x1={x(0)} x2={x(0)} y1={TOP} y2={bottom} class="zero" />
          {sets.map((name, i) => {
            const own = rows.filter((row) => row.swapped === name);
            const top = TOP + height * i;
            return (
              <g key={name}>
                <text x={x(0) + 7} y={top + 16} class="set">
                  <tspan class="strong">{name}</tspan>
                  <tspan class="quiet" dx={6}>
                    {howMany(own)}
                  </tspan>
                </text>
                {labels.map((label, n) => (
                  <Shares
                    key={label}
                    rows={own.filter((row) => row.label === label)}
                    name={lineName(label, rows)}
                    x={x}
                    y={top + HEAD + ROW * (n + 0.4)}
                    right={width}
                  />
                ))}
              </g>
            );
          })}
        </svg>
      </div>
    </div>
  );
}

/** "303 and 317 edges": every fine-tuning has as many as its own circuits differ in. */
function howMany(rows: readonly Pick<CausalRow, "edges">[]): string {
  const edges = [...new Set(rows.map((row) => row.edges))];
  if (edges.length === 1) return plural(edges[0]!, "edge");
  return `${edges.length > MANY ? range(edges, count) : list(edges.map(count))} edges`;
}

interface SharesProps {
  rows: CausalRow[]; // one, or one per draw
  name: string;
  x: Scale;
  y: number;
  right: number;
}

function Shares({ rows, name, x, y, right }: SharesProps) {
  const known = rows.filter((row) => row.share !== null);
  if (rows.length === 0) return null;
  const mean = known.reduce((sum, row) => sum + row.share!, 0) / known.length;
  return (
    <g class={rows[0]!.swapped === "changed" ? "method ours" : "method"} data-tip={sharesWords(rows, name)}>
      <rect x={0} y={y - ROW / 2} width={right} height={ROW} class="hit" />
      <text x={0} y={y + 4} class="quiet">
        {name}
      </text>
      {rows[0]!.swapped === RANDOM ? (
        <>
          {known.map((row, i) => (
            <circle key={row.draw} cx={x(row.share!)} cy={y + 4 * ((i % 3) - 1)} r={3} class="draw" />
          ))}
          {known.length > 0 && <line x1={x(mean)} x2={x(mean)} y1={y - 8} y2={y + 8} class="zero" />}
        </>
      ) : (
        known.map((row) => (
          <g key={row.draw}>
            {row.low !== null && row.high !== null && (
              <line x1={x(row.low)} x2={x(row.high)} y1={y} y2={y} class="interval" />
            )}
            <circle cx={x(row.share!)} cy={y} r={5} class="dot" />
          </g>
        ))
      )}
      <text x={right - 2} y={y + 4} text-anchor="end" class="strong">
        {known.length ? percent(mean) : "undefined"}
      </text>
    </g>
  );
}

/** What a row is: its share of the gain with its interval, or of several draws their mean and ends. */
function sharesWords(rows: CausalRow[], name: string): string {
  const [first] = rows;
  const title = `${first!.swapped}, ${name}`;
  const known = rows.flatMap(({ share }) => share ?? []);
  if (known.length === 0) return tip(title, `undefined: ${first!.reason}`);
  const mean = known.reduce((sum, share) => sum + share, 0) / known.length;
  return tip(
    title,
    `${first!.swapped === RANDOM ? "mean " : ""}${percent(mean)} of the gain`,
    first!.swapped === RANDOM
      ? `${plural(known.length, "draw")}: ${range(known)}`
      : intervalWords(first!.low, first!.high, percent),
    howMany(rows),
  );
}

function CausalTable({ rows }: { rows: CausalRow[] }) {
  const share = (value: number | null) => (value === null ? "none" : percent(value));
  return (
    <DataTable
      label="Gain that goes with the edges"
      columns={[
        "Run",
        "Direction",
        "Edges",
        "Draw",
        "How many",
        "Measure",
        "Reached",
        "Share",
        "Low",
        "High",
      ]}
      rows={rows.map((row) => [
        row.label,
        row.direction,
        row.swapped,
        row.draw,
        count(row.edges),
        row.measure,
        number(row.value),
        row.share === null ? `none (${row.reason})` : percent(row.share),
        share(row.low),
        share(row.high),
      ])}
    />
  );
}

/** The heads whose scores changed most: a line each. */
export function RolesTable({ rows }: { rows: HeadRoleRow[] | null }) {
  const labels = labelsOf(rows ?? []);
  const [chosen, choose] = useState(labels[0] ?? "");
  if (!rows?.length) return <Missing id="roles" what="What the most changed heads do" table="roles" />;
  const shown = rows.filter((row) => row.label === chosen);
  const over = shown.some((row) => row.wrong_after !== null) ? " over the wrong one" : "";
  return (
    <div id="roles" class="roles">
      <h3>The heads that changed most</h3>
      <OneOf title="Heads of" names={labels} chosen={chosen} choose={choose} />
      <DataTable
        label="Heads that changed most"
        stacked
        columns={["Head", "Change", "Token", "Attention to it", "Direct contribution", "In words"]}
        rows={shown.map((row) => [
          row.head,
          percent(row.change),
          fromEnd(row.position),
          `${fixed(row.attention_before, 2)} \u2192 ${fixed(row.attention_after, 2)}`,
          `${fixed(row.direct_before, 2)} \u2192 ${fixed(row.direct_after, 2)}`,
          typeset(row.sentence),
        ])}
      />
      <p class="explained">
        Before {"\u2192"} after fine-tuning. Change: how much of the score on the head{"\u2019"}s edges moved,
        in shares of all scores. Token: the place of the prompt to which the head{"\u2019"}s attention, at the
        last token, changed most. Direct contribution: by how much the head alone raises the answer{over}, in
        logits, the model{"\u2019"}s raw scores of a token; most of a gain reaches the answer through later
        parts, so these can be small beside it. Attention that changes by less than 0.05, and contributions
        below 0.05 logits, are not spoken of.
      </p>
    </div>
  );
}

/** -1 -> "last", -3 -> "last but 2". */
function fromEnd(position: number): string {
  return position === -1 ? "last" : `last but ${-1 - position}`;
}
