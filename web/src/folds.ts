// Sections that are folded away open when something leads into them, and on paper.

import { useEffect } from "preact/hooks";
import { isView } from "./state.ts";

/** Open what an address of this page leads to, and whatever that is in. Returns it, if there is such a place. */
function open(hash: string): Element | null {
  const place = document.getElementById(isView(hash) ? "circuit" : hash.slice(1));
  const own = place?.querySelector<HTMLDetailsElement>(":scope > details.fold");
  if (own) own.open = true;
  for (let around = place?.closest("details"); around; around = around.parentElement?.closest("details"))
    around.open = true;
  return place;
}

/** Lead there too, unless it is a view of the circuit, which leads to itself. */
function lead(hash: string): void {
  const place = open(hash);
  if (!isView(hash)) place?.scrollIntoView();
}

/** Follow links, addresses and the printer. */
export function useFolds(): void {
  useEffect(() => {
    const stop = new AbortController();
    const { signal } = stop;
    const clicked = ({ target }: Event) => {
      const link = (target as Element).closest<HTMLAnchorElement>('a[href^="#"]');
      if (link) open(link.hash); // also where the address is that one already, and nothing else tells of the click
    };
    document.addEventListener("click", clicked, { signal });
    addEventListener("hashchange", () => lead(location.hash), { signal });
    let opened: HTMLDetailsElement[] = [];
    const print = () => {
      opened = [...document.querySelectorAll<HTMLDetailsElement>("details.fold:not([open])")];
      for (const one of opened) one.open = true;
    };
    addEventListener("beforeprint", print, { signal });
    const printed = () => {
      for (const one of opened) one.open = false;
    };
    addEventListener("afterprint", printed, { signal });
    if (location.hash) lead(location.hash);
    return () => stop.abort();
  }, []);
}
