// How much circuits and critical layers depend on the pairs they were found on.

import { DataTable, Figure, linear, Missing, useWidth } from "../chart.tsx";
import { count, fixed, labelsOf, lineName, percent } from "../format.ts";
import type { LayerFrequencyRow, RuleRow, StabilityRow } from "../payload.ts";
import { tip } from "../tip.tsx";

const TALL = 34; // pixels of a bar at 100 %

/** A line per circuit and set of layers; the unstable ones are called so. */
export function StabilityTable({ rows }: { rows: StabilityRow[] | null }) {
  if (!rows?.length) return <Missing id="stability" what="How stable the circuits are" table="stability" />;
  return (
    <div id="stability" class="lines">
      <DataTable
        label="Stability"
        columns={["Run", "What", "Verdict", "Likeness", "Sure edges", "Their faithfulness", "Low", "High"]}
        rows={rows.map((row) => [
          lineName(row.label, rows),
          row.what,
          row.unstable ? "unstable" : "stable",
          fixed(row.jaccard, 2),
          row.consensus_edges === null ? "none" : count(row.consensus_edges),
          ...[row.normalized, row.normalized_low, row.normalized_high].map((value) =>
            value === null ? "none" : percent(value),
          ),
        ])}
      />
      <p class="explained">
        Likeness: the pairs are drawn again many times, and each time the circuit or the set of layers is
        found anew; the mean share it has in common with the one of all pairs (Jaccard, 1 is the same). Below
        0.8 it is called unstable. Sure edges: in at least 80{"\u202f"}% of the draws; their faithfulness
        shows how much of the model{"\u2019"}s effect they reproduce alone, with its 95{"\u202f"}% interval.
        {reasons(rows)}
      </p>
    </div>
  );
}

function reasons(rows: StabilityRow[]): string {
  const found = rows
    .filter((row) => row.reason)
    .map((row) => `${row.what}, ${lineName(row.label, rows)}: ${row.reason}`);
  return found.length ? ` Not defined for ${found.join("; ")}.` : "";
}

interface FrequencyProps {
  rows: LayerFrequencyRow[] | null;
  agreement: RuleRow[] | null;
  figure: number;
}

/** One small row of bars per rule and fine-tuning. */
export function LayerFrequencyFigure({ rows, agreement, figure }: FrequencyProps) {
  if (!rows?.length)
    return <Missing id="layer-frequency" what="How often a layer is critical" table="layer_frequency" />;
  const rules = [...new Set(rows.map((row) => row.rule))];
  return (
    <Figure
      id="layer-frequency"
      number={figure}
      title="How often each layer is critical when the pairs are drawn again"
      caption={`A full bar: in every draw. In the colour of the text: the layers that are critical on all pairs. Where such a bar is not full, or a grey one is high, other pairs would have chosen other layers.`}
      numbers={<FrequencyTables rows={rows} agreement={agreement ?? []} />}
    >
      <div class="panels">
        {rules.map((rule) => (
          <div key={rule}>
            {labelsOf(rows).map((label) => (
              <Bars
                key={label}
                title={`${rule} rule, ${lineName(label, rows)}`}
                rows={rows.filter((row) => row.rule === rule && row.label === label)}
              />
            ))}
          </div>
        ))}
      </div>
    </Figure>
  );
}

function Bars({ title, rows }: { title: string; rows: LayerFrequencyRow[] }) {
  const [ref, width] = useWidth<HTMLDivElement>(440);
  if (rows.length === 0) return null;
  const x = linear([0, rows.length], [0, Math.min(width, 36 * rows.length, 480)]);
  const wide = x(1) - x(0);
  const every = Math.ceil(22 / wide); // layers between two labels
  const base = 24 + TALL;
  return (
    <div ref={ref} class="chart">
      <svg
        role="img"
        aria-label={`How often each layer is critical, ${title}`}
        width={width}
        height={base + 28}
      >
        <text x={0} y={12} class="quiet">
          {title}
        </text>
        {rows.map((row, i) => (
          <g
            key={row.layer}
            class={row.chosen ? "often chosen" : "often"}
            data-tip={tip(
              `layer ${row.layer}, ${title}`,
              `critical in ${percent(row.frequency)} of the draws`,
              `${row.chosen ? "critical" : "not critical"} on all pairs`,
            )}
          >
            <rect x={x(i) + 1} y={base - TALL} width={Math.max(1, wide - 4)} height={TALL} class="all" />
            <rect
              x={x(i) + 1}
              y={base - TALL * row.frequency}
              width={Math.max(1, wide - 4)}
              height={TALL * row.frequency}
            />
            {i % every === 0 && (
              <text x={x(i) + wide / 2 - 1} y={base + 14} text-anchor="middle" class="quiet">
                {row.layer}
              </text>
            )}
          </g>
        ))}
      </svg>
    </div>
  );
}

function FrequencyTables({ rows, agreement }: { rows: LayerFrequencyRow[]; agreement: RuleRow[] }) {
  return (
    <>
      <DataTable
        label="How often each layer is critical"
        columns={["Run", "Rule", "Layer", "Share of draws", "Critical on all pairs"]}
        rows={rows.map((row) => [
          row.label,
          row.rule,
          row.layer,
          percent(row.frequency),
          row.chosen ? "yes" : "no",
        ])}
      />
      {agreement.length > 0 && (
        <>
          <p class="explained">
            How far two rules agree: on the order of all layers (Kendall: 1 the same, 0 unrelated, {"\u2212"}1
            the reverse), and on the critical ones (Jaccard), beside what two random sets share. Released: the
            change of score of all edges that leave a layer; normalised: the same, each map scaled to one sum;
            destination: of those that enter it; both: of either; count: how many edges join or leave the
            circuit there; before, after: the scores of one map alone.
          </p>
          <DataTable
            label="Agreement of the rules"
            columns={["Run", "Rule", "Other rule", "Order (Kendall)", "Critical layers shared", "By chance"]}
            rows={agreement.map((row) => [
              row.label,
              row.first,
              row.second,
              row.kendall === null ? "none" : fixed(row.kendall, 2),
              fixed(row.jaccard, 2),
              fixed(row.expected, 2),
            ])}
          />
        </>
      )}
    </>
  );
}
