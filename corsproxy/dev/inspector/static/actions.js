// Asking this page's own server, and the clipboard.
//
// Here:  one function for GET, one for POST with the header that changes need, errors as sentences.
// Never: other origins; elements.

/** What it means when the cookie is not taken: its token is that of another run. */
export const OTHER_RUN = "corsproxy was started again: open the link that it printed.";

const PATIENCE_MS = 15_000;

/** A JSON document. Throws an Error whose message is for a person. */
export const get = (path) => ask(path, {});

/** The answer to an action. Throws an Error whose message is for a person. */
export function post(path, body = {}) {
  return ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Corsproxy-Inspector": "1" },
    body: JSON.stringify(body),
  });
}

async function ask(path, init) {
  const response = await send(path, init);
  if (response.status === 401) throw Object.assign(new Error(OTHER_RUN), { isOtherRun: true });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.detail ?? `${response.status} ${response.statusText}`);
  return answer;
}

async function send(path, init) {
  try {
    return await fetch(path, { ...init, signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch {
    throw new Error("The proxy does not answer. Does it still run?");
  }
}

/** True when the text is in the clipboard; pages on plain http elsewhere than localhost have none. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
