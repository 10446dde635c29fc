// What a browser makes of an answer, and what would change it.
//
// Here:  the steps of the check, the messages of the consoles, the change that is offered, with its buttons.
// Never: finding any of it out: the proxy does.

import { post } from "./actions.js";
import { Code, CopyButton, Difference, Trouble, useAction } from "./parts.js";
import { html, useState } from "./vendor/htm-preact-3.1.1.js";

/** The browser's check, in its own order; it ends where the browser ends. */
export function Steps({ steps }) {
  if (!steps.length) return null;
  return html`<ol class="steps">
    ${steps.map(
      (step) => html`<li class=${step.passed ? "passed" : "failed"}>
        <span class="mark" role="img" aria-label=${step.passed ? "passed" : "failed"}>${step.passed ? "✓" : "✕"}</span>
        <span class="check">${step.check}</span>
        <code class="seen">${step.seen}</code>
        <span class="section">Fetch ${step.section}</span>
      </li>`,
    )}
  </ol>`;
}

/** What the consoles will say. */
export function Messages({ messages }) {
  if (!messages.length) return null;
  return html`<div class="messages">
    <h4>In the console</h4>
    <dl>
      ${Array.from(Map.groupBy(messages, ({ says }) => says), ([says, alike]) => html`<div>
        ${alike.map(({ browser, kind }) => html`<dt>${browser} <code>${kind}</code></dt>`)}
        <dd>${says}</dd>
      </div>`)}
    </dl>
  </div>`;
}

/** The change of the file that would let the call through. `body`: how the call is named to the proxy. */
export function Offer({ now, body, state, onState, onSave }) {
  const [applied, setApplied] = useState("");
  const apply = useAction(async () => {
    const state = await post("apply", { ...body, version: now.version });
    setApplied(now.version);
    onState(state);
  });
  const { offer } = now;
  if (applied && applied !== now.version) return html`<${Applied} state=${state} onSave=${onSave} />`;
  if (!offer.changes.length) {
    const says = [offer.caution, offer.advice].filter(Boolean);
    return says.length ? html`<div class="offer none">
      <h3>${offer.caution ? "No change is offered" : "What to do"}</h3>
      ${says.map((text) => html`<p>${text}</p>`)}
    </div>` : null;
  }
  return html`<div class="offer">
    <h3>What would allow it</h3>
    <ul>${offer.changes.map((change) => html`<li>${change}</li>`)}</ul>
    ${offer.diff && html`<${Difference} text=${offer.diff} label="The change of the configuration" />`}
    ${offer.caution && html`<p class="caution">${offer.caution}</p>`}
    ${offer.advice && html`<p>${offer.advice}</p>`}
    <p class="buttons">
      ${offer.may_apply && offer.possible && html`<button type="button" class="primary" disabled=${apply.doing} onClick=${apply.run}>Apply</button>`}
      ${offer.diff && html`<${CopyButton} text=${offer.diff} label="Copy" />`}
      ${offer.may_apply && offer.possible && html`<span class="note">in memory; the file stays as it is</span>`}
    </p>
    <${Trouble} error=${apply.error} />
  </div>`;
}

function Applied({ state, onSave }) {
  const isPassing = state?.may_undo; // what is in the file cannot be taken back here
  return html`<div class="offer done">
    <h3>${isPassing ? "Applied" : "Applied and saved"}</h3>
    <p role="status">It serves now${isPassing ? ", in memory" : ""}. Try the call again.</p>
    ${isPassing && state.save_to && html`<p class="buttons"><button type="button" onClick=${onSave}>Save to the file …</button></p>`}
  </div>`;
}

/** The commands that send the call. */
export function Commands({ commands }) {
  const text = commands.join("\n");
  return html`<div>
    <${Code} text=${text} label="Commands for a shell" />
    <${CopyButton} text=${text} label="Copy as curl" />
  </div>`;
}
