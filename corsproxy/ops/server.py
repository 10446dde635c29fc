"""The data plane as one thing that starts and stops.

Here:  the listener, the upstreams behind it, and the graceful end.
Never: signals and exit codes (ops.process), what happens inside a request (proxy).
"""

import asyncio
import logging
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from corsproxy.config.table import Address, Table, Upstream
from corsproxy.ops.certificates import ListenerCertificate
from corsproxy.ops.descriptors import fit_to_descriptors
from corsproxy.ops.lookup import look_up
from corsproxy.ops.snapshot import Readings
from corsproxy.ops.sockets import BACKLOG, address_of, bind, inode_of, reason_of, remove_own_socket
from corsproxy.ops.usage import read_usage
from corsproxy.proxy.clients import ClientServer
from corsproxy.proxy.cookie_guard import CookieMemory
from corsproxy.proxy.exchange import Exchange
from corsproxy.proxy.handler import Handler, Trace
from corsproxy.proxy.service import Load
from corsproxy.upstream.balance import is_ready
from corsproxy.upstream.cluster import Change, Clusters, Notice
from corsproxy.upstream.resolve import Resolver

__all__ = ["ListenError", "Observer", "Server", "StartError", "unresolved_hosts"]

_log = logging.getLogger(__name__)

_RESOLVE_SECONDS = 5.0
_LOOKUPS_AT_ONCE = 16  # each takes a thread, and a file may name thousands of hosts
_TLS_SHUTDOWN_SECONDS = 86_400.0  # a connection has deadlines of its own, which know whether its client reads
_ACCEPTS_A_TURN = 8


Observer = Callable[[Exchange, float], None]
"""Told of a finished exchange, and of the time it ended on the monotonic clock."""


class StartError(Exception):
    """The server cannot start; the text is one line for a person."""


class ListenError(StartError):
    """An address cannot be listened on."""


class Server:
    """Serves one table after another on its listener, between `start` and `stop`."""

    def __init__(
        self,
        table: Table,
        observers: Sequence[Observer] = (),
        socks: Sequence[socket.socket] | None = None,
        *,
        captures: bool = False,
        trace: Trace | None = None,
    ) -> None:
        """observers: who is told of each finished exchange, in this order. socks: listening already; None =
        by the table's `listen`. captures: the record of an exchange is to hold the fields on both wires, too.
        trace: who is told of each exchange that begins.
        """
        self.table = table
        self.addresses: list[Address] = []  # where it really listens, port 0 resolved
        self._record = _record_to(observers)
        self._socks = socks
        self._captures = captures
        self._trace = trace
        self._resolver = Resolver(look_up)
        self._clusters = Clusters(self._resolver, _log_notice)
        self._loads: dict[str, Load] = {}
        self.cookies = CookieMemory()  # names alone; it outlives tables
        self._certificate: ListenerCertificate | None = None
        self._clients: ClientServer | None = None
        self._listeners: list[asyncio.Server] = []
        self._socket_inode = 0  # of the Unix socket that was made here

    async def start(self) -> None:
        """Listen and serve. Raises StartError, and PemError where a certificate cannot be used."""
        tls = self.table.tls
        self._certificate = None if tls is None else ListenerCertificate(tls)
        self._clients = ClientServer(self._handler(self.table), loop=asyncio.get_running_loop())
        if self._certificate is not None:
            self._certificate.handshakes.has_room = self._clients.has_room
        address = self.table.listen
        try:
            socks = bind(address) if self._socks is None else self._socks
            for sock in socks:
                for number in range(_descriptors_for(len(socks))):
                    each = sock.dup() if number else sock
                    self._listeners.append(await self._listen(self._clients, each))
        except OSError as error:
            for listener in self._listeners:
                listener.close()
            self._clusters.close()
            raise ListenError(f"cannot listen on {address}: {reason_of(error)}") from error
        self.addresses = [address_of(sock) for sock in socks]
        self._socket_inode = 0 if self._socks is not None else inode_of(address)
        if self._certificate is not None:
            self._certificate.watch()

    async def _listen(self, clients: ClientServer, sock: socket.socket) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {"sock": sock, "backlog": BACKLOG}  # Any: arguments of two functions
        create: Callable[..., Awaitable[asyncio.Server]] = loop.create_server
        if sock.family == socket.AF_UNIX:
            create = loop.create_unix_server
            if sys.version_info >= (3, 13):  # by then the path may be another process's, or in use by workers
                options["cleanup_socket"] = False
        if self._certificate is not None:
            options |= {
                "ssl": self._certificate.context,
                # A handshake is to the connection what the head is to the request: both end a client that
                # sends nothing.
                "ssl_handshake_timeout": self.table.timeouts.client_head,
                "ssl_shutdown_timeout": _TLS_SHUTDOWN_SECONDS,
            }
        return await create(clients, **options)

    def swap(self, table: Table) -> None:
        """Serve by another table from the next request on, with the listener as it is.

        Exchanges under way keep theirs. Raises PemError; then the old table goes on serving.
        """
        if self._certificate is not None and table.tls is not None:
            self._certificate.use(table.tls)
        handler = self._handler(table)
        self.table = table
        if self._clients is not None:
            self._clients.serve(handler)

    def _handler(self, table: Table) -> Handler:
        table = fit_to_descriptors(table)
        self._clusters.replace(_upstreams(table))
        names = {route.name for route in table.routes}
        # A route keeps its count across a reload: what is in flight by an old table still is.
        self._loads = {name: load for name, load in self._loads.items() if name in names or load.in_flight}
        for name in names:
            self._loads.setdefault(name, Load())
        return Handler(
            table,
            self._clusters.serving,
            self._record,
            self._loads,
            cookies=self.cookies,
            captures=self._captures,
            trace=self._trace,
        )

    def drain(self) -> None:
        """Go on serving, but let every connection end with its current exchange, so that clients move on."""
        if self._clients is not None:
            self._clients.drain()

    def ease(self, part: float) -> None:
        """Let this part of the connections in use end with their next exchange: others have time for them."""
        if self._clients is not None:
            self._clients.ease(part)

    async def stop(self) -> None:
        """Stop accepting, finish what is in flight within `drain.timeout`, then end the rest."""
        if self._clients is not None:
            await self._clients.let_in()  # closing the listener would reset them
        for listener in self._listeners:
            listener.close()
        remove_own_socket(self.table.listen, self._socket_inode)  # now: from here on another may stand there
        if self._certificate is not None:
            self._certificate.close()
        if self._clients is not None:
            await self._clients.shutdown(self.table.drain.timeout)
        self._clusters.close()
        self._resolver.close()

    def abort(self) -> None:
        """End everything now, finished or not."""
        if self._clients is not None:
            self._clients.abort()

    @property
    def connections(self) -> int:
        """Client connections now open."""
        return 0 if self._clients is None else self._clients.open_count

    def readings(self) -> Readings:
        """What can be read off right now."""
        now = time.monotonic()
        return Readings(
            processes=1,
            connections=self.connections,
            rebalanced=0 if self._clients is None else self._clients.eased,
            in_flight={name: load.in_flight for name, load in self._loads.items()},
            websockets={name: load.tunnels for name, load in self._loads.items()},
            endpoints={
                (cluster.upstream.name, pool.name): (int(is_ready(pool.standing, now)), 1)
                for cluster in self._clusters.serving.values()
                for pool in cluster.pools
            },
            usage=read_usage(),
        )


def _descriptors_for(sockets: int) -> int:
    """By how many descriptors to accept from each of so many sockets.

    By each, uvloop accepts one connection a turn of the loop, and a turn of its own costs a new connection 30
    of 97 µs. asyncio accepts all that wait.
    """
    is_uvloop = type(asyncio.get_running_loop()).__module__.partition(".")[0] == "uvloop"
    return max(_ACCEPTS_A_TURN // sockets, 1) if is_uvloop else 1


def _upstreams(table: Table) -> list[Upstream]:
    return list(dict.fromkeys(route.upstream for route in table.routes))


def _record_to(observers: Sequence[Observer]) -> Observer:
    """One call for all: the common case of one observer costs nothing extra."""
    if len(observers) == 1:
        return observers[0]

    def record(exchange: Exchange, ended: float) -> None:
        for observer in observers:
            observer(exchange, ended)

    return record


def _log_notice(notice: Notice) -> None:
    """Say once what became of an endpoint."""
    level = logging.INFO if notice.change in {Change.HEALTHY, Change.RETURNED} else logging.WARNING
    detail = f" ({notice.detail})" if notice.detail else ""
    _log.log(level, "upstream %s: %s is %s%s", notice.upstream, notice.endpoint, notice.change.value, detail)


async def unresolved_hosts(table: Table) -> list[str]:
    """Names of upstream hosts that do not resolve now. They may later, so it is worth only a warning."""
    hosts = sorted({end.host for up in _upstreams(table) for end in up.endpoints if end.host})
    turns = asyncio.Semaphore(_LOOKUPS_AT_ONCE)
    found = await asyncio.gather(*(_resolves(host, turns) for host in hosts))
    return [host for host, resolves in zip(hosts, found, strict=True) if not resolves]


async def _resolves(host: str, turns: asyncio.Semaphore) -> bool:
    try:
        async with turns, asyncio.timeout(_RESOLVE_SECONDS):
            await look_up(host, 0)
    except (OSError, UnicodeError):
        return False
    return True
