// What a mark of a figure stands for, beside the pointer: any element with `data-tip` has one.
//
// The same numbers are in the table under each figure, so nothing of it is for the keyboard or a screen reader.

import { useEffect, useState } from "preact/hooks";

const AWAY = 14; // pixels from the pointer

interface Shown {
  lines: string[];
  x: number;
  y: number;
}

/** The lines of a tip as one attribute: its title first; what is empty is left out. */
export function tip(...lines: (string | false | undefined)[]): string {
  return lines.filter(Boolean).join("\n");
}

/** "95 % interval 44.1 to 50.2 %", or nothing where an end is unknown. */
export function intervalWords(
  low: number | null,
  high: number | null,
  write: (value: number) => string,
): string {
  return low === null || high === null ? "" : `95\u202f% interval ${write(low)} to ${write(high)}`;
}

/** One for the whole page. */
export function Tip() {
  const [shown, show] = useState<Shown | null>(null);
  useEffect(() => {
    const stop = new AbortController();
    const options = { signal: stop.signal, passive: true };
    const follow = ({ target, clientX: x, clientY: y }: PointerEvent) => {
      const words = target instanceof Element ? target.closest("[data-tip]")?.getAttribute("data-tip") : null;
      show(words ? { lines: words.split("\n"), x, y } : null);
    };
    document.addEventListener("pointermove", follow, options);
    document.addEventListener("pointerdown", follow, options); // a tap moves nothing
    const hide = () => show(null);
    addEventListener("scroll", hide, options);
    addEventListener("keydown", (event) => event.key === "Escape" && hide(), options);
    return () => stop.abort();
  }, []);
  if (!shown) return null;
  const { lines, x, y } = shown;
  const [title, ...rest] = lines;
  return (
    <div
      class="tip"
      aria-hidden="true"
      style={{ ...beside("left", "right", x, innerWidth), ...beside("top", "bottom", y, innerHeight) }}
    >
      <b>{title}</b>
      {rest.map((line) => (
        <span key={line}>{line}</span>
      ))}
    </div>
  );
}

/** On that side of the pointer where there is more room. */
function beside(near: string, far: string, at: number, size: number): Record<string, string> {
  return at < size / 2 ? { [near]: `${at + AWAY}px` } : { [far]: `${size - at + AWAY}px` };
}
