"""Several endpoints behind one route: who gets what, and what becomes of one that fails."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from corsproxy.config.table import Address, Endpoint, HealthCheck, Limits, Route, Timeouts, Upstream
from tests.proxy.conftest import APP, Proxy, proxy, route, upstream_at
from tests.wire import PATIENCE, Behaviour, Message, Wire, answers, ask, get, ok, upstream
from tests.wire import Upstream as Server


def to(*ports: int, **settings: object) -> Route:
    """A route to endpoints on these ports."""
    endpoints = tuple(Endpoint("http", "127.0.0.1", port) for port in ports)
    return route(0, upstream=replace(upstream_at(0, **settings), endpoints=endpoints))


@contextlib.asynccontextmanager
async def three(behaviour: Behaviour) -> AsyncIterator[list[Server]]:
    async with upstream(behaviour) as one, upstream(behaviour) as two, upstream(behaviour) as three:
        yield [one, two, three]


def dead_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def notices(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, logger="corsproxy.ops.server"):
        yield caplog


async def statuses(front: Proxy, count: int, request: bytes = get("/")) -> list[int]:
    return [(await ask(front.address, request)).status for _ in range(count)]


async def test_each_in_turn() -> None:
    async with three(answers(ok())) as servers, proxy(to(*(each.port for each in servers))) as front:
        await statuses(front, 9)
        assert [len(each.requests) for each in servers] == [3, 3, 3]


async def test_the_record_names_the_endpoint() -> None:
    async with three(answers(ok())) as servers, proxy(to(*(each.port for each in servers))) as front:
        await statuses(front, 3)
        names = [exchange.endpoint for exchange in front.recorder.exchanges]
        assert names == [f"http://127.0.0.1:{each.port}" for each in servers]


async def test_host_is_that_of_the_endpoint_that_is_asked() -> None:
    dead = dead_port()
    async with upstream(answers(ok())) as legacy, proxy(to(dead, legacy.port)) as front:
        assert await statuses(front, 1) == [200]
        assert legacy.requests[0].one("Host") == f"127.0.0.1:{legacy.port}"


async def test_the_fewest_in_flight() -> None:
    release = asyncio.Event()

    async def slow(server: Server, wire: Wire) -> None:
        await server.request(wire)
        await release.wait()
        await wire.send(ok())
        await answers(ok())(server, wire)

    async with (
        upstream(slow) as busy,
        upstream(answers(ok())) as free,
        proxy(to(busy.port, free.port, balance="least_in_flight")) as front,
    ):
        held = await front.dial()
        await held.send(get("/held"))
        async with asyncio.timeout(PATIENCE):
            await busy.asked.wait()
        assert await statuses(front, 5) == [200] * 5
        assert (len(busy.requests), len(free.requests)) == (1, 5)
        release.set()
        assert (await held.message()).status == 200
        await statuses(front, 4)
        assert len(busy.requests) > 1  # it is free again


# An endpoint that is not there

REQUESTS = {
    "GET": get("/"),
    "POST with a body": get("/", "Content-Length: 5", method="POST") + b"hello",
    "POST in chunks": get("/", "Transfer-Encoding: chunked", method="POST") + b"5\r\nhello\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", REQUESTS.values(), ids=REQUESTS)
async def test_a_request_goes_to_another_endpoint_when_connecting_failed(request_bytes: bytes) -> None:
    """Nothing of it was sent, so it need not be idempotent."""
    async with upstream(answers(ok())) as legacy, proxy(to(dead_port(), legacy.port)) as front:
        assert (await ask(front.address, request_bytes)).status == 200
        assert legacy.requests[0].body == (b"hello" if request_bytes.startswith(b"POST") else b"")
        assert front.last.fault is None
        assert front.last.endpoint == f"http://127.0.0.1:{legacy.port}"


async def test_a_body_that_comes_later_follows_to_the_other_endpoint() -> None:
    connected = asyncio.Event()

    async def behave(server: Server, wire: Wire) -> None:
        connected.set()
        await answers(ok())(server, wire)

    async with upstream(behave) as legacy, proxy(to(dead_port(), legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/", "Content-Length: 10", method="POST") + b"hello")
        async with asyncio.timeout(PATIENCE):
            await connected.wait()
        await wire.send(b"world")
        assert (await wire.message()).status == 200
        assert legacy.requests[0].body == b"helloworld"


@pytest.mark.parametrize(("retries", "status"), [(0, 502), (1, 502), (2, 200), (5, 200)])
async def test_retries_bound_how_many_are_tried(retries: int, status: int) -> None:
    async with (
        upstream(answers(ok())) as legacy,
        proxy(to(dead_port(), dead_port(), legacy.port, retries=retries)) as front,
    ):
        assert await statuses(front, 1) == [status]


async def test_when_none_is_there_the_answer_says_so() -> None:
    async with proxy(to(dead_port(), dead_port(), retries=9)) as front:
        answer = await ask(front.address, get("/", f"Origin: {APP}"))
        assert answer.status == 502
        assert answer.one("Access-Control-Allow-Origin") == APP
        assert front.last.fault is not None
        assert front.last.fault.code == "connection-refused"


async def test_a_request_that_was_sent_goes_nowhere_else() -> None:
    async def hangs_up(server: Server, wire: Wire) -> None:
        await server.request(wire)

    async with (
        upstream(hangs_up) as bad,
        upstream(answers(ok())) as good,
        proxy(to(bad.port, good.port, retries=5)) as front,
    ):
        assert await statuses(front, 1) == [502]
        assert (len(bad.requests), len(good.requests)) == (1, 0)


# Ejection


async def test_one_that_fails_three_times_is_left_out(notices: pytest.LogCaptureFixture) -> None:
    dead = dead_port()
    async with upstream(answers(ok())) as legacy, proxy(to(dead, legacy.port, retries=0)) as front:
        seen = await statuses(front, 20)
        assert (seen.count(502), seen.count(200)) == (3, 17)
        assert seen[-10:] == [200] * 10
    assert notices.messages == [
        f"upstream legacy: http://127.0.0.1:{dead} is ejected (for 5s after 3 failures: connection-refused)"
    ]


async def test_responses_that_are_none_eject_too() -> None:
    async with (
        upstream(answers(b"garbage\r\n\r\n")) as bad,
        upstream(answers(ok())) as good,
        proxy(to(bad.port, good.port)) as front,
    ):
        seen = await statuses(front, 10)
        assert (seen.count(502), seen.count(200)) == (3, 7)


async def test_an_error_that_the_upstream_says_itself_does_not() -> None:
    error = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n"
    async with (
        upstream(answers(error)) as one,
        upstream(answers(ok())) as two,
        proxy(to(one.port, two.port)) as front,
    ):
        assert await statuses(front, 10) == [502, 200] * 5


async def test_when_all_are_out_they_are_asked_all_the_same(notices: pytest.LogCaptureFixture) -> None:
    async with (
        upstream(answers(b"garbage\r\n\r\n")) as one,
        upstream(answers(b"garbage\r\n\r\n")) as two,
        proxy(to(one.port, two.port)) as front,
    ):
        assert await statuses(front, 8) == [502] * 8
        assert (len(one.requests), len(two.requests)) == (4, 4)
        one.behaviour = two.behaviour = answers(ok())
        assert await statuses(front, 4) == [200] * 4
    assert [message.split(" is ")[1].split(" ")[0] for message in notices.messages].count("ejected") == 2
    assert notices.messages[-1].endswith(" is returned")


async def test_a_client_that_leaves_is_no_failure() -> None:
    async def silent(server: Server, wire: Wire) -> None:
        await server.request(wire)
        await wire.rest()

    async with (
        upstream(silent) as slow,
        upstream(answers(ok())) as quick,
        proxy(to(slow.port, quick.port)) as front,
    ):
        for _ in range(4):
            slow.asked.clear()
            wire = await front.dial()
            await wire.send(get("/"))
            async with asyncio.timeout(PATIENCE):
                await slow.asked.wait()
            wire.abort()
            assert await statuses(front, 1) == [200]
        assert (len(slow.requests), len(quick.requests)) == (4, 4)


async def test_one_alone_is_never_left_out(notices: pytest.LogCaptureFixture) -> None:
    async with upstream(answers(b"garbage\r\n\r\n")) as only, proxy(to(only.port)) as front:
        assert await statuses(front, 5) == [502] * 5
        only.behaviour = answers(ok())
        assert await statuses(front, 1) == [200]
    assert notices.messages == []


# Health and limits


async def test_active_checks_keep_requests_away_from_an_unhealthy_endpoint(
    notices: pytest.LogCaptureFixture,
) -> None:
    sick_checked = asyncio.Event()

    async def sick(server: Server, wire: Wire) -> None:
        while True:
            request = await server.request(wire)
            checked = request.first_line.startswith("GET /up ")
            await wire.send(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n" if checked else ok())
            if checked and len(server.requests) > 3:
                sick_checked.set()

    check = HealthCheck(b"/up", interval=0.01, unhealthy_after=3)
    async with (
        upstream(sick) as bad,
        upstream(answers(ok())) as good,
        proxy(to(bad.port, good.port, health=check)) as front,
    ):
        async with asyncio.timeout(PATIENCE):
            await sick_checked.wait()
        await statuses(front, 6)
        lines = [request.first_line for request in bad.requests]
        assert set(lines) == {"GET /up HTTP/1.1"}
    assert notices.messages == [f"upstream legacy: http://127.0.0.1:{bad.port} is unhealthy (status 500)"]


async def test_a_full_endpoint_is_passed_over() -> None:
    release = asyncio.Event()

    async def held(server: Server, wire: Wire) -> None:
        await server.request(wire)
        await release.wait()
        await wire.send(ok())

    async with (
        upstream(held) as one,
        upstream(answers(ok())) as two,
        proxy(to(one.port, two.port, max_connections=1)) as front,
    ):
        wire = await front.dial()
        await wire.send(get("/held"))
        async with asyncio.timeout(PATIENCE):
            await one.asked.wait()
        assert await statuses(front, 4) == [200] * 4
        assert (len(one.requests), len(two.requests)) == (1, 4)
        release.set()
        assert (await wire.message()).status == 200


async def no_client(front: Proxy) -> None:
    """Wait until the proxy has noticed that its clients are gone."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if not front.server.connections:
                return
            await asyncio.sleep(0)


async def test_nothing_is_in_flight_when_all_is_over() -> None:
    """Through every way out: answered, refused, broken off, left, tunnelled, too large."""
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    outcomes: list[tuple[Behaviour, bytes]] = [
        (answers(ok()), get("/")),
        (answers(ok()), get("/", method="HEAD")),
        (answers(b"garbage\r\n\r\n"), get("/")),
        (answers(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"), get("/")),
        (answers(switch), get("/", "Connection: Upgrade", "Upgrade: websocket")),
        (answers(ok()), get("/", "Content-Length: 100", method="POST")),
        (answers(ok()), get("/", "Transfer-Encoding: chunked", method="POST") + b"64\r\n" + b"x" * 100),
    ]
    async with upstream(answers(ok())) as one, upstream(answers(ok())) as two:
        settings = replace(
            to(one.port, two.port, dead_port()),
            websocket="any",
            limits=Limits(request_body=50),
            timeouts=Timeouts(),
        )
        async with proxy(settings) as front:
            for behaviour, request in outcomes * 2:
                one.behaviour = two.behaviour = behaviour
                wire = await front.dial()
                await wire.send(request)
                with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                    await wire.head()
                wire.abort()
                await no_client(front)
            (cluster,) = front.server._clusters.serving.values()
            assert [pool.standing.in_flight for pool in cluster.pools] == [0, 0, 0]


async def test_a_unix_socket_beside_a_tcp_endpoint(tmp_path: object) -> None:
    path = f"{tmp_path}/api.sock"
    async with upstream(answers(ok(b"unix")), path=path), upstream(answers(ok(b"tcp"))) as tcp:
        both = Upstream("legacy", (Endpoint("http", "", 0, path), Endpoint("http", "127.0.0.1", tcp.port)))
        async with proxy(route(0, upstream=both), listen=Address(path=f"{tmp_path}/front.sock")) as front:
            bodies = [(await ask(front.address, get("/"))).body for _ in range(2)]
            assert bodies == [b"unix", b"tcp"]
            names = [exchange.endpoint for exchange in front.recorder.exchanges]
            assert names == [f"http+unix://{path}", f"http://127.0.0.1:{tcp.port}"]


async def test_the_record_says_which_address_of_a_name_answered() -> None:
    async with upstream(answers(ok())) as legacy:
        named = Upstream("legacy", (Endpoint("http", "localhost", legacy.port),))
        async with proxy(route(0, upstream=named)) as front:
            answer: Message = await ask(front.address, get("/"))
            assert answer.status == 200
            assert front.last.endpoint == f"http://localhost:{legacy.port}"
            assert front.last.address == f"127.0.0.1:{legacy.port}"
