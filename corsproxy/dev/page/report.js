// The report: what one side of an experiment came to, in words, on the page.
//
// Here:  elements made from values. Text only ever goes in as text.
// Never: requests; deciding what was expected.

import { nameOf, scriptOf } from "./experiments.js";

// A mark, a word and (in the style sheet) a border for each state: colour is never the only sign.
const VERDICTS = {
  idle: ["", "not run yet"],
  running: ["…", "running"],
  blocked: ["✕", "blocked"],
  read: ["✓", "readable"],
  refused: ["⊘", "refused, as the policy says"],
  surprise: ["!", "not as expected"],
};

const TITLES = { direct: "Straight at the legacy API", proxied: "Through corsproxy" };

function clone(id) {
  return document.getElementById(id).content.cloneNode(true);
}

/** Give an experiment its button, the script it runs, and two empty sides. Returns the button. */
export function furnish(article, steps) {
  const title = article.querySelector("h3");
  title.id = `${article.id}-title`;
  article.setAttribute("aria-labelledby", title.id);
  const body = clone("experiment-body");
  const button = body.querySelector("button");
  button.setAttribute("aria-label", `Run: ${title.textContent}`);
  const script = body.querySelector(".script");
  script.setAttribute("aria-label", "The script that runs");
  script.querySelector("code").textContent = steps.map(scriptOf).join("\n\n");
  body.querySelector(".sides").append(...Object.keys(TITLES).map((side) => makeSide(side)));
  article.append(body);
  return button;
}

function makeSide(side) {
  const section = clone("side-body").firstElementChild;
  section.dataset.side = side;
  section.querySelector("h4").textContent = TITLES[side];
  return section;
}

/** Put a side into a state. */
export function showState(section, state) {
  const [mark, word] = VERDICTS[state];
  section.dataset.state = state;
  section.querySelector(".mark").textContent = mark;
  section.querySelector(".word").textContent = word;
}

/** Empty a side before it runs. */
export function clear(section) {
  section.querySelector(".steps").replaceChildren();
  for (const extra of section.querySelectorAll(".seen, .wire")) extra.hidden = true;
  showState(section, "running");
}

/** Add what one request came to. */
export function addStep(section, step, sentence) {
  const line = document.createElement("li");
  const name = document.createElement("code");
  name.textContent = nameOf(step);
  const words = document.createElement("span");
  words.textContent = sentence;
  line.append(name, words);
  section.querySelector(".steps").append(line);
}

function listItem(text) {
  const item = document.createElement("li");
  item.textContent = text;
  return item;
}

/** Show what reached the legacy API meanwhile. `seen`: the journal's lines for this run. */
export function showSeen(section, seen) {
  const lines = seen.map(({ method, path, status, cookie }) => {
    return `${method} ${path}${cookie ? " with cookies" : ""}, answered ${status}`;
  });
  const element = section.querySelector(".seen");
  element.querySelector("ul").replaceChildren(...(lines.length ? lines : ["nothing"]).map(listItem));
  element.hidden = false;
}

/** Show an answer as it was on the wire; the body on lines of its own. */
export function showWire(section, { status, fields, body }) {
  const head = [`HTTP/1.1 ${status}`, ...fields.map(([name, value]) => `${name}: ${value}`)];
  const element = section.querySelector(".wire");
  element.querySelector("code").textContent = [...head, "", pretty(body)].join("\n");
  element.hidden = false;
}

function pretty(body) {
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}
