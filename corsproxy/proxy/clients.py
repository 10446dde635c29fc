"""All client connections of a process, on aiohttp's server.

Here:  making them, handing them a new service, letting go of a part, draining, the end of all.
Never: one connection's bytes and deadlines (proxy.downstream), listeners (ops.server).
"""

import asyncio
import logging
import math
from typing import cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from corsproxy.proxy.downstream import Downstream
from corsproxy.proxy.roles import Service
from corsproxy.upstream.outbox import Outbox

__all__ = ["ClientServer", "turns"]

_log = logging.getLogger(__name__)

_TURNS_TO_ARRIVE = 5
_QUEUE_SECONDS = 0.5
_IN_USE_SECONDS = 1.0  # since the last exchange
_ROUNDING = 1e-6  # what the last bits of a part may be short of a whole number
# A few connections over the ceiling are still told so (503); the rest are closed unread.
_SURPLUS_ANSWERED = 16
_EASED_AT_ONCE = 32  # each has to connect again, and with TLS that takes a millisecond or two


class ClientServer(web.Server):
    """aiohttp's low-level server with `Downstream` as its connections."""

    def __init__(self, service: Service, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(_never_called, loop=loop)
        self._service = service
        self._draining = False
        self._stopped = False
        self._accepted = 0
        self.eased = 0  # connections that were told to end by `ease`, since the start
        self.outbox = Outbox(_send_held)  # of responses in full

    def __call__(self) -> Downstream:
        """The protocol of a new connection."""
        self._accepted += 1
        return Downstream(self, self._service, self._loop)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """The protocol has its connection: behind a TLS handshake, seconds after it was made."""
        super().connection_made(handler, transport)
        client = cast(Downstream, handler)
        if not client.is_served_by(self._service):
            client.serve(self._service)
        if self._stopped:
            client.cut()  # its handshake took longer than all others were waited for
        elif self._draining:
            client.retire()

    def serve(self, service: Service) -> None:
        """Hand the next request of every connection to another service; those under way stay with theirs."""
        self._service = service
        for client in self._connections:
            cast(Downstream, client).serve(service)

    def drain(self) -> None:
        """Let every connection, new ones too, end with the exchange that it has next, or has now."""
        self._draining = True
        for client in self._connections:
            cast(Downstream, client).retire()

    def ease(self, part: float) -> None:
        """Let this part of the connections in use end with their next exchange, each being told so.

        Their clients come back, perhaps to another process.
        """
        since = self._loop.time() - _IN_USE_SECONDS
        clients = cast("list[Downstream]", list(self._connections))
        in_use = [client for client in clients if client.may_be_eased(since)]
        in_use.sort(key=_is_asking)  # last: some of those only wait, which is no work
        # Rounded down: the only one in use would move from one process to the other, again and again.
        count = int(part * len(in_use) + _ROUNDING)
        leave = in_use[: min(count, _EASED_AT_ONCE)]
        for client in leave:
            client.retire()
        self.eased += len(leave)

    async def let_in(self) -> None:
        """Accept those who wait in the listener's queue, however many turns of the loop that takes."""
        until = self._loop.time() + _QUEUE_SECONDS  # others may come without end
        before = -1
        while self._accepted != before and self._loop.time() < until:
            before = self._accepted
            await turns()

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - aiohttp's signature
        """Let every connection finish its exchange, and cut those that have not within `timeout` seconds."""
        await turns()  # what was accepted, or received, before the listener closed is on its way here
        self._draining = True
        until = self._loop.time() + (math.inf if timeout is None else timeout)
        asked: set[Downstream] = set()
        while clients := {cast(Downstream, client) for client in self._connections} - asked:
            left = None if timeout is None else max(until - self._loop.time(), 0.0)
            await asyncio.gather(*(client.shutdown(left) for client in clients))
            asked |= clients  # a TLS handshake may have ended meanwhile, and added another
        self._stopped = True

    def has_room(self, more: int = 0) -> bool:
        """False when there are, with so many more, too many to tell all of them so."""
        ceiling = self._service.settings().limits.connections
        return self.open_count + more <= ceiling + ceiling // 10 + _SURPLUS_ANSWERED

    @property
    def open_count(self) -> int:
        """Connections now open."""
        return len(self._connections)

    def abort(self) -> None:
        """Cut every connection."""
        for connection in list(self._connections):
            cast(Downstream, connection).abandon()


async def turns() -> None:
    """Let the event loop take in what waits for it now, from `accept` to the first bytes of a connection."""
    for _ in range(_TURNS_TO_ARRIVE):
        await asyncio.sleep(0)


def _is_asking(client: Downstream) -> bool:
    return client.work is not None


def _send_held(clients: list[Downstream]) -> None:
    for client in clients:
        try:
            client.send_held()
        except Exception:  # noqa: BLE001 - a mistake of ours may cost this client, and nobody else
            _log.exception("internal error; the connection is closed")
            client.abandon()


async def _never_called(request: web.BaseRequest) -> web.StreamResponse:
    raise AssertionError(f"requests do not come this way: {request!r}")
