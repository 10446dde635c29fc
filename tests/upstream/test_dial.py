"""Connecting over IPv4, IPv6 and TLS; what each failure is called; which address answered."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from corsproxy.config.certificates import PemError
from corsproxy.config.table import Endpoint, UpstreamTls
from corsproxy.http.faults import Fault
from corsproxy.upstream.connection import Connection
from corsproxy.upstream.dial import fault_of
from corsproxy.upstream.pool import Pool
from corsproxy.upstream.resolve import AddrInfo, Resolver
from corsproxy.upstream.tls import client_tls
from tests.certificates import Files, files_of, server_context, tls_upstream
from tests.wire import PATIENCE, Behaviour, Upstream, Wire, answers, ok, upstream


async def listens(server: Upstream, wire: Wire) -> None:
    await wire.rest()


async def connected(pool: Pool) -> Connection | Fault:
    outcome: asyncio.Future[Connection | Fault] = asyncio.get_running_loop().create_future()
    pool.open(PATIENCE, outcome.set_result)
    async with asyncio.timeout(PATIENCE):
        return await outcome


def resolver(*addresses: tuple[str, int]) -> Resolver:
    """Says that every name has these addresses, in this order."""

    async def lookup(_host: str, _port: int) -> list[AddrInfo]:
        return [info(address) for address in addresses]

    return Resolver(lookup)


def info(address: tuple[str, int]) -> AddrInfo:
    host, port = address
    if ":" in host:
        return (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0))
    return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)


def pool_to(addresses: Sequence[tuple[str, int]], host: str = "legacy.test") -> Pool:
    endpoint = Endpoint("http", host, addresses[0][1])
    return Pool(endpoint, max_connections=0, tls=None, resolver=resolver(*addresses))


async def test_a_name_on_ipv6_and_ipv4_where_only_ipv4_listens() -> None:
    async with upstream(listens) as legacy:
        pool = pool_to([("::1", legacy.port), ("127.0.0.1", legacy.port)])
        found = await connected(pool)
        assert isinstance(found, Connection)
        assert found.address == f"127.0.0.1:{legacy.port}"
        pool.close()
        found.close()


async def test_a_name_on_ipv6_and_ipv4_where_only_ipv6_listens() -> None:
    listener = await asyncio.start_server(lambda _, writer: writer.close(), "::1", 0)
    port = listener.sockets[0].getsockname()[1]
    found = await connected(pool_to([("127.0.0.1", port), ("::1", port)]))
    assert isinstance(found, Connection)
    assert found.address == f"[::1]:{port}"
    found.close()
    listener.close()


async def test_localhost_as_the_system_resolves_it() -> None:
    async with upstream(listens) as legacy:
        pool = Pool(Endpoint("http", "localhost", legacy.port), max_connections=0, tls=None)
        found = await connected(pool)
        assert isinstance(found, Connection)
        assert found.address == f"127.0.0.1:{legacy.port}"
        found.close()


async def test_a_literal_ipv6_address() -> None:
    listener = await asyncio.start_server(lambda _, writer: writer.close(), "::1", 0)
    port = listener.sockets[0].getsockname()[1]
    found = await connected(Pool(Endpoint("http", "::1", port), max_connections=0, tls=None))
    assert isinstance(found, Connection)
    assert found.address == ""  # the endpoint says it
    found.close()
    listener.close()


async def test_a_host_that_moved_is_found_again() -> None:
    now = 0.0
    async with upstream(listens) as old, upstream(listens) as new:
        ports = [old.port, new.port]

        async def lookup(_host: str, _port: int) -> list[AddrInfo]:
            return [info(("127.0.0.1", ports.pop(0)))]

        moving = Pool(
            Endpoint("http", "legacy.test", 80),
            max_connections=0,
            tls=None,
            resolver=Resolver(lookup, lambda: now),
        )
        first = await connected(moving)
        now = 6.0
        second = await connected(moving)
        assert isinstance(first, Connection)
        assert isinstance(second, Connection)
        assert (first.address, second.address) == (f"127.0.0.1:{old.port}", f"127.0.0.1:{new.port}")
        first.close()
        second.close()


async def test_nagle_is_off_on_every_loop() -> None:
    """A socket that is connected beforehand must not lose what the loop sets on its own."""
    async with upstream(listens) as legacy:
        found = await connected(pool_to([("127.0.0.1", legacy.port)]))
        assert isinstance(found, Connection)
        sock = found.transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        found.close()


async def test_refused_on_every_address_is_refused() -> None:
    async with upstream(listens) as legacy:
        port = legacy.port
    found = await connected(pool_to([("::1", port), ("127.0.0.1", port)]))
    assert isinstance(found, Fault)
    assert (found.code, found.detail) == ("connection-refused", f"http://legacy.test:{port}")


FAULTS: list[tuple[Exception, str]] = [
    (TimeoutError(), "connect-timeout"),
    (ConnectionRefusedError(), "connection-refused"),
    (socket.gaierror(socket.EAI_NONAME, "no"), "dns-error"),
    (OSError(errno.EHOSTUNREACH, "no route"), "unreachable"),
    (ssl.SSLError("x"), "tls-error"),
    (ValueError("a path with a NUL"), "unreachable"),
]


@pytest.mark.parametrize(("error", "code"), FAULTS, ids=[code for _, code in FAULTS])
def test_what_a_failure_is_called(error: Exception, code: str) -> None:
    assert fault_of(error, "e").code == code


# TLS


@dataclass(frozen=True)
class Handshake:
    says: str
    settings: (
        str  # of `tls`, as Python, with `files` (the server's), `mine` (the client's), `other` (an authority)
    )
    host: str = "localhost"
    wants_certificate: bool = False
    objection: str | None = None  # None = it works


HANDSHAKES = [
    Handshake("its own authority", "UpstreamTls(ca=files.ca)"),
    Handshake("an address in the certificate", "UpstreamTls(ca=files.ca)", host="127.0.0.1"),
    Handshake(
        "the system's authorities do not know it", "UpstreamTls()", objection="unable to get local issuer"
    ),
    Handshake("another authority", "UpstreamTls(ca=other.ca)", objection="unable to get local issuer"),
    Handshake("unverified", "UpstreamTls(verify=False)"),
    Handshake("another name", "UpstreamTls(ca=files.ca)", host="legacy.test", objection="Hostname mismatch"),
    Handshake(
        "a name that is given", "UpstreamTls(ca=files.ca, server_name='localhost')", host="legacy.test"
    ),
    Handshake(
        "a given name that the certificate lacks",
        "UpstreamTls(ca=files.ca, server_name='else.test')",
        objection="Hostname mismatch",
    ),
    Handshake(
        "a client certificate",
        "UpstreamTls(ca=files.ca, cert=mine.cert, key=mine.key)",
        wants_certificate=True,
    ),
]


@pytest.mark.parametrize("case", HANDSHAKES, ids=lambda case: case.says)
async def test_handshake(case: Handshake, files: Files, authority: trustme.CA, tmp_path: Path) -> None:
    mine = files_of(authority, tmp_path, "me", prefix="mine-")
    other = files_of(trustme.CA(), tmp_path, prefix="other-")
    settings = eval(case.settings, {"UpstreamTls": UpstreamTls, "files": files, "mine": mine, "other": other})
    context = server_context(files, client_ca=files.ca if case.wants_certificate else "")
    async with tls_upstream(listens, context) as legacy:
        pool = Pool(
            Endpoint("https", case.host, legacy.port),
            max_connections=0,
            tls=client_tls(settings),
            resolver=resolver(("127.0.0.1", legacy.port)),
        )
        found = await connected(pool)
        if case.objection is None:
            assert isinstance(found, Connection)
            handshake = found.transport.get_extra_info("ssl_object")
            assert handshake.version() in {"TLSv1.2", "TLSv1.3"}
            assert handshake.selected_alpn_protocol() == "http/1.1"
            found.close()
        else:
            assert isinstance(found, Fault)
            assert found.code == "tls-error"
            assert case.objection in found.detail


async def test_an_old_version_is_refused(files: Files) -> None:
    context = server_context(files)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    async with tls_upstream(listens, context) as legacy:
        tls = client_tls(UpstreamTls(ca=files.ca))
        found = await connected(Pool(Endpoint("https", "127.0.0.1", legacy.port), max_connections=0, tls=tls))
        assert isinstance(found, Fault)
        assert found.code == "tls-error"


async def hangs_up(server: Upstream, wire: Wire) -> None:
    await wire.reader.read(1)


@pytest.mark.parametrize("behaviour", [answers(ok()), hangs_up], ids=["plain HTTP", "a hang-up"])
async def test_an_endpoint_that_does_not_speak_tls(behaviour: Behaviour) -> None:
    async def behave(server: Upstream, wire: Wire) -> None:
        if behaviour is hangs_up:
            await hangs_up(server, wire)
        else:
            await wire.reader.read(1)
            await wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with upstream(behave) as legacy:
        tls = client_tls(UpstreamTls(verify=False))
        found = await connected(Pool(Endpoint("https", "127.0.0.1", legacy.port), max_connections=0, tls=tls))
        assert isinstance(found, Fault)
        assert found.code == "tls-error"


def test_a_certificate_that_vanished_is_said() -> None:
    with pytest.raises(PemError, match="cannot read"):
        client_tls(UpstreamTls(ca="/no/such.pem"))
