// What the circuit figure holds: the decoded circuits, and the reader's choices in the address.

import { useCallback, useEffect, useMemo, useRef, useState } from "preact/hooks";
import { decodeEdges, type EdgeData } from "../binary.ts";
import type { CircuitEntry } from "../payload.ts";
import { isView, type PageState, readState, writeState } from "../state.ts";
import type { Wiring } from "../wiring.ts";

/** Before and after of the chosen fine-tuning, decoded. */
export interface Pair {
  before: EdgeData;
  after: EdgeData;
  from: CircuitEntry;
  to: CircuitEntry;
}

type Blocks = Map<string, Promise<EdgeData>>;

/** The data block of one circuit, decoded once. */
function load(blocks: Blocks, entry: CircuitEntry, wiring: Wiring): Promise<EdgeData> {
  const known = blocks.get(entry.blob);
  if (known) return known;
  const loading = blockOf(entry).then((text) => decodeEdges(text, wiring.edgeSource.length));
  blocks.set(entry.blob, loading);
  loading.catch(() => blocks.delete(entry.blob)); // a server may have it later
  return loading;
}

async function blockOf({ blob }: CircuitEntry): Promise<string> {
  if (!blob.startsWith("/")) return document.getElementById(blob)?.textContent ?? "";
  const answer = await fetch(blob);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.text();
}

/** Circuits before and after, decoded; `failed` says why not. */
export function usePair(wiring: Wiring, from: CircuitEntry, to: CircuitEntry): [Pair | null, failed: string] {
  const blocks = useMemo((): Blocks => new Map(), []);
  const [pair, setPair] = useState<Pair | null>(null);
  const [failed, setFailed] = useState("");
  useEffect(() => {
    let current = true;
    Promise.all([load(blocks, from, wiring), load(blocks, to, wiring)]).then(
      ([before, after]) => {
        if (!current) return;
        setPair({ before, after, from, to });
        setFailed("");
      },
      (error: unknown) => {
        if (current) setFailed(error instanceof Error ? error.message : String(error));
      },
    );
    return () => {
      current = false;
    };
  }, [blocks, wiring, from, to]);
  return [pair, failed];
}

/** The address follows the choices; where a browser forbids that for files, nothing is lost but the link. */
export function useAddress(firstLabel: string): [PageState, (change: Partial<PageState>) => void] {
  const [state, setState] = useState(() => readState(location.hash));
  const latest = useRef(state); // so that `change` stays the same function
  useEffect(() => {
    const follow = () => {
      if (location.hash && !isView(location.hash)) return; // a link to a section leaves the view as it is
      latest.current = readState(location.hash);
      setState(latest.current);
    };
    addEventListener("hashchange", follow);
    return () => removeEventListener("hashchange", follow);
  }, []);
  const change = useCallback(
    (part: Partial<PageState>) => {
      const next = { ...latest.current, ...part };
      latest.current = next;
      setState(next);
      try {
        history.replaceState(null, "", writeState(next, firstLabel) || location.pathname + location.search);
      } catch {
        // A sandboxed frame may refuse: the view itself has changed all the same.
      }
    },
    [firstLabel],
  );
  return [state, change];
}
