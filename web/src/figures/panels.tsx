// The panels of the figure of layers: one row per layer, bottom to top as in the drawing.

import { linear, useWidth } from "../chart.tsx";
import { count, percent } from "../format.ts";
import type { CriticalRow, LayerRow } from "../payload.ts";
import { tip } from "../tip.tsx";

const ROW = 24;
const TOP = 24;
const GUTTER = 64;
const MOST_NULLS = 3; // comparisons of seeds that are told one by one
const MOST = 480; // wider panels only make longer bars

/** Marks of the rules, in order. */
export const SHAPES = ["\u25cf", "\u25b2", "\u25a0", "\u25c6"];

export type Measure = "counts" | "shares";

interface Axis {
  layers: number[];
  last: number; // the layer number that stands for the logits
  critical: CriticalRow[];
  rules: string[];
}

/** "input", the layer's number, or "logits". */
export function layerName(layer: number, last: number): string {
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
  scaled: LayerRow[]; // what the scale must hold
  measure: Measure;
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

/** Added to the right, removed to the left, the null as a stroke on each; nothing without rows. */
export function Panel({ title, rows, nulls, scaled, measure, ...axis }: PanelProps) {
  const [ref, width] = useWidth<HTMLDivElement>(440);
  if (rows.length + nulls.length === 0) return null;
  const extent = extentOf(scaled, measure);
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
            right={Math.min(width, MOST)}
            words={layerWords(
              layerName(layer, axis.last),
              rows.find((row) => row.layer === layer),
              nulls.filter((row) => row.layer === layer),
            )}
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

/** "12 of 830 absent added, 5 of 20 present removed", and the same between seeds. */
function layerWords(name: string, own: LayerRow | undefined, nulls: LayerRow[]): string {
  const moved = (row: LayerRow) => `${count(row.added)} added, ${count(row.removed)} removed`;
  return tip(
    /^\d/.test(name) ? `layer ${name}` : name,
    own && `${moved(own)}, of ${count(own.before)} before`,
    own && `${count(own.possible)} possible`,
    ...nulls.map((row) => `two seeds: ${moved(row)}`).slice(0, MOST_NULLS),
    nulls.length > MOST_NULLS && `and ${count(nulls.length - MOST_NULLS)} more comparisons of seeds`,
  );
}

interface LayerBarsProps {
  x: (value: number) => number;
  y: number;
  right: number;
  words: string; // what stands beside the pointer
  own: Ends;
  nulls: Ends[];
  write: (value: number) => string;
}

function LayerBars({ x, y, right, words, own: [removed, added], nulls, write }: LayerBarsProps) {
  const outer = (end: 0 | 1, value: number) => Math.max(value, ...nulls.map((pair) => pair[end]));
  return (
    <g data-tip={words}>
      <rect x={0} y={y - ROW / 2} width={right} height={ROW} class="hit" />
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

/** Importance of each layer by every rule, relative to the rule's highest. */
export function ImportancePanel({ layers, last, critical, rules }: Axis) {
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
            <g
              key={layer}
              data-tip={
                own.length > 0
                  ? tip(
                      `layer ${layerName(layer, last)}`,
                      ...own.map(
                        (row, n) =>
                          `${row.rule} rule: ${percent(relative[n]!, 0)} of the highest${row.chosen ? ", critical" : ""}`,
                      ),
                    )
                  : undefined
              }
            >
              <rect x={0} y={y - ROW / 2} width={Math.min(width, MOST)} height={ROW} class="hit" />
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
