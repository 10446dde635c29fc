// The list: as many rows on the page as fit, however many there are.
//
// Here:  a window onto the rows, which stays where it is while new ones come; choosing one.
// Never: filtering (filters), what a row means (words), requests.

import { durationOf, notesOf, reasonOf, sentenceOfRow, timeOf, verdictOf } from "./words.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/htm-preact-3.1.1.js";

// In rem, as in list.css: whoever sets larger letters gets higher rows, and two lines a row sooner.
const ROW = { wide: 2.3125, tight: 3.625 };
const TIGHT_BELOW = 60;
const SPARE_ROWS = 6; // above and below the window, so that scrolling shows no gaps

/** rows: newest first. */
export function List({ rows, chosen, onChoose, onOpen }) {
  const box = useRef(null);
  const { height, width, rem } = useSize(box);
  const tight = width < TIGHT_BELOW * rem;
  const rowHeight = (tight ? ROW.tight : ROW.wide) * rem;
  const [top, setTop] = useState(0);
  useAnchor(box, rows, rowHeight);
  useEffect(() => keepInSight(box.current, rows, chosen, rowHeight), [chosen]);

  const first = Math.max(0, Math.floor(top / rowHeight) - SPARE_ROWS);
  const count = Math.ceil(height / rowHeight) + 2 * SPARE_ROWS;
  const seen = rows.slice(first, first + count).map((row, at) => [first + at, row]);
  // The chosen one is always there: who hears the list is told of it wherever the list was scrolled to.
  const place = rows.findIndex((row) => row.id === chosen);
  if (place >= 0 && (place < first || place >= first + count)) seen.push([place, rows[place]]);
  return html`<div
    ref=${box}
    class=${tight ? "list tight" : "list"}
    id="list"
    role="listbox"
    tabindex="0"
    aria-label="Exchanges, newest first"
    aria-activedescendant=${place >= 0 ? `row-${chosen}` : undefined}
    onScroll=${(event) => setTop(event.target.scrollTop)}
  >
    <div class="space" style=${{ height: `${rows.length * rowHeight}px` }}>
      ${seen.map(
        ([at, row]) => html`<${Row}
          key=${row.id}
          row=${row}
          place=${at}
          size=${rows.length}
          top=${at * rowHeight}
          isChosen=${row.id === chosen}
          onChoose=${onChoose}
          onOpen=${onOpen}
        />`,
      )}
    </div>
  </div>`;
}

function Row({ row, place, size, top, isChosen, onChoose, onOpen }) {
  const { mark, word, tone } = verdictOf(row);
  const isPreflight = row.kind === "preflight";
  const choose = () => {
    onChoose(row.id);
    onOpen();
  };
  return html`<div
    class=${`row tone-${tone}${isChosen ? " chosen" : ""}${isPreflight ? " preflight" : ""}`}
    id=${`row-${row.id}`}
    role="option"
    aria-selected=${isChosen ? "true" : "false"}
    aria-setsize=${size}
    aria-posinset=${place + 1}
    aria-label=${sentenceOfRow(row)}
    style=${{ transform: `translateY(${top}px)` }}
    onClick=${choose}
  >
    <span class="time">${timeOf(row.at)}</span>
    <span class="mark" title=${word}>${mark}</span>
    <span class="method">${(isPreflight ? row.asks : row.method) || "–"}</span>
    <span class="path" title=${row.path}>${row.path || "–"}</span>
    <span class="hint">${row.notes && html`<span class="noted">${notesOf(row)}</span>${hintOf(row) && " · "}`}${hintOf(row)}</span>
    <span class="origin" title=${row.origin ?? ""}>${row.origin ?? ""}</span>
    <span class="reason"><span class="tight-only">${isPreflight ? "preflight · " : row.socket ? "WebSocket · " : ""}</span>${reasonOf(row)}${row.notes && html`<span class="tight-only noted"> · ${notesOf(row)}</span>`}<span class="tight-only from">${row.origin ? ` · ${row.origin}` : ""}</span></span>
    <span class="status">${row.status || "–"}</span>
    <span class="ms">${durationOf(row.ms)}</span>
  </div>`;
}

function hintOf(row) {
  if (row.kind === "preflight") return "preflight";
  if (row.socket) return "WebSocket";
  if (!row.preflight) return "";
  return row.cached ? "preflight from cache" : "after its preflight";
}

const remOf = () => parseFloat(getComputedStyle(document.documentElement).fontSize);

/** Its size, as it changes. */
function useSize(box) {
  const [size, setSize] = useState({ height: 600, width: 1000, rem: 16 });
  useEffect(() => {
    const look = () => setSize({ height: box.current.clientHeight, width: box.current.clientWidth, rem: remOf() });
    const observer = new ResizeObserver(look);
    observer.observe(box.current);
    look();
    return () => observer.disconnect();
  }, []);
  return size;
}

/** While somebody reads further down, new rows on top push nothing out of sight. */
function useAnchor(box, rows, rowHeight) {
  const before = useRef(0);
  useLayoutEffect(() => {
    const newest = rows[0]?.id ?? 0;
    const came = before.current ? rows.findIndex((row) => row.id <= before.current) : 0;
    before.current = newest;
    if (came > 0 && box.current.scrollTop > 0) box.current.scrollTop += came * rowHeight;
  }, [rows]);
}

function keepInSight(element, rows, chosen, rowHeight) {
  const at = rows.findIndex((row) => row.id === chosen);
  if (at < 0) return;
  const top = at * rowHeight;
  if (top < element.scrollTop) element.scrollTop = top;
  const lowest = top + rowHeight - element.clientHeight;
  if (lowest > element.scrollTop) element.scrollTop = lowest;
}
