// Would other pairs have given the same circuit, and do the circuits of other tasks make up this one?

import { useState } from "preact/hooks";
import { DataTable, Figure } from "../chart.tsx";
import { count, fixed, labelsOf, percent } from "../format.ts";
import { type Line, Lines } from "../lines.tsx";
import type { CompositionRow, RobustnessRow } from "../payload.ts";
import { OneOf } from "./controls.tsx";

const MODELS: [RobustnessRow["model"], string, string][] = [
  ["after", "after", "var(--ink)"],
  ["before", "before", "var(--size)"],
  ["random", "random weights", "var(--kept)"],
];

/** Likeness of the circuits by share of the pairs resampled, a line per model; disjoint parts in the caption. */
export function RobustnessFigure({ rows, figure }: { rows: RobustnessRow[]; figure: number }) {
  const labels = labelsOf(rows);
  const [chosen, choose] = useState(labels[0] ?? "");
  const shown = rows.filter((row) => row.label === chosen);
  const noise = shown.filter((row) => row.kind === "noise");
  return (
    <Figure
      id="robustness"
      number={figure}
      title="The circuit with other pairs of the task"
      caption={`How alike the circuit stays when a share of its pairs is resampled (Jaccard of edges, 1 is the same; bands reach from the least to the most alike draw). Only what lies above the model with random weights is the task. ${partsNote(shown)}`}
      numbers={
        <DataTable
          label="The circuit with other pairs of the task"
          columns={[
            "Model",
            "Pairs changed",
            "Pairs",
            "Comparisons",
            "Likeness",
            "Least",
            "Most",
            "Of nodes",
          ]}
          rows={shown.map((row) => [
            row.model,
            row.level === null ? "disjoint parts" : percent(row.level, 0),
            count(row.pairs),
            count(row.comparisons),
            ...[row.edge_jaccard, row.edge_low, row.edge_high, row.node_jaccard].map((one) => fixed(one, 2)),
          ])}
        />
      }
    >
      <OneOf title="Circuits of" names={labels} chosen={chosen} choose={choose} />
      {noise.length > 0 && (
        <Lines
          lines={MODELS.map(([model, name, colour]) => ({
            name,
            colour,
            points: noise
              .filter((row) => row.model === model)
              .map((row) => ({
                x: Math.round(100 * row.level!),
                y: row.edge_jaccard,
                low: row.edge_low,
                high: row.edge_high,
              })),
          }))}
          label="Likeness of the circuit by share of the pairs resampled"
          yTitle="likeness (Jaccard)"
          xTitle="pairs resampled, %"
          point="% resampled:"
          domain={[0, 1]}
          margin={112}
          write={(value) => fixed(value, 2)}
        />
      )}
    </Figure>
  );
}

function partsNote(rows: RobustnessRow[]): string {
  const parts = rows.filter((row) => row.kind === "parts");
  const said = parts.map((row) => `${fixed(row.edge_jaccard, 2)} ${row.model}`);
  return parts.length ? `Between disjoint parts of ${count(parts[0]!.pairs)} pairs: ${said.join(", ")}.` : "";
}

/** Faithfulness on the run's task of its own circuit, of the parts' union, and of controls of equal size. */
export function CompositionFigure({ rows, figure }: { rows: CompositionRow[]; figure: number }) {
  const labels = labelsOf(rows);
  const [chosen, choose] = useState(labels[0] ?? "");
  const shown = rows.filter((row) => row.label === chosen);
  const defined = shown.some((row) => row.normalized !== null);
  const lines = compositionLines(shown, defined);
  const values = lines.flatMap((line) => line.points.flatMap((point) => point.y ?? []));
  const reasons = [...new Set(shown.flatMap((row) => row.reason || []))];
  return (
    <Figure
      id="composition"
      number={figure}
      title="United circuits of other tasks"
      caption={`How much of what the tuned model does on ${shown[0]!.task} circuits of equal size reproduce: its own, the union of the parts\u2019, each part alone, an unrelated union, and random edges (their mean). ${
        defined ? "" : `Shown is the KL divergence from the model, lower is better: ${reasons.join("; ")}.`
      }`}
      numbers={
        <DataTable
          label="United circuits of other tasks"
          columns={["Circuit", "Of", "Size", "Edges", "Shared", "Faithfulness", "Low", "High", "KL"]}
          rows={shown.map((row) => [
            row.kind,
            row.name,
            percent(row.share, 0),
            count(row.edges),
            row.overlap === null ? "none" : percent(row.overlap),
            ...[row.normalized, row.normalized_low, row.normalized_high].map((value) =>
              value === null ? "none" : percent(value),
            ),
            fixed(row.kl, 3),
          ])}
        />
      }
    >
      <OneOf title="Circuits of" names={labels} chosen={chosen} choose={choose} />
      <Lines
        lines={lines}
        label="Faithfulness of united circuits by size"
        yTitle={defined ? "faithfulness" : "KL, nats"}
        xTitle="size, % of all edges"
        point="size in %:"
        domain={[Math.min(0, ...values), Math.max(defined ? 1.05 : 0, ...values)]}
        margin={150}
        write={defined ? percent : (value) => fixed(value, 3)}
      />
    </Figure>
  );
}

const SHOWN: Partial<Record<CompositionRow["kind"], { colour: string; dash?: string; weight?: number }>> = {
  whole: { colour: "var(--ink)", weight: 2.6 },
  union: { colour: "var(--size)", weight: 2.6 },
  part: { colour: "var(--size)", dash: "2 3" },
  unrelated: { colour: "var(--kept)", dash: "6 3" },
  random: { colour: "var(--kept)", dash: "2 3" },
};

/** A line per kind and name; draws are averaged. */
export function compositionLines(rows: CompositionRow[], defined: boolean): Line[] {
  const own = rows.filter((row) => row.kind in SHOWN);
  const names = [...new Set(own.map((row) => `${row.kind}\n${row.name}`))];
  return names.map((key) => {
    const [kind, name] = key.split("\n") as [CompositionRow["kind"], string];
    const mine = own.filter((row) => row.kind === kind && row.name === name);
    const shares = [...new Set(mine.map((row) => row.share))].sort((a, b) => a - b);
    return {
      name: kind === "random" ? "random edges" : name,
      ...SHOWN[kind]!,
      points: shares.map((share) => ({
        x: Math.round(100 * share),
        y: mean(mine.filter((row) => row.share === share).map((row) => (defined ? row.normalized : row.kl))),
      })),
    };
  });
}

function mean(values: (number | null)[]): number | null {
  const known = values.filter((value) => value !== null);
  return known.length < values.length ? null : known.reduce((sum, value) => sum + value, 0) / known.length;
}
