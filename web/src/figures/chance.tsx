// Change from before to after beside every comparison in which nothing was learnt in between.

import { DataTable, Figure, linear, Missing, type Scale, useWidth } from "../chart.tsx";
import { count, fixed, labelsOf, lineName, percent, plural, range } from "../format.ts";
import type { ChanceRow, VerdictRow } from "../payload.ts";
import { intervalWords, tip } from "../tip.tsx";

const GUTTER = 118; // room for the names of the rows
const VALUES = 96; // and for their numbers, a column of its own
const TOP = 6;
const ROW = 24;
const LETTER = 6.3; // pixels, about

type Write = (value: number, digits?: number) => string;

const times: Write = (value, digits = 1) => fixed(value, digits);

interface Measure {
  measure: string;
  title: string;
  axis: string;
  write: Write;
}

interface Group {
  title: string;
  direction: string; // where more than chance lies
  measures: Measure[];
}

const changed = "added and removed, of the circuit before";

const GROUPS: Group[] = [
  {
    title: "Measures of change: large where more changed.",
    direction: "More than one kind of chance: right of its bar \u2192",
    measures: [
      { measure: "edge_rate", title: "Edges changed", axis: changed, write: percent },
      { measure: "node_rate", title: "Nodes changed", axis: changed, write: percent },
      {
        measure: "ratio",
        title: "Edges against nodes",
        axis: "change of edges / change of nodes",
        write: times,
      },
    ],
  },
  {
    title: "Overlaps: small where more changed.",
    direction: "More than one kind of chance: left of its bar \u2190",
    measures: [
      { measure: "edge_jaccard", title: "Edges shared", axis: "in both, of those in either", write: percent },
      { measure: "node_jaccard", title: "Nodes shared", axis: "in both, of those in either", write: percent },
    ],
  },
];

type NullRole = Exclude<ChanceRow["role"], "change">;

const NULLS: Record<NullRole, [name: string, meaning: string]> = {
  seed: ["two seeds", "the ends of two fine-tunings that differ by their seed"],
  split: ["halves of the pairs", "one model's circuits, found on one half of the pairs and on the other"],
  "random-init": ["random weights", "the circuits of two models with random weights"],
  rewired: [
    "rewired",
    "both circuits wired anew, every part keeping its number of edges: what degrees alone give",
  ],
  random: ["random circuits", "random edges, as many as in the two circuits"],
};

interface ChanceProps {
  rows: ChanceRow[] | null;
  verdicts: VerdictRow[] | null;
  figure: number;
}

/** In each group a panel per measure: dots with intervals above, the nulls' ranges below. */
export function ChanceFigure({ rows, verdicts, figure }: ChanceProps) {
  if (!rows?.some((row) => row.estimate !== null))
    return <Missing id="chance" what="The change against chance" table="chance" />;
  return (
    <Figure
      id="chance"
      number={figure}
      title="The change beside what chance alone makes"
      caption={
        <>
          Dots: from before fine-tuning to after it, one row per fine-tuning; lines are 95{"\u202f"}%
          intervals, from drawing the pairs again; the tinted column is as wide as they are. Bars: two
          circuits that differ by chance of one kind; 95{"\u202f"}% of such comparisons lie within a bar, the
          stroke is their mean; their numbers stand at the right, with (one) where it was a single comparison.
          Where there are several fine-tunings, each has its own bar, in their order; its line is to be held
          against that one. A change is more than one kind of chance where its whole line lies beyond the bar:
          to the right for a measure of change, to the left for an overlap. Both count the same circuits, so
          only the first are judged. What the bars compare:{" "}
          {roles(rows).map((role, i) => (
            <>
              {i > 0 && "; "}
              <i>{NULLS[role][0]}</i>: {NULLS[role][1]}
            </>
          ))}
          . The words beside a title hold each fine-tuning against one null alone, the one they name (the
          stronger grey); they are no verdict: that is in the summary, and another seed counts for it too. The
          other bars decide nothing: random weights, rewired and random circuits show how far apart circuits
          are that share nothing.
        </>
      }
      numbers={<ChanceTable rows={rows} />}
    >
      {GROUPS.map((group) => (
        <Measures key={group.title} {...group} rows={rows} verdicts={verdicts ?? []} />
      ))}
    </Figure>
  );
}

/** The panels of one group; nothing where the run has none of its measures. */
function Measures({
  title,
  direction,
  measures,
  rows,
  verdicts,
}: Group & { rows: ChanceRow[]; verdicts: VerdictRow[] }) {
  const known = new Set(rows.filter((row) => row.estimate !== null).map((row) => row.measure));
  const shown = measures.filter(({ measure }) => known.has(measure));
  if (shown.length === 0) return null;
  return (
    <section class="group" aria-label={title}>
      <p>
        <b>{title}</b> {direction}
      </p>
      <div class="panels">
        {shown.map((measure) => (
          <Panel
            key={measure.measure}
            {...measure}
            rows={rows.filter((row) => row.measure === measure.measure)}
            verdicts={verdicts.filter((row) => row.measure === measure.measure)}
          />
        ))}
      </div>
    </section>
  );
}

/** Nulls the rows have, in the order of the figure. */
function roles(rows: ChanceRow[]): NullRole[] {
  return (Object.keys(NULLS) as NullRole[]).filter((role) => rows.some((row) => row.role === role));
}

interface PanelProps extends Measure {
  rows: ChanceRow[];
  verdicts: VerdictRow[];
}

function Panel({ title, axis, write, rows, verdicts }: PanelProps) {
  const [ref, width] = useWidth<HTMLDivElement>(480);
  const changes = rows.filter((row) => row.role === "change");
  const defined = rows.filter((row) => row.estimate !== null);
  if (defined.length === 0) return null;
  const nulls = roles(rows).map((role) => rows.filter((row) => row.role === role));
  const largest = Math.max(...defined.flatMap((row) => [row.high ?? row.estimate!, row.estimate!]), 1e-3);
  const x = linear([0, largest * 1.02], [GUTTER, width - VALUES], width < 480 ? 3 : 5);
  const rowHeight = Math.max(ROW, ...nulls.map((own) => 8 * own.length + 10));
  const divide = TOP + ROW * changes.length + 4;
  const bottom = divide + 4 + rowHeight * nulls.length;
  return (
    <div>
      <p class="measure">
        <b>{title}</b> <HeldAgainst rows={verdicts} />
      </p>
      <div ref={ref} class="chart">
        <svg
          role="img"
          aria-label={`${title}, from before to after and by chance`}
          width={width}
          height={bottom + 38}
        >
          <Frame {...{ x, bottom, axis, write }} right={width} />
          <Column rows={changes} x={x} bottom={bottom} />
          {changes.map((row, i) => (
            <Change
              key={row.label}
              row={row}
              name={lineName(row.label, changes)}
              {...{ x, write }}
              y={TOP + ROW * (i + 0.5)}
              right={width}
            />
          ))}
          <line x1={0} x2={width} y1={divide} y2={divide} class="divide" />
          {nulls.map((own, i) => (
            <Null
              key={own[0]!.role}
              rows={own}
              {...{ x, write }}
              y={divide + 4 + rowHeight * (i + 0.5)}
              right={width}
            />
          ))}
          <line x1={x(0)} x2={x(0)} y1={TOP} y2={bottom} class="zero" />
        </svg>
      </div>
    </div>
  );
}

/** Against which null the measure is held here, and how it stands to that one; per fine-tuning where they differ. */
function HeldAgainst({ rows }: { rows: VerdictRow[] }) {
  if (rows.length === 0) return null;
  const outcomes = [...new Set(rows.map((row) => row.outcome))];
  const words =
    outcomes.length === 1
      ? outcomeWords(outcomes[0]!)
      : rows.map((row) => `${lineName(row.label, rows)} ${outcomeWords(row.outcome)}`).join(", ");
  return (
    <span class="null-compared">
      <i class="swatch" /> held against {NULLS.split[0]} (another choice of pairs): {words}
    </span>
  );
}

/** "more", "no more", "not enough to say": than what, the words before it say. */
function outcomeWords(outcome: string): string {
  return outcome.replace(/ than chance$/, "");
}

interface FrameProps {
  x: Scale;
  bottom: number;
  right: number;
  axis: string;
  write: Write;
}

function Frame({ x, bottom, right, axis, write }: FrameProps) {
  const digits = x.ticks.every((tick) =>
    Number.isInteger(Number((write === times ? tick : 100 * tick).toFixed(6))),
  )
    ? 0
    : 1;
  return (
    <g class="frame">
      {x.ticks.map((tick) => (
        <g key={tick}>
          <line x1={x(tick)} x2={x(tick)} y1={TOP} y2={bottom} class="grid" />
          <text x={x(tick)} y={bottom + 16} text-anchor="middle">
            {write(tick, digits)}
          </text>
        </g>
      ))}
      <text x={right} y={bottom + 34} text-anchor="end">
        {axis}
      </text>
    </g>
  );
}

/** As wide as the intervals of all changes together, down through the nulls. */
function Column({ rows, x, bottom }: { rows: ChanceRow[]; x: Scale; bottom: number }) {
  const ends = rows.flatMap((row) => [row.low, row.estimate, row.high]).filter((value) => value !== null);
  if (ends.length === 0) return null;
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  return (
    <rect x={x(low)} y={TOP} width={Math.max(2, x(high) - x(low))} height={bottom - TOP} class="column" />
  );
}

interface RowProps {
  x: Scale;
  y: number;
  write: Write;
  right: number;
}

function Change({ row, name, x, y, write, right }: RowProps & { row: ChanceRow; name: string }) {
  const { estimate, low, high } = row;
  return (
    <g
      class="strip"
      data-tip={
        estimate === null
          ? tip(name, `undefined: ${row.reason}`)
          : tip(`${name}, before to after`, write(estimate), intervalWords(low, high, write))
      }
    >
      <rect x={0} y={y - ROW / 2} width={right} height={ROW} class="hit" />
      <text x={0} y={y + 4} class="strong">
        {name}
      </text>
      {estimate === null ? (
        <Undefined x={x(0)} {...{ y, right }} words={[`undefined (${row.reason})`, "undefined"]} />
      ) : (
        <>
          {low !== null && high !== null && <line x1={x(low)} x2={x(high)} y1={y} y2={y} class="interval" />}
          <circle cx={x(estimate)} cy={y} r={5} class="dot" />
          <text x={right} y={y + 4} text-anchor="end" class="strong">
            {write(estimate)}
          </text>
        </>
      )}
    </g>
  );
}

function Null({ rows, x, y, write, right }: RowProps & { rows: ChanceRow[] }) {
  const role = rows[0]!.role as NullRole;
  const known = rows.filter((row) => row.estimate !== null);
  const end = (row: ChanceRow) => (row.high === null ? right - VALUES : x(row.high));
  const thick = rows.length === 1 ? 11 : 6;
  return (
    <g class={role === "split" ? "chance judged" : "chance"}>
      <text x={0} y={y + 4}>
        {NULLS[role][0]}
      </text>
      {known.map((row, i) => {
        const at = y + 8 * (i - (known.length - 1) / 2);
        const low = x(row.low ?? 0);
        return (
          <g key={row.label} data-tip={nullWords(row, write)}>
            <rect x={0} y={at - (thick + 2) / 2} width={right} height={thick + 2} class="hit" />
            {end(row) - low > 1 && (
              <rect x={low} y={at - thick / 2} width={end(row) - low} height={thick} rx={1} />
            )}
            <line
              x1={x(row.estimate!)}
              x2={x(row.estimate!)}
              y1={at - thick / 2 - 2}
              y2={at + thick / 2 + 2}
            />
          </g>
        );
      })}
      {known.length > 0 ? (
        <text x={right} y={y + 4} text-anchor="end">
          {inWords(rows, known, write)}
        </text>
      ) : (
        <Undefined
          x={x(0)}
          {...{ y, right }}
          words={[`undefined in ${rows[0]!.undefined} of ${rows[0]!.comparisons}`, "undefined"]}
        />
      )}
    </g>
  );
}

/** What a bar is: its mean, where most comparisons lie, and how many there are. */
function nullWords(row: ChanceRow, write: Write): string {
  const { low, high, comparisons } = row;
  const most =
    low !== null &&
    comparisons > 1 &&
    `95\u202f% of them ${high === null ? `from ${write(low)}` : range([low, high], write)}`;
  return tip(
    `${NULLS[row.role as NullRole][0]}, ${row.label}`,
    `${comparisons > 1 ? "mean " : ""}${write(row.estimate!)}, ${plural(comparisons, "comparison")}`,
    most,
    row.undefined > 0 && `undefined in ${count(row.undefined)}`,
  );
}

/** "30.0-40.1 %", or "78.6 % (one)" of a single comparison. */
function inWords(rows: ChanceRow[], known: ChanceRow[], write: Write): string {
  const ends = known.flatMap((row) => [row.low ?? 0, row.high ?? Infinity]);
  if (ends.includes(Infinity)) return `from ${write(Math.min(...ends))}`;
  return `${range(ends, write)}${rows[0]!.comparisons === 1 ? " (one)" : ""}`;
}

interface UndefinedProps {
  x: number;
  y: number;
  right: number;
  words: string[]; // the first that fits is written
}

/** Words in place of a mark. */
function Undefined({ x, y, right, words }: UndefinedProps) {
  const fitting = words.find((text) => x + 9 + LETTER * text.length <= right);
  return (
    <text x={x + 9} y={y + 4} class="value">
      {fitting}
    </text>
  );
}

const NAMES: Record<string, string> = {
  ...Object.fromEntries(
    GROUPS.flatMap(({ measures }) => measures.map(({ measure, title }) => [measure, title])),
  ),
  weighted_jaccard: "Score mass shared",
};

function ChanceTable({ rows }: { rows: ChanceRow[] }) {
  const several = labelsOf(rows).length > 1;
  const write = (row: ChanceRow, value: number | null) => {
    if (value === null) return "none";
    return row.measure === "ratio" ? fixed(value, 2) : percent(value);
  };
  return (
    <DataTable
      label="Change and chance"
      columns={[
        "Measure",
        "Between",
        ...(several ? ["Run"] : []),
        "Value",
        "Low",
        "High",
        "Comparisons",
        "Undefined",
      ]}
      rows={rows.map((row) => [
        NAMES[row.measure] ?? row.measure,
        row.role === "change" ? "before and after" : NULLS[row.role][0],
        ...(several ? [row.label] : []),
        write(row, row.estimate),
        write(row, row.low),
        write(row, row.high),
        row.role === "change" ? "none" : count(row.comparisons),
        count(row.undefined),
      ])}
    />
  );
}
