// The two dialogs: saving, with the difference first; and the keys.
//
// Here:  what they show, and writing the file once somebody has seen what changes.
// Never: writing anything that was not shown.

import { get, post } from "./actions.js";
import { Dialog, Difference, Trouble, useAction } from "./parts.js";
import { html, useEffect, useState } from "./vendor/htm-preact-3.1.1.js";

export function SaveDialog({ onState, onClose }) {
  const [draft, setDraft] = useState(null);
  const [saved, setSaved] = useState(false);
  const look = useAction(async () => setDraft(await post("save")));
  const write = useAction(async () => {
    setDraft(await post("save", { mark: draft.mark }));
    setSaved(true);
    onState(await get("state"));
  });
  useEffect(() => void look.run(), []);
  return html`<${Dialog} title=${saved ? "Saved" : "Save to the file"} onClose=${onClose}>
    <${Trouble} error=${look.error || write.error} />
    ${draft && saved && html`<p role="status"><code>${draft.path}</code> holds what serves now.</p>`}
    ${draft && !saved && (draft.diff
      ? html`<p>This changes in <code>${draft.path}</code>; nothing else does, comments stay.</p>
          <${Difference} text=${draft.diff} label="What changes in the file" />`
      : html`<p><code>${draft.path}</code> holds what serves now already.</p>`)}
    <p class="buttons">
      ${draft?.diff && !saved && html`<button type="button" class="primary" disabled=${write.doing} onClick=${write.run}>Save</button>`}
      ${write.error && html`<button type="button" onClick=${look.run}>Look again</button>`}
      <button type="button" onClick=${onClose}>${saved || !draft?.diff ? "Close" : "Leave it"}</button>
    </p>
  <//>`;
}

const KEYS = [
  ["j, ↓", "the next exchange"],
  ["k, ↑", "the one before"],
  ["Home, End, PageUp, PageDown", "further, with the list in focus"],
  ["Enter", "look at it closely"],
  ["Escape", "back to the list; close; clear the filter"],
  ["/", "filter"],
  ["p", "pause, and go on"],
  ["1 2 3", "exchanges, ask, state"],
  ["?", "this list"],
];
const FILTERS = [
  ["outcome:refused", "also allowed, blocked, fault, report-only, none"],
  ["status:4xx", "or 404"],
  ["route:api origin:localhost", "all words must hold"],
  ["-path:/health", "turned round"],
  ["has:note", "something is good to know: a cookie that cannot work, a redirect past the proxy"],
  ["kind:preflight method:PUT reason:header", "parts of words do"],
];

export function HelpDialog({ onClose }) {
  const list = (rows) => html`<dl class="keys">${rows.map(([key, says]) => html`<div><dt><kbd>${key}</kbd></dt><dd>${says}</dd></div>`)}</dl>`;
  return html`<${Dialog} title="Keys and filters" onClose=${onClose}>
    ${list(KEYS)}
    <h3>In the filter</h3>
    ${list(FILTERS)}
    <p class="buttons"><button type="button" onClick=${onClose}>Close</button></p>
  <//>`;
}
