// A page that a server made (report/server.py) follows its run: it asks for news, and shows them where the reader is.

import { parsePayload, type Payload } from "./payload.ts";

const EVERY_MS = 2000;

interface Follower {
  shown: (payload: Payload) => void; // there is more to show
  silent: (silent: boolean) => void; // whether the server answers
}

/** Ask the server from now on whether the run has more than this version shows. */
export function follow(version: string, { shown, silent }: Follower, every = EVERY_MS): void {
  const look = async () => {
    try {
      const state = (await (await asked("/state")).json()) as { version: string };
      if (state.version !== version) {
        const payload = payloadIn(await (await asked("/")).text());
        version = payload.served!.version;
        shown(payload);
      }
      silent(false);
    } catch {
      silent(true);
    }
    setTimeout(() => void look(), every);
  };
  setTimeout(() => void look(), every);
}

async function asked(address: string): Promise<Response> {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return answer;
}

/** The payload of a page as text: of it nothing is run or drawn. */
function payloadIn(html: string): Payload {
  const found = new DOMParser().parseFromString(html, "text/html").getElementById("payload");
  return parsePayload(found!.textContent);
}
