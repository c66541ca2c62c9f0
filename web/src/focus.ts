// Which node the reader points at, for the parts of the page that follow it: nothing else is drawn again.

import { useEffect, useState } from "preact/hooks";

type Listener = (node: number | null) => void;

/** The node pointed at, or else the node held; listeners hear of a change at most once a frame. */
export interface Focus {
  readonly node: number | null;
  point(node: number | null): void;
  hold(node: number | null): void;
  listen(listener: Listener): () => void;
}

/** A focus on nothing; `frame` calls back before the next frame is painted. */
export function makeFocus(frame: (callback: () => void) => unknown = requestAnimationFrame): Focus {
  const listeners = new Set<Listener>();
  let pointed: number | null = null;
  let held: number | null = null;
  let told: number | null = null;
  let waiting = false;
  const node = () => pointed ?? held;
  const tell = () => {
    waiting = false;
    if (node() === told) return;
    told = node();
    for (const listener of listeners) listener(told);
  };
  const changed = () => {
    if (!waiting) frame(tell);
    waiting = true;
  };
  return {
    get node() {
      return node();
    },
    point(next) {
      pointed = next;
      changed();
    },
    hold(next) {
      held = next;
      changed();
    },
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}

/** The node in focus, followed as it changes. */
export function useFocused(focus: Focus): number | null {
  const [node, setNode] = useState(focus.node);
  useEffect(() => {
    setNode(focus.node);
    return focus.listen(setNode);
  }, [focus]);
  return node;
}
