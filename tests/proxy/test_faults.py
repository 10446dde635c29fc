"""An upstream that misbehaves on command, and clients that leave.

What cannot be used is answered 502 or 504 in a way that scripts of an allowed origin can read; what was cut
looks cut; no response ever reaches a client that did not ask for it. A number is the requirement's, with its
RFC section.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from corsproxy.config.table import Endpoint, Route, Timeouts
from corsproxy.http.faults import (
    CLIENT_GONE,
    DNS_ERROR,
    RESPONSE_TIMEOUT,
    UPSTREAM_BROKE_OFF,
    UPSTREAM_PROTOCOL,
    UPSTREAM_REFUSED,
    UPSTREAM_TLS,
    UPSTREAM_UNREACHABLE,
    Fault,
)
from corsproxy.http.fields import Fields
from corsproxy.upstream import pool as pool_module
from corsproxy.upstream.connection import Connection
from corsproxy.upstream.pool import Pool
from tests.proxy.conftest import APP, Proxy, proxy, route, upstream_at
from tests.proxy.test_shutdown import turns
from tests.wire import PATIENCE, Behaviour, Message, Upstream, Wire, answers, ask, get, names_of, ok, upstream

ORIGIN = f"Origin: {APP}"
SOON = Timeouts(response=0.3, idle=0.3)


def readable(answer: Message, fault: Fault) -> None:
    """The answer tells a script of an allowed origin what happened (RFC 9457, RFC 9209), no more."""
    assert answer.status == fault.status
    assert answer.one("Content-Type") == "application/problem+json"
    problem = json.loads(answer.body)
    assert (problem["status"], problem["reason"]) == (fault.status, fault.code)
    assert answer.one("Proxy-Status") == f"corsproxy; error={fault.error}"
    assert (answer.one("Access-Control-Allow-Origin"), answer.one("Access-Control-Allow-Credentials")) == (
        APP,
        "true",
    )
    assert "Proxy-Status" in (answer.one("Access-Control-Expose-Headers") or "")
    assert (answer.one("Vary"), answer.one("Cache-Control")) == ("Origin", "no-store")
    assert "127.0.0.1" not in str(answer)  # where the upstream is, is nobody's business


async def recorded(front: Proxy) -> Fault | None:
    """The fault of the last exchange, once it is on record."""
    async with asyncio.timeout(PATIENCE):
        await front.recorder.recorded.wait()
    return front.last.fault


def code(fault: Fault | None) -> str:
    return "" if fault is None else fault.code


def response(*lines: str, first: str = "HTTP/1.1 200 OK", body: bytes = b"") -> bytes:
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1") + body


@dataclass(frozen=True)
class Bad:
    says: str
    response: bytes


UNUSABLE = [
    Bad("44 (RFC 9110 15.6.3): no status line at all", b"nonsense\r\n\r\n"),
    Bad("44 (RFC 9110 15.6.3): HTML without a head", b"<html>hello</html>\r\n\r\n"),
    Bad("44 (RFC 9110 15.6.3): zero bytes", b"\x00" * 64),
    Bad("44 (RFC 9110 15.6.3): an SSH server", b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
    Bad("44 (RFC 9110 15.6.3): a request", get("/")),
    *(
        Bad(f"44 (RFC 9112 4): the status line {line!r}", response("Content-Length: 0", first=line))
        for line in (
            "HTTP/2.0 200 OK",
            "HTTP/2 200 OK",
            "HTTP/0.9 200 OK",
            "HTTP/1.2 200 OK",
            "HTTP/1.10 200 OK",
            "http/1.1 200 OK",
            "ICY 200 OK",
            "RTSP/1.0 200 OK",
            "HTTP/1.1200 OK",
            "HTTP/1.1 ",
            "HTTP/1.1 OK",
            "HTTP/1.1 20 OK",
            "HTTP/1.1 2000 OK",
            "HTTP/1.1 -200 OK",
            "HTTP/1.1 0x1 OK",
            "HTTP/1.1 000 OK",
            "HTTP/1.1 099 OK",
        )
    ),
    Bad(
        "42 (RFC 9110 7.8): 101 that nobody asked for",
        response("Upgrade: websocket", "Connection: Upgrade", first="HTTP/1.1 101 Switching Protocols"),
    ),
    Bad(
        "45 (RFC 9112 6.3): lengths that differ",
        response("Content-Length: 1", "Content-Length: 2", body=b"ab"),
    ),
    Bad("45 (RFC 9112 6.3): a list of lengths that differ", response("Content-Length: 1, 2", body=b"ab")),
    Bad("45 (RFC 9112 6.3): a negative length", response("Content-Length: -1", body=b"ab")),
    Bad("45 (RFC 9112 6.3): a length with a sign", response("Content-Length: +1", body=b"a")),
    Bad("45 (RFC 9112 6.3): a length in hex", response("Content-Length: 0x1", body=b"a")),
    Bad("45 (RFC 9112 6.3): a length of words", response("Content-Length: many", body=b"a")),
    Bad("45 (RFC 9112 6.3): an empty length", response("Content-Length:", body=b"a")),
    Bad("3 (RFC 9110 8.6): 2^64+1 does not wrap to 1", response(f"Content-Length: {2**64 + 1}", body=b"a")),
    Bad(
        "45 (RFC 9112 6.3): a length beside chunked",
        response("Content-Length: 5", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    ),
    Bad(
        "45 (RFC 9112 6.3): chunked beside a length",
        response("Transfer-Encoding: chunked", "Content-Length: 5", body=b"0\r\n\r\n"),
    ),
    Bad(
        "4 (RFC 9112 6.1): a coding this proxy does not undo",
        response("Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    ),
    Bad(
        "4 (RFC 9112 6.1): chunked is not last",
        response("Transfer-Encoding: chunked, gzip", body=b"0\r\n\r\n"),
    ),
    Bad(
        "4 (RFC 9112 6.1): chunked twice",
        response("Transfer-Encoding: chunked", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    ),
    Bad("7 (RFC 9112 5.2): a folded value", response("X-A: 1", " b: 2", "Content-Length: 0")),
    Bad("8 (RFC 9112 2.2): a bare CR in a value", response("X-A: 1\rX-B: 2", "Content-Length: 0")),
    Bad("9 (RFC 9112 2.2): a bare LF between fields", response("X-A: 1\nX-B: 2", "Content-Length: 0")),
    Bad("9 (RFC 9112 2.2): a head of bare LF", b"HTTP/1.1 200 OK\nContent-Length: 0\n\n"),
    *(
        Bad(
            f"10 (RFC 9110 5.5): the control byte {byte:02x} in a value",
            response(f"X-A: 1{chr(byte)}2", "Content-Length: 0"),
        )
        for byte in (0x00, 0x01, 0x08, 0x0B, 0x0C, 0x1B, 0x1F, 0x7F)
    ),
    *(
        Bad(
            f"10 (RFC 9112 4): the control byte {byte:02x} in the reason",
            response("Content-Length: 0", first=f"HTTP/1.1 200 O{chr(byte)}K"),
        )
        for byte in (0x00, 0x01, 0x0B, 0x1B, 0x7F)
    ),
    *(
        Bad(f"11 (RFC 9110 5.1): the name {name!r} is no token", response(f"{name}: 1", "Content-Length: 0"))
        for name in ("X A", "X(A", "X/A", "X\xe9", "X\x00A", "")
    ),
    Bad("11 (RFC 9110 5.1): a line without colon", response("nonsense", "Content-Length: 0")),
    Bad("12 (RFC 9112 2.2): white space before the first field", response(" X-A: 1", "Content-Length: 0")),
    Bad(
        "41 (RFC 9110 15.2): an interim response that is cut short",
        b"HTTP/1.1 103 Early Hints\r\nX A: 1\r\n\r\n",
    ),
]


@pytest.mark.parametrize("case", UNUSABLE, ids=lambda case: case.says)
async def test_a_response_that_cannot_be_used_is_a_502_that_scripts_can_read(case: Bad) -> None:
    async with upstream(answers(case.response)) as legacy, proxy(route(legacy.port, timeouts=SOON)) as front:
        wire = await front.dial()
        for asked in (1, 2):  # the client's connection is in order, the upstream's is not used again
            await wire.send(get("/", ORIGIN))
            readable(await wire.message(), UPSTREAM_PROTOCOL)
            assert legacy.connections == asked


@pytest.mark.parametrize("space", [" ", "\t"])
async def test_6_white_space_before_a_colon_does_not_go_on(space: str) -> None:
    """RFC 9112 §5.1: removed from a response, or the response is not used."""
    async with (
        upstream(answers(ok(b"", f"X-A{space}: 1"))) as legacy,
        proxy(route(legacy.port, timeouts=SOON)) as front,
    ):
        answer = await ask(front.address, get("/", ORIGIN))
        assert answer.status == 502 or names_of(answer, "x-a.*") == ["X-A"]


async def test_37_an_endless_head_is_given_up() -> None:
    """RFC 9110 §5.4: nothing that an upstream sends is kept without bound."""

    async def behave(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        await wire.send(b"HTTP/1.1 200 OK\r\n")
        for _ in range(200):
            await wire.send(b"X-A: " + b"a" * 16000 + b"\r\n")
        await wire.rest()

    async with (
        upstream(behave) as legacy,
        proxy(route(legacy.port, timeouts=Timeouts(response=1.0))) as front,
    ):
        readable(await ask(front.address, get("/", ORIGIN)), UPSTREAM_PROTOCOL)


# Connecting


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def at(endpoint: Endpoint) -> Route:
    return route(1, upstream=replace(upstream_at(1), endpoints=(endpoint,)))


@pytest.mark.parametrize(
    ("endpoint", "fault"),
    [
        pytest.param(
            lambda: Endpoint("http", "127.0.0.1", free_port()), UPSTREAM_REFUSED, id="nobody listens"
        ),
        pytest.param(lambda: Endpoint("http", "no-such-host.invalid", 80), DNS_ERROR, id="no such host"),
        pytest.param(
            lambda: Endpoint("http", "a" * 64 + ".test", 80), UPSTREAM_UNREACHABLE, id="a label too long"
        ),
        pytest.param(
            lambda: Endpoint("http", "", 0, "/nowhere.sock"), UPSTREAM_UNREACHABLE, id="no such socket"
        ),
    ],
)
async def test_44_an_upstream_that_cannot_be_reached(endpoint, fault: Fault) -> None:
    async with proxy(at(endpoint())) as front:
        wire = await front.dial()
        for _ in range(2):
            await wire.send(get("/", ORIGIN))
            answer = await wire.message()
            if fault is UPSTREAM_UNREACHABLE and code(front.last.fault) == DNS_ERROR.code:
                fault = DNS_ERROR  # resolvers differ in who notices the long label
            readable(answer, fault)


async def test_44_tls_with_an_upstream_that_does_not_speak_it() -> None:
    async def behave(server: Upstream, wire: Wire) -> None:
        await wire.reader.read(1)
        await wire.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with upstream(behave) as legacy, proxy(at(Endpoint("https", "127.0.0.1", legacy.port))) as front:
        readable(await ask(front.address, get("/", ORIGIN)), UPSTREAM_TLS)


async def test_50_an_upstream_that_never_answers() -> None:
    async def behave(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        await wire.rest()

    async with upstream(behave) as legacy, proxy(route(legacy.port, timeouts=SOON)) as front:
        readable(await ask(front.address, get("/", ORIGIN)), RESPONSE_TIMEOUT)
        async with asyncio.timeout(PATIENCE):
            await legacy.gone.wait()  # its connection is not kept: the answer may still come


# Cut off


def cut_after(data: bytes, *, reset: bool = False) -> Behaviour:
    """Send this much of a response and hang up: orderly, or with a reset."""

    async def behave(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        await wire.send(data)
        if reset:
            await asyncio.sleep(0.05)  # a reset overtakes what the other side has not read yet
            linger_zero = b"\x01\x00\x00\x00\x00\x00\x00\x00"
            wire.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
            wire.abort()

    return behave


EARLY = [
    b"",
    b"H",
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
]


@pytest.mark.parametrize("reset", [False, True], ids=["end of stream", "reset"])
@pytest.mark.parametrize(
    "data", EARLY, ids=["nothing", "one byte", "a status line", "half a head", "an interim one"]
)
async def test_44_a_response_that_ends_before_its_head_does(data: bytes, reset: bool) -> None:
    async with upstream(cut_after(data, reset=reset)) as legacy, proxy(route(legacy.port)) as front:
        readable(await ask(front.address, get("/", ORIGIN)), UPSTREAM_BROKE_OFF)
        assert len(legacy.requests) == 1


@dataclass(frozen=True)
class Cut:
    says: str
    data: bytes
    reset: bool = False
    http10: bool = False


CUT = [
    Cut("a length not reached", response("Content-Length: 10", body=b"12345")),
    Cut("a length not reached, nothing of the body", response("Content-Length: 10")),
    Cut("a length not reached, by reset", response("Content-Length: 10", body=b"12345"), reset=True),
    Cut("between chunks", response("Transfer-Encoding: chunked", body=b"5\r\n12345\r\n")),
    Cut("inside a chunk", response("Transfer-Encoding: chunked", body=b"a\r\n12345")),
    Cut("before the last empty line", response("Transfer-Encoding: chunked", body=b"5\r\n12345\r\n0\r\n")),
    Cut(
        "between chunks, by reset", response("Transfer-Encoding: chunked", body=b"5\r\n12345\r\n"), reset=True
    ),
    Cut("a body without length, by reset", response(body=b"12345"), reset=True),
    Cut("a gzip body", response("Content-Encoding: gzip", "Content-Length: 100", body=b"\x1f\x8b\x08")),
    Cut("chunk data too long", response("Transfer-Encoding: chunked", body=b"3\r\n12345\r\n0\r\n\r\n")),
    Cut("a bad chunk size", response("Transfer-Encoding: chunked", body=b"5\r\n12345\r\nxyz\r\n")),
    Cut(
        "a chunk size that overflows",
        response("Transfer-Encoding: chunked", body=b"5\r\n12345\r\n" + b"f" * 17),
    ),
]


@pytest.mark.parametrize("version", ["1.1", "1.0"])
@pytest.mark.parametrize("case", CUT, ids=lambda case: case.says)
async def test_46_a_cut_body_looks_cut(case: Cut, version: str) -> None:
    """RFC 9112 §8. An HTTP/1.0 client takes an orderly end for the end of the body: it must see a reset."""
    async with upstream(cut_after(case.data, reset=case.reset)) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/", ORIGIN).replace(b"HTTP/1.1", b"HTTP/" + version.encode()))
        try:
            answer = await wire.message()
        except (asyncio.IncompleteReadError, ConnectionResetError):
            pass
        else:
            assert answer.status == 502  # nothing was out yet: then the answer is whole
        assert (await recorded(front)) is not None
        assert code(front.last.fault) in {UPSTREAM_BROKE_OFF.code, UPSTREAM_PROTOCOL.code}
        assert len(legacy.requests) == 1


async def test_46_no_second_status_line_stands_inside_a_cut_body() -> None:
    """RFC 9112 §8: once the head is out, an error may only cut."""
    async with (
        upstream(cut_after(response("Content-Length: 1000", body=b"12345"))) as legacy,
        proxy(route(legacy.port)) as front,
    ):
        wire = await front.dial()
        await wire.send(get("/", ORIGIN))
        await wire.head()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await wire.reader.readexactly(6)


# Bytes that nobody asked for


INTRUDER = response("Content-Length: 8", "X-Intruder: 1", body=b"intruder")


@pytest.mark.parametrize(
    "excess",
    [INTRUDER, b"x", b"\r\nx", b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"],
    ids=["a second response", "one byte", "a stray line end", "408 for an idle connection"],
)
async def test_47_bytes_behind_a_response_are_nobodys(excess: bytes) -> None:
    """RFC 9112 §9.2: the response is good, the connection is not."""
    async with upstream(answers(ok(b"mine") + excess)) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/1", ORIGIN) + get("/2", ORIGIN))
        bodies = [(await wire.message()).body for _ in range(2)]
        assert bodies == [b"mine", b"mine"]
        assert legacy.connections == 2


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
async def test_47_a_response_on_an_idle_connection_never_reaches_the_next_client(method: str) -> None:
    """RFC 9112 §9.2: it comes after the first exchange is over and before the next one starts."""
    released = asyncio.Event()

    async def behave(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        await wire.send(ok(b"mine"))
        if server.connections == 1:
            await released.wait()
            await wire.send(INTRUDER)
        await server.request(wire)
        await wire.send(ok(b"mine"))

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        assert (await ask(front.address, get("/1"))).body == b"mine"
        released.set()
        async with asyncio.timeout(PATIENCE):
            await legacy.gone.wait()  # the proxy hung up on hearing it
        length = ["Content-Length: 0"] if method == "POST" else []
        answer = await ask(front.address, get("/2", *length, method=method))
        assert (answer.status, answer.one("X-Intruder"), legacy.connections) == (200, None, 2)


class Asker:
    """A receiver that may have its request back, and no response."""

    def __init__(self) -> None:
        self.unsent: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def on_unsent(self, held: bytes) -> None:
        self.unsent.set_result(held)

    def on_response(self, connection: Connection) -> None:
        raise AssertionError(connection.status)

    def on_upstream_lost(self, fault: Fault, *, at_end: bool) -> None:
        raise AssertionError(fault)

    def on_interim(self, status: int, fields: Fields) -> None: ...
    def pause_upload(self) -> None: ...
    def resume_upload(self) -> None: ...


UNASKED: dict[str, Callable[[socket.socket, Connection], object]] = {
    "bytes that the event loop has not seen yet": lambda theirs, _: theirs.send(INTRUDER),
    "an end that the event loop has not seen yet": lambda theirs, _: theirs.shutdown(socket.SHUT_WR),
    "bytes of the same turn of the loop": lambda _, kept: kept.data_received(INTRUDER),
    "an end in the same turn of the loop": lambda _, kept: kept.eof_received(),
    "a loss in the same turn of the loop": lambda _, kept: kept.connection_lost(None),
}


@pytest.mark.parametrize("come", UNASKED.values(), ids=UNASKED)
@pytest.mark.parametrize("method", [b"GET", b"POST"])
async def test_47_what_comes_until_a_request_is_sent_is_no_response_to_it(
    come: Callable[[socket.socket, Connection], object], method: bytes
) -> None:
    """RFC 9112 §9.2: nothing was sent by then, so any request may go on by another connection."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    pool = Pool(Endpoint("http", "127.0.0.1", 1), max_connections=0, tls=None)
    _, kept = await asyncio.get_running_loop().create_connection(lambda: Connection(pool), sock=ours)
    pool.keep(kept)
    taken = pool.take()
    assert taken is kept
    asker = Asker()
    request = method + b" / HTTP/1.1\r\n\r\n"
    kept.send(asker, request, is_whole=True, head_only=False, may_switch=False)
    come(theirs, kept)
    async with asyncio.timeout(PATIENCE):
        assert await asker.unsent == request
        with theirs, contextlib.suppress(ConnectionResetError):  # what it sent was not read
            assert await asyncio.get_running_loop().sock_recv(theirs, 100) == b""
    assert (kept.transport.is_closing(), pool.open_count) == (True, 0)


@pytest.mark.parametrize("what", ["bytes", "an end"])
@pytest.mark.parametrize("is_first", [True, False], ids=["before the request", "after the request"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_47_what_comes_in_one_turn_with_a_request_sends_it_by_another_connection(
    what: str, is_first: bool, method: str
) -> None:
    wires: list[Wire] = []

    async def behave(server: Upstream, wire: Wire) -> None:
        wires.append(wire)
        while True:
            await server.request(wire)
            await wire.send(ok(b"mine"))

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        client = await front.dial()
        await client.send(get("/1"))
        await client.message()
        body = b"body" if method == "POST" else b""
        request = get("/2", f"Content-Length: {len(body)}", method=method) + body
        theirs = wires[0].writer.get_extra_info("socket")

        def intrude() -> None:
            if what == "bytes":
                os.write(theirs.fileno(), INTRUDER)
            else:
                with socket.socket(fileno=os.dup(theirs.fileno())) as same:
                    same.shutdown(socket.SHUT_WR)

        if is_first:
            intrude()
        os.write(client.writer.get_extra_info("socket").fileno(), request)
        if not is_first:
            intrude()
        answer = await client.message()
        assert (answer.status, answer.body, answer.one("X-Intruder")) == (200, b"mine", None)
        assert legacy.connections == 2


async def test_a_hundred_and_fifty_stale_connections_keep_no_upload_from_a_new_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each is looked at when its turn comes, however many there are."""
    held = asyncio.Event()

    async def behave(server: Upstream, wire: Wire) -> None:
        while True:
            request = await server.request(wire)
            if "/held" in request.first_line:
                await held.wait()
            await wire.send(ok(request.body))

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wires = [await front.dial() for _ in range(150)]
        for wire in wires:
            await wire.send(get("/held"))
        await turns()
        held.set()
        for wire in wires:
            await wire.message()
        monkeypatch.setattr(pool_module, "_has_lost_socket", lambda _: True)
        (wire, *_) = wires
        await wire.send(get("/", "Content-Length: 5", method="POST"))
        await turns(400)
        await wire.send(b"hello")
        answer = await wire.message()
        assert (answer.status, answer.body) == (200, b"hello")


async def test_5_a_chunked_response_of_http10_ends_its_connection() -> None:
    """RFC 9112 §6.1: its framing is in doubt."""
    chunked = response("Connection: keep-alive", "Transfer-Encoding: chunked", first="HTTP/1.0 200 OK")
    async with (
        upstream(answers(chunked + b"2\r\nok\r\n0\r\n\r\n")) as legacy,
        proxy(route(legacy.port)) as front,
    ):
        for _ in range(2):
            answer = await ask(front.address, get("/"))
            assert (answer.status, answer.body) == (200, b"ok")
        assert legacy.connections == 2


async def test_40_a_body_where_none_may_be_is_not_the_next_response() -> None:
    """RFC 9112 §6.3: after HEAD, 204 and 304, whatever Content-Length says."""
    rogue = {
        "HEAD": ok(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        "204": response("Content-Length: 38", first="HTTP/1.1 204 No Content", body=INTRUDER),
        "304": response("Content-Length: 38", first="HTTP/1.1 304 Not Modified", body=INTRUDER),
    }
    for kind, data in rogue.items():
        async with upstream(answers(data)) as legacy, proxy(route(legacy.port)) as front:
            wire = await front.dial()
            method = "HEAD" if kind == "HEAD" else "GET"
            for _ in range(2):
                await wire.send(get("/", ORIGIN, method=method))
                answer = await wire.message(head_only=True)
                assert answer.status == {"HEAD": 200, "204": 204, "304": 304}[kind]
                assert answer.one("X-Intruder") is None
            assert legacy.connections == 2


# Interim responses


@pytest.mark.parametrize(("count", "status"), [(100, 200), (101, 502)])
async def test_41_interim_responses_are_passed_on_up_to_a_bound(count: int, status: int) -> None:
    storm = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * count
    async with upstream(answers(storm + ok())) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/", ORIGIN))
        assert {(await wire.head()).status for _ in range(100)} == {103}
        assert (await wire.message()).status == status


async def test_41_an_http10_client_gets_the_final_response_only() -> None:
    """RFC 9110 §15.2."""
    storm = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" * 10
    async with upstream(answers(storm + ok(b"final"))) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(b"GET / HTTP/1.0\r\n\r\n")
        answer = await wire.message()
        assert (answer.status, answer.body) == (200, b"final")


async def test_41_interim_responses_are_no_answer_in_time() -> None:
    async def behave(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        while True:
            await wire.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            await asyncio.sleep(0.02)

    async with upstream(behave) as legacy, proxy(route(legacy.port, timeouts=SOON)) as front:
        wire = await front.dial()
        await wire.send(get("/", ORIGIN))
        async with asyncio.timeout(PATIENCE):
            while (answer := await wire.head()).status == 103:
                pass
        assert answer.status == 504


async def test_41_a_storm_of_interim_responses_does_not_pile_up_for_a_client_that_does_not_read() -> None:
    """Rule 52: flow control is tied together for these bytes too."""
    sent = 0
    over = asyncio.Event()

    async def behave(server: Upstream, wire: Wire) -> None:
        nonlocal sent
        await server.request(wire)
        hint = b"HTTP/1.1 103 Early Hints\r\nLink: " + b"x" * 16000 + b"\r\n\r\n"
        try:
            while sent < 64 * 1024 * 1024:
                sent += len(hint)
                async with asyncio.timeout(0.3):
                    await wire.send(hint)
        except (TimeoutError, ConnectionError):
            pass  # held, or hung up on
        finally:
            over.set()

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/", ORIGIN))
        async with asyncio.timeout(PATIENCE):
            await over.wait()
        wire.abort()
        assert sent < 32 * 1024 * 1024  # the kernel's buffers, not ours


async def test_the_policy_owns_the_cors_fields_of_interim_responses_too() -> None:
    """Trap 12, and 26 (RFC 9110 §7.6.1): what ends at this hop ends here in every head."""
    fields = ["aCCESS-cONTROL-aLLOW-oRIGIN: *", "Connection: X-Hop", "X-Hop: 1", "Link: </x>"]
    hints = response(*fields, first="HTTP/1.1 103 Early Hints")
    async with upstream(answers(hints + ok())) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/", ORIGIN))
        assert (await wire.head()).fields == [("Link", "</x>")]


# Stale connections and retries


def answers_once_then(last: bytes) -> Behaviour:
    """Serve one request on the first connection, then `last` and hang up. Other connections serve."""

    async def behave(server: Upstream, wire: Wire) -> None:
        first = server.connections == 1
        await server.request(wire)
        await wire.send(ok(b"served"))
        await server.request(wire)
        await wire.send(last if first else ok(b"served"))

    return behave


@dataclass(frozen=True)
class Retry:
    says: str
    method: str
    status: int
    times: int  # how often the second request arrives
    last: bytes = b""
    retries: int = 1
    body: bytes = b""


RETRIES = [
    Retry("49 (RFC 9112 9.3.1): GET on a connection that proved stale", "GET", 200, 2),
    Retry("49 (RFC 9110 9.2.2): HEAD", "HEAD", 200, 2),
    Retry("49 (RFC 9110 9.2.2): PUT with its body", "PUT", 200, 2, body=b"abc"),
    Retry("49 (RFC 9110 9.2.2): DELETE", "DELETE", 200, 2),
    Retry("48 (RFC 9110 9.2.2): POST may have been acted on", "POST", 502, 1, body=b"abc"),
    Retry("48 (RFC 9110 9.2.2): PATCH may have been acted on", "PATCH", 502, 1, body=b"abc"),
    Retry("48 (RFC 9110 9.2.2): an unknown meaning is not idempotent", "LOCK", 502, 1),
    Retry("48: a byte of the response was there", "GET", 502, 1, last=b"H"),
    Retry("48: retries are switched off", "GET", 502, 1, retries=0),
]


@pytest.mark.parametrize("case", RETRIES, ids=lambda case: case.says)
async def test_only_what_may_be_sent_again_is(case: Retry) -> None:
    async with (
        upstream(answers_once_then(case.last)) as legacy,
        proxy(route(0, upstream=upstream_at(legacy.port, retries=case.retries))) as front,
    ):
        assert (await ask(front.address, get("/first"))).body == b"served"
        length = [f"Content-Length: {len(case.body)}"] if case.body else []
        answer = await ask(front.address, get("/second", ORIGIN, *length, method=case.method) + case.body)
        assert answer.status == case.status
        if case.status == 502:
            readable(answer, UPSTREAM_BROKE_OFF)
        seconds = [seen for seen in legacy.requests if "/second" in seen.first_line]
        assert [seen.body for seen in seconds] == [case.body] * case.times


async def test_49_an_upstream_that_hangs_up_every_time_is_asked_twice_at_most() -> None:
    async def behave(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        if server.connections == 1:
            await wire.send(ok())
            await server.request(wire)

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        await ask(front.address, get("/first"))
        readable(await ask(front.address, get("/second", ORIGIN)), UPSTREAM_BROKE_OFF)
        assert len(legacy.requests) == 3


# Clients that leave


@pytest.mark.parametrize("how", ["reset", "end of stream"])
@pytest.mark.parametrize("when", ["waiting", "reading"])
async def test_57_a_client_that_is_gone_lets_the_upstream_go(how: str, when: str) -> None:
    async def behave(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        if when == "reading":
            await wire.send(response("Content-Length: 10", body=b"12345"))
        await wire.rest()

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/", ORIGIN))
        if when == "reading":
            await wire.head()
        async with asyncio.timeout(PATIENCE):
            await legacy.asked.wait()
            if how == "reset":
                wire.abort()
            else:
                await wire.close()
            await legacy.gone.wait()
        assert await recorded(front) is CLIENT_GONE
        assert front.last.status == (200 if when == "reading" else 499)


async def test_57_a_client_that_leaves_while_the_connection_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    opening = asyncio.Event()
    cancelled = asyncio.Event()

    async def never(pool: Pool) -> Connection:
        opening.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    monkeypatch.setattr(Pool, "_connect", never)
    async with proxy(route(1)) as front:
        wire = await front.dial()
        await wire.send(get("/", ORIGIN))
        async with asyncio.timeout(PATIENCE):
            await opening.wait()
            wire.abort()
            await cancelled.wait()
        assert await recorded(front) is CLIENT_GONE


async def test_57_three_hundred_clients_that_leave_cost_no_connection() -> None:
    async def behave(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        await wire.rest()

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wires = [await front.dial() for _ in range(300)]
        for wire in wires:
            await wire.send(get("/"))
        async with asyncio.timeout(PATIENCE):
            while len(legacy.requests) < 300:
                legacy.asked.clear()
                await legacy.asked.wait()
            for wire in wires:
                wire.abort()
            while legacy.closed < 300:
                legacy.gone.clear()
                await legacy.gone.wait()
        assert {code(exchange.fault) for exchange in front.recorder.exchanges} == {CLIENT_GONE.code}
        assert front.server.connections == 0
