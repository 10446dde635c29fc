// The state of the proxy: configuration, upstreams, and who is refused most.
//
// Here:  tables of what the proxy says about itself.
// Never: changing it.

import { dayOf, placeOf, policyOf } from "./words.js";
import { html } from "./vendor/htm-preact-3.1.1.js";

export function Overview({ state, onAsk, onFilter }) {
  if (!state) return html`<p class="note">Waiting for the proxy …</p>`;
  return html`<div class="overview">
    <${Configuration} state=${state} />
    <${Refused} refused=${state.refused} onAsk=${onAsk} onFilter=${onFilter} />
    <${Upstreams} upstreams=${state.upstreams} />
    <${Routes} state=${state} onFilter=${onFilter} />
  </div>`;
}

function Configuration({ state }) {
  const { last_reload: reload } = state;
  return html`<section>
    <h2>Configuration</h2>
    <dl class="facts">
      <div><dt>File</dt><dd><code>${state.file || "none: built in code"}</code></dd></div>
      <div><dt>Version</dt><dd><code>${state.version}</code> <span class="note">since ${dayOf(state.loaded_at)}</span></dd></div>
      <div><dt>Listens</dt><dd><code>${state.listen}</code> <span class="note">${state.connections} connections open</span></dd></div>
      ${reload && html`<div><dt>Last change</dt><dd class=${reload.ok ? "" : "tone-stop"}>${reload.ok ? "taken" : "not taken; the one before goes on serving"} <span class="note">${dayOf(reload.at)}</span></dd></div>`}
      ${reload?.needs_restart.length > 0 && html`<div><dt>At the next start</dt><dd>${reload.needs_restart.join(", ")}</dd></div>`}
    </dl>
    ${reload?.problems.length > 0 && html`<pre class="code" tabindex="0" aria-label="Problems of the configuration"><code>${reload.problems.join("\n")}</code></pre>`}
  </section>`;
}

function Refused({ refused, onAsk, onFilter }) {
  return html`<section>
    <h2>Refused most</h2>
    ${refused.length === 0 && html`<p class="note">Nobody was refused so far.</p>`}
    ${refused.length > 0 && html`<div class="scroll" tabindex="0" role="region" aria-label="Origins that are refused most"><table>
      <thead><tr><th scope="col">Origin</th><th scope="col" class="number">Times</th><th scope="col">Last reason</th><th scope="col">Route</th><td class="act"></td></tr></thead>
      <tbody>${refused.map((each) => html`<tr>
        <th scope="row"><button type="button" class="link" onClick=${() => onFilter(`origin:${each.origin}`)}>${each.origin}</button></th>
        <td class="number">${each.count}</td>
        <td>${each.reason}${each.detail && each.detail !== each.origin ? html` <span class="note">${each.detail}</span>` : null}</td>
        <td>${each.route}</td>
        <td class="act"><button type="button" class="quiet" aria-label=${`Ask about ${each.origin}`} onClick=${() => onAsk({ path: "/", origin: each.origin, method: "GET", credentials: false })}>Ask</button></td>
      </tr>`)}</tbody>
    </table></div>`}
  </section>`;
}

function Upstreams({ upstreams }) {
  return html`<section>
    <h2>Upstreams</h2>
    <div class="scroll" tabindex="0" role="region" aria-label="Endpoints of the upstreams"><table>
      <thead><tr><th scope="col">Upstream</th><th scope="col">Endpoint</th><th scope="col">State</th></tr></thead>
      <tbody>${upstreams.map((each) => html`<tr>
        <th scope="row">${each.name}</th>
        <td><code>${each.endpoint}</code></td>
        <td class=${each.asked ? "tone-own" : "tone-stop"}>${each.asked ? "✓ is asked" : "✕ is left out for now"}</td>
      </tr>`)}</tbody>
    </table></div>
  </section>`;
}

function Routes({ state, onFilter }) {
  return html`<section>
    <h2>Routes</h2>
    <div class="scroll" tabindex="0" role="region" aria-label="Routes, in their order"><table>
      <thead><tr><th scope="col">Route</th><th scope="col">Policy</th><th scope="col">Upstream</th><th scope="col">Line</th></tr></thead>
      <tbody>${state.routes.map((route) => html`<tr>
        <th scope="row"><button type="button" class="link" onClick=${() => onFilter(`route:${route.name}`)}>${route.name}</button></th>
        <td>${policyOf(route.policy, route.name)}</td>
        <td>${route.upstream}</td>
        <td><code>${placeOf(state.file, route.line)}</code></td>
      </tr>`)}</tbody>
    </table></div>
  </section>`;
}
