// Fields before and after the proxy.
//
// Here:  one table for a message: what stayed, changed, went and came.
// Never: comparing: the proxy does.

import { html, useState } from "./vendor/htm-preact-3.1.1.js";

const MARKS = { same: " ", changed: "~", removed: "−", added: "+" };
const WORDS = { same: "as it came", changed: "changed", removed: "removed", added: "added" };

export function Fields({ lines, title, from, to }) {
  const [all, setAll] = useState(true);
  if (!lines?.length) return null;
  const changed = lines.filter(([what]) => what !== "same").length;
  const isOwn = lines.every(([what]) => what === "added"); // there is no other side
  const shown = all ? lines : lines.filter(([what]) => what !== "same");
  return html`<section class="fields">
    <h3>${title} <span class="note">${from} → ${to}</span></h3>
    <p class="note">
      ${isOwn ? "the proxy’s own" : changed ? `${changed} of ${lines.length} lines differ` : "nothing was changed"}
      ${changed > 0 && changed < lines.length &&
      html` · <button type="button" class="link" aria-pressed=${all ? "false" : "true"} onClick=${() => setAll(!all)}>${all ? "only these" : "all lines"}</button>`}
    </p>
    <ul>
      ${shown.map((line) => html`<${Line} line=${line} />`)}
    </ul>
  </section>`;
}

function Line({ line: [what, name, before, after] }) {
  return html`<li class=${`field ${what}`}>
    <span class="sign" role="img" aria-label=${WORDS[what]}>${MARKS[what]}</span>
    <span class="name">${name}</span>
    <span class="values">
      ${what !== "added" && html`<span class=${what === "same" ? "value" : "value before"}>${before}</span>`}
      ${(what === "changed" || what === "added") && html`<span class="value after">${after}</span>`}
    </span>
  </li>`;
}
