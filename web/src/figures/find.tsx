// Nodes by name: marked in the drawing, the first one held by Enter.

import { plural } from "../format.ts";
import { describeNode } from "../wiring.ts";
import type { Scene } from "./scene.ts";

const LISTED = 12;

/** The search and what it finds. */
export function Find({ scene }: { scene: Scene }) {
  const { wiring, found, held, onHold, state, change } = scene;
  const nodes = [...found];
  return (
    <div class="find">
      <label class="choice">
        Find a node{" "}
        <input
          type="search"
          value={state.find}
          placeholder="a2.h1, or mlp layer 3"
          onInput={(event) => change({ find: event.currentTarget.value })}
          onKeyDown={(event) => {
            if (event.key === "Enter" && nodes.length) onHold(nodes[0]!);
          }}
        />
      </label>
      <span role="status" class="quiet">
        {state.find.trim() &&
          (nodes.length
            ? `${plural(nodes.length, "node")} found`
            : `No node is called that${held === null ? "" : `; ${wiring.nodes[held]!.name} is still held`}.`)}
      </span>
      {nodes.length > 0 && (
        <span class="found">
          {nodes.slice(0, LISTED).map((node) => (
            <button
              key={node}
              type="button"
              title={describeNode(wiring.nodes[node]!)}
              aria-pressed={held === node}
              onClick={() => onHold(held === node ? null : node)}
            >
              {wiring.nodes[node]!.name}
            </button>
          ))}
          {nodes.length > LISTED && <span class="quiet">and {nodes.length - LISTED} more</span>}
        </span>
      )}
    </div>
  );
}
