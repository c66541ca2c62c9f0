// Where the change sits: added and removed per layer, and which layers count as critical.

import { useState } from "preact/hooks";
import { DataTable, Figure, linear, Missing, useWidth } from "../chart.tsx";
import { count, number, percent } from "../format.ts";
import type { CriticalRow, Kind, LayerRow } from "../payload.ts";

const ROW = 27;
const TOP = 24;
const GUTTER = 64;
const SHAPES = ["\u25cf", "\u25b2", "\u25a0", "\u25c6"];

type Measure = "counts" | "shares";

interface LayersProps {
  rows: LayerRow[] | null;
  critical: CriticalRow[] | null;
  figure: number;
}

/** Diverging bars per layer, the null as a mark on each, beside the importance by every rule. */
export function LayersFigure({ rows, critical, figure }: LayersProps) {
  const changes = [
    ...new Set((rows ?? []).filter((row) => row.role === "change").map((row) => row.comparison)),
  ];
  const [chosen, choose] = useState(changes[0] ?? "");
  const [measure, setMeasure] = useState<Measure>("counts");
  const rules = [...new Set((critical ?? []).map((row) => row.rule))];
  if (!rows?.length && rules.length === 0)
    return <Missing id="layers" what="Change per layer" table="layers" />;
  const layers = [...new Set([...(rows ?? []), ...(critical ?? [])].map((row) => row.layer))].sort(
    (a, b) => a - b,
  );
  const axis = { layers, last: rows?.length ? Math.max(...layers) : -2, critical: critical ?? [], rules };
  const panel = (kind: Kind, side: LayerRow["side"], title: string) => {
    const own = (rows ?? []).filter((row) => row.kind === kind && row.side === side);
    if (own.length === 0) return null;
    const now = own.filter((row) => row.role === "change" && row.comparison === chosen);
    const nulls = own.filter((row) => row.role === "null");
    return <Panel key={title} {...axis} title={title} rows={now} nulls={nulls} measure={measure} />;
  };
  return (
    <Figure
      id="layers"
      number={figure}
      title="Change per layer"
      caption={
        <LayersCaption
          rules={rules}
          measure={measure}
          hasNull={(rows ?? []).some((row) => row.role === "null")}
        />
      }
      numbers={<LayersTable rows={rows ?? []} critical={critical ?? []} />}
    >
      <div class="controls">
        {changes.length > 1 && (
          <label class="choice">
            Change in{" "}
            <select value={chosen} onChange={(event) => choose(event.currentTarget.value)}>
              {changes.map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </label>
        )}
        {changes.length > 0 && <MeasureChoice measure={measure} choose={setMeasure} />}
      </div>
      <div class="panels">
        {panel("edge", "source", "Edges, by source")}
        {panel("edge", "destination", "Edges, by destination")}
        {panel("node", "source", "Nodes") ?? panel("node", "destination", "Nodes")}
        {rules.length > 0 && <ImportancePanel {...axis} />}
      </div>
    </Figure>
  );
}

function MeasureChoice({ measure, choose }: { measure: Measure; choose: (measure: Measure) => void }) {
  const names: Record<Measure, string> = { counts: "counts", shares: "shares of what was absent or present" };
  return (
    <fieldset class="choice">
      <legend>Show</legend>
      {(["counts", "shares"] as const).map((value) => (
        <label key={value}>
          <input type="radio" name="measure" checked={measure === value} onChange={() => choose(value)} />
          {names[value]}
        </label>
      ))}
    </fieldset>
  );
}

interface CaptionProps {
  rules: string[];
  measure: Measure;
  hasNull: boolean;
}

function LayersCaption({ rules, measure, hasNull }: CaptionProps) {
  const what =
    measure === "counts"
      ? "How many edges or nodes of each layer joined the circuit (right, blue) and left it (left, orange)."
      : "Right, blue: of what was absent before, the share that joined; left, orange: of what was present, the share that left. A layer that was full could not gain.";
  const marks = rules.map((rule, i) => `${SHAPES[i % SHAPES.length]} ${rule} rule`).join(", ");
  return (
    <>
      {what} {hasNull && "Upright strokes: the same between two seeds (the null). "}
      {rules.length > 0 &&
        `Critical layers are marked at the left: ${marks}; the last panel shows each rule's importance relative to its highest.`}
    </>
  );
}

interface Axis {
  layers: number[];
  last: number; // the layer number that stands for the logits
  critical: CriticalRow[];
  rules: string[];
}

function layerName(layer: number, last: number): string {
  if (layer < 0) return "input";
  return layer === last ? "logits" : String(layer);
}

function LayerLabels({ layers, last, critical, rules }: Axis) {
  return (
    <g>
      {layers.map((layer, i) => {
        const y = rowY(layers.length, i);
        const marks = rules
          .map((rule, r) =>
            critical.some((row) => row.rule === rule && row.layer === layer && row.chosen)
              ? SHAPES[r % SHAPES.length]
              : "",
          )
          .join("");
        return (
          <g key={layer}>
            <text x={GUTTER - 10} y={y + 4} text-anchor="end">
              {layerName(layer, last)}
            </text>
            <text x={0} y={y + 4} class="mark">
              {marks}
            </text>
          </g>
        );
      })}
    </g>
  );
}

/** Layers run bottom to top, as in the drawing. */
function rowY(total: number, index: number): number {
  return TOP + (total - 1 - index) * ROW + ROW / 2;
}

interface PanelProps extends Axis {
  title: string;
  rows: LayerRow[];
  nulls: LayerRow[];
  measure: Measure;
}

function Panel({ title, rows, nulls, measure, ...axis }: PanelProps) {
  const [ref, width] = useWidth<HTMLDivElement>(250);
  const values = (row: LayerRow | undefined): [removed: number, added: number] => {
    if (!row) return [0, 0];
    return measure === "counts"
      ? [row.removed, row.added]
      : [row.share_present_removed ?? 0, row.share_absent_added ?? 0];
  };
  const extent = (end: 0 | 1) =>
    Math.max(...[...rows, ...nulls].map((row) => values(row)[end]), measure === "counts" ? 1 : 0.01);
  const [most, more] = [extent(0), extent(1)];
  const x = linear([-most, more], [GUTTER + 26, width - 28]);
  const write = (value: number) => (measure === "counts" ? count(value) : percent(value, 0));
  const height = TOP + ROW * axis.layers.length + 4;
  return (
    <div ref={ref} class="chart">
      <svg
        role="img"
        aria-label={`${title}: added and removed per layer`}
        width={width}
        height={height}
        class="layers"
      >
        <text x={GUTTER} y={12} class="panel-title">
          {title}
        </text>
        <LayerLabels {...axis} />
        {axis.layers.map((layer, i) => {
          const [removed, added] = values(rows.find((row) => row.layer === layer));
          const y = rowY(axis.layers.length, i);
          return (
            <g key={layer}>
              <rect x={x(-removed)} y={y - 8} width={x(0) - x(-removed)} height={16} class="removed" />
              <rect x={x(0)} y={y - 8} width={x(added) - x(0)} height={16} class="added" />
              {nulls
                .filter((row) => row.layer === layer)
                .map((row, n) => (
                  <NullMarks key={n} x={x} y={y} values={values(row)} />
                ))}
              {removed > 0 && (
                <text x={x(-removed) - 5} y={y + 4} text-anchor="end" class="value">
                  {write(removed)}
                </text>
              )}
              {added > 0 && (
                <text x={x(added) + 5} y={y + 4} class="value">
                  {write(added)}
                </text>
              )}
            </g>
          );
        })}
        <line x1={x(0)} x2={x(0)} y1={TOP} y2={height - 4} class="zero" />
      </svg>
    </div>
  );
}

function NullMarks({
  x,
  y,
  values: [removed, added],
}: {
  x: (v: number) => number;
  y: number;
  values: [number, number];
}) {
  return (
    <g class="null-edge">
      {removed > 0 && <line x1={x(-removed)} x2={x(-removed)} y1={y - 11} y2={y + 11} />}
      {added > 0 && <line x1={x(added)} x2={x(added)} y1={y - 11} y2={y + 11} />}
    </g>
  );
}

function ImportancePanel({ layers, last, critical, rules }: Axis) {
  const [ref, width] = useWidth<HTMLDivElement>(250);
  const x = linear([0, 1], [GUTTER + 6, width - 16]);
  const height = TOP + ROW * layers.length + 4;
  const highest = new Map(
    rules.map((rule) => [
      rule,
      Math.max(...critical.filter((row) => row.rule === rule).map((row) => row.importance)),
    ]),
  );
  return (
    <div ref={ref} class="chart">
      <svg
        role="img"
        aria-label="Importance of each layer by every rule"
        width={width}
        height={height}
        class="layers"
      >
        <text x={GUTTER} y={12} class="panel-title">
          Importance by rule
        </text>
        <LayerLabels {...{ layers, last, critical, rules }} />
        {layers.map((layer, i) => {
          const y = rowY(layers.length, i);
          const own = critical.filter((row) => row.layer === layer);
          const relative = own.map((row) => row.importance / (highest.get(row.rule) || 1));
          return (
            <g key={layer}>
              {own.length > 0 && <line x1={x(0)} x2={x(Math.max(...relative))} y1={y} y2={y} class="stem" />}
              {own.map((row, n) => (
                <Shape
                  key={row.rule}
                  shape={rules.indexOf(row.rule)}
                  filled={row.chosen}
                  x={x(relative[n]!)}
                  y={y}
                />
              ))}
            </g>
          );
        })}
        <line x1={x(0)} x2={x(0)} y1={TOP} y2={height - 4} class="zero" />
      </svg>
    </div>
  );
}

function Shape({ shape, filled, x, y }: { shape: number; filled: boolean; x: number; y: number }) {
  const style = filled ? "shape filled" : "shape";
  if (shape === 0) return <circle cx={x} cy={y} r={4.6} class={style} />;
  if (shape === 1) return <path d={`M${x} ${y - 6}l5.6 10h-11.2z`} class={style} />;
  const turn = shape === 2 ? 0 : 45;
  return (
    <rect x={x - 4} y={y - 4} width={8} height={8} transform={`rotate(${turn} ${x} ${y})`} class={style} />
  );
}

function LayersTable({ rows, critical }: { rows: LayerRow[]; critical: CriticalRow[] }) {
  const share = (value: number | null) => (value === null ? "none" : percent(value));
  const last = Math.max(...rows.map((row) => row.layer), -2);
  return (
    <>
      {rows.length > 0 && (
        <DataTable
          label="Change per layer"
          columns={[
            "Comparison",
            "Role",
            "Kind",
            "By",
            "Layer",
            "Possible",
            "Before",
            "After",
            "Added",
            "Removed",
            "Absent added",
            "Present removed",
          ]}
          rows={rows.map((row) => [
            row.comparison,
            row.role,
            row.kind,
            row.side,
            layerName(row.layer, last),
            count(row.possible),
            count(row.before),
            count(row.after),
            count(row.added),
            count(row.removed),
            share(row.share_absent_added),
            share(row.share_present_removed),
          ])}
        />
      )}
      {critical.length > 0 && (
        <DataTable
          label="Importance of layers"
          columns={["Rule", "Place", "Layer", "Importance", "Critical"]}
          rows={critical.map((row) => [
            row.rule,
            row.place,
            row.layer,
            number(row.importance),
            row.chosen ? "yes" : "no",
          ])}
        />
      )}
    </>
  );
}
