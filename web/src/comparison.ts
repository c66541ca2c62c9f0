// Which two circuits are compared, and the words for what differs between them.

import type { Status } from "./drawing.ts";
import type { CircuitEntry } from "./payload.ts";
import type { PageState } from "./state.ts";

export interface Comparison {
  labels: string[]; // of all circuits of the run
  own: CircuitEntry[]; // checkpoints of the fine-tuning chosen
  others: CircuitEntry[]; // and of the one it is compared with
  shown: CircuitEntry; // of `own`
  other: CircuitEntry; // of `others`
  from: CircuitEntry; // the earlier of the two; of two fine-tunings the one chosen
  to: CircuitEntry;
}

/** The two circuits that a state asks for, or the nearest that the run has. */
export function compared(circuits: readonly CircuitEntry[], state: PageState): Comparison {
  const labels = [...new Set(circuits.map((entry) => entry.label))];
  const label = labels.includes(state.label) ? state.label : labels[0]!;
  const against = labels.includes(state.against) ? state.against : label;
  const own = circuits.filter((entry) => entry.label === label);
  const others = circuits.filter((entry) => entry.label === against);
  const shown = own.find((entry) => entry.step === state.step) ?? own.at(-1)!;
  const usual = against === label ? others[0]! : others.at(-1)!;
  const other = others.find((entry) => entry.step === state.from) ?? usual;
  const turned = against !== label || other.step > shown.step;
  const [from, to] = turned ? [shown, other] : [other, shown];
  return { labels, own, others, shown, other, from, to };
}

/** How the two circuits and what differs are called. */
export interface Words {
  edge: Record<Status, string>;
  node: Record<Status, string>;
  before: string;
  after: string;
  later: boolean; // both are of one fine-tuning, the second not before the first
}

const LATER: Pick<Words, "edge" | "node"> = {
  edge: { kept: "kept", added: "added", removed: "removed" },
  node: {
    kept: "in the circuit before and after",
    added: "added to the circuit",
    removed: "removed from the circuit",
  },
};
const BESIDE: Pick<Words, "edge" | "node"> = {
  edge: { kept: "in both", added: "only in B", removed: "only in A" },
  node: { kept: "in both circuits", added: "in circuit B only", removed: "in circuit A only" },
};

/** Between checkpoints of one fine-tuning things are added and removed; else they are in one or the other. */
export function wordsFor({ from, to }: Pick<Comparison, "from" | "to">): Words {
  if (from.label === to.label)
    return { ...LATER, before: `step ${from.step}`, after: `step ${to.step}`, later: true };
  return { ...BESIDE, before: "A", after: "B", later: false };
}

/** Whether this is the comparison that the run's own tables are about: a fine-tuning from start to end. */
export function isWhole({ own, from, to }: Comparison): boolean {
  return from === own[0] && to === own.at(-1) && from !== to;
}
