"""A pool at its limit: who waits, who is served next, and that the count stays right."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from corsproxy.config.table import Endpoint
from corsproxy.http.faults import UPSTREAM_LIMIT, Fault
from corsproxy.upstream.connection import Connection
from corsproxy.upstream.pool import Pool
from tests.wire import PATIENCE, Upstream, Wire, upstream

Outcome = Connection | Fault


async def listens(server: Upstream, wire: Wire) -> None:
    await wire.rest()


class Caller:
    """Somebody who asked a pool for a connection."""

    def __init__(self, pool: Pool, timeout: float = PATIENCE, *, first: bool = False) -> None:
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.task = pool.open(timeout, self.outcome.set_result, first=first)

    async def connection(self) -> Connection:
        async with asyncio.timeout(PATIENCE):
            outcome = await self.outcome
        assert isinstance(outcome, Connection), outcome
        return outcome

    async def cancel(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.task


@contextlib.asynccontextmanager
async def pool_of(most: int) -> AsyncIterator[tuple[Pool, Upstream]]:
    async with upstream(listens) as legacy:
        pool = Pool(Endpoint("http", "127.0.0.1", legacy.port), max_connections=most, tls=None)
        yield pool, legacy
        pool.close()


async def closed(pool: Pool, count: int) -> None:
    """Wait until so many are left."""
    async with asyncio.timeout(PATIENCE):
        while True:
            if pool.open_count == count:
                return
            await asyncio.sleep(0)


async def test_a_freed_connection_goes_to_whoever_waits_longest() -> None:
    async with pool_of(1) as (pool, legacy):
        first = await Caller(pool).connection()
        waiting = [Caller(pool), Caller(pool)]
        await asyncio.sleep(0)
        assert pool.is_full
        pool.keep(first)
        assert await waiting[0].connection() is first
        assert not waiting[1].outcome.done()
        pool.keep(first)
        assert await waiting[1].connection() is first
        pool.keep(first)
        assert (pool.idle, pool.open_count, legacy.connections) == ([first], 1, 1)


async def test_a_closed_connection_makes_room_for_another() -> None:
    async with pool_of(1) as (pool, _):
        first = await Caller(pool).connection()
        waiting = Caller(pool)
        first.close()
        second = await waiting.connection()
        assert second is not first
        await closed(pool, 1)


async def test_one_that_ends_on_its_way_is_replaced() -> None:
    async with pool_of(1) as (pool, _):
        first = await Caller(pool).connection()
        waiting = Caller(pool)
        await asyncio.sleep(0)
        pool.keep(first)
        first.transport.abort()
        second = await waiting.connection()
        assert second is not first
        await closed(pool, 1)


async def test_waiting_has_an_end() -> None:
    async with pool_of(1) as (pool, _):
        first = await Caller(pool).connection()
        late = Caller(pool, timeout=0.02)
        async with asyncio.timeout(PATIENCE):
            outcome = await late.outcome
        assert isinstance(outcome, Fault)
        assert outcome.code == UPSTREAM_LIMIT.code
        pool.keep(first)
        assert (pool.idle, pool.open_count) == ([first], 1)


async def test_one_who_gives_up_waiting_loses_the_turn() -> None:
    async with pool_of(1) as (pool, _):
        first = await Caller(pool).connection()
        gone, next_one = Caller(pool), Caller(pool)
        await asyncio.sleep(0)
        await gone.cancel()
        pool.keep(first)
        assert await next_one.connection() is first


async def test_one_who_gives_up_in_the_moment_of_the_turn_hands_it_on() -> None:
    async with pool_of(1) as (pool, _):
        first = await Caller(pool).connection()
        gone, next_one = Caller(pool), Caller(pool)
        await asyncio.sleep(0)
        pool.keep(first)  # to `gone`, who does not know yet
        await gone.cancel()
        assert await next_one.connection() is first


async def test_one_who_gives_up_a_turn_to_connect_hands_it_on() -> None:
    async with pool_of(1) as (pool, _):
        first = await Caller(pool).connection()
        gone, next_one = Caller(pool), Caller(pool)
        await asyncio.sleep(0)
        pool.forget(first)  # room for another: `gone` may connect
        await gone.cancel()
        assert await next_one.connection() is not first
        first.close()


async def test_given_up_before_the_first_step() -> None:
    async with pool_of(1) as (pool, _):
        await Caller(pool).cancel()
        await closed(pool, 0)
        first = await Caller(pool).connection()
        await Caller(pool).cancel()  # it would have waited
        pool.keep(first)
        assert (pool.idle, pool.open_count) == ([first], 1)


async def test_those_who_fail_to_connect_let_the_next_try() -> None:
    async with upstream(listens) as legacy:
        port = legacy.port
    pool = Pool(Endpoint("http", "127.0.0.1", port), max_connections=1, tls=None)
    callers = [Caller(pool) for _ in range(5)]
    async with asyncio.timeout(PATIENCE):
        outcomes = [await caller.outcome for caller in callers]
    assert {outcome.code for outcome in outcomes if isinstance(outcome, Fault)} == {"connection-refused"}
    await closed(pool, 0)


async def test_never_more_than_the_limit() -> None:
    async with pool_of(3) as (pool, legacy):
        callers = [Caller(pool) for _ in range(30)]
        for caller in callers:
            pool.keep(await caller.connection())
        assert legacy.connections <= 3
        await closed(pool, 3)


async def test_whose_turn_it_was_already_goes_before_those_who_wait() -> None:
    async with pool_of(1) as (pool, _):
        holder = await Caller(pool).connection()
        waits, was_next = Caller(pool), Caller(pool, first=True)
        pool.keep(holder)
        assert await was_next.connection() is holder
        assert not waits.outcome.done()
        await waits.cancel()
        holder.close()
