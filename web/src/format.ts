// Numbers and words as the page writes them.

const NARROW = "\u202f"; // between a number and its unit
const MINUS = "\u2212";
const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 }); // made once: making one is slow

/** 0.9314 -> "93.1 %". */
export function percent(value: number, digits = 1): string {
  return `${signed(rounded(100 * value, digits))}${NARROW}%`;
}

/** Rounded as the run's sentences are: a value exactly between two goes to the even one, 31.25 to 31.2. */
function rounded(value: number, digits: number): string {
  const doubled = 2 * value * 10 ** digits;
  const between = Number.isInteger(value * 2 ** (digits + 1)) && Math.abs(doubled % 2) === 1;
  if (!between) return value.toFixed(digits);
  const low = Math.floor(doubled / 2);
  return ((low % 2 === 0 ? low : low + 1) / 10 ** digits).toFixed(digits);
}

/** A sentence of the run with its numbers as the page writes them: "-3.5" and "95 %". */
export function typeset(sentence: string): string {
  return sentence.replace(/(\d)\s?%/g, `$1${NARROW}%`).replace(/(^|[\s([])-(?=\d)/g, `$1${MINUS}`);
}

/** 18432 -> "18,432". */
export function count(value: number): string {
  return signed(WHOLE.format(value));
}

/** Four significant digits, for scores and losses. */
export function number(value: number): string {
  if (value === 0) return "0";
  const small = Math.abs(value) < 1e-3 || Math.abs(value) >= 1e5;
  return signed(small ? value.toExponential(2) : String(Number(value.toPrecision(4))));
}

/** As many digits after the point as told, and no minus before a zero. */
export function fixed(value: number, digits: number): string {
  const text = value.toFixed(digits);
  return signed(Number(text) === 0 ? text.replace("-", "") : text);
}

/** "1 edge", "2 edges". */
export function plural(value: number, word: string): string {
  return `${count(value)} ${word}${value === 1 ? "" : "s"}`;
}

/** "a", "a and b", "a, b and c". */
export function list(words: readonly string[]): string {
  return words.length < 2 ? (words[0] ?? "none") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

/** "93.1 %", or "91.0–93.1 %" where they differ. */
export function range(values: readonly number[], write: (value: number) => string = percent): string {
  const low = write(Math.min(...values));
  const high = write(Math.max(...values));
  return low === high ? low : `${low.replace(`${NARROW}%`, "")}\u2013\u2060${high}`;
}

/** Labels of fine-tunings, each once. */
export function labelsOf(rows: readonly { label: string }[]): string[] {
  return [...new Set(rows.map((row) => row.label))];
}

/** "seed 1", or the label where seeds do not tell the fine-tunings apart. */
export function lineName(label: string, rows: readonly { label: string; seed: number }[]): string {
  const labels = labelsOf(rows);
  const seeds = new Set(rows.map((row) => row.seed));
  return seeds.size === labels.length ? `seed ${rows.find((row) => row.label === label)!.seed}` : label;
}

function signed(text: string): string {
  return text.replace(/^-/, MINUS);
}
