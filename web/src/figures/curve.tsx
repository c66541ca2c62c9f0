// The accuracy above a slider over checkpoints.

import { percent } from "../format.ts";
import type { AccuracyRow, CircuitEntry } from "../payload.ts";

interface CurveProps {
  checkpoints: CircuitEntry[];
  at: CircuitEntry;
  rows: AccuracyRow[] | null;
}

/** Accuracy at each stop of the slider below it; in percent of the box, so it needs no measuring. */
export function Curve({ checkpoints, at, rows }: CurveProps) {
  const own = (rows ?? []).filter((row) => row.label === at.label);
  const split = own.some((row) => row.split === "test") ? "test" : own[0]?.split;
  const known = own.filter((row) => row.split === split);
  const stops = checkpoints.flatMap((entry, i) => {
    const row = known.find((candidate) => candidate.step === entry.step);
    return row
      ? [{ entry, x: (100 * i) / Math.max(1, checkpoints.length - 1), y: 36 - 32 * row.accuracy, row }]
      : [];
  });
  if (stops.length < 2) return null;
  const here = stops.find((stop) => stop.entry === at);
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
