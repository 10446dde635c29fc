// The experiments: what a script asks, what it tries to read, and why the browser would not let it.
//
// Here:  data, and one small function per request that turns a readable response into a sentence.
// Never: the document; which side runs when; verdicts.

const NO_FIELD = "the browser saw no Access-Control-Allow-Origin";
const NO_PREFLIGHT = "the browser asked first, got 405 to its OPTIONS, and never sent the request itself";

const withCookies = { credentials: "include" };

/** One request: `blocked` says why a script cannot read the answer that comes straight from the legacy API. */
const get = (path, read, rest = {}) => ({ path, init: {}, blocked: NO_FIELD, read, ...rest });

const sendJson = (method, path, document, read) => ({
  path,
  init: { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(document) },
  blocked: NO_PREFLIGHT,
  read,
});

async function items(response) {
  const page = await response.json();
  return `body readable: ${page.length} items, the first is “${page[0].name}”`;
}

async function headers(response) {
  const show = (name) => `${name}: ${response.headers.get(name) ?? "(not exposed)"}`;
  return ["headers readable:", ...["X-Total-Count", "ETag", "Link", "X-Legacy-Node"].map(show)].join("\n");
}

async function welcome(response) {
  return `body readable: welcome, ${(await response.json()).welcome}; two cookies set`;
}

async function me(response) {
  const { name, theme } = await response.json();
  return `body readable: name ${name}, theme ${theme}; the cookies arrived`;
}

async function item(response) {
  const { id, name } = await response.json();
  return `body readable: item ${id} is now “${name}”`;
}

async function reason(response) {
  return `status and reason readable: “${(await response.json()).error}”`;
}

async function stock(response) {
  return `body readable: ${(await response.json()).stock} in stock`;
}

async function pieces(response, seconds) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let lines = 0;
  let first = null;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    first ??= seconds();
    lines += part.value.split("\n").length - 1;
  }
  return `${lines} lines readable, the first after ${first?.toFixed(1)} s, the end after ${seconds().toFixed(1)} s`;
}

export const experiments = {
  "plain-get": [get("/api/items?page=2", items)],
  "exposed-headers": [get("/api/items?page=2", headers)],
  cookies: [
    get("/api/login", welcome, { init: { method: "POST", ...withCookies } }),
    get("/api/me", me, { init: withCookies }),
  ],
  preflight: [
    sendJson("PUT", "/api/items/43", { name: "Lamp" }, item),
    {
      path: "/api/items/43",
      init: { method: "DELETE" },
      blocked: NO_PREFLIGHT,
      read: async (response) => `body readable: item ${(await response.json()).deleted} deleted`,
    },
  ],
  errors: [get("/api/broken", reason), get("/api/me", reason, { init: { credentials: "omit" } })],
  "wrong-cors": [
    get("/api/wrong-cors?kind=twice", stock, {
      init: withCookies,
      blocked: "the browser joined two fields to “*, *”, which is no origin",
    }),
    get("/api/wrong-cors?kind=foreign", stock, {
      init: withCookies,
      blocked: "the one origin allowed is https://intranet.example.com, and this page is another",
    }),
  ],
  streamed: [get("/api/slow", pieces)],
  refused: [
    {
      ...sendJson("PUT", "/api/items/43", { name: "Trojan" }, item),
      sandboxed: true,
      refused: "the proxy answered the preflight 403, because the policy does not list null",
    },
  ],
};

/** The request as a line of script, for the reader: the same data that is run. */
export function scriptOf({ path, init, sandboxed }) {
  const options = Object.entries(init).map(([name, value]) =>
    name === "body" ? `body: JSON.stringify(${literal(JSON.parse(value))})` : `${name}: ${literal(value)}`,
  );
  const rest = options.length > 1 ? `, {\n  ${options.join(",\n  ")},\n}` : options.map((option) => `, { ${option} }`);
  const where = sandboxed ? '// in <iframe sandbox="allow-scripts">\n' : "";
  return `${where}await fetch(api + ${JSON.stringify(path)}${rest})`;
}

function literal(value) {
  return JSON.stringify(value, null, 1).replace(/\s+/g, " ");
}

/** "GET /api/items?page=2": how the results name a request. */
export function nameOf({ path, init }) {
  return `${init.method ?? "GET"} ${path}`;
}
