"""Keep-alive connections to one upstream endpoint.

Here:  taking an idle connection, opening another, waiting for one when there may be no more, keeping what is
       free, closing what has waited too long.
Never: choosing among endpoints, retrying, responses.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

from corsproxy.config.table import Endpoint
from corsproxy.http.faults import UPSTREAM_LIMIT, Fault
from corsproxy.upstream.balance import Standing
from corsproxy.upstream.connection import Connection
from corsproxy.upstream.dial import address_of, dial, fault_of
from corsproxy.upstream.resolve import Resolver
from corsproxy.upstream.tls import ClientTls

__all__ = ["Pool"]

# Below the keep-alive of common servers (Node: 5 s, gunicorn: 2 s when it is on), so that we are rarely the
# second to close; a connection that was closed meanwhile is noticed when it is taken.
_IDLE_SECONDS = 60.0
_JUST_NOW = 0.005  # seconds

Opened = Callable[[Connection | Fault], None]
Turn = asyncio.Future[Connection | None]
"""Of one who waits: a connection that became free, or None = there may be one more now."""


class _Attempt:
    """Somebody's way to a connection."""

    __slots__ = ("is_counted", "turn")

    def __init__(self) -> None:
        self.turn: Turn | None = None  # None = it need not wait
        self.is_counted = False  # `open_count` includes the connection that it is about to make


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
        self.standing = Standing()
        self.idle: list[Connection] = []
        self.open_count = 0  # connected or connecting
        self._max_connections = max_connections
        self._tls = tls
        self._resolver = Resolver() if resolver is None else resolver
        self._opening: set[asyncio.Task[None]] = set()
        self._waiting: deque[Turn] = deque()
        self._requests_at_tick: dict[Connection, int] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def is_full(self) -> bool:
        """True when another request would have to wait."""
        return 0 < self._max_connections <= self.open_count and not self.idle

    def take(self) -> Connection | None:
        """An idle connection that is still sound, or None."""
        while self.idle:
            connection = self.idle.pop()
            if connection.transport.is_closing():
                continue
            # The look into the kernel is a system call, and the event loop has just looked itself.
            if time.monotonic() - connection.idle_since < _JUST_NOW or connection.is_silent():
                return connection
            connection.close()
        return None

    def open(self, timeout: float, opened: Opened) -> asyncio.Task[None]:
        """Open a connection within `timeout` seconds and hand it, or the fault, to `opened`.

        At the limit it waits for one to become free, in the order of asking. Returns the task that does it,
        for the caller to cancel when nobody waits any more.
        """
        attempt = _Attempt()
        if 0 < self._max_connections <= self.open_count:
            attempt.turn = asyncio.get_running_loop().create_future()
            self._waiting.append(attempt.turn)
        else:
            self.open_count += 1
            attempt.is_counted = True
        task = asyncio.get_running_loop().create_task(self._open(timeout, opened, attempt))
        self._opening.add(task)
        task.add_done_callback(lambda task: self._opened(task, attempt))
        return task

    async def _open(self, timeout: float, opened: Opened, attempt: _Attempt) -> None:  # noqa: ASYNC109 - measured by asyncio.timeout
        try:
            async with asyncio.timeout(timeout):
                connection = await self._freed(attempt) or await self._connect()
        except (OSError, ValueError) as error:  # ValueError: uvloop on a path that it cannot encode
            was_connecting = attempt.is_counted
            self._give_back(attempt)
            opened(fault_of(error, self.name) if was_connecting else UPSTREAM_LIMIT.because(self.name))
        else:
            opened(connection)

    def _opened(self, task: asyncio.Task[None], attempt: _Attempt) -> None:
        self._opening.discard(task)
        if task.cancelled():  # perhaps before its first step
            self._give_back(attempt)

    async def _freed(self, attempt: _Attempt) -> Connection | None:
        """Wait for one's turn, if there is need to. None: connect, it has been counted."""
        if attempt.turn is None:
            return None
        connection = await attempt.turn
        if connection is None:
            attempt.is_counted = True
        elif connection.transport.is_closing():  # it ended on the way here, and is counted off for itself
            self.open_count += 1
            attempt.is_counted = True
            return None
        return connection

    def _give_back(self, attempt: _Attempt) -> None:
        """An attempt is given up: what was its own goes to the next who waits."""
        turn = attempt.turn
        if attempt.is_counted:
            attempt.is_counted = False
            self._count_off()
        elif turn is not None and not turn.cancel() and not turn.cancelled():  # it came in this very moment
            connection = turn.result()
            if connection is None:
                self._count_off()
            elif not connection.transport.is_closing():
                self.keep(connection)

    async def _connect(self) -> Connection:
        connection = await dial(self.endpoint, lambda: Connection(self), self._resolver, self._tls)
        connection.address = address_of(connection.transport, self.endpoint)
        return connection

    # Owner of the connections

    def keep(self, connection: Connection) -> None:
        """Take a connection back for the next request."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(connection)
                return
        if self._closed:
            connection.close()
            return
        connection.idle_since = time.monotonic()
        self.idle.append(connection)
        self._watch_idle()

    def forget(self, connection: Connection) -> None:
        """A connection was closed, by whom ever."""
        if connection in self.idle:
            self.idle.remove(connection)
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
