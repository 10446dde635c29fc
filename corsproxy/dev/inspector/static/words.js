// Words and numbers as the page shows them.
//
// Here:  from values to short texts, marks and classes. Pure functions.
// Never: elements, requests.

/** What a row came to: a mark, a word and a class. Colour is never the only sign. */
export function verdictOf(row) {
  if (row.fault) return { mark: "!", word: "fault", tone: "odd" };
  if (row.blocked) return VERDICTS.blocked;
  if (row.leaves) return VERDICTS.leaves;
  if (row.socket && row.outcome === "allowed" && row.status !== 101) return VERDICTS.shut;
  return VERDICTS[row.outcome] ?? VERDICTS["-"];
}

const VERDICTS = {
  allowed: { mark: "✓", word: "allowed", tone: "own" },
  blocked: { mark: "✕", word: "allowed, but blocked by the browser", tone: "stop" },
  leaves: { mark: "✕", word: "allowed, but redirected past the proxy", tone: "stop" },
  shut: { mark: "!", word: "allowed, but the WebSocket did not open", tone: "odd" },
  denied: { mark: "✕", word: "refused", tone: "stop" },
  "report-only": { mark: "◌", word: "report only", tone: "odd" },
  "-": { mark: "·", word: "no CORS", tone: "soft" },
};

const REASONS = {
  allowed: () => "The policy allows this.",
  "not-cors": () => "The request has no Origin, so CORS has no say in it.",
  "same-origin": () => "The page has the proxy’s own origin.",
  "origin-not-allowed": (about) => `allow_origins does not list ${about || "this origin"}.`,
  "origin-malformed": (about) => `No browser sends this Origin: ${about}${about.endsWith("/") ? ". Write it without the / at the end." : ""}`,
  "null-not-allowed": () => "The page has no origin of its own (“null”), and the policy does not list that.",
  "method-not-allowed": (about) => `allow_methods does not allow ${about}.`,
  "header-not-allowed": (about) => `allow_headers does not list ${about}.`,
  "request-header-list-malformed": () => "No browser sends this Access-Control-Request-Headers.",
  "no-policy": () => "The route has cors: off, so the upstream speaks for itself.",
  "no-route": () => "No route takes this path and host.",
  "report-only": (about) => `The policy only reports. Enforced, it would say: ${about}`,
  "credentials-not-allowed": () => "The call has credentials, and the policy does not allow them.",
};

/** A sentence for a reason. */
export function sentenceOf(reason, about) {
  return REASONS[reason]?.(about) ?? reason;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

/** 12:01:09 */
export const timeOf = (seconds) => clock.format(seconds * 1000);
/** With the day, too. */
export const dayOf = (seconds) => day.format(seconds * 1000);

/** 0.4 ms, 14 ms, 2.1 s */
export function durationOf(ms) {
  if (ms < 0.1) return "< 0.1 ms";
  if (ms >= 1000) return `${(ms / 1000).toFixed(1)} s`;
  return ms >= 10 ? `${Math.round(ms)} ms` : `${ms} ms`;
}

/** 0 → none, 600 → 10 min */
export function agesOf(seconds) {
  if (seconds >= 3600) return `${+(seconds / 3600).toFixed(1)} h`;
  return seconds >= 60 ? `${+(seconds / 60).toFixed(1)} min` : `${seconds} s`;
}

/** The word for why, as in the log; but for what only a browser minds. */
export function reasonOf(row) {
  return row.fault || (row.blocked ? "credentials-not-allowed" : row.leaves ? "leaves-the-proxy" : row.reason);
}

/** How much there is to know beside its outcome. */
export function notesOf(row) {
  return row.notes > 1 ? `${row.notes} notes` : "1 note";
}

/** A row as one sentence, for those who hear the list. */
export function sentenceOfRow(row) {
  const kind = row.kind === "preflight" ? `preflight for ${row.asks}` : row.socket ? "WebSocket" : row.method;
  const from = row.origin ? ` from ${row.origin}` : "";
  const why = row.outcome === "denied" || row.fault || row.blocked || row.leaves ? `: ${reasonOf(row)}` : "";
  const what = row.method ? `${kind} ${row.path}` : "request that is not served";
  return `${what}${from}, ${verdictOf(row).word}${why}${row.notes ? `, ${notesOf(row)}` : ""}, status ${row.status || "none"}, ${timeOf(row.at)}`;
}

/** corsproxy.yaml:12 */
export function placeOf(file, line) {
  const name = nameOf(file) || "configuration";
  return line ? `${name}:${line}` : name;
}

/** A file without its folders. */
export function nameOf(file) {
  return (file || "").replace(/^.*[\\/]/, "");
}

/** A policy in words: one that stands in its route has the route's name. */
export function policyOf(policy, route) {
  if (!policy) return "cors: off";
  return policy === `route ${route}` ? "its own policy" : `policy ${policy}`;
}
