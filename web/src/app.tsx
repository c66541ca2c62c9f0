// The page, top to bottom.

import type { ComponentChildren } from "preact";
import { CausalFigure, RolesTable } from "./figures/causal.tsx";
import { ChanceFigure } from "./figures/chance.tsx";
import { ChangeFigure, TransitionsFigure } from "./figures/change.tsx";
import { CircuitFigure } from "./figures/circuit.tsx";
import { EdgesTable } from "./figures/edges.tsx";
import { CompositionFigure, RobustnessFigure } from "./figures/generality.tsx";
import { LayersFigure } from "./figures/layers.tsx";
import { Making } from "./figures/making.tsx";
import { MethodsFigure } from "./figures/methods.tsx";
import { LayerFrequencyFigure, StabilityTable } from "./figures/stability.tsx";
import { AccuracyFigure, FaithfulnessFigure } from "./figures/training.tsx";
import { count, plural } from "./format.ts";
import type { Payload, Served } from "./payload.ts";

const USUAL_SHARE = 0.05;

interface AppProps {
  payload: Payload;
  silent?: boolean; // the server of the page does not answer
}

/** Everything below the browser's frame. */
export function App({ payload, silent = false }: AppProps) {
  const { tables, findings } = payload;
  const mainShare = payload.circuits[0]?.share ?? USUAL_SHARE;
  return (
    <>
      <Head payload={payload} silent={silent} />
      <main>
        <Section
          id="training"
          title="What it learned, and how well the circuit explains it"
          findings={findings.training}
        >
          <div class="pair">
            <AccuracyFigure rows={tables.accuracy} figure={1} />
            <FaithfulnessFigure rows={tables.faithfulness} mainShare={mainShare} figure={2} />
          </div>
        </Section>
        <Section
          id="changes"
          title="How much the circuit changed, and how much chance alone would change"
          findings={[...findings.changes, ...findings.cautions]}
        >
          <div class="pair">
            <ChangeFigure rows={tables.change} figure={3} />
            <TransitionsFigure rows={tables.transitions} figure={4} />
          </div>
        </Section>
        <Section id="beyond" title="Is it more than chance?" findings={findings.chance}>
          <ChanceFigure rows={tables.chance} verdicts={tables.verdicts} figure={5} />
          <EdgesTable rows={tables.edges} total={payload.counts.edges ?? 0} run={payload.run} />
          <h3>Would other pairs have given the same?</h3>
          <StabilityTable rows={tables.stability} />
          <LayerFrequencyFigure rows={tables.layer_frequency} agreement={tables.rules} figure={6} />
        </Section>
        <Section
          id="mechanism"
          title="Does the gain pass through the changed edges?"
          findings={findings.causal}
        >
          <CausalFigure rows={tables.causal} figure={7} />
          <RolesTable rows={tables.roles} />
        </Section>
        <Section id="where" title="Where it changed" findings={findings.where}>
          <LayersFigure rows={tables.layers} critical={tables.critical_layers} figure={8} />
        </Section>
        <Section id="wiring" title="The wiring itself">
          <CircuitFigure payload={payload} figure={9} />
        </Section>
        <Section id="contest" title="Does it help to place LoRA rank there?" findings={findings.contest}>
          <MethodsFigure rows={tables.methods} arms={payload.arms} figure={10} />
        </Section>
        <Generality tables={tables} findings={findings} />
        <Section id="making" title="How each number was made">
          <Making payload={payload} />
        </Section>
      </main>
    </>
  );
}

/** Only in runs whose recipe asks. */
function Generality({ tables, findings }: Pick<Payload, "tables" | "findings">) {
  const { robustness, composition } = tables;
  if (!robustness?.length && !composition?.length) return null;
  return (
    <Section
      id="generality"
      title="Does the circuit belong to the task?"
      findings={[...findings.robust, ...findings.composition]}
    >
      {!!robustness?.length && <RobustnessFigure rows={robustness} figure={11} />}
      {!!composition?.length && <CompositionFigure rows={composition} figure={12} />}
    </Section>
  );
}

function Head({ payload, silent = false }: AppProps) {
  const notes = [...payload.notes, ...payload.problems];
  return (
    <header>
      <p class="kicker">
        circuitune report {"\u00b7"} {payload.run}
      </p>
      <h1>{payload.title}</h1>
      {payload.served && <Progress served={payload.served} silent={silent} />}
      <div class="opening">
        <div class="summary">
          {payload.sentences.map((sentence) => (
            <p key={sentence}>{sentence}</p>
          ))}
        </div>
        {notes.length > 0 && (
          <section class="remarks" aria-label="Notes">
            {notes.map((note) => (
              <p key={note}>{note}</p>
            ))}
          </section>
        )}
      </div>
    </header>
  );
}

/** How far the run is; the page follows it. */
function Progress({ served: { complete, jobs }, silent }: { served: Served; silent: boolean }) {
  const jobsOf = `${count(complete)} of ${plural(jobs, "job")} complete.`;
  const running = complete < jobs ? " This page shows what there is and grows with the run." : "";
  return (
    <p class="progress" role="status">
      {jobs > 0 && <progress value={complete} max={jobs} aria-label="Jobs complete" />}
      <span>
        {jobs > 0 ? jobsOf + running : "This page follows the run folder."}
        {silent && <b> The server no longer answers; this is what it said last.</b>}
      </span>
    </p>
  );
}

interface SectionProps {
  id: string;
  title: string;
  findings?: string[];
  children: ComponentChildren;
}

function Section({ id, title, findings = [], children }: SectionProps) {
  return (
    <section id={id} aria-labelledby={`${id}-title`}>
      <h2 id={`${id}-title`}>{title}</h2>
      {findings.length > 0 && (
        <div class="findings">
          {findings.map((finding) => (
            <p key={finding}>{finding}</p>
          ))}
        </div>
      )}
      {children}
    </section>
  );
}
