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
import { count, plural, typeset } from "./format.ts";
import { Contents, Primer, Summary } from "./opening.tsx";
import { useFolds } from "./folds.ts";
import type { Findings, Payload, Served } from "./payload.ts";
import { Tip } from "./tip.tsx";

const USUAL_SHARE = 0.05;

const TITLES = {
  training: "What it learned, and how well the circuit explains it",
  changes: "How much the circuit changed, and how much chance alone would change",
  beyond: "Is it more than chance?",
  mechanism: "Does the gain pass through the changed edges?",
  where: "Where it changed",
  wiring: "The wiring itself",
  contest: "Does it help to place LoRA rank there?",
  generality: "Does the circuit belong to the task?",
  making: "How each number was made",
};

type SectionId = keyof typeof TITLES;

/** What a reader comes for; all else is a click away. */
const OPEN: readonly SectionId[] = ["changes", "wiring", "contest"];

interface AppProps {
  payload: Payload;
  silent?: boolean; // the server of the page does not answer
}

/** Everything below the browser's frame. */
export function App({ payload, silent = false }: AppProps) {
  const { tables } = payload;
  useFolds();
  const findings = unsaid(payload);
  const mainShare = payload.circuits[0]?.share ?? USUAL_SHARE;
  return (
    <>
      <Head payload={payload} silent={silent} />
      <main>
        <Section id="training" findings={findings.training}>
          <div class="pair">
            <AccuracyFigure rows={tables.accuracy} figure={1} />
            <FaithfulnessFigure rows={tables.faithfulness} mainShare={mainShare} figure={2} />
          </div>
        </Section>
        <Section id="changes" findings={[...findings.changes, ...findings.cautions]}>
          <div class="pair">
            <ChangeFigure rows={tables.change} figure={3} />
            <TransitionsFigure rows={tables.transitions} figure={4} />
          </div>
        </Section>
        <Section id="beyond" findings={findings.chance}>
          <ChanceFigure rows={tables.chance} verdicts={tables.verdicts} figure={5} />
          <EdgesTable rows={tables.edges} total={payload.counts.edges ?? 0} run={payload.run} />
          <h3>Would other pairs have given the same?</h3>
          <StabilityTable rows={tables.stability} />
          <LayerFrequencyFigure rows={tables.layer_frequency} agreement={tables.rules} figure={6} />
        </Section>
        <Section id="mechanism" findings={findings.causal}>
          <CausalFigure rows={tables.causal} figure={7} />
          <RolesTable rows={tables.roles} />
        </Section>
        <Section id="where" findings={findings.where}>
          <LayersFigure rows={tables.layers} critical={tables.critical_layers} figure={8} />
        </Section>
        <Section id="wiring">
          <CircuitFigure payload={payload} figure={9} />
        </Section>
        <Section id="contest" findings={findings.contest}>
          <MethodsFigure rows={tables.methods} arms={payload.arms} figure={10} />
        </Section>
        <Generality tables={tables} findings={findings} />
        <Section id="making">
          <Making payload={payload} />
        </Section>
      </main>
      <Tip />
    </>
  );
}

/** The findings that the summary does not already say word for word. */
function unsaid({ findings, sentences }: Payload): Findings {
  const said = new Set(sentences);
  const left = Object.entries<string[]>({ ...findings }).map(([name, all]): [string, string[]] => [
    name,
    all.filter((one) => !said.has(one)),
  ]);
  return Object.fromEntries(left) as unknown as Findings;
}

function isGeneral({ robustness, composition }: Payload["tables"]): boolean {
  return !!robustness?.length || !!composition?.length;
}

/** Only in runs whose recipe asks. */
function Generality({ tables, findings }: Pick<Payload, "tables" | "findings">) {
  const { robustness, composition } = tables;
  if (!isGeneral(tables)) return null;
  return (
    <Section id="generality" findings={[...findings.robust, ...findings.composition]}>
      {!!robustness?.length && <RobustnessFigure rows={robustness} figure={11} />}
      {!!composition?.length && <CompositionFigure rows={composition} figure={12} />}
    </Section>
  );
}

function Head({ payload, silent = false }: AppProps) {
  const notes = [...payload.notes, ...payload.problems];
  const sections = Object.entries(TITLES).filter(([id]) => id !== "generality" || isGeneral(payload.tables));
  return (
    <header>
      <p class="kicker">
        circuitune report {"\u00b7"} {payload.run}
      </p>
      <h1>{payload.title}</h1>
      {payload.served && <Progress served={payload.served} silent={silent} />}
      <Primer payload={payload} />
      <div class="opening">
        <Contents sections={sections} />
        <Summary sentences={payload.sentences} />
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
  id: SectionId;
  findings?: string[];
  children: ComponentChildren;
}

function Section({ id, findings = [], children }: SectionProps) {
  return (
    <section id={id} aria-labelledby={`${id}-title`}>
      <details class="fold" open={OPEN.includes(id)}>
        <summary>
          <h2 id={`${id}-title`}>{TITLES[id]}</h2>
        </summary>
        {findings.length > 0 && (
          <div class="findings">
            {findings.map((finding) => (
              <p key={finding}>{typeset(finding)}</p>
            ))}
          </div>
        )}
        {children}
      </details>
    </section>
  );
}
