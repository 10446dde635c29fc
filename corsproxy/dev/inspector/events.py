"""The live list as Server-Sent Events: what happened since the client last heard, a few times a second.

Here:  resuming by Last-Event-ID, batches, comments that keep the connection alive, news of the state.
Never: a queue for each client. All read the one ring; who is too slow misses what it no longer holds, and is
       told how much that was.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from corsproxy.dev.inspector.entry import Entry, Json
from corsproxy.dev.inspector.ring import Ring

__all__ = ["Events"]

_PACE_SECONDS = 0.05  # between two messages: no eye sees more
_LOOK_SECONDS = 1.0  # between two looks at the state
_COMMENT_SECONDS = 15.0  # proxies and browsers give up on connections that say nothing
_MOST_CLIENTS = 16
_LONG = frozenset({"routes", "upstreams"})  # of the state: there may be a thousand, and they rarely change


class Events:
    """The streams of one inspector."""

    def __init__(self, ring: Ring, state: Callable[[], Awaitable[Json]]) -> None:
        """state: what the page shows beside the list; sent whenever it changed."""
        self._ring = ring
        self._state = state
        # Ids count from 1 in each process: without this, a page would take those of the next for known.
        self._run = secrets.token_hex(4)
        self._clients = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One stream, until the client leaves."""
        if self._clients >= _MOST_CLIENTS:
            raise web.HTTPServiceUnavailable(reason="too many inspectors are open")
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"}
        )
        await response.prepare(request)
        self._clients += 1
        try:
            await self._stream(response, self._known(request))
        except ConnectionError:
            return response  # the page was closed
        finally:
            self._clients -= 1
        return response

    def _known(self, request: web.Request) -> int:
        """The last exchange that this client has seen; 0 = none of this run.

        A stream that was closed, since nobody looked at the page, is opened anew with `after`; one that was
        lost comes back with Last-Event-ID, and the same URL.
        """
        told = request.headers.get("Last-Event-ID") or request.query.get("after", "")
        run, _, number = told.partition("-")
        is_ours = run == self._run and number.isascii() and number.isdigit() and len(number) < 16
        return int(number) if is_ours else 0

    async def _stream(self, response: web.StreamResponse, known: int) -> None:
        await response.write(b"retry: 1000\n\n")
        if not known:
            await response.write(_event("begin", {"run": self._run}))
        told: Json = {}
        looked = wrote = 0.0
        with self._ring.news() as news:
            while True:
                news.clear()
                message = self._batch(known)
                known = max(known, self._ring.last)
                now = time.monotonic()
                if now - looked >= _LOOK_SECONDS:
                    looked = now
                    state = await self._state()
                    if state != told:
                        message += _event("state", _news(state, told))
                        told = state
                if not message and now - wrote >= _COMMENT_SECONDS:
                    message = b": still here\n\n"
                if message:
                    wrote = now
                    await response.write(message)  # waits while the client does not take it
                    await asyncio.sleep(_PACE_SECONDS)
                await _soon(news)

    def _batch(self, known: int) -> bytes:
        """What came since; b"" when nothing did."""
        entries = self._ring.after(known)
        if not entries:
            return b""
        dropped = entries[0].id - known - 1 if known else 0
        rows = ",".join(entry.row for entry in entries)
        data = f'{{"dropped":{dropped},"rows":[{rows}]}}'
        return f"id: {self._run}-{_last(entries)}\nevent: exchanges\ndata: {data}\n\n".encode()


async def _soon(news: asyncio.Event) -> None:
    """Until there is news, or it is time for another look."""
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            await news.wait()
    except TimeoutError:
        return


def _news(state: Json, told: Json) -> Json:
    """The state, without the long parts that the client has been told already."""
    return {key: value for key, value in state.items() if key not in _LONG or told.get(key) != value}


def _last(entries: list[Entry]) -> int:
    return entries[-1].id


def _event(name: str, data: Json) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data)}\n\n".encode()
