// Reads the embedded payload and draws the page in place of its plain form.

import { render } from "preact";
import { App } from "./app.tsx";
import { parsePayload } from "./payload.ts";

const page = document.getElementById("page")!;
const payload = parsePayload(document.getElementById("payload")!.textContent!);
page.replaceChildren();
render(<App payload={payload} />, page);
