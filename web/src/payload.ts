// What the page is made from: the JSON that report/payload.py writes into it.

export interface AccuracyRow {
  label: string;
  arm: string;
  seed: number;
  step: number;
  steps: number;
  epoch: number;
  split: string;
  examples: number;
  correct: number;
  accuracy: number;
  low: number;
  high: number;
  loss: number | null;
}

export interface FaithfulnessRow {
  label: string;
  arm: string;
  seed: number;
  step: number;
  share: number;
  edges: number;
  nodes: number;
  metric: string;
  model: number;
  circuit: number;
  corrupted: number;
  normalized: number | null;
  normalized_low: number | null;
  normalized_high: number | null;
  reason: string;
  kl: number;
  accuracy: number;
  percent_released: number | null;
}

export type Kind = "node" | "edge";
export type Role = "change" | "null";

export interface ChangeRow {
  comparison: string;
  role: Role;
  kind: Kind;
  before: string;
  after: string;
  before_count: number;
  after_count: number;
  added: number;
  removed: number;
  kept: number;
  jaccard: number;
  rate: number | null;
  cumulative: number | null;
}

export interface TransitionRow {
  label: string;
  seed: number;
  step_from: number;
  step_to: number;
  kind: Kind;
  added: number;
  removed: number;
  rate: number | null;
}

export interface LayerRow {
  comparison: string;
  role: Role;
  kind: Kind;
  side: "source" | "destination";
  layer: number;
  possible: number;
  before: number;
  after: number;
  added: number;
  removed: number;
  share_absent_added: number | null;
  share_present_removed: number | null;
}

export interface CriticalRow {
  seed: number;
  rule: string;
  layer: number;
  importance: number;
  place: number;
  chosen: boolean;
}

export interface MethodRow {
  arm: string;
  draw: number;
  seed: number;
  layers: string;
  rank: number;
  critical_rank: number;
  parameters: number;
  planned: number;
  peak: number;
  learning_rate: number;
  steps: number;
  allocation_flops: number;
  training_flops: number;
  before: number;
  examples: number;
  accuracy: number;
  low: number;
  high: number;
  loss: number | null;
}

/** A measure of change from before to after with its interval, or what 95 % of the comparisons of a null are. */
export interface ChanceRow {
  label: string;
  seed: number;
  measure: string;
  role: "change" | "seed" | "split" | "random-init" | "rewired" | "random";
  comparisons: number;
  undefined: number; // of these, how many have no value
  estimate: number | null;
  low: number | null;
  high: number | null; // of a null with an estimate: null where it has no end
  reason: string;
}

export interface VerdictRow {
  label: string;
  seed: number;
  measure: string;
  outcome: string;
  sentence: string;
}

export interface EdgeRow {
  label: string;
  seed: number;
  source: string;
  destination: string;
  in_before: boolean;
  in_after: boolean;
  score_before: number;
  score_after: number;
  t: number | null;
  p: number;
  q: number;
  changed: boolean;
}

/** Shares are of all scores of a map, and leave the node; `halves` and `seeds` bound what chance alone makes. */
export interface NodeRow {
  label: string;
  seed: number;
  node: string;
  in_before: boolean;
  in_after: boolean;
  share_before: number;
  share_after: number;
  change: number;
  low: number | null;
  high: number | null;
  t: number | null;
  p: number;
  q: number;
  halves: number | null;
  half_comparisons: number;
  seeds: number | null;
  seed_comparisons: number;
  changed: boolean;
  sentence: string;
}

export interface StabilityRow {
  label: string;
  seed: number;
  what: string;
  jaccard: number;
  unstable: boolean;
  consensus_edges: number | null;
  normalized: number | null;
  normalized_low: number | null;
  normalized_high: number | null;
  reason: string;
}

export interface LayerFrequencyRow {
  label: string;
  seed: number;
  rule: string;
  layer: number;
  frequency: number;
  chosen: boolean;
}

export interface RuleRow {
  label: string;
  seed: number;
  first: string;
  second: string;
  kendall: number | null;
  jaccard: number;
  expected: number;
}

export interface CausalRow {
  direction: "removal" | "insertion";
  swapped: string;
  draw: number;
  edges: number;
  measure: string;
  base: number;
  tuned: number;
  value: number;
  share: number | null;
  low: number | null;
  high: number | null;
  reason: string;
  label: string;
  seed: number;
}

export interface HeadRoleRow {
  place: number;
  head: string;
  change: number;
  position: number; // of the token, counted from the prompt's end: -1 is its last
  attention_before: number;
  attention_after: number;
  direct_before: number;
  direct_after: number;
  wrong_after: number | null;
  sentence: string;
  label: string;
  seed: number;
}

/** Every table a run can have; null where the run does not have it. */
export interface Tables {
  accuracy: AccuracyRow[] | null;
  faithfulness: FaithfulnessRow[] | null;
  change: ChangeRow[] | null;
  transitions: TransitionRow[] | null;
  layers: LayerRow[] | null;
  critical_layers: CriticalRow[] | null;
  methods: MethodRow[] | null;
  circuits: object[] | null;
  chance: ChanceRow[] | null;
  verdicts: VerdictRow[] | null;
  edges: EdgeRow[] | null;
  nodes: NodeRow[] | null; // not in runs of 0.1.0
  changed: object[] | null;
  stability: StabilityRow[] | null;
  layer_frequency: LayerFrequencyRow[] | null;
  rules: RuleRow[] | null;
  robustness: RobustnessRow[] | null;
  composition: CompositionRow[] | null;
  causal: CausalRow[] | null;
  roles: HeadRoleRow[] | null;
}

export interface RobustnessRow {
  label: string;
  seed: number;
  model: "before" | "after" | "random";
  kind: "noise" | "parts";
  level: number | null;
  pairs: number;
  comparisons: number;
  edge_jaccard: number;
  edge_low: number;
  edge_high: number;
  node_jaccard: number;
}

export interface CompositionRow {
  label: string;
  seed: number;
  task: string;
  kind:
    | "whole"
    | "union"
    | "plain union"
    | "intersection"
    | "plain intersection"
    | "part"
    | "unrelated"
    | "random";
  name: string;
  draw: number;
  share: number;
  edges: number;
  overlap: number | null;
  jaccard: number;
  metric: string;
  value: number;
  model: number;
  corrupted: number;
  normalized: number | null;
  normalized_low: number | null;
  normalized_high: number | null;
  reason: string;
  kl: number;
  accuracy: number;
}

/**
 * One circuit of the run; `blob` names the data block with its scores and edges (binary.ts): an element of the page,
 * or where a server has it.
 */
export interface CircuitEntry {
  label: string;
  role: string;
  seed: number;
  step: number;
  share: number;
  nodes: number;
  edges: number;
  scale: number | null; // null where the block is asked for
  blob: string;
}

/** Names in order; `readable[d]` sources, counted from the first, have an edge into destination d. */
export interface GraphRecord {
  layers: number;
  heads: number;
  kv_heads: number;
  parallel: boolean;
  sources: string[];
  destinations: string[];
  readable: number[];
}

export interface PairsRecord {
  name: string;
  parts: Record<string, number>;
  left_out: { row: number | null; rule: string; reason: string }[];
  wrong: "given" | "computed" | "model" | "none";
  metric: string;
  size?: { parameters: number; layers: number; tokens: number };
  example: { clean: string; corrupted: string; answer: string; wrong: string | null } | null;
}

/** What the tables show, in sentences, by the section that shows them; reached in Python, written here as they are. */
export interface Findings {
  training: string[];
  changes: string[];
  chance: string[];
  cautions: string[];
  causal: string[];
  robust: string[];
  composition: string[];
  where: string[];
  contest: string[];
}

/** How far the run was when a server made the page; see live.ts. */
export interface Served {
  version: string;
  complete: number;
  jobs: number;
}

export type Setting = [name: string, value: string];

export interface Payload {
  run: string;
  title: string;
  sentences: string[];
  notes: string[];
  findings: Findings;
  problems: string[];
  tables: Tables;
  counts: Partial<Record<keyof Tables, number>>; // rows in the run's files: of edges the page may hold fewer
  arms: Record<string, string>; // names for people, of every arm in the table of methods
  recipe: Setting[] | null;
  environment: Setting[] | null;
  pairs: PairsRecord | null;
  graph: GraphRecord | null;
  circuits: CircuitEntry[];
  served?: Served; // not in a file
}

interface Columns {
  columns: string[];
  rows: unknown[][];
}

const FORMAT = 1;

/** Parse the embedded JSON; tables come back as lists of row objects. */
export function parsePayload(text: string): Payload {
  const raw = JSON.parse(text) as Omit<Payload, "tables"> & {
    format: number;
    tables: Record<keyof Tables, Columns | null>;
  };
  if (raw.format !== FORMAT)
    throw new Error(`payload format ${raw.format}; this page reads format ${FORMAT}`);
  const tables = Object.fromEntries(
    Object.entries(raw.tables).map(([name, table]) => [name, table && asRows(table)]),
  ) as unknown as Tables;
  return { ...raw, tables };
}

function asRows({ columns, rows }: Columns): object[] {
  return rows.map((row) => Object.fromEntries(columns.map((column, index) => [column, row[index]])));
}
