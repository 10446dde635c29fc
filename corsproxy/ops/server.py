"""The data plane as one thing that starts and stops.

Here:  the listener, the upstreams behind it, and the graceful end.
Never: signals and exit codes (ops.process), what happens inside a request (proxy).
"""

import asyncio
import logging
import socket
from pathlib import Path

from corsproxy.config.table import Address, Table, Upstream
from corsproxy.ops.certificates import ListenerCertificate
from corsproxy.ops.log import ExchangeLog
from corsproxy.ops.sockets import inode_of, reason_of, remove_own_socket, remove_stale_socket
from corsproxy.proxy.downstream import ClientServer, has_c_parser
from corsproxy.proxy.exchange import Exchange
from corsproxy.proxy.handler import Handler
from corsproxy.upstream.cluster import Change, Cluster, Notice, build_clusters
from corsproxy.upstream.resolve import Resolver

__all__ = ["ListenError", "Server", "StartError"]

_log = logging.getLogger(__name__)

_BACKLOG = 4096
_RESOLVE_SECONDS = 5.0
_TLS_SHUTDOWN_SECONDS = 5.0


class StartError(Exception):
    """The server cannot start; the text is one line for a person."""


class ListenError(StartError):
    """An address cannot be listened on."""


class Server:
    """Serves one table on its listener, between `start` and `stop`."""

    def __init__(self, table: Table, log: ExchangeLog | None = None) -> None:
        """log: where finished exchanges go; None = nowhere."""
        self.table = table
        self.addresses: list[Address] = []  # where it really listens, port 0 resolved
        self._log = log
        self._upstreams = list(dict.fromkeys(route.upstream for route in table.routes))
        self._resolver = Resolver()
        self._clusters: dict[Upstream, Cluster] = {}
        self._certificate: ListenerCertificate | None = None
        self._clients: ClientServer | None = None
        self._listener: asyncio.Server | None = None
        self._socket_inode = 0  # of the Unix socket that was made here

    async def start(self) -> None:
        """Listen and serve. Raises StartError, and PemError where a certificate cannot be used."""
        if not has_c_parser():
            raise StartError(
                "aiohttp has no C extensions here, and its Python parser lets ambiguous requests pass: "
                "install a wheel of aiohttp, and unset AIOHTTP_NO_EXTENSIONS"
            )
        tls = self.table.tls
        self._certificate = None if tls is None else ListenerCertificate(tls)
        self._clusters = build_clusters(self._upstreams, self._resolver, _log_notice)
        handler = Handler(self.table, self._clusters, _drop if self._log is None else self._log.record)
        self._clients = ClientServer(handler, loop=asyncio.get_running_loop())
        self._listener = await _listen(self._clients, self.table, self._certificate)
        self.addresses = [_address_of(sock) for sock in self._listener.sockets]
        self._socket_inode = inode_of(self.table.listen)
        if self._certificate is not None:
            self._certificate.watch()
        for cluster in self._clusters.values():
            cluster.start()

    async def stop(self) -> None:
        """Stop accepting, finish what is in flight within `drain.timeout`, then end the rest."""
        if self._listener is not None:
            self._listener.close()
        if self._certificate is not None:
            self._certificate.close()
        if self._clients is not None:
            await self._clients.shutdown(self.table.drain.timeout)
        for cluster in self._clusters.values():
            cluster.close()
        self._resolver.close()
        remove_own_socket(self.table.listen, self._socket_inode)
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


def _drop(exchange: Exchange, ended: float) -> None:
    """Keep no log."""


def _log_notice(notice: Notice) -> None:
    """Say once what became of an endpoint."""
    level = logging.INFO if notice.change in {Change.HEALTHY, Change.RETURNED} else logging.WARNING
    detail = f" ({notice.detail})" if notice.detail else ""
    _log.log(level, "upstream %s: %s is %s%s", notice.upstream, notice.endpoint, notice.change.value, detail)


async def _listen(
    clients: ClientServer, table: Table, certificate: ListenerCertificate | None
) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    address = table.listen
    context = None if certificate is None else certificate.context
    # A handshake is to the connection what the head is to the request: both end a client that sends nothing.
    handshake = None if certificate is None else table.timeouts.client_head
    shutdown = None if certificate is None else _TLS_SHUTDOWN_SECONDS
    try:
        if address.path:
            remove_stale_socket(Path(address.path))
            return await loop.create_unix_server(
                clients,
                address.path,
                backlog=_BACKLOG,
                ssl=context,
                ssl_handshake_timeout=handshake,
                ssl_shutdown_timeout=shutdown,
            )
        return await loop.create_server(
            clients,
            address.host or None,
            address.port,
            backlog=_BACKLOG,
            ssl=context,
            ssl_handshake_timeout=handshake,
            ssl_shutdown_timeout=shutdown,
        )
    except OSError as error:
        raise ListenError(f"cannot listen on {address}: {reason_of(error)}") from error


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
