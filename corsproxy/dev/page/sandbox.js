// The script of the sandboxed frame: one request from origin "null", told to the page that opened it.
//
// Here:  fetch what the page asks for, report what this script could learn.
// Never: trust anybody but the parent; the page, not this frame, says what it means.
"use strict";

async function attempt({ url, init }) {
  try {
    const response = await fetch(url, init);
    return { status: response.status, text: await response.text() };
  } catch (error) {
    return { error: `${error.name}: ${error.message}` };
  }
}

addEventListener("message", async (event) => {
  // location.origin is that of the URL; this frame's own origin, self.origin, is "null".
  if (event.source !== parent || event.origin !== location.origin) return;
  parent.postMessage(await attempt(event.data), location.origin);
});
