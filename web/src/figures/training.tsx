// Accuracy and faithfulness over training.

import { useState } from "preact/hooks";
import { DataTable, Figure, Missing } from "../chart.tsx";
import { count, labelsOf, lineName, list, number, percent, plural } from "../format.ts";
import { type Line, Lines } from "../lines.tsx";
import type { AccuracyRow, FaithfulnessRow } from "../payload.ts";
import { OneOf } from "./controls.tsx";

const DASHES = ["", "6 3", "2 3", "8 3 2 3"];

/** Rows of the fine-tunings the page is about: arm "tune" where there is one, else all. */
function tuningRows<Row extends { arm: string }>(rows: Row[]): Row[] {
  const own = rows.filter((row) => row.arm === "tune");
  return own.length ? own : rows;
}

/** Their accuracy on the test split, or on the first split there is. */
function testRows(rows: AccuracyRow[]): AccuracyRow[] {
  const own = tuningRows(rows);
  const split = own.some((row) => row.split === "test") ? "test" : own[0]?.split;
  return own.filter((row) => row.split === split);
}

/** Accuracy per seed with its interval. */
export function AccuracyFigure({ rows, figure }: { rows: AccuracyRow[] | null; figure: number }) {
  const shown = testRows(rows ?? []);
  if (shown.length === 0) return <Missing id="accuracy" what="Accuracy over training" table="accuracy" />;
  const lines = labelsOf(shown).map((label, i): Line => ({
    name: lineName(label, shown),
    colour: "var(--ink)",
    dash: DASHES[i % DASHES.length]!,
    points: shown
      .filter((row) => row.label === label)
      .map((row) => ({ x: row.step, y: row.accuracy, low: row.low, high: row.high })),
  }));
  const table = shown.map((row) => [
    row.label,
    count(row.step),
    percent(row.accuracy),
    percent(row.low),
    percent(row.high),
    `${count(row.correct)} of ${count(row.examples)}`,
    row.loss === null ? "none" : number(row.loss),
  ]);
  return (
    <Figure
      id="accuracy"
      number={figure}
      title="Accuracy over training"
      caption={`Share of the ${plural(shown[0]!.examples, "row")} of the ${shown[0]!.split} split answered exactly, one line per fine-tuning. Bands are 95\u202f% Wilson intervals over the rows.`}
      numbers={
        <DataTable
          label="Accuracy over training"
          columns={["Run", "Step", "Accuracy", "Low", "High", "Correct", "Loss"]}
          rows={table}
        />
      }
    >
      <Lines
        lines={lines}
        label="Accuracy over training, per seed"
        yTitle="accuracy"
        domain={[0, 1]}
        write={percent}
        writeTick={(value) => percent(value, 0)}
      />
    </Figure>
  );
}

interface FaithfulnessProps {
  rows: FaithfulnessRow[] | null;
  mainShare: number;
  figure: number;
}

/** Faithfulness of circuits of several sizes; where it is undefined everywhere, their KL instead. */
export function FaithfulnessFigure({ rows, mainShare, figure }: FaithfulnessProps) {
  const all = tuningRows(rows ?? []);
  const labels = labelsOf(all);
  const [chosen, choose] = useState(labels[0] ?? "");
  if (all.length === 0) {
    return <Missing id="faithfulness" what="Faithfulness over training" table="faithfulness" />;
  }
  const shown = all.filter((row) => row.label === chosen);
  const defined = shown.some((row) => row.normalized !== null);
  const metric = list([...new Set(shown.map((row) => row.metric))]);
  return (
    <Figure
      id="faithfulness"
      number={figure}
      title="Faithfulness over training"
      caption={
        <>
          {defined
            ? `How much of the model's effect on ${metric} the circuit alone reproduces, for circuits of several sizes (share of all edges); 100\u202f% is the whole model, 0\u202f% the corrupted run. Bands are 95\u202f% bootstrap intervals over the pairs. `
            : "Normalised faithfulness is undefined here; shown is the KL divergence from the model's answer to the circuit's: lower is better, 0 is the whole model. "}
          {undefinedNote(shown)}
        </>
      }
      numbers={<FaithfulnessTable rows={shown} />}
    >
      <OneOf title="Circuits of" names={labels} chosen={chosen} choose={choose} />
      <FaithfulnessLines rows={shown} mainShare={mainShare} defined={defined} />
    </Figure>
  );
}

function FaithfulnessLines({
  rows,
  mainShare,
  defined,
}: {
  rows: FaithfulnessRow[];
  mainShare: number;
  defined: boolean;
}) {
  const shares = [...new Set(rows.map((row) => row.share))].sort((a, b) => a - b);
  const lines = shares.map((share, i): Line => {
    const depth = shares.length > 1 ? Math.round(38 + (62 * i) / (shares.length - 1)) : 100;
    return {
      name: percent(share, share < 0.01 ? 1 : 0),
      colour: `color-mix(in oklab, var(--size) ${depth}%, var(--size-pale))`,
      weight: share === mainShare ? 2.6 : 1.4,
      points: rows
        .filter((row) => row.share === share)
        .map((row) =>
          defined
            ? { x: row.step, y: row.normalized, low: row.normalized_low, high: row.normalized_high }
            : { x: row.step, y: row.kl },
        ),
    };
  });
  const values = lines.flatMap((line) => line.points.flatMap((point) => point.y ?? []));
  return (
    <Lines
      lines={lines}
      label="Faithfulness over training, by circuit size"
      yTitle={defined ? "faithfulness" : "KL(model \u2016 circuit), nats"}
      domain={[Math.min(0, ...values), Math.max(defined ? 1.05 : 0, ...values)]}
      write={defined ? percent : number}
      writeTick={defined ? (value) => percent(value, 0) : number}
    />
  );
}

function undefinedNote(rows: FaithfulnessRow[]): string {
  const missing = rows.filter((row) => row.normalized === null);
  if (missing.length === 0) return "";
  const reasons = [...new Set(missing.map((row) => row.reason))];
  return `Undefined for ${missing.length} of ${plural(rows.length, "circuit")} (${reasons.join("; ")}). `;
}

function FaithfulnessTable({ rows }: { rows: FaithfulnessRow[] }) {
  const share = (value: number | null) => (value === null ? "none" : percent(value));
  return (
    <DataTable
      label="Faithfulness over training"
      columns={["Step", "Size", "Edges", "Nodes", "Faithfulness", "Low", "High", "KL", "Circuit accuracy"]}
      rows={rows.map((row) => [
        count(row.step),
        percent(row.share),
        count(row.edges),
        count(row.nodes),
        share(row.normalized),
        share(row.normalized_low),
        share(row.normalized_high),
        number(row.kl),
        percent(row.accuracy),
      ])}
    />
  );
}
