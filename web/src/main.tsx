// Reads the embedded payload and draws the page in place of its plain form.

import { render } from "preact";
import { App } from "./app.tsx";
import { parsePayload } from "./payload.ts";

const page = document.getElementById("page")!;
const plain = [...page.childNodes];
try {
  const payload = parsePayload(document.getElementById("payload")!.textContent);
  page.replaceChildren();
  render(<App payload={payload} />, page);
} catch (error) {
  const message = document.createElement("p");
  message.textContent = `The figures could not be drawn (${String(error)}). The run's tables hold every number.`;
  page.replaceChildren(...plain, message);
  throw error;
}
