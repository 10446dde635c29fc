"""Keep-alive connections to one upstream endpoint.

Here:  taking an idle connection, opening another, keeping what is free, closing what has waited too long.
Never: choosing among endpoints, retrying, responses.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Callable

from corsproxy.config.table import Endpoint
from corsproxy.http.faults import (
    CONNECT_TIMEOUT,
    DNS_ERROR,
    UPSTREAM_LIMIT,
    UPSTREAM_REFUSED,
    UPSTREAM_TLS,
    UPSTREAM_UNREACHABLE,
    Fault,
)
from corsproxy.upstream.connection import Connection

__all__ = ["Pool"]

# Below the keep-alive of common servers (Node: 5 s, gunicorn: 2 s when it is on), so that we are rarely the
# second to close; a connection that was closed meanwhile is noticed when it is taken.
_IDLE_SECONDS = 60.0
_JUST_NOW = 0.005  # seconds

Opened = Callable[[Connection | Fault], None]


class Pool:
    """The connections to one endpoint: `idle` ones, last used first, and `open_count` in all."""

    def __init__(self, endpoint: Endpoint, *, max_connections: int, tls: ssl.SSLContext | None) -> None:
        self.endpoint = endpoint
        self.name = str(endpoint)
        self.idle: list[Connection] = []
        self.open_count = 0  # connected or connecting
        self._max_connections = max_connections
        self._tls = tls
        self._opening: set[asyncio.Task[None]] = set()
        self._requests_at_tick: dict[Connection, int] = {}
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

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

    def open(self, timeout: float, opened: Opened) -> asyncio.Task[None] | Fault:
        """Open a connection within `timeout` seconds and hand it, or the fault, to `opened`.

        Returns the task that does it, for the caller to cancel when nobody waits any more.
        """
        if self._max_connections and self.open_count >= self._max_connections:
            return UPSTREAM_LIMIT.because(self.name)
        self.open_count += 1
        task = asyncio.get_running_loop().create_task(self._open(timeout, opened))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return task

    async def _open(self, timeout: float, opened: Opened) -> None:  # noqa: ASYNC109 - measured by asyncio.timeout
        try:
            async with asyncio.timeout(timeout):
                connection = await self._connect()
        except asyncio.CancelledError:
            self.open_count -= 1
            raise
        except (OSError, ValueError) as error:  # ValueError: uvloop on a host name it cannot encode
            self.open_count -= 1
            opened(_fault_of(error, self.name))
        else:
            opened(connection)

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        endpoint = self.endpoint
        if endpoint.path:
            _, connection = await loop.create_unix_connection(lambda: Connection(self), endpoint.path)
            return connection
        _, connection = await loop.create_connection(
            lambda: Connection(self),
            endpoint.host,
            endpoint.port,
            ssl=self._tls,
            server_hostname=endpoint.host if self._tls else None,
        )
        return connection

    # Owner of the connections

    def keep(self, connection: Connection) -> None:
        """Take a connection back for the next request."""
        if self._closed:
            connection.close()
            return
        connection.idle_since = time.monotonic()
        self.idle.append(connection)
        self._watch_idle()

    def forget(self, connection: Connection) -> None:
        """A connection was closed, by whom ever."""
        self.open_count -= 1
        if connection in self.idle:
            self.idle.remove(connection)

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


def _fault_of(error: Exception, name: str) -> Fault:
    """The fault for a connection that could not be opened."""
    match error:
        case TimeoutError():
            return CONNECT_TIMEOUT.because(name)
        case ssl.SSLError():
            return UPSTREAM_TLS.because(f"{name}: {error.reason or 'handshake failed'}")
        case socket.gaierror():
            return DNS_ERROR.because(name)
        case ConnectionRefusedError():
            return UPSTREAM_REFUSED.because(name)
        case _:
            return UPSTREAM_UNREACHABLE.because(name)
