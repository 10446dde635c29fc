"""What becomes of upstreams when another table serves: who stays, who comes, who goes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import trustme

from corsproxy.config.certificates import PemError
from corsproxy.config.table import Endpoint, HealthCheck, Upstream, UpstreamTls
from corsproxy.http.faults import UPSTREAM_REFUSED, Fault
from corsproxy.upstream.cluster import Change, Cluster, Clusters, Notice
from corsproxy.upstream.connection import Connection
from corsproxy.upstream.resolve import Resolver
from tests.certificates import Files, issue
from tests.wire import PATIENCE, Wire, answers, ok, upstream
from tests.wire import Upstream as Server

PLAIN = Upstream("legacy", (Endpoint("http", "127.0.0.1", 9000), Endpoint("http", "127.0.0.1", 9001)))


class Served:
    """Clusters and what they reported."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []
        self.told = asyncio.Event()
        self.clusters = Clusters(Resolver(), self._report)

    def _report(self, notice: Notice) -> None:
        self.notices.append(notice)
        self.told.set()

    def replace(self, *upstreams: Upstream) -> list[Cluster]:
        """Serve these instead; their clusters."""
        self.clusters.replace(upstreams)
        return [self.clusters.serving[each] for each in upstreams]


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[Served]:
    made = Served()
    try:
        yield made
    finally:
        made.clusters.close()


def same(upstream: Upstream, **changes: object) -> Upstream:
    """Another object, as a reload compiles one."""
    return replace(upstream, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Case:
    says: str
    changes: dict[str, object]
    stays: bool = False


CASES = [
    Case("nothing else", {}, stays=True),
    Case("another name", {"name": "other"}),
    Case("one endpoint less", {"endpoints": PLAIN.endpoints[:1]}),
    Case("its endpoints in another order", {"endpoints": PLAIN.endpoints[::-1]}),
    Case("another Host", {"host": b"api.test"}),
    Case("a limit", {"max_connections": 3}),
    Case("more retries", {"retries": 2}),
    Case("another balance", {"balance": "least_in_flight"}),
    Case("health checks", {"health": HealthCheck(b"/", interval=3600.0)}),
    Case("TLS settings", {"tls": UpstreamTls(verify=False)}),
    Case("another origin", {"origin": "upstream"}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
async def test_an_upstream_that_is_served_alike_stays(case: Case) -> None:
    async with served() as front:
        (before,) = front.replace(PLAIN)
        (after,) = front.replace(same(PLAIN, **case.changes))
        assert (after is before) is case.stays


async def test_many_may_share_a_name_of_their_own() -> None:
    """Two routes may go to the same URL, each with an upstream of its own."""
    async with served() as front:
        before = front.replace(PLAIN, same(PLAIN))
        assert before[0] is not before[1]
        after = front.replace(same(PLAIN), same(PLAIN))
        assert after[0] is not after[1]
        assert set(before) & set(after)


async def test_what_is_known_of_endpoints_stays() -> None:
    async with served() as front:
        (cluster,) = front.replace(PLAIN)
        bad = cluster.pools[0]
        for _ in range(3):
            bad.standing.in_flight += 1
            cluster.leave(bad, UPSTREAM_REFUSED)
        assert [notice.change for notice in front.notices] == [Change.EJECTED]
        (after,) = front.replace(same(PLAIN))
        assert {after.pick().name for _ in range(4)} == {"http://127.0.0.1:9001"}
        assert front.notices[1:] == []


async def connected(cluster: Cluster) -> Connection:
    """A connection to the first endpoint."""
    opened: asyncio.Future[Connection | Fault] = asyncio.get_running_loop().create_future()
    await cluster.pools[0].open(PATIENCE, opened.set_result)
    connection = await opened
    assert isinstance(connection, Connection)
    return connection


async def listens(server: Server, wire: Wire) -> None:
    await wire.rest()


def at(server: Server, **settings: object) -> Upstream:
    return Upstream("legacy", (Endpoint("http", "127.0.0.1", server.port),), **settings)  # type: ignore[arg-type]


async def test_idle_connections_stay_with_it() -> None:
    async with upstream(listens) as server, served() as front:
        (cluster,) = front.replace(at(server))
        connection = await connected(cluster)
        cluster.pools[0].keep(connection)
        (after,) = front.replace(at(server))
        assert after.pools[0].take() is connection
        connection.close()


async def test_of_one_that_goes_the_idle_connections_close_at_once_and_the_others_after_use() -> None:
    async with upstream(listens) as server, served() as front:
        (cluster,) = front.replace(at(server))
        idle, busy = await connected(cluster), await connected(cluster)
        cluster.pools[0].keep(idle)
        front.replace(PLAIN)
        async with asyncio.timeout(PATIENCE):
            await server.gone.wait()
            assert (idle.transport.is_closing(), busy.transport.is_closing()) == (True, False)
            server.gone.clear()
            cluster.pools[0].keep(busy)  # its exchange is over
            await server.gone.wait()
        assert server.closed == 2


async def test_an_exchange_of_an_old_table_may_still_connect() -> None:
    async with upstream(listens) as server, served() as front:
        (cluster,) = front.replace(at(server))
        front.replace(PLAIN)
        connection = await connected(cluster)
        cluster.pools[0].keep(connection)
        async with asyncio.timeout(PATIENCE):
            await server.gone.wait()


async def test_checks_go_on_over_a_reload_and_end_with_the_upstream() -> None:
    check = HealthCheck(b"/health", interval=0.01, healthy_after=1, unhealthy_after=1)
    async with upstream(answers(ok())) as server, served() as front:
        front.replace(at(server, health=check))
        async with asyncio.timeout(PATIENCE):
            await server.asked.wait()
            front.replace(at(server, health=check))
            (watch,) = front.clusters.serving[next(iter(front.clusters.serving))]._watches
            assert not watch.cancelled()
            server.asked.clear()
            await server.asked.wait()
            front.replace(PLAIN)
            with contextlib.suppress(asyncio.CancelledError):
                await watch
        assert watch.cancelled()


async def test_what_a_check_found_stays_and_a_new_upstream_starts_well() -> None:
    check = HealthCheck(b"/health", interval=3600.0, unhealthy_after=1)
    async with (
        upstream(answers(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")) as server,
        served() as front,
    ):
        (before,) = front.replace(at(server, health=check))
        async with asyncio.timeout(PATIENCE):
            await front.told.wait()
        (after,) = front.replace(at(server, health=check))
        assert not after.pools[0].standing.is_healthy
        (changed,) = front.replace(at(server, health=replace(check, path=b"/other")))
        assert changed is not before
        assert changed.pools[0].standing.is_healthy


# Certificates


def secure(files: Files) -> Upstream:
    tls = UpstreamTls(ca=files.ca, cert=files.cert, key=files.key)
    return Upstream("legacy", (Endpoint("https", "localhost", 9443),), tls=tls)


def renew(authority: trustme.CA, files: Files) -> None:
    issue(authority, files)


def damage(_: trustme.CA, files: Files) -> None:
    Path(files.cert).write_text("nothing of use")


async def test_certificates_with_the_same_content_are_the_same(files: Files) -> None:
    async with served() as front:
        before, twin = front.replace(secure(files), same(secure(files), name="twin"))
        assert before.tls is twin.tls  # read once
        (after,) = front.replace(secure(files))
        assert after is before


async def test_renewed_certificates_make_a_new_upstream(authority: trustme.CA, files: Files) -> None:
    async with served() as front:
        (before,) = front.replace(secure(files))
        renew(authority, files)
        (after,) = front.replace(secure(files))
        assert after is not before
        assert after.tls is not before.tls


async def test_certificates_of_no_use_change_nothing(authority: trustme.CA, files: Files) -> None:
    async with upstream(listens) as server, served() as front:
        (plain, kept) = front.replace(at(server), secure(files))
        serving = dict(front.clusters.serving)
        idle = await connected(plain)
        plain.pools[0].keep(idle)
        damage(authority, files)
        with pytest.raises(PemError):
            front.replace(PLAIN, secure(files))
        assert front.clusters.serving == serving
        assert plain.pools[0].take() is idle
        idle.close()
        renew(authority, files)
        assert front.replace(secure(files))[0] is not kept


PEMS: list[Callable[[trustme.CA, Files], None]] = [renew, damage]


@pytest.mark.parametrize("change", PEMS)
async def test_files_that_no_endpoint_needs_are_not_read(
    change: Callable[[trustme.CA, Files], None], authority: trustme.CA, files: Files
) -> None:
    async with served() as front:
        (before,) = front.replace(same(PLAIN, tls=secure(files).tls))
        change(authority, files)
        (after,) = front.replace(same(PLAIN, tls=secure(files).tls))
        assert after is before
