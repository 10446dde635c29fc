"""A message from a browser's console, and the exchanges that it is about.

Here:  comparing what the message names with the rows that are kept; the call that it describes.
Never: reading the message (cors.pasted).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from corsproxy.config.table import Table
from corsproxy.cors.browser import Call
from corsproxy.cors.decide import Kind
from corsproxy.cors.pasted import SOCKET, Pasted
from corsproxy.dev.inspector.entry import Entry
from corsproxy.dev.inspector.judged import FAILED, call_of, judge_sent
from corsproxy.http.redirects import without_default_port
from corsproxy.proxy.explain import Question
from corsproxy.proxy.explained import authority_of

__all__ = ["Found", "find_rows", "question_from"]

Row = dict[str, Any]  # Any: JSON
_MOST_ROWS = 20


@dataclass(frozen=True, slots=True)
class Found:
    """The exchanges that a message may be about."""

    ids: tuple[int, ...] = ()  # the most likely first, then the newest
    none: str = ""  # why there are none
    url: str = ""  # of the message, the one that was called here; "" = none was


def find_rows(pasted: Pasted, entries: Iterable[Entry]) -> Found:
    """What the message may be about: calls to its URL that failed, and could have failed like this."""
    if not pasted.sent:
        return Found(none="The browser kept the request to itself: it never got here.")
    kept = list(entries)
    for url in filter(None, (pasted.url, pasted.via)):
        called = [each for each in map(_read, reversed(kept)) if _is_call(pasted, url, *each)]
        failed = [row for row, detail in called if _has_failed(pasted, row, detail)]
        if failed:
            # It says which of the two messages failed.
            failed.sort(key=lambda row: (row["kind"] == Kind.PREFLIGHT) != pasted.preflight)
            return Found(tuple(row["id"] for row in failed[:_MOST_ROWS]), url=url)
        if called:
            return Found(none=f"Calls to {url} are kept here, but none that failed like this.", url=url)
    return Found(none=f"No exchange here fits it: did the call to {pasted.url} come through this proxy?")


def _read(entry: Entry) -> tuple[Row, Row | None]:
    return json.loads(entry.row), json.loads(entry.detail) if entry.detail else None


def _is_call(pasted: Pasted, url: str, row: Row, detail: Row | None) -> bool:
    """Did this page call this URL here, with this method?"""
    return (
        row["path"] == _path(url)
        and (detail is None or _authority(url) == _authority(f"{detail['scheme']}://{detail['host']}"))
        and row["origin"] is not None
        and pasted.origin in {"", row["origin"]}
        and pasted.method in {"", row["asks"]}
        and bool(row.get("socket")) == (pasted.message.kind == SOCKET)
    )


def _has_failed(pasted: Pasted, row: Row, detail: Row | None) -> bool:
    call = call_of(row, detail, None)
    names = {name for name, _ in call.headers} if call else set()
    if pasted.header and pasted.header.encode("latin-1", "replace") not in names:
        return False  # the preflight that asked for it is meant
    return judge_sent(row, detail, call)["outcome"] in FAILED or row["outcome"] == "denied"


def _path(url: str) -> str:
    """Without its query. By hand: whatever was pasted has one."""
    rest = url.partition("://")[2].partition("?")[0].partition("#")[0]
    return f"/{rest.partition('/')[2]}"


def _authority(url: str) -> str:
    """Host and port, in lower case; a WebSocket has the ports of http."""
    scheme, _, rest = url.lower().partition("://")
    authority = rest.partition("/")[0].encode("utf-8", "replace")
    return without_default_port(scheme.replace("ws", "http").encode("utf-8", "replace"), authority).decode()


def question_from(pasted: Pasted, found: Found, table: Table) -> Question | None:
    """The call as far as the message tells; None where it does not name the page's origin, or where the proxy
    has no say: what was never sent, and what a redirect led to elsewhere.
    """
    if not pasted.origin or not pasted.url.isascii() or not pasted.sent:
        return None
    if pasted.via and found.url != pasted.url:
        return None
    try:
        parts = urlsplit(pasted.url)
    except ValueError:  # as of "http://["
        return None
    headers = ((pasted.header.encode("latin-1", "replace"), None),) if pasted.header else ()
    call = Call(
        pasted.origin.encode("latin-1", "replace"),
        pasted.method.encode("latin-1", "replace") or b"GET",
        headers,
        pasted.credentials,
        asks_first=pasted.preflight,
    )
    host = parts.netloc.encode("ascii") or authority_of(table.listen).encode()
    return Question(call, (parts.path or "/").encode("ascii"), host, b"https" if table.tls else b"http")
