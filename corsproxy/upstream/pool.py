"""Keep-alive connections to one upstream endpoint.

Here:  taking an idle connection, opening another, waiting for one when there may be no more, keeping what is
       free, closing what has waited too long.
Never: choosing among endpoints, retrying, responses.
"""

import asyncio
import logging
import select
from collections import deque
from collections.abc import Callable
from functools import partial

from corsproxy.config.table import Endpoint
from corsproxy.http.faults import UPSTREAM_LIMIT, Fault
from corsproxy.upstream.balance import Standing
from corsproxy.upstream.connection import Connection
from corsproxy.upstream.dial import address_of, dial, fault_of
from corsproxy.upstream.outbox import Outbox
from corsproxy.upstream.resolve import Resolver
from corsproxy.upstream.tls import ClientTls

__all__ = ["Pool"]

_log = logging.getLogger(__name__)

# Long enough to be worth keeping. Many servers close earlier (Node after 5 s): that is noticed when it
# happens, or at the latest when the connection is taken.
_IDLE_SECONDS = 60.0

Opened = Callable[[Connection | Fault], None]
Turn = asyncio.Future[Connection | None]
"""Of one who waits: a connection that became free, or None = there may be one more now."""


class _Attempt:
    """Somebody's way to a connection."""

    __slots__ = ("is_counted", "turn")

    def __init__(self) -> None:
        self.turn: Turn | None = None  # None = it need not wait
        self.is_counted = False  # it is in `open_count`


class Pool:
    """The connections to one endpoint: `idle` ones, last used last, and `open_count` in all."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        max_connections: int,
        tls: ClientTls | None,
        resolver: Resolver | None = None,
    ) -> None:
        """max_connections: 0 = no limit. tls: None = plain. resolver: None = one of its own."""
        self.endpoint = endpoint
        self.name = str(endpoint)
        self.authority = endpoint.authority
        self.standing = Standing()
        self.idle: list[Connection] = []
        self.open_count = 0  # connections, and attempts to make one
        self._made: set[Connection] = set()
        self._max_connections = max_connections
        self._tls = tls
        self._resolver = Resolver() if resolver is None else resolver
        self._opening: set[asyncio.Task[None]] = set()
        self._waiting: deque[Turn] = deque()
        self._requests_at_tick: dict[Connection, int] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self.outbox = Outbox(_send_held)

    @property
    def is_full(self) -> bool:
        """True when another request would have to wait."""
        return 0 < self._max_connections <= self.open_count and not self.idle

    def take(self) -> Connection | None:
        """An idle connection, or None. Whether it is sound shows when the request is sent (`hold`)."""
        while self.idle:
            connection = self.idle.pop()
            if not connection.transport.is_closing():
                return connection
        return None

    def open(self, timeout: float, opened: Opened, *, first: bool = False) -> asyncio.Task[None]:
        """Open a connection within `timeout` seconds and hand it, or the fault, to `opened`.

        At the limit it waits for one to become free, in the order of asking; `first`: its turn was before all
        others'. Returns the task that does it, for the caller to cancel when nobody waits any more.
        """
        attempt = _Attempt()
        if 0 < self._max_connections <= self.open_count:
            attempt.turn = asyncio.get_running_loop().create_future()
            (self._waiting.appendleft if first else self._waiting.append)(attempt.turn)
        else:
            self.open_count += 1
            attempt.is_counted = True
        task = asyncio.get_running_loop().create_task(self._open(timeout, opened, attempt))
        self._opening.add(task)
        task.add_done_callback(partial(self._settle, attempt))
        return task

    async def _open(self, timeout: float, opened: Opened, attempt: _Attempt) -> None:  # noqa: ASYNC109 - measured by asyncio.timeout
        try:
            async with asyncio.timeout(timeout):
                connection = await self._freed(attempt) or await self._connect()
        except (OSError, ValueError) as error:  # ValueError: uvloop on a path that it cannot encode
            is_ours = attempt.is_counted
            opened(fault_of(error, self.name) if is_ours else UPSTREAM_LIMIT.because(self.name))
        else:
            opened(connection)

    async def _freed(self, attempt: _Attempt) -> Connection | None:
        """Wait for one's turn, if there is need to. None: make a connection, it has been counted."""
        if attempt.turn is None:
            return None
        connection = await attempt.turn
        attempt.turn = None
        if connection is not None and not connection.transport.is_closing():
            return connection
        if connection is not None:  # it ended on its way here, and counts itself off
            self.open_count += 1
        attempt.is_counted = True
        return None

    def _settle(self, attempt: _Attempt, task: asyncio.Task[None]) -> None:
        """An attempt is over, perhaps cancelled before its first step: what was its own goes to the next."""
        self._opening.discard(task)
        turn = attempt.turn
        if attempt.is_counted:
            self._count_off()
        elif turn is not None and not turn.cancel() and not turn.cancelled():  # it came in this very moment
            connection = turn.result()
            if connection is None:
                self._count_off()
            elif not connection.transport.is_closing():
                self.keep(connection)

    async def _connect(self) -> Connection:
        begun: list[Connection] = []

        def begin() -> Connection:
            begun.append(Connection(self))
            return begun[-1]

        try:
            connection = await dial(self.endpoint, begin, self._resolver, self._tls)
        except BaseException:
            # Given up in the very moment it was made: uvloop closes it without a word to the protocol.
            for each in begun:
                self.forget(each)
            raise
        connection.address = address_of(connection.transport, self.endpoint)
        return connection

    # Owner of the connections

    def made(self, connection: Connection) -> None:
        """A connection is open. It counts by itself from here; the attempt that made it counts itself off."""
        self._made.add(connection)
        self.open_count += 1

    def keep(self, connection: Connection) -> None:
        """Take a connection back for the next request."""
        connection.was_idle = True
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        if self._closed:
            connection.close()
            return
        self.idle.append(connection)
        self._watch_idle()

    def hold(self, connection: Connection) -> None:
        """Let it send its request at the end of this turn."""
        self.outbox.add(connection)

    def hold_no_longer(self, connection: Connection) -> None:
        """Let it send its request now."""
        _send_held([connection])

    def forget(self, connection: Connection) -> None:
        """A connection was closed, by whom ever."""
        if connection in self.idle:
            self.idle.remove(connection)
        if connection in self._made:
            self._made.discard(connection)
            self._count_off()

    def _count_off(self) -> None:
        """There is one connection less: the first who waits may make another."""
        self.open_count -= 1
        while self._waiting and self.open_count < self._max_connections:
            turn = self._waiting.popleft()
            if not turn.done():
                self.open_count += 1
                turn.set_result(None)

    def close(self) -> None:
        """Close what is idle and whatever becomes idle later; exchanges under way go on."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connection in self.idle[:]:
            connection.close()

    def _watch_idle(self) -> None:
        """One timer for the pool: a connection that was idle at two ticks in a row has waited too long."""
        if self._sweeper is None:
            loop = asyncio.get_running_loop()
            self._sweeper = loop.call_later(_IDLE_SECONDS / 2, self._sweep)

    def _sweep(self) -> None:
        self._sweeper = None
        before = self._requests_at_tick
        self._requests_at_tick = {connection: connection.requests for connection in self.idle}
        for connection, requests in self._requests_at_tick.items():
            if before.get(connection) == requests:
                connection.close()
        if self.idle:
            self._watch_idle()
        else:
            self._requests_at_tick = {}


def _send_held(connections: list[Connection]) -> None:
    """Send the requests of a turn on connections that were idle, where nothing has come unasked.

    What has, an end of stream or bytes, may not become a response (RFC 9112 §9.2). The event loop tells what
    had come when the turn began; one look into the kernel for all connections together tells the rest.
    """
    poller = select.poll()
    register = poller.register
    for connection in connections:
        if connection.held:
            register(connection.descriptor, select.POLLIN)
    spoken = {descriptor for descriptor, _ in poller.poll(0)}
    for connection in connections:
        if not connection.held:
            continue
        try:
            if connection.descriptor in spoken or _has_lost_socket(connection):
                connection.renounce()
            else:
                connection.send_held()
        except Exception:  # noqa: BLE001 - a mistake of ours may cost this exchange, and nobody else's
            _log.exception("internal error; the connection to %s is closed", connection.address)
            connection.transport.abort()


def _has_lost_socket(connection: Connection) -> bool:
    """TLS on uvloop: the socket is closed, and its number free, a turn before the connection hears of it."""
    return connection.is_tls and connection.transport.get_extra_info("socket") is None
