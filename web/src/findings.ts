// Every sentence of the page that says what the numbers show. Each is computed from the tables, so that a run
// whose change is not larger than chance says so.

import { list, percent, plural, points, range } from "./format.ts";
import type { AccuracyRow, ChangeRow, CriticalRow, FaithfulnessRow, Kind, MethodRow } from "./payload.ts";

export type Verdict = "larger" | "barely larger" | "not larger" | "overlapping" | "no null" | "no change";

/**
 * Whether every change exceeds every null, none does, or their ranges overlap. "barely larger": the gap between
 * them is no wider than what the changes, or the nulls, differ among themselves.
 */
export function verdict(changes: readonly number[], nulls: readonly number[]): Verdict {
  if (changes.length === 0) return "no change";
  if (nulls.length === 0) return "no null";
  const gap = Math.min(...changes) - Math.max(...nulls);
  if (gap > 0) return gap > Math.max(spread(changes), spread(nulls)) ? "larger" : "barely larger";
  return Math.max(...changes) <= Math.min(...nulls) ? "not larger" : "overlapping";
}

function spread(values: readonly number[]): number {
  return Math.max(...values) - Math.min(...values);
}

/** End-to-end rates of the comparisons of one kind and role. */
export function rates(rows: readonly ChangeRow[], kind: Kind, role: ChangeRow["role"]): number[] {
  return rows.filter((row) => row.kind === kind && row.role === role).flatMap((row) => row.rate ?? []);
}

/** What the change table says of nodes or of edges. */
export function changeFinding(rows: readonly ChangeRow[], kind: Kind): string {
  const changes = rates(rows, kind, "change");
  const nulls = rates(rows, kind, "null");
  const found = verdict(changes, nulls);
  const name = kind === "edge" ? "Edges" : "Nodes";
  if (found === "no change") return `${name}: this run has no change to show.`;
  const change = `${name}: fine-tuning changed ${range(changes)}`;
  if (found === "no null") return `${change}. There is no null to hold it against in this run.`;
  const compared = `${change}; two seeds of the same fine-tuning differ by ${range(nulls)}.`;
  return `${compared} ${judgement(found, changes, nulls)}${disagreement(rows, kind, found)}`;
}

function judgement(found: Verdict, changes: number[], nulls: number[]): string {
  const ratio = Math.min(...changes) / Math.max(...nulls);
  const times = Number.isFinite(ratio) ? ` (at least ${ratio.toFixed(2)} times it)` : "";
  if (found === "larger") return `The change is larger than the null${times}.`;
  if (found === "barely larger") {
    return `The change is larger than the null${times}, but by no more than the fine-tunings differ among themselves.`;
  }
  if (found === "not larger") {
    return "The change is not larger than the null: another seed alone changes as much.";
  }
  return "The change is not clearly larger than the null: their ranges overlap.";
}

/** A warning where Jaccard distance orders change and null otherwise. */
function disagreement(rows: readonly ChangeRow[], kind: Kind, found: Verdict): string {
  const distances = (role: ChangeRow["role"]) =>
    rows.filter((row) => row.kind === kind && row.role === role).map((row) => 1 - row.jaccard);
  const other = verdict(distances("change"), distances("null"));
  if (isLarger(other) === isLarger(found)) return "";
  const words = isLarger(other) ? "the change is larger" : "the change is not larger";
  return ` By Jaccard distance ${words}: the two measures disagree.`;
}

function isLarger(found: Verdict): boolean {
  return found === "larger" || found === "barely larger";
}

/** How far a single null carries. */
export function nullCaution(rows: readonly ChangeRow[]): string {
  const nulls = new Set(rows.filter((row) => row.role === "null").map((row) => row.comparison)).size;
  if (nulls === 0) return "Without a second seed nobody can say how much of this chance alone would do.";
  return nulls < 8
    ? `The null rests on ${plural(nulls, "comparison")} of seeds: a yardstick, not a test.`
    : `The null rests on ${plural(nulls, "comparison")} of seeds.`;
}

/** Edge change per node change, of every fine-tuning and of every null. */
export function ratioFinding(rows: readonly ChangeRow[]): string | null {
  const changes = ratios(rows, "change");
  const nulls = ratios(rows, "null");
  if (changes.length === 0) return null;
  const times = (values: number[]) => `${range(values, (value) => value.toFixed(1))} times`;
  const first = `Edges changed ${times(changes)} as much as nodes`;
  if (nulls.length === 0) return `${first}.`;
  const more =
    verdict(changes, nulls) === "not larger" ? "; so the ratio shows no more than chance does" : "";
  return `${first}, between seeds ${times(nulls)}${more}.`;
}

function ratios(rows: readonly ChangeRow[], role: ChangeRow["role"]): number[] {
  const own = rows.filter((row) => row.role === role && row.rate !== null);
  return own
    .filter((row) => row.kind === "edge")
    .flatMap((edge) => {
      const node = own.find((row) => row.kind === "node" && row.comparison === edge.comparison);
      return node?.rate ? edge.rate! / node.rate : [];
    });
}

/** Which layers the rules choose, and whether they agree. */
export function criticalFinding(rows: readonly CriticalRow[]): string {
  const rules = [...new Set(rows.map((row) => row.rule))];
  const chosen = rules.map((rule) => rows.filter((row) => row.rule === rule && row.chosen).sort(byPlace));
  const said = rules.map((rule, i) => `${rule} rule ${list(chosen[i]!.map((row) => String(row.layer)))}`);
  const sentence = `Critical layers, highest first: ${said.join("; ")}.`;
  if (rules.length < 2) return sentence;
  const sets = chosen.map((group) => new Set(group.map((row) => row.layer)));
  const shared = [...sets[0]!].filter((layer) => sets.every((set) => set.has(layer)));
  if (sets.every((set) => set.size === shared.length)) return `${sentence} The rules agree.`;
  const common = shared.length ? `share only ${list(shared.map(String))}` : "share none";
  return `${sentence} The rules ${common}: which layers count as critical depends on the rule.`;
}

function byPlace(a: CriticalRow, b: CriticalRow): number {
  return a.place - b.place;
}

/** Accuracy at the first and the last checkpoint. */
export function accuracyFinding(rows: readonly AccuracyRow[]): string {
  const labels = [...new Set(rows.map((row) => row.label))];
  const at = (pick: (...steps: number[]) => number) =>
    labels.flatMap((label) => {
      const own = rows.filter((row) => row.label === label);
      const step = pick(...own.map((row) => row.step));
      return own.filter((row) => row.step === step).map((row) => row.accuracy);
    });
  const [first, last] = [at(Math.min), at(Math.max)];
  return `Accuracy on unseen rows went from ${range(first)} to ${range(last)}.`;
}

/** Faithfulness of the circuits of one size at the first and the last checkpoint. */
export function faithfulnessFinding(rows: readonly FaithfulnessRow[], share: number): string {
  const own = rows.filter((row) => row.share === share);
  const labels = [...new Set(own.map((row) => row.label))];
  const ends = (pick: (steps: number[]) => number) =>
    labels.flatMap((label) => {
      const mine = own.filter((row) => row.label === label);
      const step = pick(mine.map((row) => row.step));
      return mine.find((row) => row.step === step)?.normalized ?? [];
    });
  const first = ends((steps) => Math.min(...steps));
  const last = ends((steps) => Math.max(...steps));
  const size = `The circuit of ${percent(share, 0)} of the edges`;
  if (first.length === 0 && last.length === 0) return `${size} has no normalised faithfulness in this run.`;
  const write = (values: number[]) =>
    values.length ? range(values, (v) => percent(v, 0)) : "an undefined share";
  return `${size} reproduces ${write(first)} of the model's effect before and ${write(last)} after fine-tuning.`;
}

/** A warning where the model before fine-tuning has no effect of its own that a circuit could explain. */
export function startCaution(rows: readonly FaithfulnessRow[], share: number): string | null {
  const own = rows.filter((row) => row.share === share);
  const start = Math.min(...own.map((row) => row.step));
  const missing = own.find((row) => row.step === start && row.normalized === null);
  return missing
    ? `Before fine-tuning the model's ${missing.metric} cannot be told from that of the corrupted prompts, so the circuit before is poorly determined and part of the change may be noise.`
    : null;
}

/** CircuitLoRA against uniform LoRA and against the random draws. */
export function methodFindings(rows: readonly MethodRow[]): string[] {
  const ours = rows.filter((row) => row.arm === "circuitlora");
  if (ours.length === 0) return ["CircuitLoRA was not trained in this run."];
  const uniform = rows.filter((row) => row.arm === "uniform");
  const random = rows.filter((row) => row.arm === "random");
  return [...againstUniform(ours, uniform), ...againstRandom(ours, random), seedCaution(rows)];
}

function againstUniform(ours: MethodRow[], uniform: MethodRow[]): string[] {
  if (uniform.length === 0) return ["There is no uniform rival in this run."];
  const [a, b] = [mean(ours.map((row) => row.accuracy)), mean(uniform.map((row) => row.accuracy))];
  const parameters = new Set([...ours, ...uniform].map((row) => row.parameters));
  const budget =
    parameters.size === 1 ? "of the same number of parameters" : "of another number of parameters";
  const scores = `CircuitLoRA reached ${percent(a)}, uniform LoRA ${budget} ${percent(b)}`;
  if (ours.length > 1 || uniform.length > 1) return [`${scores} (means over seeds): ${points(a - b)}.`];
  const [low, high] = difference(ours[0]!, uniform[0]!);
  const shown =
    low > 0 || high < 0
      ? "That is more than the choice of test rows explains; whether training again would repeat it, it does not say."
      : "The test rows cannot tell the two apart.";
  const interval = `95\u202f% interval ${points(low)} to ${points(high)}`;
  return [`${scores}: ${points(a - b)} (${interval}). ${shown}`];
}

/** Newcombe's interval of a difference of two shares, from their Wilson intervals. */
export function difference(a: MethodRow, b: MethodRow): [low: number, high: number] {
  const d = a.accuracy - b.accuracy;
  return [
    d - Math.hypot(a.accuracy - a.low, b.high - b.accuracy),
    d + Math.hypot(a.high - a.accuracy, b.accuracy - b.low),
  ];
}

function againstRandom(ours: MethodRow[], random: MethodRow[]): string[] {
  if (random.length === 0) return [];
  const best = mean(ours.map((row) => row.accuracy));
  const draws = [...new Set(random.map((row) => row.draw))].map((draw) =>
    mean(random.filter((row) => row.draw === draw).map((row) => row.accuracy)),
  );
  const below = draws.filter((accuracy) => accuracy < best).length;
  return [
    `It is above ${below} of ${plural(draws.length, "random choice")} of layers (mean ${percent(mean(draws))}).`,
  ];
}

/** How many seeds there are, and how far that carries. */
export function seedCaution(rows: readonly MethodRow[]): string {
  const seeds = new Set(rows.map((row) => row.seed)).size;
  if (seeds >= 8) return `${seeds} seeds.`;
  const words = ["No seeds", "One seed", "Two seeds", "Three seeds", "Four seeds", "Five seeds", "Six seeds"];
  return `${words[seeds] ?? "Seven seeds"}: an illustration.`;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
