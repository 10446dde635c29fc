// Small parts that several views use.
//
// Here:  marks, code with a copy button, differences of text, notes of what failed.
// Never: requests but for the clipboard; state of the proxy.

import { copy } from "./actions.js";
import { html, useEffect, useRef, useState } from "./vendor/htm-preact-3.1.1.js";

/** A round mark with a word for those who do not see it. */
export function Mark({ mark, word, tone }) {
  return html`<span class=${`mark tone-${tone}`} role="img" aria-label=${word}>${mark}</span>`;
}

/** A button that says what came of it, until it has been read. */
export function CopyButton({ text, label }) {
  const [said, say] = useState("");
  useEffect(() => {
    if (!said) return undefined;
    const timer = setTimeout(() => say(""), 2500);
    return () => clearTimeout(timer);
  }, [said]);
  const press = async () => say((await copy(text)) ? "copied" : "select and copy by hand");
  return html`<button type="button" class="quiet" onClick=${press}>
    ${label}<span class="said" role="status">${said && ` · ${said}`}</span>
  </button>`;
}

/** Text as code, with its own scroll bar and a name. */
export function Code({ text, label }) {
  return html`<pre class="code" tabindex="0" aria-label=${label}><code>${text}</code></pre>`;
}

const DIFF_CLASSES = { "+": "added", "-": "removed", "@": "place" };

/** A unified difference. */
export function Difference({ text, label }) {
  const lines = text.split("\n").filter((line, at) => at > 1); // the first two name the file, as the heading does
  return html`<pre class="code diff" tabindex="0" aria-label=${label}><code>
    ${lines.map((line) => html`<span class=${DIFF_CLASSES[line[0]] ?? "same"}>${line}\n</span>`)}
  </code></pre>`;
}

/** What went wrong, in words. */
export function Trouble({ error }) {
  return error ? html`<p class="trouble" role="alert">${error}</p>` : null;
}

/** A modal dialog; closes by Escape, by its button, and by a click beside it. */
export function Dialog({ title, onClose, children }) {
  const dialog = useRef(null);
  useEffect(() => {
    dialog.current.showModal();
  }, []);
  const beside = (event) => event.target === dialog.current && onClose();
  return html`<dialog ref=${dialog} aria-labelledby="dialog-title" onClose=${onClose} onClick=${beside}>
    <div class="dialog-body">
      <h2 id="dialog-title">${title}</h2>
      ${children}
    </div>
  </dialog>`;
}

/** Runs an action; knows whether it runs, and what it failed with. */
export function useAction(action) {
  const [doing, setDoing] = useState(false);
  const [error, setError] = useState("");
  const run = async (...given) => {
    setDoing(true);
    setError("");
    try {
      return await action(...given);
    } catch (failure) {
      setError(failure.message);
      return undefined;
    } finally {
      setDoing(false);
    }
  };
  return { run, doing, error };
}
