"""Limits and timeouts, small enough to be met. Every answer can be read by a script of an allowed origin."""

import asyncio
import socket
from collections.abc import Awaitable
from dataclasses import replace
from typing import NamedTuple

import pytest

from corsproxy.config.table import Endpoint, Limits, Timeouts
from corsproxy.http.faults import (
    BODY_TOO_LARGE,
    CLIENT_TIMEOUT,
    CONNECT_TIMEOUT,
    CONNECTION_LIMIT,
    HEAD_TOO_LARGE,
    IN_FLIGHT_LIMIT,
    RESPONSE_TIMEOUT,
    TARGET_TOO_LONG,
    TOO_MANY_FIELDS,
    UPSTREAM_LIMIT,
    UPSTREAM_STALLED,
    Fault,
)
from corsproxy.upstream.connection import Connection
from corsproxy.upstream.pool import Pool
from tests.proxy.conftest import APP, proxy, route, upstream_at
from tests.wire import PATIENCE, Upstream, Wire, answers, ask, get, ok, upstream

ORIGIN = f"Origin: {APP}"
QUICK = 0.2  # seconds


async def soon(awaitable: Awaitable[object]) -> None:
    async with asyncio.timeout(PATIENCE):
        await awaitable


async def is_told(wire: Wire, fault: Fault, *, closes: bool = False) -> None:
    """The next message on the wire is the fault's answer, with the CORS fields of the route."""
    answer = await wire.message()
    assert answer.status == fault.status
    assert f'"reason": "{fault.code}"'.encode() in answer.body
    assert answer.one("Access-Control-Allow-Origin") == APP
    assert "Proxy-Status" in (answer.one("Access-Control-Expose-Headers") or "")
    assert answer.one("Retry-After") == (str(fault.retry_after) if fault.retry_after else None)
    assert answer.one("Connection") == ("close" if closes else None)
    if closes:
        assert await wire.ended()


# Heads


class Head(NamedTuple):
    says: str
    request: bytes
    fault: Fault | None


HEADS = [
    Head("37: a head at its limit", get("/", ORIGIN, "X-A: " + "a" * 900), None),
    Head("37: one field too long", get("/", ORIGIN, "X-A: " + "a" * 1100), HEAD_TOO_LARGE),
    Head(
        "37: many fields that are too long together",
        get("/", ORIGIN, *[f"X-{n}: {'a' * 200}" for n in range(6)]),
        HEAD_TOO_LARGE,
    ),
    Head("37: a target that is too long", get("/" + "a" * 1100, ORIGIN), TARGET_TOO_LONG),
    Head("37: a query that is too long", get("/?" + "a" * 1100, ORIGIN), TARGET_TOO_LONG),
    Head("37: as many fields as there may be", get("/", ORIGIN, *["X: 1"] * 8), None),
    Head("37: a field too many", get("/", ORIGIN, *["X: 1"] * 9), TOO_MANY_FIELDS),
]


@pytest.mark.parametrize("cut", [False, True], ids=["in one piece", "in two pieces"])
@pytest.mark.parametrize("case", HEADS, ids=lambda case: case.says)
async def test_request_head(case: Head, cut: bool) -> None:
    """RFC 9110 §5.4, RFC 9112 §3: 431 for the fields, 414 for the target."""
    limits = Limits(request_head=1024, request_fields=10)
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port), limits=limits) as front:
        wire = await front.dial()
        middle = len(case.request) // 2 if cut else 0
        await wire.send(case.request[:middle])
        if cut:
            await asyncio.sleep(0.01)  # not to wait for anything: so that the pieces arrive apart
        await wire.send(case.request[middle:])
        if case.fault is None:
            assert (await wire.message()).status == 200
        else:
            answer = await wire.message()
            assert (answer.status, answer.one("Connection")) == (case.fault.status, "close")
            assert await wire.ended()
            assert not legacy.connections


@pytest.mark.parametrize("fault", [HEAD_TOO_LARGE, TOO_MANY_FIELDS], ids=["431 for size", "431 for number"])
async def test_a_head_that_is_refused_may_still_name_its_origin(fault: Fault) -> None:
    """Trap 28: the script sees 431, not "network error"."""
    fields = ["X-A: " + "a" * 1100] if fault is HEAD_TOO_LARGE else ["X: 1"] * 12
    async with proxy(route(1), limits=Limits(request_head=1024, request_fields=10)) as front:
        wire = await front.dial()
        await wire.send(get("/", ORIGIN, *fields))
        await is_told(wire, fault, closes=True)


async def test_38_the_sizes_that_every_server_should_take_are_taken() -> None:
    """RFC 9110 §4.1: a target of 8000 octets; and a field of 7 KiB, and 98 fields beside Host and Origin."""
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        for request in (
            get("/" + "a" * 8000, ORIGIN),
            get("/", ORIGIN, "Cookie: " + "a" * 7168),
            get("/", ORIGIN, *["X: 1"] * 98),
        ):
            assert (await ask(front.address, request)).status == 200


async def test_37_an_endless_line_is_answered_at_the_limit() -> None:
    async with proxy(route(1), limits=Limits(request_head=1024)) as front:
        wire = await front.dial()
        wire.writer.write(b"GET /" + b"a" * 1024 * 1024)  # no drain: the proxy stops reading
        assert (await wire.message()).status == 414


async def test_56_a_head_that_does_not_come_is_answered_408() -> None:
    """CVE-2007-6750. The time runs from the first byte, so drips do not prolong it."""
    timeouts = Timeouts(client_head=QUICK)
    async with proxy(route(1), timeouts=timeouts) as front:
        wire = await front.dial()
        await wire.send(get("/", ORIGIN)[:-2])

        async def drip() -> None:
            while True:
                await asyncio.sleep(QUICK / 5)
                wire.writer.write(b"X")

        dripping = asyncio.ensure_future(drip())
        try:
            await is_told(wire, CLIENT_TIMEOUT, closes=True)
        finally:
            dripping.cancel()


async def test_56_three_hundred_slow_heads_do_not_hold_up_others() -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        for _ in range(300):
            await (await front.dial()).send(b"GET / HTTP/1.1\r\nHost: a")
        assert (await ask(front.address, get("/"))).status == 200


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    timeouts = Timeouts(keepalive=QUICK)
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port), timeouts=timeouts) as front:
        fresh, used = await front.dial(), await front.dial()
        await used.send(get("/"))
        await used.message()
        assert await fresh.ended()
        assert await used.ended()
        assert len(front.recorder.exchanges) == 1


@pytest.mark.parametrize(("before", "after"), [(1000.0, QUICK), (1000.0, 0.0)])
async def test_a_new_time_for_idle_connections_holds_for_those_there_are(before: float, after: float) -> None:
    async with (
        upstream(answers(ok())) as legacy,
        proxy(route(legacy.port), timeouts=Timeouts(keepalive=before)) as front,
    ):
        fresh, used = await front.dial(), await front.dial()
        await used.send(get("/"))
        await used.message()
        front.server.swap(replace(front.server.table, timeouts=Timeouts(keepalive=after)))
        assert await fresh.ended()
        assert await used.ended()


async def test_an_empty_line_begins_no_request() -> None:
    """RFC 9112 §2.2. Else a 408 would come that nobody asked for, and be taken for the next answer."""
    timeouts = Timeouts(client_head=QUICK, keepalive=QUICK * 2)
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port), timeouts=timeouts) as front:
        wire = await front.dial()
        await wire.send(get("/") + b"\r\n")
        await wire.message()
        assert await wire.rest() == b""


async def test_62_a_head_that_is_refused_and_asks_for_none_gets_no_body() -> None:
    async with proxy(route(1)) as front:
        wire = await front.dial()
        await wire.send(get("/a?secret", "Host: another.test", method="HEAD"))
        answer = await wire.message(head_only=True)
        assert (answer.status, int(answer.one("Content-Length") or 0) > 0) == (400, True)
        assert await wire.rest() == b""
        assert (front.last.method, front.last.path) == (b"HEAD", b"/a")  # what could be read of it


# Bodies


async def test_a_body_that_says_it_is_too_long_is_not_read() -> None:
    limits = Limits(request_body=10)
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port, limits=limits)) as front:
        wire = await front.dial()
        await wire.send(get("/", ORIGIN, "Content-Length: 11", method="POST"))
        await is_told(wire, BODY_TOO_LARGE, closes=True)
        assert not legacy.connections


async def test_a_chunked_body_that_grows_too_long_is_refused_midway() -> None:
    ends: list[bytes] = []

    async def behave(server: Upstream, wire: Wire) -> None:
        await wire.head()
        server.asked.set()
        try:
            ends.append(await wire.reader.read())
        except ConnectionResetError:
            ends.append(b"")

    limits = Limits(request_body=10)
    async with upstream(behave) as legacy, proxy(route(legacy.port, limits=limits)) as front:
        wire = await front.dial()
        await wire.send(get("/", ORIGIN, "Transfer-Encoding: chunked", method="POST") + b"8\r\n12345678\r\n")
        await soon(legacy.asked.wait())
        await wire.send(b"3\r\n123\r\n")
        await is_told(wire, BODY_TOO_LARGE, closes=True)
        await soon(legacy.gone.wait())
        assert not ends[0].endswith(b"0\r\n\r\n")


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 10\r\n\r\n1234567890",
        b"Transfer-Encoding: chunked\r\n\r\na\r\n1234567890\r\n0\r\n\r\n",
    ],
)
async def test_a_body_at_its_limit_is_taken(body: bytes) -> None:
    limits = Limits(request_body=10)
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port, limits=limits)) as front:
        assert (await ask(front.address, b"POST / HTTP/1.1\r\nHost: a\r\n" + body)).status == 200
        assert legacy.requests[0].body == b"1234567890"


async def test_56_an_upload_that_stalls_is_answered_408() -> None:
    async def behave(server: Upstream, wire: Wire) -> None:
        await wire.rest()

    async with upstream(behave) as legacy, proxy(route(legacy.port, timeouts=Timeouts(idle=QUICK))) as front:
        wire = await front.dial()
        await wire.send(get("/", ORIGIN, "Content-Length: 10", method="POST") + b"12345")
        await is_told(wire, CLIENT_TIMEOUT, closes=True)
        await soon(legacy.gone.wait())


async def test_50_an_upstream_that_does_not_take_the_upload_is_answered_504() -> None:
    held = asyncio.Event()

    async def behave(server: Upstream, wire: Wire) -> None:
        wire.writer.transport.pause_reading()
        await held.wait()

    size = 64 * 1024 * 1024
    async with upstream(behave) as legacy, proxy(route(legacy.port, timeouts=Timeouts(idle=QUICK))) as front:
        wire = await front.dial()
        wire.writer.write(get("/", ORIGIN, f"Content-Length: {size}", method="POST") + bytes(size))
        answer = await wire.message()
        held.set()
        assert (answer.status, front.last.fault) == (504, UPSTREAM_STALLED)
        assert answer.one("Access-Control-Allow-Origin") == APP
        wire.abort()


async def test_50_a_download_that_stalls_is_cut() -> None:
    async def behave(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        await wire.rest()

    async with upstream(behave) as legacy, proxy(route(legacy.port, timeouts=Timeouts(idle=QUICK))) as front:
        wire = await front.dial()
        await wire.send(get("/", ORIGIN))
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await wire.message()
        await soon(legacy.gone.wait())
        assert front.last.fault == UPSTREAM_STALLED


async def test_50_a_client_that_does_not_take_the_download_is_cut() -> None:
    async def behave(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n" + bytes(100_000_000))

    async with upstream(behave) as legacy, proxy(route(legacy.port, timeouts=Timeouts(idle=QUICK))) as front:
        wire = await front.dial()
        wire.writer.transport.pause_reading()
        await wire.send(get("/", ORIGIN))
        await soon(legacy.gone.wait())
        assert front.last.fault == CLIENT_TIMEOUT
        wire.abort()


async def test_a_response_that_moves_slowly_is_no_stall() -> None:
    """The idle time starts anew with every piece."""

    async def behave(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
        for _ in range(8):
            await asyncio.sleep(QUICK / 4)
            await wire.send(b"x")
        await wire.rest()

    async with upstream(behave) as legacy, proxy(route(legacy.port, timeouts=Timeouts(idle=QUICK))) as front:
        assert (await ask(front.address, get("/"))).body == b"x" * 8


# The upstream's time


async def test_50_a_response_that_does_not_come_is_answered_504() -> None:
    async def behave(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        await wire.rest()

    async with (
        upstream(behave) as legacy,
        proxy(route(legacy.port, timeouts=Timeouts(response=QUICK))) as front,
    ):
        wire = await front.dial()
        await wire.send(get("/", ORIGIN))
        await is_told(wire, RESPONSE_TIMEOUT)


async def test_50_a_connection_that_does_not_open_is_answered_504() -> None:
    """A listener whose backlog is full: the kernel drops further handshakes."""
    with socket.socket() as full, socket.socket() as first:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        first.connect(("127.0.0.1", port))
        async with proxy(route(port, timeouts=Timeouts(connect=QUICK))) as front:
            wire = await front.dial()
            await wire.send(get("/", ORIGIN))
            await is_told(wire, CONNECT_TIMEOUT)


# Counts


class Held:
    """An upstream that answers when told to."""

    def __init__(self) -> None:
        self.release = asyncio.Event()

    async def behave(self, server: Upstream, wire: Wire) -> None:
        while True:
            await server.request(wire)
            await self.release.wait()
            await wire.send(ok())


async def test_requests_in_flight_are_limited_per_route() -> None:
    held = Held()
    async with (
        upstream(held.behave) as legacy,
        proxy(route(legacy.port, limits=Limits(in_flight=1))) as front,
    ):
        first, second = await front.dial(), await front.dial()
        await first.send(get("/", ORIGIN))
        await soon(legacy.asked.wait())
        await second.send(get("/", ORIGIN))
        await is_told(second, IN_FLIGHT_LIMIT)
        held.release.set()
        assert (await first.message()).status == 200
        await second.send(get("/", ORIGIN))  # the place is free again, the connection in order
        assert (await second.message()).status == 200
        assert len(legacy.requests) == 2


@pytest.mark.parametrize("ending", ["fault", "client gone"])
async def test_a_place_in_flight_is_given_back_however_an_exchange_ends(ending: str) -> None:
    held = Held()
    settings = {"limits": Limits(in_flight=1), "timeouts": Timeouts(response=QUICK)}
    async with upstream(held.behave) as legacy, proxy(route(legacy.port, **settings)) as front:
        for _ in range(3):
            wire = await front.dial()
            await wire.send(get("/", ORIGIN))
            if ending == "fault":
                await is_told(wire, RESPONSE_TIMEOUT)
            else:
                await soon(legacy.asked.wait())
                legacy.asked.clear()
                front.recorder.recorded.clear()
                wire.abort()
                await soon(front.recorder.recorded.wait())
        assert IN_FLIGHT_LIMIT not in [exchange.fault for exchange in front.recorder.exchanges]


async def test_preflights_are_answered_when_the_route_is_full() -> None:
    held = Held()
    async with (
        upstream(held.behave) as legacy,
        proxy(route(legacy.port, limits=Limits(in_flight=1))) as front,
    ):
        first = await front.dial()
        await first.send(get("/", ORIGIN))
        await soon(legacy.asked.wait())
        preflight = get("/", ORIGIN, "Access-Control-Request-Method: PUT", method="OPTIONS")
        assert (await ask(front.address, preflight)).status == 204


async def test_connections_to_an_endpoint_are_limited() -> None:
    """One request more waits as long as connecting may take, and is then refused."""
    held = Held()
    settings = {"timeouts": Timeouts(connect=QUICK)}
    async with upstream(held.behave) as legacy:
        narrow = upstream_at(legacy.port, max_connections=1)
        async with proxy(route(0, upstream=narrow, **settings)) as front:
            first, second = await front.dial(), await front.dial()
            await first.send(get("/", ORIGIN))
            await soon(legacy.asked.wait())
            await second.send(get("/", ORIGIN))
            await is_told(second, UPSTREAM_LIMIT)
            held.release.set()
            assert (await first.message()).status == 200
            await second.send(get("/", ORIGIN))
            assert (await second.message()).status == 200
            assert legacy.connections == 1


async def test_a_request_that_waits_for_a_connection_gets_the_one_that_becomes_free() -> None:
    held = Held()
    async with (
        upstream(held.behave) as legacy,
        proxy(route(0, upstream=upstream_at(legacy.port, max_connections=1))) as front,
    ):
        wires = [await front.dial() for _ in range(3)]
        for wire in wires:
            await wire.send(get("/", ORIGIN))
        await soon(legacy.asked.wait())
        held.release.set()
        assert [(await wire.message()).status for wire in wires] == [200, 200, 200]
        assert (legacy.connections, len(legacy.requests)) == (1, 3)


async def test_a_connection_given_up_while_it_opens_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given up in the very turn of the loop in which it was made."""
    tasks: list[asyncio.Task[None]] = []
    made = Connection.connection_made

    def made_too_late(connection: Connection, transport: asyncio.BaseTransport) -> None:
        made(connection, transport)
        tasks[0].cancel()

    monkeypatch.setattr(Connection, "connection_made", made_too_late)
    async with upstream(answers(ok())) as legacy:
        pool = Pool(Endpoint("http", "127.0.0.1", legacy.port), max_connections=1, tls=None)
        opening = pool.open(5.0, lambda _: None)
        assert isinstance(opening, asyncio.Task)
        tasks.append(opening)
        with pytest.raises(asyncio.CancelledError):
            await opening
        await soon(legacy.gone.wait())
        async with asyncio.timeout(PATIENCE):
            while pool.open_count > 0:  # noqa: ASYNC110 - the end that the other side saw is told in a later turn
                await asyncio.sleep(0)
        assert pool.open_count == 0


async def test_client_connections_over_the_ceiling_are_told_so() -> None:
    async with (
        upstream(answers(ok())) as legacy,
        proxy(route(legacy.port), limits=Limits(connections=1)) as front,
    ):
        first = await front.dial()
        await first.send(get("/", ORIGIN))
        assert (await first.message()).status == 200
        second = await front.dial()
        await second.send(get("/", ORIGIN))
        await is_told(second, CONNECTION_LIMIT, closes=True)
        await first.send(get("/", ORIGIN))
        assert (await first.message()).status == 200
        await first.close()
        while front.server.connections:  # noqa: ASYNC110 - the proxy has no event for this
            await asyncio.sleep(0)
        third = await front.dial()
        await third.send(get("/", ORIGIN))
        assert (await third.message()).status == 200


async def test_connections_far_over_the_ceiling_are_closed_unread() -> None:
    async with proxy(route(1), limits=Limits(connections=1)) as front:
        wires = [await front.dial() for _ in range(30)]
        assert await wires[-1].ended()
        assert front.server.connections <= 1 + 16 + 1


async def test_a_client_that_asks_on_and_reads_nothing_is_not_read_any_more() -> None:
    """Each preflight comes by itself, so that none is left over when an answer finds no room."""
    asked = b"OPTIONS / HTTP/1.1\r\nHost: a\r\nOrigin: https://app.example.com\r\n"
    asked += b"Access-Control-Request-Method: PUT\r\nX-Padding: " + b"x" * 900 + b"\r\n\r\n"
    most = 64 * 1024 * 1024  # what the kernel keeps of both directions is a tenth of that at most
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        async with proxy(route(1)) as front:
            client.connect((front.address.host, front.address.port))
            client.setblocking(False)
            sent, waited = 0, 0
            while sent < most and waited < 100:
                try:
                    sent += client.send(asked[sent % len(asked) :])
                    waited = 0
                except BlockingIOError:
                    waited += 1
                await asyncio.sleep(0)
            assert sent < most
            client.setblocking(True)


@pytest.mark.parametrize("is_kept", [False, True], ids=["new", "kept"])
async def test_an_upload_waits_for_an_upstream_that_does_not_read(
    is_kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the first write is more than the system takes, and the connection is a new one."""
    seen = asyncio.Event()
    made = Connection.connection_made

    def made_with_little_room(connection: Connection, transport: asyncio.BaseTransport) -> None:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        made(connection, transport)

    monkeypatch.setattr(Connection, "connection_made", made_with_little_room)

    async def behave(server: Upstream, wire: Wire) -> None:
        if is_kept:
            await server.request(wire)
            await wire.send(ok())
        await wire.head()
        seen.set()
        await asyncio.Event().wait()

    most = 64 * 1024 * 1024
    head = get("/", ORIGIN, f"Content-Length: {2 * most}", method="POST")
    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        if is_kept:
            await ask(front.address, get("/", ORIGIN))
        with socket.create_connection((front.address.host, front.address.port)) as client:
            client.sendall(head)
            client.setblocking(False)
            sent, waited, piece = 0, 0, bytes(1024 * 1024)
            while sent < most and waited < 100:
                try:
                    sent += client.send(piece)
                    waited = 0
                except BlockingIOError:
                    waited += 1
                    await asyncio.sleep(0.001 if seen.is_set() else 0)
        assert sent < most
