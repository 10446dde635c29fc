// The exchanges as they come: a bounded list, and whoever wants to be told.
//
// Here:  the event stream, pausing, what was missed, the calls that belong to a preflight.
// Never: elements; more rows than MOST_ROWS, however long the page stays open.

export const MOST_ROWS = 2000;

export class Live {
  rows = []; // oldest first
  state = null; // of the configuration and the upstreams
  connection = "connecting"; // connecting | live | lost | ended: not tried again
  paused = false;
  missed = 0; // exchanges that were over before this page could be told
  total = 0; // exchanges that this page was told of

  #held = []; // what came while paused
  #calls = new Map(); // id of a preflight → id of its call
  #tell;
  #frame = 0;

  /** tell: called at most once a frame when something changed. */
  constructor(tell) {
    this.#tell = tell;
  }

  start() {
    const source = new EventSource("events");
    source.onopen = () => this.#change(() => (this.connection = "live"));
    source.onerror = () => this.#change(() => (this.connection = source.readyState === EventSource.CLOSED ? "ended" : "lost"));
    source.addEventListener("begin", () => this.#change(() => this.#forget()));
    // Each stream begins with all of it; later what is long comes only when it changed.
    source.addEventListener("state", (event) => this.#change(() => (this.state = { ...this.state, ...JSON.parse(event.data) })));
    source.addEventListener("exchanges", (event) => {
      const { rows, dropped } = JSON.parse(event.data);
      this.#change(() => this.#take(rows, dropped));
    });
    return () => source.close();
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
    this.rows = [...this.rows, ...rows].slice(-MOST_ROWS);
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
  }

  #change(make) {
    make();
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#tell();
    });
  }
}
