// What the reader can choose: lists, alternatives and sliders, and those of the drawing.

import type { ComponentChildren } from "preact";
import { count, percent } from "../format.ts";
import type { AccuracyRow, CircuitEntry } from "../payload.ts";
import type { PageState, View } from "../state.ts";

const MOST_EDGES = 2000;
const VIEWS: Record<View, string> = { change: "change", apart: "before and after, side by side" };

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
  labels: string[];
  label: string;
  checkpoints: CircuitEntry[];
  to: CircuitEntry;
  state: PageState;
  change: (part: Partial<PageState>) => void;
  total: number;
  accuracy: AccuracyRow[] | null;
}

/** Fine-tuning, view, checkpoint and number of edges of the drawing. */
export function Controls({ labels, label, checkpoints, to, state, change, total, accuracy }: ControlsProps) {
  const most = Math.max(1, Math.min(MOST_EDGES, total));
  return (
    <>
      <div class="controls">
        <OneOf
          title="Fine-tuning"
          names={labels}
          chosen={label}
          choose={(name) => change({ label: name, step: null })}
        />
        <Either group="view" names={VIEWS} chosen={state.view} choose={(view) => change({ view })} />
      </div>
      <div class="controls sliders">
        <Slider
          title={
            <>
              Checkpoint: <b>step {count(to.step)}</b>
            </>
          }
          low={0}
          high={checkpoints.length - 1}
          value={checkpoints.indexOf(to)}
          words={`step ${to.step}`}
          choose={(index) => change({ step: checkpoints[index]!.step })}
        >
          <AccuracyCurve checkpoints={checkpoints} to={to} label={label} rows={accuracy} />
        </Slider>
        <Slider
          title={
            <>
              Edges drawn: <b>{count(Math.min(state.edges, total))}</b> of {count(total)}, strongest first
            </>
          }
          low={1}
          high={most}
          value={Math.min(state.edges, most)}
          choose={(edges) => change({ edges })}
        />
      </div>
    </>
  );
}

interface CurveProps {
  checkpoints: CircuitEntry[];
  to: CircuitEntry;
  label: string;
  rows: AccuracyRow[] | null;
}

/** Accuracy at each stop of the slider below it; in percent of the box, so it needs no measuring. */
function AccuracyCurve({ checkpoints, to, label, rows }: CurveProps) {
  const own = (rows ?? []).filter((row) => row.label === label);
  const split = own.some((row) => row.split === "test") ? "test" : own[0]?.split;
  const known = own.filter((row) => row.split === split);
  const stops = checkpoints.flatMap((entry, i) => {
    const row = known.find((candidate) => candidate.step === entry.step);
    return row
      ? [{ entry, x: (100 * i) / Math.max(1, checkpoints.length - 1), y: 36 - 32 * row.accuracy, row }]
      : [];
  });
  if (stops.length < 2) return null;
  const here = stops.find((stop) => stop.entry === to);
  return (
    <span class="curve">
      <svg viewBox="0 0 100 40" preserveAspectRatio="none" aria-hidden="true">
        <polyline points={stops.map((stop) => `${stop.x},${stop.y}`).join(" ")} />
        {here && <line x1={here.x} x2={here.x} y1={here.y} y2={40} />}
      </svg>
      {here && <span class="stop" style={{ left: `${here.x}%`, top: `${(100 * here.y) / 40}%` }} />}
      {here && <span class="at">accuracy {percent(here.row.accuracy)}</span>}
    </span>
  );
}
