// The page as a whole: three views, the keys, and what all of them share.
//
// Here:  which view is shown, which exchange is chosen, the filter, keyboard, the line for screen readers.
// Never: what an exchange means (detail, verdict), requests (live, actions).

import { OTHER_RUN, post } from "./actions.js";
import { Ask } from "./ask.js";
import { Detail } from "./detail.js";
import { HelpDialog, SaveDialog } from "./dialogs.js";
import { passes, readFilter } from "./filters.js";
import { List } from "./list.js";
import { Live } from "./live.js";
import { Overview } from "./overview.js";
import { Trouble, useAction } from "./parts.js";
import { nameOf } from "./words.js";
import { html, render, useEffect, useMemo, useReducer, useRef, useState } from "./vendor/htm-preact-3.1.1.js";

const VIEWS = [
  ["exchanges", "Exchanges"],
  ["ask", "Ask"],
  ["state", "State"],
];
const SPEAK_EVERY_MS = 5000;

function App() {
  const [, redraw] = useReducer((count) => count + 1, 0);
  const live = useMemo(() => new Live(redraw), []);
  useEffect(() => live.start(), []);
  const [view, setView] = useView();
  const [chosen, choose] = useState(0);
  const [isOpen, open] = useState(false);
  const [filter, setFilter] = useState("");
  const [asked, setAsked] = useState(null);
  const [dialog, setDialog] = useState("");
  const words = useMemo(() => readFilter(filter), [filter]);
  const rows = useMemo(() => live.rows.filter((row) => passes(words, row)).reverse(), [live.rows, words]);

  const lookAt = (id) => {
    choose(id);
    open(true);
    setView("exchanges");
  };
  const ask = (question) => {
    setAsked({ ...question });
    setView("ask");
  };
  const filterBy = (text) => {
    setFilter(text);
    setView("exchanges");
  };
  const shared = { state: live.state, onState: (state) => live.setState(state), onSave: () => setDialog("save") };
  useKeys({ rows, chosen, choose, open, isOpen, view, setView, filter, setFilter, setDialog, dialog, live });

  return html`
    <a class="skip" href="#main">Skip to the exchanges</a>
    <${Head} live=${live} view=${view} onView=${setView} onSave=${shared.onSave} onState=${shared.onState} onHelp=${() => setDialog("help")} />
    <main id="main" class=${`view-${view}${isOpen ? " open" : ""}`} tabindex="-1">
      ${view === "exchanges" && html`
        <section class="exchanges" aria-label="Exchanges">
          <${Toolbar} live=${live} filter=${filter} onFilter=${setFilter} count=${rows.length} />
          ${live.rows.length === 0 && html`<${Waiting} live=${live} />`}
          ${live.rows.length > 0 && rows.length === 0 && html`<div class="waiting" role="status">
            <h2>No exchange fits the filter</h2>
            <p><button type="button" onClick=${() => setFilter("")}>Show all</button></p>
          </div>`}
          <${List} rows=${rows} chosen=${chosen} onChoose=${choose} onOpen=${() => open(true)} />
        </section>
        ${isOpen && html`<${Detail} id=${chosen} callId=${live.callOf(chosen)} onChoose=${lookAt} onClose=${() => closeDetail(open)} onAsk=${ask} ...${shared} />`}
      `}
      ${view === "ask" && html`<${Ask} asked=${asked} onChoose=${lookAt} ...${shared} />`}
      ${view === "state" && html`<${Overview} state=${live.state} onAsk=${ask} onFilter=${filterBy} />`}
    </main>
    <${Speaker} live=${live} />
    ${dialog === "save" && html`<${SaveDialog} onState=${shared.onState} onClose=${() => setDialog("")} />`}
    ${dialog === "help" && html`<${HelpDialog} onClose=${() => setDialog("")} />`}
  `;
}

function closeDetail(open) {
  open(false);
  document.getElementById("list")?.focus();
}

/** The view stands in the URL, so that going back goes back. */
function useView() {
  const read = () => VIEWS.find(([name]) => `#${name}` === location.hash)?.[0] ?? "exchanges";
  const [view, setView] = useState(read);
  useEffect(() => {
    const look = () => setView(read());
    addEventListener("hashchange", look);
    return () => removeEventListener("hashchange", look);
  }, []);
  const go = (name) => {
    if (location.hash !== `#${name}`) history.pushState(null, "", `#${name}`);
    setView(name);
  };
  return [view, go];
}

function Head({ live, view, onView, onSave, onState, onHelp }) {
  const undo = useAction(async () => onState(await post("undo")));
  const { state, connection } = live;
  const failed = state?.last_reload && !state.last_reload.ok;
  const words = { live: "live", connecting: "connecting …", lost: "no connection; trying again …", ended: "ended" };
  return html`<header class="head">
    <h1 class="title"><span class="dot" aria-hidden="true"></span> corsproxy <span>inspector</span></h1>
    <nav aria-label="Views">
      ${VIEWS.map(([name, label]) => html`<a href=${`#${name}`} aria-current=${view === name ? "page" : undefined}
        onClick=${(event) => (event.preventDefault(), onView(name))}>${label}</a>`)}
    </nav>
    <p class="about">
      <span class=${`connection ${connection}`}>${live.paused ? "paused" : words[connection]}</span>
      ${state && html`<span class="version" title="The configuration that serves"><code title=${state.file}>${nameOf(state.file) || "built in"}</code> <code>${state.version}</code></span>`}
      ${state?.draining && html`<span class="tone-odd">ending</span>`}
      ${failed && html`<a href="#state" class="tone-stop">last change not taken</a>`}
      <button type="button" class="quiet" onClick=${onHelp} aria-label="Keys and filters" title="Keys and filters (?)">?</button>
    </p>
    ${connection === "ended" && html`<p class="other-run" role="alert">${OTHER_RUN} What is shown here is from before.</p>`}
    ${state?.may_undo && connection !== "ended" && html`<p class="unsaved" role="status">
      <span>What serves was changed in memory: ${state.file ? "the file is as it was" : "it ends with this run"}.</span>
      ${state.save_to && html`<button type="button" onClick=${onSave}>Save …</button>`}
      <button type="button" disabled=${undo.doing} onClick=${undo.run}>Take back</button>
      <${Trouble} error=${undo.error} />
    </p>`}
  </header>`;
}

function Toolbar({ live, filter, onFilter, count }) {
  const clear = useAction(async () => {
    await post("clear");
    live.clear();
  });
  const of = live.rows.length === count ? `${count}` : `${count} of ${live.rows.length}`;
  const more = [
    live.left && "older ones have left",
    live.missed > 0 && `${live.missed} were missed`,
    live.heldCount > 0 && `${live.heldCount} wait`,
  ].filter(Boolean);
  return html`<div class="toolbar" role="toolbar" aria-label="The list">
    <label class="filter"><span class="hidden">Filter</span>
      <input id="filter" type="search" value=${filter} placeholder="Filter: outcome:refused path:/api …" autocomplete="off" spellcheck=${false}
        onInput=${(event) => onFilter(event.target.value)} /></label>
    <button type="button" aria-pressed=${filter === "outcome:refused" ? "true" : "false"}
      onClick=${() => onFilter(filter === "outcome:refused" ? "" : "outcome:refused")}>Refused</button>
    <button type="button" aria-pressed=${live.paused ? "true" : "false"} onClick=${() => live.pause(!live.paused)}>${live.paused ? "Go on" : "Pause"}</button>
    <button type="button" class="quiet" onClick=${clear.run}>Clear</button>
    <span class="count">${[of, ...more].join(" · ")}</span>
    <${Trouble} error=${clear.error} />
  </div>`;
}

function Waiting({ live }) {
  const at = live.state?.listen;
  return html`<div class="waiting">
    <h2>Nothing yet</h2>
    <p>Every exchange that goes through the proxy${at && html` at <code>${at}</code>`} appears here as it ends.</p>
    <p class="note">Bodies, cookies, credentials and query values are never kept.</p>
  </div>`;
}

/** Says what came, now and then: a word for each exchange would be noise. */
function Speaker({ live }) {
  const [text, say] = useState("");
  const told = useRef({ total: 0, last: 0 });
  useEffect(() => {
    const timer = setInterval(() => {
      const refused = live.rows.filter((row) => row.outcome === "denied" && row.id > told.current.last).length;
      const came = live.total - told.current.total;
      told.current = { total: live.total, last: live.rows.at(-1)?.id ?? 0 };
      if (came) say(`${came} new exchanges, ${refused} refused`);
    }, SPEAK_EVERY_MS);
    return () => clearInterval(timer);
  }, []);
  return html`<p class="hidden" role="status" aria-live="polite">${text}</p>`;
}

/** The keys. What is typed into a field is the field's. */
function useKeys(now) {
  const latest = useRef(now);
  latest.current = now;
  useEffect(() => {
    const onKey = (event) => press(event, latest.current);
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
}

function press(event, now) {
  if (event.ctrlKey || event.metaKey || event.altKey || now.dialog) return;
  const field = event.target.closest("input, textarea, select");
  if (field && event.key !== "Escape") return;
  const act = KEYS[event.key];
  if (act?.(now, event)) event.preventDefault();
}

const step = (by) => (now, event) => {
  if (now.view !== "exchanges") return false;
  if (event.key.startsWith("Arrow") && event.target.id !== "list") return false;
  const at = now.rows.findIndex((row) => row.id === now.chosen);
  const next = now.rows[at < 0 ? 0 : Math.min(Math.max(at + by, 0), now.rows.length - 1)];
  if (!next) return false;
  document.getElementById("list").focus();
  now.choose(next.id);
  return true;
};

/** To a place in the list: of its rows, now at this one, this many fit. */
const jump = (to) => (now, event) => {
  if (event.target.id !== "list" || !now.rows.length) return false;
  const list = event.target;
  const fit = Math.max(1, Math.floor(list.clientHeight / (list.querySelector(".row")?.offsetHeight || 1)) - 1);
  const at = now.rows.findIndex((row) => row.id === now.chosen);
  now.choose(now.rows[Math.min(Math.max(to(at, fit, now.rows.length), 0), now.rows.length - 1)].id);
  return true;
};

const KEYS = {
  Home: jump(() => 0),
  End: jump((at, fit, count) => count - 1),
  PageUp: jump((at, fit) => at - fit),
  PageDown: jump((at, fit) => at + fit),
  j: step(1),
  k: step(-1),
  ArrowDown: step(1),
  ArrowUp: step(-1),
  Enter: (now, event) => {
    if (event.target.id !== "list" || !now.chosen) return false;
    now.open(true);
    document.querySelector(".detail h2")?.focus(); // when it is there already
    return true;
  },
  Escape: (now, event) => {
    if (event.target.id === "filter") {
      now.setFilter("");
      document.getElementById("list")?.focus();
    } else if (now.isOpen) {
      closeDetail(now.open);
    }
    return true;
  },
  "/": (now) => {
    now.setView("exchanges");
    requestAnimationFrame(() => document.getElementById("filter")?.focus());
    return true;
  },
  "?": (now) => (now.setDialog("help"), true),
  p: (now) => (now.live.pause(!now.live.paused), true),
  1: (now) => (now.setView("exchanges"), true),
  2: (now) => (now.setView("ask"), true),
  3: (now) => (now.setView("state"), true),
};

render(html`<${App} />`, document.getElementById("app"));
