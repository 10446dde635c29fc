// Runs one experiment and tells what the script could read.
//
// Here:  the ways a script has to ask. An experiment is {way, url, method, headers, credentials, mode, body}.
// Never: expectations; where things are.

const PATIENCE_MS = 8_000;

async function askByFetch({ url, method, headers, credentials, mode, body }) {
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const response = await fetch(url, { method, headers, credentials, mode, body, signal });
  return {
    type: response.type,
    status: response.status,
    headers: Object.fromEntries(response.headers),
    body: await response.text(),
  };
}

function askByXhr({ url, method, headers, credentials, body }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open(method, url);
    request.timeout = PATIENCE_MS;
    request.withCredentials = credentials === "include";
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.onload = () =>
      resolve({
        type: "xhr",
        status: request.status,
        headers: Object.fromEntries(
          request
            .getAllResponseHeaders()
            .trim()
            .split("\r\n")
            .map((line) => line.split(": ", 2)),
        ),
        body: request.responseText,
      });
    request.onerror = () => reject(new TypeError("the request failed"));
    request.ontimeout = () => reject(new DOMException("no answer in time", "TimeoutError"));
    request.send(body);
  });
}

// The first message is the result: an EventSource shows a script neither status nor headers.
function askByEventSource({ url, credentials }) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(url, { withCredentials: credentials === "include" });
    const settle = (outcome) => {
      source.close();
      outcome();
    };
    source.onmessage = ({ data }) => settle(() => resolve({ type: "event", status: 0, headers: {}, body: data }));
    source.onerror = () => settle(() => reject(new TypeError("the event source failed")));
  });
}

// The same page in a frame that has no origin of its own.
async function askFromSandbox(experiment) {
  const frame = document.createElement("iframe");
  frame.setAttribute("sandbox", "allow-scripts");
  frame.src = location.href;
  const loaded = new Promise((resolve) => frame.addEventListener("load", resolve));
  const answer = new Promise((resolve) => {
    addEventListener("message", (event) => event.source === frame.contentWindow && resolve(event.data));
  });
  document.body.append(frame);
  await loaded;
  frame.contentWindow.postMessage({ ...experiment, way: "fetch" }, "*");
  const result = await answer;
  frame.remove();
  return result;
}

const ways = { fetch: askByFetch, xhr: askByXhr, eventsource: askByEventSource, sandbox: askFromSandbox };

globalThis.run = async (experiment) => {
  try {
    return await ways[experiment.way](experiment);
  } catch (error) {
    return { error: error.name };
  }
};

if (parent !== globalThis) {
  addEventListener("message", async ({ source, data }) => {
    if (source === parent) parent.postMessage(await run(data), "*");
  });
}
