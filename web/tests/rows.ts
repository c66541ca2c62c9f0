// Short rows for tests; every test names only what it is about.

import type {
  CausalRow,
  ChanceRow,
  ChangeRow,
  CircuitEntry,
  CompositionRow,
  EdgeRow,
  GraphRecord,
  MethodRow,
  Payload,
  RobustnessRow,
  Tables,
} from "../src/payload.ts";

export const NO_TABLES: Tables = {
  accuracy: null,
  faithfulness: null,
  change: null,
  transitions: null,
  layers: null,
  critical_layers: null,
  methods: null,
  circuits: null,
  chance: null,
  verdicts: null,
  edges: null,
  nodes: null,
  changed: null,
  stability: null,
  layer_frequency: null,
  rules: null,
  robustness: null,
  composition: null,
  causal: null,
  roles: null,
};

export function change(part: Partial<ChangeRow>): ChangeRow {
  return {
    comparison: "tune seed 0",
    role: "change",
    kind: "edge",
    before: "step 0",
    after: "step 100",
    before_count: 100,
    after_count: 100,
    added: 20,
    removed: 20,
    kept: 80,
    jaccard: 0.5,
    rate: 0.4,
    cumulative: null,
    ...part,
  };
}

export function method(part: Partial<MethodRow>): MethodRow {
  return {
    arm: "circuitlora",
    draw: 0,
    seed: 0,
    layers: "0 4",
    rank: 1,
    critical_rank: 5,
    parameters: 1000,
    planned: 1000,
    peak: 1000,
    learning_rate: 0.01,
    steps: 10,
    allocation_flops: 0,
    training_flops: 1e9,
    before: 0.1,
    examples: 100,
    accuracy: 0.9,
    low: 0.85,
    high: 0.93,
    loss: null,
    ...part,
  };
}

export function chance(part: Partial<ChanceRow>): ChanceRow {
  return {
    label: "tune seed 0",
    seed: 0,
    measure: "edge_rate",
    role: "change",
    comparisons: 200,
    undefined: 0,
    estimate: 0.5,
    low: 0.4,
    high: 0.6,
    reason: "",
    ...part,
  };
}

export function edge(part: Partial<EdgeRow>): EdgeRow {
  return {
    label: "tune seed 0",
    seed: 0,
    source: "input",
    destination: "a0.h0<q>",
    in_before: true,
    in_after: false,
    score_before: 0.01,
    score_after: -0.002,
    t: null,
    p: 0.001,
    q: 0.01,
    changed: true,
    ...part,
  };
}

export function causal(part: Partial<CausalRow>): CausalRow {
  return {
    direction: "removal",
    swapped: "changed",
    draw: 0,
    edges: 338,
    measure: "logit_diff",
    base: 0,
    tuned: 20,
    value: 4,
    share: 0.8,
    low: 0.75,
    high: 0.85,
    reason: "",
    label: "tune seed 0",
    seed: 0,
    ...part,
  };
}

export function robustness(part: Partial<RobustnessRow>): RobustnessRow {
  return {
    ...{
      label: "tune seed 0",
      seed: 0,
      model: "after",
      kind: "noise",
      level: 0.1,
      pairs: 200,
      comparisons: 3,
    },
    ...{ edge_jaccard: 0.7, edge_low: 0.65, edge_high: 0.75, node_jaccard: 0.9 },
    ...part,
  };
}

export function composition(part: Partial<CompositionRow>): CompositionRow {
  return {
    ...{
      label: "tune seed 0",
      seed: 0,
      task: "two_step",
      kind: "union",
      name: "a + b",
      draw: 0,
      share: 0.05,
    },
    ...{ edges: 300, overlap: 0.5, jaccard: 0.3, metric: "logit_diff", value: 2, model: 3, corrupted: -3 },
    ...{ normalized: 0.8, normalized_low: 0.7, normalized_high: 0.9, reason: "", kl: 0.1, accuracy: 0.9 },
    ...part,
  };
}

export function entry(part: Partial<CircuitEntry>): CircuitEntry {
  return {
    ...{ label: "tune seed 0", role: "tune", seed: 0, step: 0, share: 0.05, nodes: 5, edges: 10, scale: 1 },
    blob: "circuit-0",
    ...part,
  };
}

export function payload(part: Partial<Payload>): Payload {
  return {
    run: "test",
    title: "A test",
    sentences: ["One sentence."],
    notes: [],
    findings: {
      ...{ training: [], changes: [], chance: [], cautions: [], causal: [] },
      ...{ robust: [], composition: [], where: [], contest: [] },
    },
    problems: [],
    tables: NO_TABLES,
    counts: {},
    arms: {},
    recipe: null,
    environment: null,
    pairs: null,
    graph: null,
    circuits: [],
    ...part,
  };
}

/** Two layers of two heads, one key/value head each, heads feeding the MLP of their layer. */
export const GROUPED: GraphRecord = {
  layers: 2,
  heads: 2,
  kv_heads: 1,
  parallel: false,
  sources: ["input", "a0.h0", "a0.h1", "m0", "a1.h0", "a1.h1", "m1"],
  destinations: [
    ...["a0.h0<q>", "a0.h1<q>", "a0.kv0<k>", "a0.kv0<v>", "m0"],
    ...["a1.h0<q>", "a1.h1<q>", "a1.kv0<k>", "a1.kv0<v>", "m1", "logits"],
  ],
  readable: [1, 1, 1, 1, 3, 4, 4, 4, 4, 6, 7],
};
