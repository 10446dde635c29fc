// The demo page: runs each experiment twice and compares what a script could read with what it should have.
//
// Here:  requests, their order, and the verdict on each side.
// Never: words about a single API path (experiments.js), making elements (report.js).

import { experiments } from "./experiments.js";
import { addStep, clear, furnish, showSeen, showState, showWire } from "./report.js";

const PATIENCE_MS = 15_000;

const summary = document.getElementById("summary");
const runAll = document.getElementById("run-all");

/** Ask this page's own server. Throws when the demo was ended. */
async function own(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(PATIENCE_MS) });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

/** Run one request from this page. The sentence tells a reader what a script learned. */
async function attempt(step, url) {
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1000;
  try {
    const response = await fetch(url, { ...step.init, signal: AbortSignal.timeout(PATIENCE_MS) });
    return { outcome: "read", sentence: `${response.status}, ${await step.read(response, seconds)}` };
  } catch (error) {
    // fetch tells "blocked by CORS" and "no connection" alike as a TypeError; anything else is our own mistake.
    return { outcome: error instanceof TypeError ? "blocked" : "surprise", learned: `${error.name}: ${error.message}` };
  }
}

/** The same from a sandboxed frame, where the origin is "null". */
async function attemptInSandbox(step, url) {
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts");
  frame.title = "A sandboxed frame that sends one request";
  frame.hidden = true;
  frame.src = "/sandbox.html";
  try {
    document.body.append(frame);
    const { status, error } = await askFrame(frame, { url, init: step.init });
    if (error === undefined) return { outcome: "read", sentence: `${status}, readable from origin null` };
    return { outcome: error.startsWith("TypeError") ? "blocked" : "surprise", learned: error };
  } finally {
    frame.remove();
  }
}

/** Wait for the frame's one answer. It is known by its window: an origin of "null" could be anybody's. */
function askFrame(frame, question) {
  return new Promise((resolve) => {
    const done = new AbortController();
    const settle = (answer) => {
      done.abort();
      resolve(answer);
    };
    addEventListener("message", (event) => event.source === frame.contentWindow && settle(event.data), done);
    // "*": a message cannot be addressed to origin "null"; what it says is on this page anyway.
    frame.addEventListener("load", () => frame.contentWindow.postMessage(question, "*"), done);
    setTimeout(settle, PATIENCE_MS, { error: "TimeoutError: the frame did not answer" });
  });
}

function tell({ sentence, learned }, why) {
  return sentence ?? `blocked: ${why}, so the script only learns “${learned}”`;
}

function withRun(url, run) {
  return `${url}${url.includes("?") ? "&" : "?"}run=${run}`;
}

/** Run one side of an experiment; returns its results, one per request. */
async function runSide(section, steps, api) {
  clear(section);
  const run = crypto.randomUUID();
  const results = [];
  for (const step of steps) {
    const ask = step.sandboxed ? attemptInSandbox : attempt;
    const result = await ask(step, withRun(api + step.path, run));
    const why = section.dataset.side === "proxied" ? (step.refused ?? "the proxy was to allow this") : step.blocked;
    addStep(section, step, tell(result, why));
    results.push(result);
  }
  showSeen(section, await own(`/journal.json?run=${run}`));
  const expected = section.dataset.side === "direct" || steps.some((step) => step.refused) ? "blocked" : "read";
  const state = results.every(({ outcome }) => outcome === expected) ? expected : "surprise";
  const refused = state === "blocked" && section.dataset.side === "proxied";
  showState(section, refused ? "refused" : state);
  if (refused) showWire(section, await own("/refusal.json"));
  return results;
}

async function runExperiment(id, places) {
  const [direct, proxied] = document.querySelectorAll(`#${id} .side`);
  const sides = [await runSide(direct, experiments[id], places.legacy)];
  sides.push(await runSide(proxied, experiments[id], places.proxy));
  return sides;
}

/** Run experiments one after the other, so that the journal and the cookies of one stay out of the next. */
async function run(ids, places, buttons) {
  if (runAll.ariaDisabled === "true") return;
  // Not `disabled`: that would take the keyboard focus away from the button just pressed.
  for (const button of buttons) button.ariaDisabled = "true";
  try {
    const counts = { asked: 0, direct: 0, proxied: 0 };
    for (const id of ids) {
      summary.textContent = `Running: ${document.querySelector(`#${id} h3`).textContent} …`;
      const [direct, proxied] = await runExperiment(id, places);
      counts.asked += direct.length;
      counts.direct += direct.filter(({ outcome }) => outcome === "read").length;
      counts.proxied += proxied.filter(({ outcome }) => outcome === "read").length;
    }
    summary.textContent = conclude(ids, counts);
  } catch (error) {
    for (const side of document.querySelectorAll('[data-state="running"]')) showState(side, "surprise");
    summary.textContent = `This page’s own server does not answer (${error.message}). Start corsproxy demo again.`;
  } finally {
    for (const button of buttons) button.ariaDisabled = "false";
  }
}

function conclude(ids, { asked, direct, proxied }) {
  const surprises = document.querySelectorAll('[data-state="surprise"]').length;
  const refused = ids.includes("refused") ? " One comes from an origin that the policy refuses." : "";
  const odd = surprises ? ` Not as expected: ${surprises} ${surprises === 1 ? "side" : "sides"}.` : "";
  return `Answers a script could read: ${direct} of ${asked} straight, ${proxied} of ${asked} through corsproxy.${refused}${odd}`;
}

async function start() {
  const places = await own("/demo.json");
  for (const element of document.querySelectorAll("[data-place]")) {
    element.textContent = places[element.dataset.place].replace("http://", "");
  }
  document.getElementById("policy").textContent = places.policy;
  const buttons = [runAll];
  for (const [id, steps] of Object.entries(experiments)) {
    const button = furnish(document.getElementById(id), steps);
    button.addEventListener("click", () => run([id], places, buttons));
    buttons.push(button);
  }
  runAll.addEventListener("click", () => run(Object.keys(experiments), places, buttons));
  for (const button of buttons) button.disabled = false;
}

start().catch((error) => {
  summary.textContent = `The demo could not start: ${error.message}`;
});
