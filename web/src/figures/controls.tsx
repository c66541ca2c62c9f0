// What the reader can choose: lists, alternatives and sliders, and those of the circuit.

import type { ComponentChildren } from "preact";
import { arriving, type DrawnEdge, strongestOf } from "../drawing.ts";
import { count, percent } from "../format.ts";
import type { AccuracyRow, CircuitEntry } from "../payload.ts";
import { fromLog, stopOf, stopsFor, stopValue, toLog } from "../scales.ts";
import type { Into, PageState, View } from "../state.ts";
import { isMerged, type Wiring } from "../wiring.ts";
import { Curve } from "./curve.tsx";
import type { Scene } from "./scene.ts";

const VIEWS: Record<View, string> = {
  change: "change",
  apart: "side by side",
  map: "heat map of all edges",
};
const ITSELF = "itself";
export const INTOS: Record<Into, string> = {
  all: "any input",
  q: "queries",
  k: "keys",
  v: "values",
  mlp: "MLPs",
  logits: "the logits",
};

const MERGED_INTOS = { all: INTOS.all, mlp: INTOS.mlp, logits: INTOS.logits };

interface OneOfProps {
  title: string;
  names: string[];
  chosen: string;
  choose: (name: string) => void;
}

/** A list to choose one name from; nothing where there is no choice. */
export function OneOf({ title, names, chosen, choose }: OneOfProps) {
  if (names.length < 2) return null;
  return (
    <label class="choice">
      {title}{" "}
      <select value={chosen} onChange={(event) => choose(event.currentTarget.value)}>
        {names.map((name) => (
          <option key={name}>{name}</option>
        ))}
      </select>
    </label>
  );
}

interface NamedProps<Value extends string> {
  title: string;
  names: Partial<Record<Value, string>>;
  chosen: Value;
  choose: (value: Value) => void;
}

/** A list of values that have names of their own. */
export function Named<Value extends string>({ title, names, chosen, choose }: NamedProps<Value>) {
  const values = Object.keys(names) as Value[];
  return (
    <OneOf
      title={title}
      names={values.map((value) => names[value]!)}
      chosen={names[chosen] ?? names[values[0]!]!}
      choose={(name) => choose(values.find((value) => names[value] === name)!)}
    />
  );
}

interface EitherProps<Value extends string> {
  group: string;
  names: Record<Value, string>;
  chosen: Value;
  choose: (value: Value) => void;
}

/** A few alternatives, all in sight. */
export function Either<Value extends string>({ group, names, chosen, choose }: EitherProps<Value>) {
  return (
    <fieldset class="choice">
      <legend>Show</legend>
      {(Object.keys(names) as Value[]).map((value) => (
        <label key={value}>
          <input type="radio" name={group} checked={chosen === value} onChange={() => choose(value)} />
          {names[value]}
        </label>
      ))}
    </fieldset>
  );
}

interface SliderProps {
  title: ComponentChildren;
  low: number;
  high: number;
  value: number;
  words?: string;
  choose: (value: number) => void;
  children?: ComponentChildren;
}

function Slider({ title, low, high, value, words, choose, children }: SliderProps) {
  return (
    <label class="slider">
      <span>{title}</span>
      {children}
      <input
        type="range"
        min={low}
        max={high}
        value={value}
        aria-valuetext={words}
        onInput={(event) => choose(event.currentTarget.valueAsNumber)}
      />
    </label>
  );
}

interface ControlsProps {
  scene: Scene;
  accuracy: AccuracyRow[] | null;
}

/** Which two circuits, and which of their edges. */
export function Controls({ scene, accuracy }: ControlsProps) {
  const { comparison, state, change, words } = scene;
  const { labels, own, others, shown, other } = comparison;
  return (
    <>
      <div class="controls">
        <OneOf
          title="Fine-tuning"
          names={labels}
          chosen={shown.label}
          choose={(name) => change({ label: name, step: null, from: null, against: "" })}
        />
        <OneOf
          title="against"
          names={labels.map((label) => (label === shown.label ? ITSELF : label))}
          chosen={words.later ? ITSELF : other.label}
          choose={(name) => change({ against: name === ITSELF ? "" : name, from: null })}
        />
        <Either group="view" names={VIEWS} chosen={state.view} choose={(view) => change({ view })} />
      </div>
      <div class="controls sliders">
        <CheckpointSlider
          title={words.later ? "Checkpoint" : `A, ${shown.label}`}
          stops={own}
          at={shown}
          accuracy={accuracy}
          choose={(step) => change({ step })}
        />
        <CheckpointSlider
          title={words.later ? "Compared with" : `B, ${other.label}`}
          stops={others}
          at={other}
          accuracy={accuracy}
          choose={(step) => change({ from: step })}
        />
      </div>
    </>
  );
}

interface CheckpointProps {
  title: string;
  stops: CircuitEntry[];
  at: CircuitEntry;
  accuracy: AccuracyRow[] | null;
  choose: (step: number) => void;
}

function CheckpointSlider({ title, stops, at, accuracy, choose }: CheckpointProps) {
  return (
    <Slider
      title={
        <>
          {title}: <b>step {count(at.step)}</b>
        </>
      }
      low={0}
      high={stops.length - 1}
      value={stops.indexOf(at)}
      words={`step ${at.step}`}
      choose={(index) => choose(stops[index]!.step)}
    >
      <Curve checkpoints={stops} at={at} rows={accuracy} />
    </Slider>
  );
}

/** The edges that are drawn, by these choices. */
export function chosenEdges(
  wiring: Wiring,
  edges: readonly DrawnEdge[],
  chosen: Pick<PageState, "edges" | "least" | "into">,
): [drawn: DrawnEdge[], of: number] {
  const all = arriving(wiring, edges, chosen.into);
  return [strongestOf(all, chosen.edges, chosen.least / 100), all.length];
}

/** How many edges, how strong, into what: of the drawings, not of the heat map. */
export function EdgeChoices({ scene, drawn, total }: { scene: Scene; drawn: number; total: number }) {
  const { wiring, edges, state, change } = scene;
  const [strongest, weakest] = [edges[0]?.strength ?? 1, edges.at(-1)?.strength ?? 1];
  const stops = stopsFor(total);
  return (
    <div class="controls sliders">
      <Slider
        title={
          <>
            Edges drawn: <b>{count(drawn)}</b> of {count(total)}, strongest first
          </>
        }
        low={1}
        high={stops}
        value={Math.min(stopOf(state.edges), stops)}
        words={`at most ${count(state.edges)} edges`}
        choose={(stop) => change({ edges: stopValue(stop) })}
      />
      <Slider
        title={
          <>
            Threshold: <b>{state.least > 0 ? percent(state.least / 100, digitsOf(state.least)) : "none"}</b>
            {state.least > 0 && " of all scores"}
          </>
        }
        low={0}
        high={100}
        value={toLog(state.least / 100, weakest, strongest)}
        words={state.least > 0 ? `${state.least} percent of all scores` : "none"}
        choose={(stop) => change({ least: fromLog(stop, weakest, strongest) })}
      />
      <Named
        title="Edges into"
        names={isMerged(wiring) ? MERGED_INTOS : INTOS}
        chosen={state.into}
        choose={(into) => change({ into })}
      />
    </div>
  );
}

/** Digits after the point that keep three of a small percentage. */
function digitsOf(value: number): number {
  return Math.min(6, Math.max(0, 1 - Math.floor(Math.log10(value))));
}
