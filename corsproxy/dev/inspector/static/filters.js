// The filter box: `outcome:denied route:api -status:200 items` as a test on rows.
//
// Here:  reading the text, and the test. Pure functions.
// Never: elements, the rows themselves.

import { reasonOf } from "./words.js";

const FIELDS = {
  route: (row) => row.route ?? "",
  outcome: (row) => (row.fault ? "fault" : row.blocked || row.leaves ? "blocked refused" : OUTCOME_WORDS[row.outcome] ?? row.outcome),
  origin: (row) => row.origin ?? "",
  status: (row) => String(row.status),
  method: (row) => `${row.method} ${row.asks}`,
  reason: (row) => `${row.reason} ${reasonOf(row)}`,
  kind: (row) => (row.socket ? "websocket" : row.kind),
  path: (row) => row.path,
  has: (row) => (row.notes ? "notes" : ""),
};
const OUTCOME_WORDS = { denied: "denied refused", "-": "none" };

/** The words of a filter; each must hold. `-` in front of one turns it round. */
export function readFilter(text) {
  return text.trim().split(/\s+/).filter(Boolean).map((word) => {
    const negated = word.length > 1 && word.startsWith("-");
    const bare = negated ? word.slice(1) : word;
    const [, name, value] = /^([a-z]+):(.*)$/.exec(bare) ?? [];
    const known = Object.hasOwn(FIELDS, name);
    return { negated, name: known ? name : "", value: (known ? value : bare).toLowerCase() };
  });
}

/** Does the row pass all words? */
export function passes(words, row) {
  return words.every((word) => holds(word, row) !== word.negated);
}

function holds({ name, value }, row) {
  if (!value) return true;
  if (name === "status") return matchesStatus(FIELDS.status(row), value);
  const text = name ? FIELDS[name](row) : `${row.method} ${row.asks} ${row.path} ${row.origin ?? ""} ${reasonOf(row)} ${row.route ?? ""}`;
  return text.toLowerCase().includes(value);
}

/** 404, 4xx, 4 */
function matchesStatus(status, wanted) {
  return status.startsWith(wanted.replace(/x+$/, ""));
}
