// Where the change sits: added and removed per layer, and which layers count as critical.

import { useState } from "preact/hooks";
import { DataTable, Figure, linear, Missing, useWidth } from "../chart.tsx";
import { count, number, percent } from "../format.ts";
import type { CriticalRow, Kind, LayerRow } from "../payload.ts";

const ROW = 24;
const TOP = 24;
const GUTTER = 64;
const MOST = 480; // wider panels only make longer bars
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
    const comparable = (rows ?? []).filter(
      (row) => row.kind === kind && (kind === "edge" || row.side === side),
    );
    const extent = extentOf(comparable, measure);
    return <Panel key={title} {...{ ...axis, title, nulls, measure, extent }} rows={now} />;
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
  extent: Ends;
}

type Ends = [removed: number, added: number];

function ends(row: LayerRow | undefined, measure: Measure): Ends {
  if (!row) return [0, 0];
  return measure === "counts"
    ? [row.removed, row.added]
    : [row.share_present_removed ?? 0, row.share_absent_added ?? 0];
}

/** The longest bar or mark at each end; at least a little, so that an empty panel has a scale. */
function extentOf(rows: LayerRow[], measure: Measure): Ends {
  const least = measure === "counts" ? 1 : 0.01;
  const at = (end: 0 | 1) => Math.max(...rows.map((row) => ends(row, measure)[end]), least);
  return [at(0), at(1)];
}

function Panel({ title, rows, nulls, measure, extent, ...axis }: PanelProps) {
  const [ref, width] = useWidth<HTMLDivElement>(440);
  const x = linear([-extent[0], extent[1]], [GUTTER + 30, Math.min(width, MOST) - 34]);
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
        {axis.layers.map((layer, i) => (
          <LayerBars
            key={layer}
            x={x}
            y={rowY(axis.layers.length, i)}
            own={ends(
              rows.find((row) => row.layer === layer),
              measure,
            )}
            nulls={nulls.filter((row) => row.layer === layer).map((row) => ends(row, measure))}
            write={(value) => (measure === "counts" ? count(value) : percent(value, 0))}
          />
        ))}
        <line x1={x(0)} x2={x(0)} y1={TOP} y2={height - 4} class="zero" />
      </svg>
    </div>
  );
}

interface LayerBarsProps {
  x: (value: number) => number;
  y: number;
  own: Ends;
  nulls: Ends[];
  write: (value: number) => string;
}

function LayerBars({ x, y, own: [removed, added], nulls, write }: LayerBarsProps) {
  const outer = (end: 0 | 1, value: number) => Math.max(value, ...nulls.map((pair) => pair[end]));
  return (
    <g>
      <rect x={x(-removed)} y={y - 6} width={x(0) - x(-removed)} height={12} class="removed" />
      <rect x={x(0)} y={y - 6} width={x(added) - x(0)} height={12} class="added" />
      {nulls.map((pair, n) => (
        <NullMarks key={n} x={x} y={y} values={pair} />
      ))}
      {removed > 0 && (
        <text x={x(-outer(0, removed)) - 6} y={y + 4} text-anchor="end" class="value">
          {write(removed)}
        </text>
      )}
      {added > 0 && (
        <text x={x(outer(1, added)) + 6} y={y + 4} class="value">
          {write(added)}
        </text>
      )}
    </g>
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
      {removed > 0 && <line x1={x(-removed)} x2={x(-removed)} y1={y - 9} y2={y + 9} />}
      {added > 0 && <line x1={x(added)} x2={x(added)} y1={y - 9} y2={y + 9} />}
    </g>
  );
}

function ImportancePanel({ layers, last, critical, rules }: Axis) {
  const [ref, width] = useWidth<HTMLDivElement>(440);
  const x = linear([0, 1], [GUTTER + 6, Math.min(width, MOST) - 16]);
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
