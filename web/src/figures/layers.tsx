// Where the change sits: added and removed per layer, and which layers count as critical.

import { useState } from "preact/hooks";
import { DataTable, Figure, Missing } from "../chart.tsx";
import { count, number, percent } from "../format.ts";
import type { CriticalRow, Kind, LayerRow } from "../payload.ts";
import { Either, OneOf } from "./controls.tsx";
import { ImportancePanel, layerName, type Measure, Panel, SHAPES } from "./panels.tsx";

const MEASURES: Record<Measure, string> = {
  counts: "counts",
  shares: "shares of what was absent or present",
};
const PANELS: [title: string, kind: Kind, side: LayerRow["side"]][] = [
  ["Edges, by source", "edge", "source"],
  ["Edges, by destination", "edge", "destination"],
  ["Nodes", "node", "source"],
];

interface LayersProps {
  rows: LayerRow[] | null;
  critical: CriticalRow[] | null;
  figure: number;
}

/** Diverging bars per layer, the null as a mark on each, beside the importance by every rule. */
export function LayersFigure({ rows, critical, figure }: LayersProps) {
  const all = rows ?? [];
  const seeds = [...new Set((critical ?? []).map((row) => row.seed))];
  const [seed, chooseSeed] = useState(seeds[0]);
  const ranked = (critical ?? []).filter((row) => row.seed === seed);
  const changes = [...new Set(all.filter((row) => row.role === "change").map((row) => row.comparison))];
  const [chosen, choose] = useState(changes[0] ?? "");
  const [measure, setMeasure] = useState<Measure>("counts");
  if (all.length + ranked.length === 0) {
    return <Missing id="layers" what="Change per layer" table="layers" />;
  }
  const rules = [...new Set(ranked.map((row) => row.rule))];
  const layers = [...new Set([...all, ...ranked].map((row) => row.layer))].sort((a, b) => a - b);
  const axis = { layers, last: all.length ? Math.max(...layers) : -2, critical: ranked, rules };
  return (
    <Figure
      id="layers"
      number={figure}
      title="Change per layer"
      caption={
        <LayersCaption {...{ rules, measure, seed }} hasNull={all.some((row) => row.role === "null")} />
      }
      numbers={<LayersTable rows={all} critical={critical ?? []} />}
    >
      <div class="controls">
        <OneOf title="Change in" names={changes} chosen={chosen} choose={choose} />
        <OneOf
          title="Critical layers of"
          names={seeds.map(seedName)}
          chosen={seedName(seed)}
          choose={(name) => chooseSeed(seeds.find((one) => seedName(one) === name))}
        />
        {changes.length > 0 && (
          <Either group="measure" names={MEASURES} chosen={measure} choose={setMeasure} />
        )}
      </div>
      <div class="panels">
        {PANELS.map(([title, kind, side]) => (
          <Panel key={title} {...axis} {...{ title, measure }} {...panelRows(all, kind, side, chosen)} />
        ))}
        {rules.length > 0 && <ImportancePanel {...axis} />}
      </div>
    </Figure>
  );
}

function seedName(seed: number | undefined): string {
  return `seed ${seed}`;
}

/** The rows of one panel; both panels of edges share a scale. */
function panelRows(all: LayerRow[], kind: Kind, side: LayerRow["side"], comparison: string) {
  const own = all.filter((row) => row.kind === kind && row.side === side);
  return {
    rows: own.filter((row) => row.role === "change" && row.comparison === comparison),
    nulls: own.filter((row) => row.role === "null"),
    scaled: all.filter((row) => row.kind === kind && (kind === "edge" || row.side === side)),
  };
}

interface CaptionProps {
  rules: string[];
  measure: Measure;
  hasNull: boolean;
  seed: number | undefined; // whose critical layers are marked
}

function LayersCaption({ rules, measure, hasNull, seed }: CaptionProps) {
  const what =
    measure === "counts"
      ? "How many edges or nodes of each layer joined the circuit (right, blue) and left it (left, orange)."
      : "Right, blue: of what was absent before, the share that joined; left, orange: of what was present, the share that left. A layer that was full could not gain.";
  const marks = rules.map((rule, i) => `${SHAPES[i % SHAPES.length]} ${rule} rule`).join(", ");
  return (
    <>
      {what} {hasNull && "Upright strokes: the same between two seeds (the null). "}
      {rules.length > 0 &&
        `Critical layers, from the circuits around phase 1 of ${seedName(seed)}, are marked at the left: ${marks}; the last panel shows each rule's importance relative to its highest. Phase 1 is a shorter fine-tuning of its own: the bars are not its.`}
    </>
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
          columns={["Seed", "Rule", "Place", "Layer", "Importance", "Critical"]}
          rows={critical.map((row) => [
            row.seed,
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
