// Change of nodes and edges, end to end against the null and from checkpoint to checkpoint.

import { DataTable, Figure, linear, Missing, type Scale, useWidth } from "../chart.tsx";
import { count, percent, plural, range } from "../format.ts";
import { type Line, Lines } from "../lines.tsx";
import type { ChangeRow, Kind, TransitionRow } from "../payload.ts";
import { tip } from "../tip.tsx";

const KINDS: Kind[] = ["node", "edge"];

/** Dots for every fine-tuning on a band that spans what another seed alone changes. */
export function ChangeFigure({ rows, figure }: { rows: ChangeRow[] | null; figure: number }) {
  if (!rows?.some((row) => row.rate !== null))
    return <Missing id="change" what="Change of the circuit" table="change" />;
  const table = rows.map((row) => [
    `${row.before} \u2192 ${row.after}`,
    row.role,
    row.kind,
    count(row.before_count),
    count(row.after_count),
    count(row.added),
    count(row.removed),
    count(row.kept),
    row.jaccard.toFixed(3),
    row.rate === null ? "none" : percent(row.rate),
    row.cumulative === null ? "none" : percent(row.cumulative),
  ]);
  return (
    <Figure
      id="change"
      number={figure}
      title="Change against chance"
      caption={`Dots: added and removed together, as a share of the circuit before fine-tuning (above 100\u202f% where more was exchanged than was there). Grey: the same number between two seeds of the same fine-tuning, both at the end. A dot to the right of the grey: more changed than another seed alone changes.`}
      numbers={
        <DataTable
          label="Change of nodes and edges"
          columns={[
            "Comparison",
            "Role",
            "Kind",
            "Before",
            "After",
            "Added",
            "Removed",
            "Kept",
            "Jaccard",
            "End to end",
            "Cumulative",
          ]}
          rows={table}
        />
      }
    >
      <Strips rows={rows} />
    </Figure>
  );
}

function Strips({ rows }: { rows: ChangeRow[] }) {
  const [ref, width] = useWidth<HTMLDivElement>(480);
  const largest = Math.max(...rows.flatMap((row) => row.rate ?? []), 0.1);
  const x = linear([0, largest * 1.04], [52, width - 16], width < 420 ? 4 : 5);
  const bottom = 212;
  return (
    <div ref={ref} class="chart">
      <svg
        role="img"
        aria-label="Change of nodes and edges against the change between two seeds"
        width={width}
        height={250}
      >
        {x.ticks.map((tick) => (
          <g key={tick} class="frame">
            <line x1={x(tick)} x2={x(tick)} y1={14} y2={bottom} class="grid" />
            <text x={x(tick)} y={bottom + 18} text-anchor="middle">
              {percent(tick, 0)}
            </text>
          </g>
        ))}
        <text x={(52 + width - 16) / 2} y={247} text-anchor="middle" class="title quiet">
          changed, end to end
        </text>
        {KINDS.map((kind, i) => (
          <Strip key={kind} rows={rows} kind={kind} x={x} y={66 + 96 * i} right={width - 4} />
        ))}
      </svg>
    </div>
  );
}

interface Rated {
  rate: number;
  words: string; // what stands beside the pointer
}

/** End-to-end rates of the comparisons of one kind and role. */
function rates(rows: ChangeRow[], kind: Kind, role: ChangeRow["role"]): Rated[] {
  const own = rows.filter((row) => row.kind === kind && row.role === role);
  return own.flatMap((row) => (row.rate === null ? [] : { rate: row.rate, words: wordsOf(row, row.rate) }));
}

function wordsOf(row: ChangeRow, rate: number): string {
  return tip(
    row.comparison,
    `${count(row.added)} added, ${count(row.removed)} removed, ${count(row.kept)} kept`,
    `added and removed: ${percent(rate)} of as many as before (${plural(row.before_count, row.kind)})`,
  );
}

interface StripProps {
  rows: ChangeRow[];
  kind: Kind;
  x: Scale;
  y: number;
  right: number;
}

function Strip({ rows, kind, x, y, right }: StripProps) {
  const changes = rates(rows, kind, "change");
  const nulls = rates(rows, kind, "null");
  const [found, chance] = [changes, nulls].map((own) => own.map(({ rate }) => rate));
  const end = Math.max(0, ...chance!);
  const middle = (values: number[]) => (Math.min(...values) + Math.max(...values)) / 2;
  // Words keep clear of the right edge: about 6.6 pixels a letter, half of them on each side.
  const place = (at: number, words: string) => Math.min(x(at), right - 3.3 * words.length);
  const said = `fine-tuning ${range(found!)}`;
  const byChance = `another seed ${range(chance!)}`;
  return (
    <g class="strip">
      <text x={0} y={y + 5} class="row">
        {kind === "node" ? "Nodes" : "Edges"}
      </text>
      <rect x={x(0)} y={y - 19} width={x(end) - x(0)} height={38} class="null" />
      {nulls.map(({ rate, words }, i) => (
        <g key={i} data-tip={words}>
          <line x1={x(rate)} x2={x(rate)} y1={y - 19} y2={y + 19} class="null-edge" />
          <rect x={x(rate) - 6} y={y - 19} width={12} height={38} class="hit" />
        </g>
      ))}
      <line x1={x(0)} x2={x(0)} y1={y - 19} y2={y + 19} class="zero" />
      {changes.map(({ rate, words }, i) => {
        const at = { cx: x(rate), cy: y + 12 * (i - (changes.length - 1) / 2) };
        return (
          <g key={i} data-tip={words}>
            <circle {...at} r={5.5} class="dot" />
            <circle {...at} r={9} class="hit" />
          </g>
        );
      })}
      {changes.length > 0 && (
        <text x={place(middle(found!), said)} y={y - 28} text-anchor="middle" class="strong">
          {said}
        </text>
      )}
      {nulls.length > 0 && (
        <text x={place(end, byChance)} y={y + 34} text-anchor="middle" class="quiet">
          {byChance}
        </text>
      )}
    </g>
  );
}

/** Change from each checkpoint to the next: does it slow down? */
export function TransitionsFigure({ rows, figure }: { rows: TransitionRow[] | null; figure: number }) {
  const shown = (rows ?? []).filter((row) => row.rate !== null);
  if (shown.length === 0) {
    return <Missing id="transitions" what="Change between checkpoints" table="transitions" />;
  }
  const labels = [...new Set(shown.map((row) => row.label))];
  const lines = KINDS.flatMap((kind) =>
    labels.map((label, i): Line => {
      const own = shown.filter((row) => row.kind === kind && row.label === label);
      return {
        name: `${kind}s, ${label}`,
        end: i === 0 ? `${kind}s` : "",
        colour: kind === "edge" ? "var(--ink)" : "var(--size)",
        dash: ["", "6 3", "2 3"][i % 3]!,
        points: own.map((row) => ({ x: row.step_to, y: row.rate })),
      };
    }),
  ).filter((line) => line.points.length > 0);
  return (
    <Figure
      id="transitions"
      number={figure}
      title="Change from checkpoint to checkpoint"
      caption={`Added and removed since the checkpoint before, as a share of the first circuit; solid: ${labels[0]}${labels.length > 1 ? `, broken: ${labels.slice(1).join(", ")}` : ""}. A falling line means that the circuit settles.`}
      numbers={
        <DataTable
          label="Change from checkpoint to checkpoint"
          columns={["Run", "Kind", "From step", "To step", "Added", "Removed", "Rate"]}
          rows={shown.map((row) => [
            row.label,
            row.kind,
            count(row.step_from),
            count(row.step_to),
            count(row.added),
            count(row.removed),
            percent(row.rate!),
          ])}
        />
      }
    >
      <Lines
        lines={lines}
        label="Change of nodes and edges from checkpoint to checkpoint"
        yTitle="changed since the checkpoint before"
        domain={[0, Math.max(...shown.map((row) => row.rate!))]}
        write={percent}
        writeTick={(value) => percent(value, 0)}
      />
    </Figure>
  );
}
