"""Opening one connection to an endpoint: name, addresses, socket, TLS.

Here:  the steps in their order, over IPv4, IPv6 or a Unix socket, and what each failure is called.
Never: how many connections there are (pool), what is said over them, time limits.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TypeVar

from aiohappyeyeballs import start_connection

from corsproxy.config.table import Endpoint
from corsproxy.http.faults import (
    CONNECT_TIMEOUT,
    DNS_ERROR,
    UPSTREAM_REFUSED,
    UPSTREAM_TLS,
    UPSTREAM_UNREACHABLE,
    Fault,
)
from corsproxy.upstream.resolve import Resolver
from corsproxy.upstream.tls import ClientTls, tls_objection

__all__ = ["address_of", "dial", "fault_of"]

# How long one address may keep the next waiting (RFC 8305 §5): `localhost` is often ::1 and 127.0.0.1 while
# the server listens on one of them only.
_NEXT_ADDRESS_SECONDS = 0.25

P = TypeVar("P", bound=asyncio.Protocol)


class _HandshakeError(OSError):
    """The endpoint hung up while TLS was being set up."""


async def dial(endpoint: Endpoint, made: Callable[[], P], resolver: Resolver, tls: ClientTls | None) -> P:
    """The protocol of a new connection. Raises OSError; `fault_of` says which fault that is.

    tls: used when the endpoint is `https`.
    """
    loop = asyncio.get_running_loop()
    if endpoint.path:
        _, protocol = await loop.create_unix_connection(made, endpoint.path)
        return protocol
    sock = await _connected_socket(endpoint, resolver)
    if endpoint.scheme == "http" or tls is None:
        _, protocol = await loop.create_connection(made, sock=sock)
        return protocol
    try:
        _, protocol = await loop.create_connection(
            made, sock=sock, ssl=tls.context, server_hostname=tls.server_name or endpoint.host
        )
    except ConnectionError as error:
        raise _HandshakeError("hung up during the handshake") from error
    return protocol


async def _connected_socket(endpoint: Endpoint, resolver: Resolver) -> socket.socket:
    addresses = await resolver.addresses(endpoint.host, endpoint.port)
    try:
        return await start_connection(addresses, happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS)
    except RuntimeError as error:  # uvloop, on a socket that failed in an unusual way
        raise OSError(str(error)) from error


def address_of(transport: asyncio.Transport, endpoint: Endpoint) -> str:
    """Which address of a named host answered; "" where the endpoint's own name says it."""
    peer = transport.get_extra_info("peername")
    if endpoint.path or not isinstance(peer, tuple) or peer[0] == endpoint.host:
        return ""
    return f"[{peer[0]}]:{peer[1]}" if ":" in peer[0] else f"{peer[0]}:{peer[1]}"


def fault_of(error: Exception, name: str) -> Fault:
    """The fault for a connection that could not be opened. name: of the endpoint; only the log shows it."""
    match error:
        case TimeoutError():
            return CONNECT_TIMEOUT.because(name)
        case _HandshakeError():
            return UPSTREAM_TLS.because(f"{name}: {error}")
        case ssl.SSLError():
            return UPSTREAM_TLS.because(f"{name}: {tls_objection(error)}")
        case socket.gaierror():
            return DNS_ERROR.because(name)
        case ConnectionRefusedError():
            return UPSTREAM_REFUSED.because(name)
        case _:
            return UPSTREAM_UNREACHABLE.because(name)
