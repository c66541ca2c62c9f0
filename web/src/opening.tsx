// What stands before the figures: the few words a reader needs, what the run says, and where things are.

import { count, percent, typeset } from "./format.ts";
import type { Payload } from "./payload.ts";

/** The words that the whole page uses, with a pair of this run. */
export function Primer({ payload }: { payload: Payload }) {
  const { pairs, graph, circuits } = payload;
  const example = pairs?.example;
  const size = pairs?.size ? `${count(pairs.size.parameters)} parameters, ` : "";
  const shape = graph
    ? ` This model has ${size}${count(graph.layers)} layers of ${count(graph.heads)} heads and an MLP each, and ${count(graph.readable.reduce((sum, n) => sum + n, 0))} edges.`
    : "";
  const share = circuits[0] ? `the ${percent(circuits[0].share, 0)} of the edges` : "the few edges";
  return (
    <section class="primer" aria-label="Words used on this page">
      <p>
        A <b>pair</b> is a prompt (called clean) and its corruption, a prompt as like it as can be with
        another answer
        {example && (
          <>
            : here <q>{example.clean}</q> with the answer <q>{example.answer}</q>, and{" "}
            <q>{example.corrupted}</q>
            {example.wrong !== null && (
              <>
                {" "}
                with <q>{example.wrong}</q>
              </>
            )}
          </>
        )}
        . An <b>edge</b> is a wire of the model: what one part (a head, an MLP) writes and a later part reads.
        {shape} A <b>circuit</b> is {share} that matter most for the answer; a part that has such an edge is a{" "}
        <b>node</b> of it.
      </p>
      <p>
        <b>Faithfulness</b>: how much of the model{"\u2019"}s preference for the right answer is left when
        only the circuit sees the prompt, and every other edge carries what it carries on the corrupted one.{" "}
        <b>More than chance</b>: more than another seed of the same fine-tuning changes, and more than another
        choice of pairs.
      </p>
    </section>
  );
}

/** What the run says, in its own sentences. */
export function Summary({ sentences }: { sentences: readonly string[] }) {
  return (
    <section class="summary" aria-labelledby="summary-title">
      <h2 id="summary-title">What this run says, and what to do</h2>
      {sentences.map((sentence) => (
        <p key={sentence}>{typeset(sentence)}</p>
      ))}
    </section>
  );
}

/** Links to the sections. */
export function Contents({ sections }: { sections: readonly (readonly [id: string, title: string])[] }) {
  return (
    <nav class="contents" aria-label="Contents">
      <ol>
        {sections.map(([id, title]) => (
          <li key={id}>
            <a href={`#${id}`}>{title}</a>
          </li>
        ))}
      </ol>
    </nav>
  );
}
