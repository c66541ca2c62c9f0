// What the reader has chosen, kept in the address so that a link restores it.

export type View = "change" | "apart";

export interface PageState {
  label: string;
  step: number | null; // null: the last checkpoint
  edges: number;
  view: View;
  node: string | null;
}

export const DEFAULT_EDGES = 150;

/** Read "#circuit=...&step=..."; what is missing or senseless keeps its default. */
export function readState(hash: string): PageState {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  const whole = (name: string) => {
    const value = fields.get(name);
    return value !== null && /^\d+$/.test(value) ? Number(value) : null;
  };
  return {
    label: fields.get("circuit") ?? "",
    step: whole("step"),
    edges: Math.max(1, whole("edges") ?? DEFAULT_EDGES),
    view: fields.get("view") === "apart" ? "apart" : "change",
    node: fields.get("node"),
  };
}

/** The address for a state; defaults are left out, so the first view has none. */
export function writeState(state: PageState, firstLabel: string): string {
  const fields = new URLSearchParams();
  if (state.label && state.label !== firstLabel) fields.set("circuit", state.label);
  if (state.step !== null) fields.set("step", String(state.step));
  if (state.edges !== DEFAULT_EDGES) fields.set("edges", String(state.edges));
  if (state.view !== "change") fields.set("view", state.view);
  if (state.node) fields.set("node", state.node);
  return fields.size ? `#${fields}` : "";
}
