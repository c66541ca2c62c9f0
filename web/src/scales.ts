// Where a slider stands for numbers that span decades.

const EVEN = 200; // up to here one stop is one edge
const GROWTH = 1.02; // and beyond it two in a hundred
const MOST = 10_000; // edges drawn at once: what can be painted without waiting

/** How many edges a stop of the slider stands for. */
export function stopValue(stop: number): number {
  return stop <= EVEN ? stop : Math.min(MOST, Math.round(EVEN * GROWTH ** (stop - EVEN)));
}

/** The stop for a number of edges. */
export function stopOf(edges: number): number {
  return edges <= EVEN ? edges : EVEN + Math.round(Math.log(edges / EVEN) / Math.log(GROWTH));
}

/** The last stop for so many edges: the first that shows them all. */
export function stopsFor(total: number): number {
  let stop = Math.max(1, stopOf(Math.min(total, MOST)));
  while (stopValue(stop) < Math.min(total, MOST)) stop++;
  return stop;
}

const STEPS = 100;

/** A share as one of a hundred steps from the weakest, 0 for none, to the strongest. */
export function toLog(share: number, weakest: number, strongest: number): number {
  if (share <= weakest || strongest <= weakest) return 0;
  return Math.min(STEPS, Math.round((STEPS * Math.log(share / weakest)) / Math.log(strongest / weakest)));
}

/** The share of a step, in percent and rounded down to three digits so that the strongest stays; 0 for none. */
export function fromLog(step: number, weakest: number, strongest: number): number {
  if (step === 0) return 0;
  const value = 100 * weakest * (strongest / weakest) ** (step / STEPS);
  const unit = 10 ** (Math.floor(Math.log10(value)) - 2);
  return Number((Math.floor(value / unit) * unit).toPrecision(3));
}
