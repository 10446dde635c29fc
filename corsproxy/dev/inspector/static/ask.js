// The playground: any call, explained without sending it; and messages of consoles, brought to their rows.
//
// Here:  the form, its answer, the box to paste into.
// Never: sending the call.

import { post } from "./actions.js";
import { Mark, Trouble, useAction } from "./parts.js";
import { Commands, Messages, Offer, Steps } from "./verdict.js";
import { placeOf, policyOf, sentenceOf } from "./words.js";
import { html, useEffect, useState } from "./vendor/htm-preact-3.1.1.js";

const EMPTY = { path: "/", origin: "", method: "GET", headers: "", credentials: false, host: "" };

/** asked: a call to begin with, or null. */
export function Ask({ asked, state, onState, onSave, onChoose }) {
  const [call, setCall] = useState(asked ?? EMPTY);
  const [now, setNow] = useState(null);
  const ask = useAction(async (question) => {
    setNow(await post("ask", { question: written(question) }).catch((failure) => {
      setNow(null); // the answer that stands there is to another question
      throw failure;
    }));
  });
  useEffect(() => {
    if (!asked) return;
    setCall(asked);
    ask.run(asked);
  }, [asked]);
  useEffect(() => {
    if (now) ask.run(now.question); // the configuration changed: so may the answer
  }, [state?.version]);
  const submit = (event) => {
    event.preventDefault();
    ask.run(call);
  };
  const answer = (found) => {
    setCall(found.question);
    setNow(found);
  };
  return html`<div class="ask">
    <${Paste} onAnswer=${answer} onChoose=${onChoose} />
    <section aria-labelledby="ask-title">
      <h2 id="ask-title">Ask about a call</h2>
      <p class="note">Nothing is sent: the proxy says what it would answer, and what a browser would make of it.</p>
      <${Form} call=${call} onChange=${setCall} onSubmit=${submit} />
      <${Trouble} error=${ask.error} />
      ${now && html`<${Answer} now=${now} state=${state} onState=${onState} onSave=${onSave} />`}
    </section>
  </div>`;
}

/** What goes to the proxy: what is filled in. */
function written({ headers = "", header = [], host, ...rest }) {
  return { ...rest, ...(headers && { headers }), ...(header.length && { header }), ...(host && { host }) };
}

function Form({ call, onChange, onSubmit }) {
  const field = (name, label, more = {}) => html`<label>
    <span>${label}</span>
    <input
      name=${name}
      value=${call[name] ?? ""}
      autocomplete="off"
      spellcheck=${false}
      ...${more}
      onInput=${(event) => onChange({ ...call, [name]: event.target.value })}
    />
  </label>`;
  return html`<form class="form" onSubmit=${onSubmit}>
    ${field("method", "Method", { required: true, list: "methods" })}
    ${field("path", "Path", { required: true, pattern: "/.*", title: "a path begins with /" })}
    ${field("origin", "Origin of the page", { required: true, placeholder: "https://app.example.com" })}
    ${field("headers", "Headers that the script sets", { placeholder: "content-type, authorization" })}
    ${field("host", "Host that is asked", { placeholder: "this proxy" })}
    <label class="check">
      <input type="checkbox" checked=${call.credentials} onChange=${(event) => onChange({ ...call, credentials: event.target.checked })} />
      <span>with credentials</span>
    </label>
    <datalist id="methods">${["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"].map((name) => html`<option value=${name} />`)}</datalist>
    <button type="submit" class="primary">Explain</button>
  </form>`;
}

const OUTCOMES = {
  readable: "The script may read the response.",
  "not-sent": "The browser does not send the call.",
  unreadable: "The call is made, but the script learns only of a network error.",
  "upstream-decides": "The upstream’s own CORS fields decide.",
};

function Answer({ now, state, onState, onSave }) {
  const tone = now.allowed ? "own" : "stop";
  return html`<div class="answer">
    <header class=${`opening tone-${tone}`}>
      <p class="verdict" role="status">
        <${Mark} mark=${now.allowed ? "✓" : "✕"} word=${now.allowed ? "allowed" : "refused"} tone=${tone} />
        ${now.allowed ? OUTCOMES[now.browser.outcome] : sentenceOf(now.reason, now.detail)}
      </p>
      ${!now.allowed && html`<p>${OUTCOMES[now.browser.outcome]}</p>`}
      <dl class="facts">
        <div><dt>Route</dt><dd>${now.route ?? "none"}${now.route && html` <span class="note">${policyOf(now.policy, now.route)}</span>`}</dd></div>
        ${now.rule.line && html`<div><dt>Rule</dt><dd><code>${placeOf(now.rule.file, now.rule.line)}</code> <span class="note">${now.rule.where}</span></dd></div>`}
        <div><dt>Preflight</dt><dd>${now.needs_preflight.length ? now.needs_preflight.join("; ") : "not needed"}</dd></div>
      </dl>
    </header>
    <${Offer} now=${now} body=${{ question: written(now.question) }} state=${state} onState=${onState} onSave=${onSave} />
    <section>
      <h3>What the browser makes of it</h3>
      <${Steps} steps=${now.steps} />
      <${Messages} messages=${now.browser.messages} />
    </section>
    ${now.preflight && html`<${Leg} title="Answer to the preflight" leg=${now.preflight} />`}
    <${Leg} title="CORS fields of the response" leg=${now.actual} />
    <section><h3>Try it</h3><${Commands} commands=${now.curl} /></section>
    ${now.other_routes.length > 0 && html`<section>
      <h3>Other routes</h3>
      <ul class="plain">${now.other_routes.map((route) => html`<li><strong>${route.route}</strong> <span class="note">${route.why}</span></li>`)}</ul>
    </section>`}
  </div>`;
}

function Leg({ title, leg }) {
  if (!leg.response_headers.length) return null;
  return html`<section class="fields">
    <h3>${title} <span class="note">${leg.status ?? "status of the upstream"}</span></h3>
    <ul>${leg.response_headers.map(([name, value]) => html`<li class="field added">
      <span class="sign" aria-hidden="true">+</span><span class="name">${name}</span><span class="values"><span class="value">${value}</span></span>
    </li>`)}</ul>
  </section>`;
}

function Paste({ onAnswer, onChoose }) {
  const [text, setText] = useState("");
  const [found, setFound] = useState(null);
  const read = useAction(async (message) => {
    setFound(null);
    if (!message.trim()) return;
    const answer = await post("paste", { text: message });
    setFound(answer);
    if (answer.now) onAnswer(answer.now);
  });
  return html`<section aria-labelledby="paste-title">
    <h2 id="paste-title">Paste a message from the console</h2>
    <form onSubmit=${(event) => (event.preventDefault(), read.run(text))}>
      <textarea
        rows="3"
        aria-labelledby="paste-title"
        placeholder="Access to fetch at 'http://localhost:8010/api' from origin 'http://localhost:5173' has been blocked by CORS policy: …"
        value=${text}
        onInput=${(event) => setText(event.target.value)}
      ></textarea>
      <p class="buttons"><button type="submit">Find it</button></p>
    </form>
    <${Trouble} error=${read.error} />
    ${found && html`<div class="found" role="status">
      <p><strong>${found.message.browser} ${found.message.kind}.</strong> ${found.message.says}</p>
      ${found.ids.length > 0
        ? html`<p>It is about ${found.ids.slice(0, 5).map((id) => html`<button type="button" class="link" onClick=${() => onChoose(id)}>exchange ${id}</button> `)}</p>`
        : html`<p>${found.none}</p>`}
    </div>`}
  </section>`;
}
