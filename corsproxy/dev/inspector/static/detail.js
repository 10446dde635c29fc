// One exchange, looked at closely.
//
// Here:  what it came to and why, what would change it, what the browser saw, fields, facts, sending it again.
// Never: judging: everything here was found out by the proxy.

import { get, post } from "./actions.js";
import { Fields } from "./fields.js";
import { Code, Mark, Trouble, useAction } from "./parts.js";
import { Commands, Messages, Offer, Steps } from "./verdict.js";
import { agesOf, dayOf, durationOf, placeOf, policyOf, sentenceOf, verdictOf } from "./words.js";
import { html, useEffect, useRef, useState } from "./vendor/htm-preact-3.1.1.js";

/** id: of the exchange. callId: of the call that came after it, when it is a preflight. */
export function Detail({ id, callId, state, onChoose, onClose, onState, onSave, onAsk }) {
  const [shown, setShown] = useState(null);
  const [error, setError] = useState("");
  const heading = useRef(null);
  useEffect(() => {
    let isCurrent = true;
    get(`exchanges/${id}`).then(
      (found) => isCurrent && (setShown(found), setError("")),
      (failure) => isCurrent && setError(failure.message),
    );
    return () => (isCurrent = false);
  }, [id, state?.version]);
  const isThis = shown?.row.id === id;
  const isThere = Boolean(shown);
  useEffect(() => heading.current?.focus(), [isThere]); // as it opens; not while somebody walks through the list

  return html`<article class="detail" aria-label="The chosen exchange" aria-busy=${isThis ? "false" : "true"}>
    <button type="button" class="close quiet" aria-label="Close" title="Close (Escape)" onClick=${onClose}>✕</button>
    <${Trouble} error=${isThis ? "" : error} />
    ${isThis && html`
      <${Opening} shown=${shown} state=${state} callId=${callId} onChoose=${onChoose} heading=${heading} />
      ${shown.now && html`<${Offer} key=${id} now=${shown.now} body=${{ id }} state=${state} onState=${onState} onSave=${onSave} />`}
      <${Notes} notes=${shown.detail?.notes ?? []} />
      <${Seen} shown=${shown} />
      <${BothSides} shown=${shown} />
      <${Facts} shown=${shown} />
      <${Again} key=${`again-${id}`} shown=${shown} onAsk=${onAsk} />
    `}
  </article>`;
}

const STOPPED = new Set(["unreadable", "not-sent", "socket-refused"]);

function Opening({ shown: { row, detail, sent, now }, state, callId, onChoose, heading }) {
  // What the browser makes of it counts, not what the policy meant: credentials are not seen by any policy.
  const isStopped = STOPPED.has(sent.outcome);
  const isSurprise = isStopped && row.outcome === "allowed";
  const verdict = row.leaves ? verdictOf(row) : isSurprise ? { mark: "✕", word: "blocked by the browser", tone: "stop" } : verdictOf(row);
  const isPreflight = row.kind === "preflight";
  const fault = detail?.fault;
  const changed = now && sent.outcome !== "not-cors" && sent.outcome !== "socket-failed" && now.allowed === isStopped && !fault;
  const method = (isPreflight ? row.asks : row.method) || "–";
  return html`<header class=${`opening tone-${verdict.tone}`}>
    <p class="kicker">${isPreflight ? "preflight" : row.socket ? "WebSocket" : row.kind === "actual" ? "call of a script" : "request"} ${row.id}</p>
    <h2 ref=${heading} tabindex="-1"><span class="method">${method}</span> ${row.path || "a request that is not served"}${detail?.query}</h2>
    <p class="verdict"><${Mark} ...${verdict} /> ${says(row, fault, isSurprise && sent.messages[0], sent)}</p>
    ${changed && html`<p class="now">By the configuration that serves now it would be <strong>${now.allowed ? "allowed" : `refused: ${now.reason}`}</strong>.</p>`}
    <dl class="facts">
      ${row.origin && html`<div><dt>From</dt><dd>${row.origin}</dd></div>`}
      <div><dt>Route</dt><dd>${row.route ?? "none"}${detail && row.route && html` <span class="note">${policyOf(detail.policy, row.route)}</span>`}</dd></div>
      ${detail?.rule && html`<div><dt>Rule</dt><dd><code title=${state?.file}>${placeOf(state?.file, detail.rule.line)}</code> <span class="note">${detail.rule.where}${detail.rule.text ? `: ${detail.rule.text}` : ""}</span></dd></div>`}
      <div><dt>Answer</dt><dd>${detail?.response.line.replace("HTTP/1.1 ", "") || row.status || "none"} <span class="note">after ${durationOf(row.ms)}</span></dd></div>
      <${Partner} row=${row} callId=${callId} onChoose=${onChoose} />
    </dl>
  </header>`;
}

function says(row, fault, message, sent) {
  if (fault) return fault.detail ? `${fault.says.replace(/\.$/, "")}: ${fault.detail}` : fault.says;
  if (row.fault) return row.broke ?? row.fault; // its head was not read
  if (sent.outcome === "leaves") return `Follows a redirect to ${row.leaves}, past the proxy, and fails there.`;
  if (sent.outcome === "socket-failed") return `The policy allows this, but the WebSocket did not open: the answer was ${row.status}.`;
  return message ? `The policy allows the origin, but: ${message.says}` : sentenceOf(row.reason, row.about);
}

/** The other half: the call of a preflight, the preflight of a call. */
function Partner({ row, callId, onChoose }) {
  if (row.kind === "preflight") {
    const age = row.max_age > 0 ? `good for ${agesOf(row.max_age)}, then the browser asks again` : "";
    const call = html`<button type="button" class="link" onClick=${() => onChoose(callId)}>call ${callId}</button>`;
    const next = callId ? call : row.outcome === "denied" ? "the browser does not send the call" : "no call seen";
    return html`<div><dt>Then</dt><dd>${next} ${age && html`<span class="note">${age}</span>`}</dd></div>`;
  }
  if (!row.preflight) return null;
  return html`<div><dt>Before</dt><dd>
    <button type="button" class="link" onClick=${() => onChoose(row.preflight)}>preflight ${row.preflight}</button>
    <span class="note"> ${row.cached ? "most likely still cached by the browser" : "a moment earlier"}</span>
  </dd></div>`;
}

/** What is odd about it beside CORS: a cookie that cannot work, a redirect past the proxy. */
function Notes({ notes }) {
  if (!notes.length) return null;
  return html`<section class="notes">
    <h3>Good to know</h3>
    <ul>${notes.map(([says, toDo]) => html`<li>${says && html`<strong>${says}</strong>`} ${toDo && html`<span>${toDo}</span>`}</li>`)}</ul>
  </section>`;
}

function Seen({ shown: { sent, row } }) {
  if (sent.outcome === "not-cors") return null;
  const isLikely = row.kind !== "preflight" && row.outcome !== "-";
  return html`<section>
    <h3>What the browser makes of it</h3>
    <p>${sent.says}</p>
    <${Steps} steps=${sent.steps} />
    <${Messages} messages=${sent.messages} />
    ${isLikely && sent.hidden.length > 0 && html`<p class="note">
      The script does not see${" "}${sent.hidden.map((name, at) => html`${at > 0 && ", "}<code>${name}</code>`)}:${" "}
      <code>expose_headers</code> does not list ${sent.hidden.length > 1 ? "them" : "it"}.</p>`}
  </section>`;
}

function BothSides({ shown: { fields, detail } }) {
  if (!fields) return html`<p class="note">The fields of this exchange were not kept.</p>`;
  const passed = Boolean(detail.request.after);
  return html`
    <${Fields} lines=${fields.request} title="Request" from="from the client" to=${passed ? "to the upstream" : "went no further"} />
    <${Fields} lines=${fields.response} title="Response" from=${detail.response.before ? "from the upstream" : "made here"} to="to the client" />
  `;
}

function Facts({ shown: { row, detail } }) {
  if (!detail) return null;
  const { upstream, bytes } = detail;
  return html`<section>
    <h3>Facts</h3>
    <dl class="facts">
      <div><dt>Ended</dt><dd>${dayOf(row.at)}</dd></div>
      ${upstream && html`<div><dt>Upstream</dt><dd>${upstream.endpoint}${upstream.address ? ` at ${upstream.address}` : ""}
        ${upstream.ms !== null && html`<span class="note"> head after ${durationOf(upstream.ms)}</span>`}</dd></div>`}
      <div><dt>Bodies</dt><dd>${bytes.received} bytes up, ${bytes.sent} bytes down <span class="note">never kept</span></dd></div>
      ${detail.peer && html`<div><dt>Client</dt><dd>${detail.peer}</dd></div>`}
      <div><dt>Id</dt><dd><code>${detail.request_id}</code></dd></div>
    </dl>
  </section>`;
}

const SAFE = new Set(["GET", "HEAD", "OPTIONS"]);

function Again({ shown: { row, detail, now }, onAsk }) {
  const [answer, setAnswer] = useState(null);
  const [confirmed, setConfirmed] = useState(false);
  const replay = useAction(async () => setAnswer(await post("replay", { id: row.id, confirmed })));
  if (!detail) return null;
  const isSafe = SAFE.has(row.method);
  return html`<section>
    <h3>Again</h3>
    ${!isSafe && html`<p><label><input type="checkbox" checked=${confirmed} onChange=${(event) => setConfirmed(event.target.checked)} />
      Send ${row.method} again: it may change something</label></p>`}
    <p class="buttons">
      <button type="button" disabled=${replay.doing || (!isSafe && !confirmed)} onClick=${replay.run}>Replay</button>
      ${now && html`<button type="button" onClick=${() => onAsk(now.question)}>Ask about it</button>`}
    </p>
    <${Trouble} error=${replay.error} />
    ${answer && html`<div role="status">
      <${Code} text=${[answer.status, ...answer.fields.map(([name, value]) => `${name}: ${value}`)].join("\n")} label="The answer to the replay" />
      ${answer.left_out.length > 0 && html`<p class="note">Sent without ${answer.left_out.join(", ")}: secrets are never kept.</p>`}
    </div>`}
    ${now && html`<${Commands} commands=${now.curl} />`}
  </section>`;
}
