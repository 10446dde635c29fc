"""Active checks against real endpoints: what counts as an answer, how often, and what is told."""

import asyncio
from pathlib import Path

import pytest

from corsproxy.config.table import Endpoint, HealthCheck, Upstream, UpstreamTls
from corsproxy.upstream.cluster import Change, Cluster, Clusters, Notice
from corsproxy.upstream.health import Prober, watch
from corsproxy.upstream.resolve import AddrInfo, Resolver
from corsproxy.upstream.tls import client_tls
from tests.certificates import Files, server_context, tls_upstream
from tests.wire import PATIENCE, Behaviour, Wire, answers, ok, upstream
from tests.wire import Upstream as Server

CHECK = HealthCheck(b"/up?deep=1", interval=0.01, timeout=1.0, healthy_after=2, unhealthy_after=3)


def prober(port: int, check: HealthCheck = CHECK) -> Prober:
    return Prober(Endpoint("http", "127.0.0.1", port), check, b"legacy.test", Resolver(), None)


async def silent(server: Server, wire: Wire) -> None:
    await server.request(wire)
    await wire.rest()


async def hangs_up(server: Server, wire: Wire) -> None:
    await server.request(wire)


OUTCOMES: list[tuple[str, Behaviour, str]] = [
    ("200", answers(ok()), ""),
    ("204", answers(b"HTTP/1.1 204 No Content\r\n\r\n"), ""),
    ("a redirect is an answer", answers(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"), ""),
    ("the head is enough", answers(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"), ""),
    ("103 is not the answer yet", answers(b"HTTP/1.1 103 Early Hints\r\n\r\n" + ok()), ""),
    ("404", answers(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"), "status 404"),
    ("503", answers(b"HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n"), "status 503"),
    ("no HTTP", answers(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "protocol-error: not HTTP/1.x"),
    ("a hang-up", hangs_up, "broke-off"),
]


@pytest.mark.parametrize(
    ("behaviour", "outcome"), [case[1:] for case in OUTCOMES], ids=[case[0] for case in OUTCOMES]
)
async def test_what_an_answer_says(behaviour: Behaviour, outcome: str) -> None:
    async with upstream(behaviour) as legacy:
        assert await prober(legacy.port).ask() == outcome
        assert legacy.requests[0].first_line == "GET /up?deep=1 HTTP/1.1"
        assert legacy.requests[0].one("Host") == "legacy.test"
        assert legacy.requests[0].one("Connection") == "close"


async def test_nobody_there() -> None:
    async with upstream(silent) as legacy:
        port = legacy.port
    assert await prober(port).ask() == "connection-refused"


async def test_no_answer_in_time() -> None:
    async with upstream(silent) as legacy:
        check = HealthCheck(b"/up", timeout=0.05)
        assert await prober(legacy.port, check).ask() == "no answer within 0.05s"
        async with asyncio.timeout(PATIENCE):
            await legacy.gone.wait()  # and the connection is not left behind


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "api.sock")
    async with upstream(answers(ok()), path=path):
        endpoint = Endpoint("http", "", 0, path)
        assert await Prober(endpoint, CHECK, endpoint.authority, Resolver(), None).ask() == ""


async def test_over_tls(files: Files) -> None:
    async with tls_upstream(answers(ok()), server_context(files)) as legacy:
        endpoint = Endpoint("https", "127.0.0.1", legacy.port)
        good = Prober(endpoint, CHECK, b"x", Resolver(), client_tls(UpstreamTls(ca=files.ca)))
        bad = Prober(endpoint, CHECK, b"x", Resolver(), client_tls(UpstreamTls()))
        assert await good.ask() == ""
        assert (await bad.ask()).startswith("tls-error: ")


async def test_each_check_is_a_connection_of_its_own_at_the_interval() -> None:
    pauses: list[float] = []
    third = asyncio.Event()
    heard: list[str] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            third.set()
            await asyncio.Event().wait()

    async with upstream(answers(ok())) as legacy:
        task = asyncio.ensure_future(watch(prober(legacy.port), heard.append, pause))
        async with asyncio.timeout(PATIENCE):
            await third.wait()
        task.cancel()
        assert (heard, pauses, legacy.connections) == ([""] * 3, [0.01] * 3, 3)


async def test_a_mistake_of_ours_is_an_outcome_and_the_next_check_comes() -> None:
    async def resolve(_host: str, _port: int) -> list[AddrInfo]:
        raise RuntimeError("ours")

    endpoint = Endpoint("http", "api.test", 1)
    broken = Prober(endpoint, CHECK, b"health.test", Resolver(resolve), None)
    assert await broken.ask() == "internal error: RuntimeError('ours')"


class Notices:
    """Keeps what a cluster reports, and wakes who waits for it."""

    def __init__(self) -> None:
        self.all: list[Notice] = []
        self.came = asyncio.Event()

    def __call__(self, notice: Notice) -> None:
        self.all.append(notice)
        self.came.set()

    async def next(self) -> Notice:
        async with asyncio.timeout(PATIENCE):
            await self.came.wait()
        self.came.clear()
        return self.all[-1]


def cluster(notices: Notices, *ports: int, check: HealthCheck | None = CHECK) -> Cluster:
    endpoints = tuple(Endpoint("http", "127.0.0.1", port) for port in ports)
    settings = Upstream("legacy", endpoints, health=check)
    clusters = Clusters(Resolver(), notices)
    clusters.replace([settings])  # starts the checks
    return clusters.serving[settings]


async def test_an_unhealthy_endpoint_gets_no_requests_until_it_is_healthy_again() -> None:
    notices = Notices()
    async with (
        upstream(answers(ok())) as one,
        upstream(answers(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n")) as two,
    ):
        both = cluster(notices, one.port, two.port)
        try:
            name = f"http://127.0.0.1:{two.port}"
            assert await notices.next() == Notice("legacy", name, Change.UNHEALTHY, "status 503")
            assert {both.pick().endpoint.port for _ in range(4)} == {one.port}
            two.behaviour = answers(ok())
            assert await notices.next() == Notice("legacy", name, Change.HEALTHY)
            assert {both.pick().endpoint.port for _ in range(4)} == {one.port, two.port}
        finally:
            both.close()
        assert len(notices.all) == 2


async def test_closing_ends_the_checks() -> None:
    async with upstream(answers(ok())) as legacy:
        before = asyncio.all_tasks()
        only = cluster(Notices(), legacy.port)
        async with asyncio.timeout(PATIENCE):
            await legacy.asked.wait()
        mine = asyncio.all_tasks() - before
        assert mine
        only.close()
        await asyncio.gather(*mine, return_exceptions=True)
        assert only._watches == []


async def test_without_a_path_nobody_asks() -> None:
    async with upstream(answers(ok())) as legacy:
        before = asyncio.all_tasks()
        cluster(Notices(), legacy.port, check=None)
        assert asyncio.all_tasks() == before
