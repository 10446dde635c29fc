"""A message from a browser's console, and the exchanges that it is about.

Here:  comparing what the message names with the rows that are kept; the call that it describes.
Never: reading the message (cors.pasted).
"""

import json
from collections.abc import Iterable
from urllib.parse import urlsplit

from corsproxy.config.table import Table
from corsproxy.cors.browser import Call
from corsproxy.cors.decide import Kind
from corsproxy.cors.pasted import Pasted
from corsproxy.dev.inspector.entry import Entry
from corsproxy.proxy.explain import Question
from corsproxy.proxy.explained import authority_of

__all__ = ["find_rows", "question_from"]

_MOST_ROWS = 20


def find_rows(pasted: Pasted, entries: Iterable[Entry]) -> list[int]:
    """Ids of the exchanges that the message may be about, the most likely first, then the newest."""
    path = urlsplit(pasted.url).path or "/"
    rows = [json.loads(entry.row) for entry in entries]
    fitting = [
        row
        for row in reversed(rows)
        if row["path"] == path
        and pasted.origin in {"", row["origin"]}
        and pasted.method in {"", row["asks"]}
        and row["origin"] is not None
    ]
    # It says which of the two messages failed; a refused one is likelier than one that went well.
    fitting.sort(
        key=lambda row: ((row["kind"] == Kind.PREFLIGHT) != pasted.preflight, row["outcome"] != "denied")
    )
    return [row["id"] for row in fitting[:_MOST_ROWS]]


def question_from(pasted: Pasted, table: Table) -> Question | None:
    """The call as far as the message tells; None where it does not name the page's origin."""
    if not pasted.origin or not pasted.url.isascii():
        return None
    parts = urlsplit(pasted.url)
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
