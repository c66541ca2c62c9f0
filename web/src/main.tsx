// Reads the embedded payload and draws the page in place of its plain form.

import { render } from "preact";
import { App } from "./app.tsx";
import { follow } from "./live.ts";
import { parsePayload, type Payload } from "./payload.ts";

const page = document.getElementById("page")!;
const plain = [...page.childNodes];
try {
  const payload = parsePayload(document.getElementById("payload")!.textContent);
  page.replaceChildren();
  render(<App payload={payload} />, page);
  if (payload.served) keepUp(payload, payload.served.version);
} catch (error) {
  const message = document.createElement("p");
  message.textContent = `The figures could not be drawn (${String(error)}). The run's tables hold every number.`;
  page.replaceChildren(...plain, message);
  throw error;
}

/** Draw again, in the same place, whatever a server has to say of the run. */
function keepUp(first: Payload, version: string) {
  let payload = first;
  let silent = false;
  const draw = () => {
    document.title = payload.title;
    render(<App payload={payload} silent={silent} />, page);
  };
  follow(version, {
    shown: (next) => {
      payload = next;
      draw();
    },
    silent: (now) => {
      if (now === silent) return;
      silent = now;
      draw();
    },
  });
}
