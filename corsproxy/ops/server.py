"""The data plane as one thing that starts and stops.

Here:  the listener, the pools behind it, and the graceful end.
Never: signals and exit codes (ops.process), what happens inside a request (proxy).
"""

import asyncio
import contextlib
import os
import socket
import ssl
import stat
from pathlib import Path

from corsproxy.config.table import Address, Table, Upstream
from corsproxy.ops.log import ExchangeLog
from corsproxy.proxy.downstream import ClientServer
from corsproxy.proxy.exchange import Exchange
from corsproxy.proxy.handler import Handler
from corsproxy.upstream.pool import Pool
from corsproxy.upstream.tls import client_context

__all__ = ["ListenError", "Server", "reason_of"]

_BACKLOG = 4096
_RESOLVE_SECONDS = 5.0


class ListenError(Exception):
    """An address cannot be listened on; the text is one line for a person."""


def reason_of(error: OSError) -> str:
    """What the system says, without what asyncio wraps around it."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return (error.strerror or str(error)).lower()


class Server:
    """Serves one table on its listener, between `start` and `stop`."""

    def __init__(self, table: Table, log: ExchangeLog | None = None) -> None:
        """log: where finished exchanges go; None = nowhere."""
        self.table = table
        self.addresses: list[Address] = []  # where it really listens, port 0 resolved
        self._log = log
        self._upstreams = list(dict.fromkeys(route.upstream for route in table.routes))
        self._pools: dict[Upstream, Pool] = {}
        self._clients: ClientServer | None = None
        self._listener: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen and serve. Raises ListenError."""
        tls = self._tls()
        self._pools = {
            upstream: Pool(
                upstream.endpoints[0],
                max_connections=upstream.max_connections,
                tls=tls if upstream.endpoints[0].scheme == "https" else None,
            )
            for upstream in self._upstreams
        }
        handler = Handler(self.table, self._pools, _drop if self._log is None else self._log.record)
        self._clients = ClientServer(handler, loop=asyncio.get_running_loop())
        self._listener = await _listen(self._clients, self.table.listen)
        self.addresses = [_address_of(sock) for sock in self._listener.sockets]

    async def stop(self) -> None:
        """Stop accepting, finish what is in flight within `drain.timeout`, then end the rest."""
        if self._listener is not None:
            self._listener.close()
        if self._clients is not None:
            await self._clients.shutdown(self.table.drain.timeout)
        for pool in self._pools.values():
            pool.close()
        _remove_socket(self.table.listen)
        if self._log is not None:
            self._log.flush()

    def abort(self) -> None:
        """End everything now, finished or not."""
        if self._clients is not None:
            self._clients.abort()

    @property
    def connections(self) -> int:
        """Client connections now open."""
        return 0 if self._clients is None else self._clients.open_count

    async def unresolved_hosts(self) -> list[str]:
        """Names of upstream hosts that do not resolve now. They may later, so it is worth only a warning."""
        hosts = sorted({end.host for up in self._upstreams for end in up.endpoints if end.host})
        found = await asyncio.gather(*(_resolves(host) for host in hosts))
        return [host for host, resolves in zip(hosts, found, strict=True) if not resolves]

    def _tls(self) -> ssl.SSLContext | None:
        wanted = any(end.scheme == "https" for upstream in self._upstreams for end in upstream.endpoints)
        return client_context() if wanted else None


def _drop(exchange: Exchange, ended: float) -> None:
    """Keep no log."""


async def _listen(clients: ClientServer, address: Address) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    try:
        if address.path:
            _remove_stale_socket(Path(address.path))
            return await loop.create_unix_server(clients, address.path, backlog=_BACKLOG)
        return await loop.create_server(clients, address.host or None, address.port, backlog=_BACKLOG)
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {reason_of(error)}") from error


def _remove_socket(address: Address) -> None:
    if address.path:
        with contextlib.suppress(OSError):
            Path(address.path).unlink()


def _remove_stale_socket(path: Path) -> None:
    """Make way for a new socket where an earlier process left one; a live one, or a file, stays."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()


def _address_of(sock: socket.socket) -> Address:
    name = sock.getsockname()
    return Address(path=name) if isinstance(name, str) else Address(host=name[0], port=name[1])


async def _resolves(host: str) -> bool:
    try:
        async with asyncio.timeout(_RESOLVE_SECONDS):
            await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return True
