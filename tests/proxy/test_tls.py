"""TLS on both sides of a running proxy."""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from corsproxy.config.certificates import PemError
from corsproxy.config.table import Address, Endpoint, Limits, ListenTls, Route, Table, Timeouts, UpstreamTls
from corsproxy.config.words import quoted
from corsproxy.ops import certificates
from corsproxy.ops.certificates import Handshakes, ListenerCertificate
from corsproxy.ops.configuration import Loaded, Source
from corsproxy.ops.process import serve
from tests.certificates import (
    Files,
    client_context,
    dial_tls,
    files_of,
    issue,
    server_context,
    tls_upstream,
)
from tests.proxy.conftest import APP, Proxy, proxy, route, upstream_at
from tests.proxy.test_shutdown import turns
from tests.wire import PATIENCE, Upstream, Wire, answers, ask, dial, get, ok, upstream

ORIGIN = f"Origin: {APP}"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA(key_type=trustme.KeyType.ECDSA)


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> Files:
    return files_of(authority, tmp_path)


def listen_tls(files: Files, client_ca: str = "") -> ListenTls:
    return ListenTls(files.cert, files.key, client_ca)


def peer_certificate(wire: Wire) -> bytes:
    found = wire.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    assert isinstance(found, bytes)
    return found


# Towards clients


async def test_requests_over_tls(files: Files) -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port), tls=listen_tls(files)) as front:
        wire = await dial_tls(front.address, client_context(files))
        for _ in range(3):
            await wire.send(get("/", ORIGIN))
            answer = await wire.message()
            assert (answer.status, answer.body) == (200, b"hello")
            assert answer.one("Access-Control-Allow-Origin") == APP
        assert legacy.requests[0].one("X-Forwarded-Proto") == "https"
        assert wire.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        await wire.close()


async def test_a_page_of_the_proxy_itself_has_an_https_origin(files: Files) -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port), tls=listen_tls(files)) as front:
        for origin, host, reason in (
            ("https://proxy.test", "proxy.test", "same-origin"),
            ("https://proxy.test", "proxy.test:443", "same-origin"),
            ("http://proxy.test", "proxy.test", "origin-not-allowed"),
        ):
            wire = await dial_tls(front.address, client_context(files))
            await wire.send(get("/", f"Origin: {origin}", host=host))
            await wire.message()
            assert front.last.decision is not None
            assert front.last.decision.reason == reason
            await wire.close()


async def test_a_large_body_arrives_whole_both_ways(files: Files) -> None:
    body = bytes(range(256)) * 4096

    async def echo(server: Upstream, wire: Wire) -> None:
        request = await server.request(wire)
        await wire.send(ok(request.body))

    async with (
        tls_upstream(echo, server_context(files)) as legacy,
        proxy(to_tls(legacy.port, UpstreamTls(ca=files.ca)), tls=listen_tls(files)) as front,
    ):
        wire = await dial_tls(front.address, client_context(files))
        await wire.send(get("/", f"Content-Length: {len(body)}", method="POST") + body)
        answer = await wire.message()
        assert (answer.status, answer.body == body) == (200, True)
        await wire.close()


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS, ids=lambda version: version.name)
async def test_the_versions_that_are_spoken(version: ssl.TLSVersion, files: Files) -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port), tls=listen_tls(files)) as front:
        context = client_context(files)
        context.minimum_version = context.maximum_version = version
        wire = await dial_tls(front.address, context)
        await wire.send(get("/"))
        assert (await wire.message()).status == 200
        await wire.close()


async def test_older_versions_are_not(files: Files) -> None:
    async with proxy(route(1), tls=listen_tls(files)) as front:
        context = client_context(files)
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        context.set_ciphers("ALL:@SECLEVEL=0")  # else the client itself would refuse
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await dial_tls(front.address, context)


async def test_plain_http_on_the_tls_port_gets_no_answer_and_the_log_says_why(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with proxy(route(1), tls=listen_tls(files)) as front:
        wire = await dial(front.address)
        await wire.send(get("/"))
        with contextlib.suppress(ConnectionError):
            assert not (await wire.rest()).startswith(b"HTTP/")
        assert front.recorder.exchanges == []
        await wire.close()
    says = "a TLS handshake failed: http request (a client speaks plain HTTP: https:// is spoken here)"
    assert [record.message for record in caplog.records] == [says]


async def test_tls_on_the_plain_port_is_named(files: Files) -> None:
    async with proxy(route(1)) as front:
        with pytest.raises(ssl.SSLError):
            await dial_tls(front.address, client_context(files))
        assert front.last.fault is not None
        assert front.last.fault.detail == "a TLS handshake, where plain HTTP is spoken"


def test_handshakes_that_fail_alike_are_told_of_once_in_a_while(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    failed = Handshakes()
    clock = 1000.0
    monkeypatch.setattr(certificates.time, "monotonic", lambda: clock)
    for reason in ("HTTP_REQUEST", "HTTP_REQUEST", "NO_SHARED_CIPHER", "HTTP_REQUEST"):
        error = ssl.SSLError(1, "unimportant")
        error.reason = reason
        failed.note(error)
    clock += 61.0
    failed.note(error)
    plain = "a TLS handshake failed: http request (a client speaks plain HTTP: https:// is spoken here)"
    assert [record.message for record in caplog.records] == [
        plain,
        "a TLS handshake failed: no shared cipher",
        f"{plain}; 2 more since this was said last",
    ]


async def test_a_client_that_does_not_shake_hands_is_let_go(files: Files) -> None:
    soon = Timeouts(client_head=0.05)
    async with proxy(route(1), tls=listen_tls(files), timeouts=soon) as front:
        wire = await dial(front.address)
        assert await wire.ended()
        await wire.close()


async def test_handshakes_count_among_connections(files: Files, caplog: pytest.LogCaptureFixture) -> None:
    """Each holds a descriptor, for as long as its client likes to say nothing."""
    caplog.set_level(logging.INFO)
    most = 1 + 16  # some more than the limit are answered 503
    async with (
        upstream(answers(ok())) as legacy,
        proxy(route(legacy.port), tls=listen_tls(files), limits=Limits(connections=1)) as front,
    ):
        silent = [await front.dial() for _ in range(most)]
        await turns()
        late = await front.dial()
        assert await late.ended()
        assert "a TLS handshake failed: too many connections" in caplog.messages
        for wire in silent:
            wire.abort()
        await turns()
        wire = await dial_tls(front.address, client_context(files))
        await wire.send(get("/"))
        assert (await wire.message()).status == 200
        await wire.close()


async def shaking_hands(front: Proxy) -> Wire:
    """A connection that was accepted, and whose client has yet to say hello."""
    wire = await front.dial()
    await turns()
    return wire


async def test_a_handshake_that_ends_after_a_reload_is_served_by_the_new_table(files: Files) -> None:
    async with (
        upstream(answers(ok(b"old"))) as old,
        upstream(answers(ok(b"new"))) as new,
        proxy(route(old.port), tls=listen_tls(files)) as front,
    ):
        wire = await shaking_hands(front)
        front.server.swap(replace(front.server.table, routes=(route(new.port),)))
        await wire.writer.start_tls(client_context(files), server_hostname="localhost")
        await wire.send(get("/"))
        assert (await wire.message()).body == b"new"


async def test_a_request_behind_a_handshake_that_ends_late_is_waited_for_too(files: Files) -> None:
    """As long as others are: and its exchange is recorded like any."""
    held, asked = asyncio.Event(), asyncio.Semaphore(0)

    async def behave(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        asked.release()
        await held.wait()
        await wire.send(ok())

    async with upstream(behave) as legacy, proxy(route(legacy.port), tls=listen_tls(files)) as front:
        first = await dial_tls(front.address, client_context(files))
        await first.send(get("/"))
        await asked.acquire()
        late = await shaking_hands(front)
        stopping = asyncio.create_task(front.server.stop())
        await turns()
        await late.writer.start_tls(client_context(files), server_hostname="localhost")
        await late.send(get("/"))
        await asked.acquire()
        held.set()
        for wire in (first, late):
            assert (await wire.message()).status == 200
            await wire.close()
        async with asyncio.timeout(PATIENCE):
            await stopping
        assert len(front.recorder.exchanges) == 2


async def test_a_handshake_that_ends_while_it_drains_has_one_exchange(files: Files) -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port), tls=listen_tls(files)) as front:
        wire = await shaking_hands(front)
        front.server.drain()
        await wire.writer.start_tls(client_context(files), server_hostname="localhost")
        await wire.send(get("/"))
        assert (await wire.message()).one("Connection") == "close"


async def test_a_cut_response_is_seen_as_cut(files: Files) -> None:
    async def breaks_off(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        wire.abort()

    async with (
        tls_upstream(breaks_off, server_context(files)) as legacy,
        proxy(to_tls(legacy.port, UpstreamTls(ca=files.ca)), tls=listen_tls(files)) as front,
    ):
        wire = await dial_tls(front.address, client_context(files))
        await wire.send(get("/"))
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError, ssl.SSLError)):
            await wire.message()
        assert front.last.fault is not None
        await wire.close()


async def test_over_a_unix_socket(files: Files, tmp_path: Path) -> None:
    path = str(tmp_path / "front.sock")
    settings = {"listen": Address(path=path), "tls": listen_tls(files)}
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port), **settings):
        context = client_context(files)
        wire = Wire(*await asyncio.open_unix_connection(path, ssl=context, server_hostname="localhost"))
        await wire.send(get("/"))
        assert (await wire.message()).status == 200
        await wire.close()


# Client certificates


async def status_with(context: ssl.SSLContext, address: Address) -> int:
    """The status that a client gets; 0 when the handshake fails, which in TLS 1.3 it hears when it reads."""
    try:
        wire = await dial_tls(address, context)
    except (ssl.SSLError, ConnectionError):
        return 0
    try:
        await wire.send(get("/"))
        return (await wire.message()).status
    except (ssl.SSLError, ConnectionError, asyncio.IncompleteReadError):
        return 0
    finally:
        with contextlib.suppress(ssl.SSLError):
            await wire.close()


async def test_a_client_certificate_is_asked_for_and_not_required(
    files: Files, authority: trustme.CA, tmp_path: Path
) -> None:
    mine = files_of(authority, tmp_path, "me", prefix="mine-")
    foreign = files_of(trustme.CA(key_type=trustme.KeyType.ECDSA), tmp_path, "me", prefix="foreign-")
    async with upstream(answers(ok())) as legacy:
        async with proxy(route(legacy.port), tls=listen_tls(files, files.ca)) as front:
            assert await status_with(client_context(files, show=mine), front.address) == 200
            assert await status_with(client_context(files), front.address) == 200
            assert await status_with(client_context(files, show=foreign), front.address) == 0
        assert len(legacy.requests) == 2


# Renewed files


async def shown_by(address: Address, files: Files) -> bytes:
    wire = await dial_tls(address, client_context(files))
    try:
        return peer_certificate(wire)
    finally:
        await wire.close()


def content(path: str) -> bytes:
    return Path(path).read_bytes()


def write(path: str, new: bytes | None) -> bytes:
    """Replace a file, or remove it; returns what was in it."""
    old = content(path) if Path(path).exists() else b""
    if new is None:
        Path(path).unlink()
    else:
        Path(path).write_bytes(new)
    return old


async def test_a_renewed_certificate_is_shown_and_open_connections_stay(
    files: Files, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "corsproxy.ops.certificates")
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port), tls=listen_tls(files)) as front:
        wire = await dial_tls(front.address, client_context(files))
        await wire.send(get("/"))
        assert (await wire.message()).status == 200
        certificate = front.server._certificate
        assert certificate is not None
        old = await shown_by(front.address, files)
        certificate.refresh()
        assert await shown_by(front.address, files) == old  # nothing changed, nothing is loaded
        issue(authority, files)
        certificate.refresh()
        assert await shown_by(front.address, files) != old
        await wire.send(get("/"))
        assert (await wire.message()).status == 200
        assert peer_certificate(wire) == old
        await wire.close()
    assert caplog.messages == [f"the listener's certificate was renewed from {files.cert}"]


async def test_files_that_cannot_be_used_leave_the_old_in_use_and_are_named_once(
    files: Files, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    async with proxy(route(1), tls=listen_tls(files)) as front:
        certificate = front.server._certificate
        assert certificate is not None
        old = await shown_by(front.address, files)
        old_key = content(files.key)
        issue(authority, files)
        new_key = write(files.key, old_key)  # half renewed
        for _ in range(3):
            certificate.refresh()
        assert await shown_by(front.address, files) == old
        blame = f"{quoted(files.key)} is not the key of the first certificate in {quoted(files.cert)}"
        assert caplog.messages == [f"the listener keeps its certificate: {blame}"]
        write(files.key, None)
        certificate.refresh()
        assert "no such file" in caplog.messages[-1]
        assert await shown_by(front.address, files) == old
        write(files.key, new_key)
        certificate.refresh()
        assert await shown_by(front.address, files) != old


async def test_a_renewed_client_authority_counts_too(
    files: Files, authority: trustme.CA, tmp_path: Path
) -> None:
    late = trustme.CA(key_type=trustme.KeyType.ECDSA)
    mine = files_of(late, tmp_path, "me", prefix="mine-")
    clients = tmp_path / "clients.pem"
    clients.write_bytes(authority.cert_pem.bytes())
    async with (
        upstream(answers(ok())) as legacy,
        proxy(route(legacy.port), tls=listen_tls(files, str(clients))) as front,
    ):
        assert await status_with(client_context(files, show=mine), front.address) == 0
        clients.write_bytes(authority.cert_pem.bytes() + late.cert_pem.bytes())
        assert front.server._certificate is not None
        front.server._certificate.refresh()
        assert await status_with(client_context(files, show=mine), front.address) == 200


async def test_the_files_are_looked_at_until_it_is_closed(files: Files, authority: trustme.CA) -> None:
    renewed = asyncio.Event()

    class Watched(ListenerCertificate):
        def refresh(self) -> None:
            super().refresh()
            renewed.set()

    certificate = Watched(listen_tls(files))
    certificate.watch(0.001)
    for _ in range(2):  # again and again
        async with asyncio.timeout(PATIENCE):
            await renewed.wait()
        renewed.clear()
    certificate.close()
    assert certificate._timer is None


async def test_a_look_that_fails_is_followed_by_others(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    again = asyncio.Event()

    class Broken(ListenerCertificate):
        looks = 0

        def refresh(self) -> None:
            self.looks += 1
            if self.looks == 1:
                raise ZeroDivisionError("ours")
            again.set()

    certificate = Broken(listen_tls(files))
    certificate.watch(0.001)
    async with asyncio.timeout(PATIENCE):
        await again.wait()
    certificate.close()
    assert [record.getMessage() for record in caplog.records] == [
        "internal error; the listener keeps its certificate"
    ]


def test_a_certificate_that_cannot_be_used_ends_the_start_with_one_line(
    files: Files, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(files.key).unlink()
    table = Table((route(1),), (), listen=Address("127.0.0.1", 0), tls=listen_tls(files))
    monkeypatch.setattr("corsproxy.ops.process.set_up_logging", lambda *_: None)
    assert serve(Source("", {}), Loaded("", table, ())) == 1
    with pytest.raises(PemError, match="no such file or directory"):
        ListenerCertificate(listen_tls(files))
    assert "Traceback" not in capsys.readouterr().err


# Towards the upstream


def to_tls(port: int, tls: UpstreamTls, host: str = "127.0.0.1") -> Route:
    return route(0, upstream=replace(upstream_at(0), endpoints=(Endpoint("https", host, port),), tls=tls))


async def test_an_upstream_over_tls(files: Files) -> None:
    async with (
        tls_upstream(answers(ok()), server_context(files)) as legacy,
        proxy(to_tls(legacy.port, UpstreamTls(ca=files.ca))) as front,
    ):
        for _ in range(3):
            assert (await ask(front.address, get("/", ORIGIN))).body == b"hello"
        assert legacy.connections == 1
        assert front.last.endpoint == f"https://127.0.0.1:{legacy.port}"


async def test_an_upstream_that_is_not_trusted_is_a_fault_whose_reason_stays_in_the_log(files: Files) -> None:
    async with tls_upstream(answers(ok()), server_context(files)) as legacy:
        async with proxy(to_tls(legacy.port, UpstreamTls())) as front:
            answer = await ask(front.address, get("/", ORIGIN))
            assert answer.status == 502
            assert answer.one("Proxy-Status") == "corsproxy; error=tls_protocol_error"
            assert answer.one("Access-Control-Allow-Origin") == APP
            assert b"certificate" not in answer.body
            assert front.last.fault is not None
            assert front.last.fault.code == "tls-error"
            assert "unable to get local issuer certificate" in front.last.fault.detail
        assert legacy.requests == []


def refuse_one(listener: socket.socket, context: ssl.SSLContext) -> None:
    """Shake hands once, in vain; unlike asyncio's, this server gets its alert out, and reads to the end."""
    connection, _ = listener.accept()
    wrapped = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
    with pytest.raises(ssl.SSLError, match="did not return a certificate"):
        wrapped.do_handshake()
    with socket.socket(fileno=wrapped.detach()) as raw:
        raw.shutdown(socket.SHUT_WR)
        while raw.recv(4096):
            pass


async def test_a_client_certificate_that_the_upstream_misses_is_named(files: Files) -> None:
    """TLS 1.3 lets the client go first: the refusal comes in place of the response."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        refusing = asyncio.ensure_future(
            asyncio.to_thread(refuse_one, listener, server_context(files, client_ca=files.ca))
        )
        tls = UpstreamTls(ca=files.ca)
        async with proxy(to_tls(listener.getsockname()[1], tls)) as front:
            assert (await ask(front.address, get("/"))).status == 502
            assert front.last.fault is not None
            assert front.last.fault.code == "tls-error"
            assert "certificate required" in front.last.fault.detail
        await refusing


async def test_a_body_that_ends_with_the_connection_needs_the_tls_goodbye(files: Files) -> None:
    """RFC 9112 §9.8: without close_notify a body without a length is incomplete."""

    async def closes(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\nwhole")

    async def drops(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        await wire.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        with socket.socket(fileno=os.dup(wire.writer.get_extra_info("socket").fileno())) as raw:
            raw.shutdown(socket.SHUT_WR)  # the end of the TCP stream, and no word of TLS

    for behaviour, is_whole in ((closes, True), (drops, False)):
        async with (
            tls_upstream(behaviour, server_context(files)) as legacy,
            proxy(to_tls(legacy.port, UpstreamTls(ca=files.ca))) as front,
        ):
            wire = await front.dial()
            await wire.send(get("/"))
            if is_whole:
                assert (await wire.message()).body == b"whole"
            else:
                with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                    await wire.message()
                assert front.last.fault is not None
