// How each number was made: definitions, the run's settings, its tables.

import { DataTable } from "../chart.tsx";
import { count, fixed, list, plural } from "../format.ts";
import type { PairsRecord, Payload, Setting, Tables } from "../payload.ts";

const DEFINITIONS: [term: string, text: string][] = [
  [
    "Accuracy",
    "The share of test rows whose answer the model ranks first. Its interval (Wilson, 95\u202f%) counts the rows only.",
  ],
  [
    "Clean, corrupted",
    "The two prompts of a pair: the one that is asked, and the one like it that has another answer.",
  ],
  [
    "Logit difference",
    "logit_diff: the model's raw score (logit) of the right answer less that of the wrong one. 0: it prefers neither.",
  ],
  [
    "Node",
    "A part of the model with at least one edge in the circuit. a5.h2 is head 2 of layer 5, m3 the MLP of layer 3; <q>, <k> and <v> are a head's query, key and value. The degree of a node is its number of edges.",
  ],
  [
    "Edge",
    "A wire of the model: what one part (the input, a head, an MLP) writes and a later part (a head's query, key or value, an MLP, the logits) reads.",
  ],
  [
    "Score of an edge",
    "How much the loss would rise if that wire alone carried what it carries on the corrupted prompt, estimated with edge attribution patching with integrated gradients (EAP-IG) and averaged over the pairs. Positive: the edge helps.",
  ],
  [
    "Circuit",
    "The edges of largest absolute score, to a fixed share of all, less those on no path from input to logits.",
  ],
  [
    "Faithfulness",
    "The model is run with every edge outside the circuit carrying its corrupted value (interchange ablation). (circuit \u2212 corrupted) / (model \u2212 corrupted) on the metric, as a ratio of means: 1 is the whole model, 0 the corrupted run. It is left undefined where the denominator's interval contains 0.",
  ],
  [
    "KL",
    "Divergence from the model's answer distribution to the circuit's, in nats: 0 means the same answers.",
  ],
  [
    "Change, end to end",
    "Added plus removed, divided by how many there were before. It does not depend on the number of checkpoints.",
  ],
  [
    "Cumulative change",
    "The same summed over all checkpoints; it grows with their number, so it is listed, not drawn.",
  ],
  [
    "Kept, added, removed",
    "In both circuits; only in the later one; only in the earlier one. Changed is added or removed; unchanged is in both or in neither.",
  ],
  [
    "Bootstrap",
    "An interval from drawing the pairs again and again, with putting back: how far the number would move with other pairs of the same kind.",
  ],
  ["Jaccard", "Shared by both circuits, divided by what either has: 1 is the same, 0 is nothing in common."],
  [
    "Null",
    "The same comparison between two fine-tunings that differ in their seed only. What it shows is what another seed does; a change counts only beyond it.",
  ],
  [
    "More than another choice of pairs",
    "The estimate and its whole interval lie above what 97.5\u202f% of the comparisons between two halves of the pairs (of the model before, and of the one after) do not exceed. No more: both lie at or below it. Else, or with fewer than ten comparisons, there is not enough to say.",
  ],
  [
    "More than chance",
    "More than another choice of pairs, in every fine-tuning, and more than another seed: every fine-tuning above every comparison of seeds, by more than either differ among themselves. The stricter of the two decides.",
  ],
  [
    "Gain through the changed edges",
    "Yes: they carry more of it than as many random unchanged edges do on average, in every fine-tuning, both swapped out of the tuned model and swapped into the base model. In part: in one of the two.",
  ],
  [
    "Share of the gain",
    "(own \u2212 swapped) / (own \u2212 other), on the metric, as a ratio of means: own is the model that runs, swapped the same with the other model\u2019s activations on some edges, other the other model.",
  ],
  [
    "Critical layers",
    "Layers whose edges' scores changed most, booked to the layer an edge comes from (the input to layer 0). The released rule takes raw scores; the normalised rule first scales each map to the same total, so that growth of all scores does not count.",
  ],
  [
    "CircuitLoRA",
    "A short first tuning, circuits before and after it, then LoRA with a higher rank in the critical layers. Its rivals have the same number of parameters: the same rank everywhere, or high rank in layers drawn at random.",
  ],
];

/** The last section. */
export function Making({ payload }: { payload: Payload }) {
  return (
    <>
      {payload.pairs && <Example pairs={payload.pairs} />}
      <dl class="definitions">
        {DEFINITIONS.map(([term, text]) => (
          <div key={term}>
            <dt>{term}</dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
      <h3>Settings of this run</h3>
      <Settings rows={payload.recipe} file="recipe.yaml" />
      <h3>Tables</h3>
      <p>
        Every number on this page is in one of these files of the run <code>{payload.run}</code>, readable
        with any program.
      </p>
      <DataTable label="Tables of this run" columns={["File", "Rows"]} rows={tableRows(payload)} />
      {payload.environment && (
        <details>
          <summary>Software and machine</summary>
          <Settings rows={payload.environment} file="environment.json" />
        </details>
      )}
    </>
  );
}

function tableRows(payload: Payload): (string | number)[][] {
  return Object.entries<object[] | null>({ ...payload.tables }).map(([name, rows]) => [
    `tables/${name}.csv`,
    rows ? count(payload.counts[name as keyof Tables] ?? rows.length) : "not in this run",
  ]);
}

function Settings({ rows, file }: { rows: Setting[] | null; file: string }) {
  if (!rows) {
    return (
      <p class="missing">
        <code>{file}</code> is missing.
      </p>
    );
  }
  return (
    <dl class="settings">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{settingText(name, value)}</dd>
        </div>
      ))}
    </dl>
  );
}

/** Bytes as gibibytes, and what is not set as that. */
function settingText(name: string, value: string): string {
  if (value === "none") return "not set";
  return /(^|_)memory$/.test(name) ? `${fixed(Number(value) / 2 ** 30, 1)} GiB` : value;
}

const WRONG: Record<PairsRecord["wrong"], string> = {
  given: "comes with the task",
  computed: "was computed by the rule of the task",
  model: "is the model's own answer on the corrupted prompt",
  none: "is unknown",
};

function Example({ pairs }: { pairs: PairsRecord }) {
  const parts = Object.entries(pairs.parts).map(([part, rows]) => `${count(rows)} ${part}`);
  return (
    <>
      {pairs.example && (
        <p>
          A pair of this run: the prompt <q>{pairs.example.clean}</q> with the answer{" "}
          <q>{pairs.example.answer}</q>, and its corruption <q>{pairs.example.corrupted}</q>{" "}
          {pairs.example.wrong === null ? "without one" : "with the answer "}
          {pairs.example.wrong !== null && <q>{pairs.example.wrong}</q>}.
        </p>
      )}
      <p>
        Pairs of {pairs.name}: {list(parts)}. The wrong answer {WRONG[pairs.wrong]}; the metric is{" "}
        <code>{pairs.metric}</code>.
        {pairs.left_out.length > 0 &&
          ` ${plural(pairs.left_out.length, "row")} of the input broke a rule and stayed out.`}
      </p>
      {pairs.left_out.length > 0 && (
        <details>
          <summary>Rows left out</summary>
          <DataTable
            label="Rows left out"
            columns={["Row", "Rule", "Reason"]}
            rows={pairs.left_out.map((row) => [row.row ?? "none", row.rule, row.reason])}
          />
        </details>
      )}
    </>
  );
}
