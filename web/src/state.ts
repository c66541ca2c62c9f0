// What the reader has chosen, kept in the address so that a link restores it.

export type View = "change" | "apart" | "map";

/** Which inputs the drawn edges arrive at. */
export type Into = "all" | "q" | "k" | "v" | "mlp" | "logits";

/** What the heat map colours. */
export type Heat = "circuits" | "change" | "before" | "after";

export interface PageState {
  label: string; // of the circuit shown
  step: number | null; // null: the last checkpoint
  against: string; // label of the circuit it is compared with; "": the same
  from: number | null; // null: the first checkpoint, or of another fine-tuning the last
  edges: number;
  least: number; // share of all scores, in percent, below which no edge is drawn
  into: Into;
  view: View;
  heat: Heat;
  node: string | null;
  find: string;
}

export const DEFAULT_EDGES = 150;
const VIEWS: readonly View[] = ["change", "apart", "map"];
const INTOS: readonly Into[] = ["all", "q", "k", "v", "mlp", "logits"];
const HEATS: readonly Heat[] = ["circuits", "change", "before", "after"];

/** Read "#circuit=...&step=..."; what is missing or senseless keeps its default. */
export function readState(hash: string): PageState {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  const whole = (name: string) => {
    const value = fields.get(name);
    return value !== null && /^\d+$/.test(value) ? Number(value) : null;
  };
  const least = Number(fields.get("least"));
  return {
    label: fields.get("circuit") ?? "",
    step: whole("step"),
    against: fields.get("against") ?? "",
    from: whole("from"),
    edges: Math.max(1, whole("edges") ?? DEFAULT_EDGES),
    least: least > 0 && least <= 100 ? least : 0,
    into: oneOf(INTOS, fields.get("into")),
    view: oneOf(VIEWS, fields.get("view")),
    heat: oneOf(HEATS, fields.get("heat")),
    node: fields.get("node"),
    find: fields.get("find") ?? "",
  };
}

/** The first of the names where the given one is none of them. */
function oneOf<Name extends string>(names: readonly Name[], name: string | null): Name {
  return names.find((one) => one === name) ?? names[0]!;
}

/** The address for a state; defaults are left out, so the first view has none. */
export function writeState(state: PageState, firstLabel: string): string {
  const fields = new URLSearchParams();
  const put = (name: string, value: string | number | null, usual: string | number | null) => {
    if (value !== null && value !== usual) fields.set(name, String(value));
  };
  put("circuit", state.label, state.label ? firstLabel : "");
  put("step", state.step, null);
  put("against", state.against, "");
  put("from", state.from, null);
  put("edges", state.edges, DEFAULT_EDGES);
  put("least", state.least, 0);
  put("into", state.into, INTOS[0]!);
  put("view", state.view, VIEWS[0]!);
  put("heat", state.heat, HEATS[0]!);
  put("node", state.node, "");
  put("find", state.find, "");
  return fields.size ? `#${fields}` : "";
}

/** Whether an address is one of ours, and not that of a section. */
export function isView(hash: string): boolean {
  return hash.includes("=");
}
