// The exchanges as they come: a bounded list, and whoever wants to be told.
//
// Here:  the event stream, pausing, what was missed, the calls that belong to a preflight.
// Never: elements; more rows than MOST_ROWS, however long the page stays open.

import { get } from "./actions.js";

export const MOST_ROWS = 500; // as many as the proxy keeps: none is shown that cannot be opened
const AGAIN_MS = 5000;

export class Live {
  rows = []; // oldest first
  state = null; // of the configuration and the upstreams
  connection = "connecting"; // connecting | live | lost | ended: the link is from another run
  paused = false;
  missed = 0; // exchanges that were over before this page could be told
  total = 0; // exchanges that this page was told of
  left = false; // some of them are no longer here

  #held = []; // what came while paused
  #calls = new Map(); // id of a preflight → id of its call
  #source = null; // null while nobody looks
  #last = ""; // id of the last event, with that of the run
  #tell;
  #frame = 0;

  /** tell: called at most once a frame when something changed. */
  constructor(tell) {
    this.#tell = tell;
  }

  /** Listen while the page is to be seen: each stream takes one of the few connections that a browser allows. */
  start() {
    const look = () => (document.hidden ? this.#close() : this.#open());
    document.addEventListener("visibilitychange", look);
    look();
    return () => {
      document.removeEventListener("visibilitychange", look);
      this.#close();
    };
  }

  #close() {
    this.#source?.close();
    this.#source = null;
  }

  #open() {
    if (this.#source || this.connection === "ended") return;
    // A new stream has no Last-Event-ID of its own; one that comes back by itself has a newer one.
    const source = (this.#source = new EventSource(this.#last ? `events?after=${this.#last}` : "events"));
    source.onopen = () => this.#change(() => (this.connection = "live"));
    source.onerror = () => {
      this.#change(() => (this.connection = "lost"));
      if (source.readyState === EventSource.CLOSED) this.#ask(source); // it does not try again by itself
    };
    source.addEventListener("begin", () => this.#change(() => this.#forget()));
    // Each stream begins with all of it; later what is long comes only when it changed.
    source.addEventListener("state", (event) => this.#change(() => (this.state = { ...this.state, ...JSON.parse(event.data) })));
    source.addEventListener("exchanges", (event) => {
      const { rows, dropped } = JSON.parse(event.data);
      this.#last = event.lastEventId;
      this.#change(() => this.#take(rows, dropped));
    });
  }

  /** Why was the stream refused? Without a valid cookie for good; with one there are too many of them. */
  async #ask(source) {
    const isOther = await get("state").then(() => false, (failure) => failure.isOtherRun);
    if (this.#source !== source) return;
    this.#source = null;
    if (isOther) this.#change(() => (this.connection = "ended"));
    else setTimeout(() => document.hidden || this.#open(), AGAIN_MS);
  }

  pause(on) {
    this.#change(() => {
      this.paused = on;
      if (!on) this.#add(this.#held.splice(0));
    });
  }

  clear() {
    this.#change(() => this.#forget());
  }

  /** What an action answered with: newer than the last event. */
  setState(state) {
    this.#change(() => (this.state = state));
  }

  get heldCount() {
    return this.#held.length;
  }

  /** The call that was sent after a preflight; undefined when none was seen. */
  callOf(id) {
    return this.#calls.get(id);
  }

  #take(rows, dropped) {
    this.missed += dropped;
    this.total += rows.length;
    if (this.paused) {
      this.#held.push(...rows);
      this.#held.splice(0, this.#held.length - MOST_ROWS);
    } else {
      this.#add(rows);
    }
  }

  #add(rows) {
    for (const row of rows) {
      if (row.preflight && !row.cached) this.#calls.set(row.preflight, row.id);
    }
    const all = [...this.rows, ...rows];
    this.left ||= all.length > MOST_ROWS;
    this.rows = all.slice(-MOST_ROWS);
    const oldest = this.rows[0]?.id ?? 0;
    if (this.#calls.size > MOST_ROWS) {
      for (const id of this.#calls.keys()) if (id < oldest) this.#calls.delete(id);
    }
  }

  #forget() {
    this.rows = [];
    this.#held = [];
    this.#calls.clear();
    this.missed = 0;
    this.left = false;
  }

  #change(make) {
    make();
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#tell();
    });
  }
}
