"""A process that has too many connections lets some go, so that a client notices nothing but a field."""

import asyncio
from collections import Counter

import pytest

from tests.proxy.conftest import Proxy, proxy, route
from tests.proxy.test_tunnel import opened, switch_and_echo
from tests.wire import Upstream, Wire, get, ok, upstream


class Legacy:
    """An upstream that holds /slow and streams /long until it is told to go on."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.holds = asyncio.Semaphore(0)  # released for each that is held

    async def behave(self, server: Upstream, wire: Wire) -> None:
        while True:
            head = await server.request(wire)
            if "/slow" in head.first_line:
                self.holds.release()
                await self.go_on.wait()
            if "/long" in head.first_line:
                await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none")
                await self.go_on.wait()
                await wire.send(b"two")
                continue
            await wire.send(ok())


async def asked(front: Proxy, count: int, path: str = "/") -> list[Wire]:
    """Connections that have had a response to this."""
    wires = [await front.dial() for _ in range(count)]
    for wire in wires:
        await wire.send(get(path))
        await wire.message()
    return wires


async def told(wires: list[Wire]) -> Counter[str | None]:
    """What the next responses say of their connections; those that end have ended by then."""
    found: Counter[str | None] = Counter()
    for wire in wires:
        await wire.send(get("/"))
        answer = await wire.message()
        assert (answer.status, answer.body) == (200, b"hello")
        found[answer.one("Connection")] += 1
        if answer.one("Connection") == "close":
            assert await wire.ended()
    return found


async def test_those_that_have_to_go_are_told_with_their_next_response() -> None:
    async with upstream(Legacy().behave) as legacy, proxy(route(legacy.port)) as front:
        wires = await asked(front, 6)
        front.server.ease(4)
        assert front.server.connections == 6  # nobody is cut
        assert await told(wires) == {None: 4, "close": 2}


@pytest.mark.parametrize(("count", "at_once"), [(20, 8), (100, 10)])
async def test_of_many_only_some_at_a_time(count: int, at_once: int) -> None:
    async with upstream(Legacy().behave) as legacy, proxy(route(legacy.port)) as front:
        wires = await asked(front, count)
        front.server.ease(count // 2)
        assert await told(wires) == {None: count - at_once, "close": at_once}


async def test_those_that_were_let_go_are_not_counted_among_those_who_stay() -> None:
    """They may sleep for long, and meanwhile others would have to go in their place."""
    async with upstream(Legacy().behave) as legacy, proxy(route(legacy.port)) as front:
        wires = await asked(front, 20)
        for _ in range(20):
            front.server.ease(17)
        assert await told(wires) == {None: 17, "close": 3}
        wires = [wire for wire in wires if not wire.reader.at_eof()] + await asked(front, 3)
        front.server.ease(17)
        assert await told(wires) == {None: 17, "close": 3}


async def test_none_goes_where_no_more_are_than_may_stay() -> None:
    async with upstream(Legacy().behave) as legacy, proxy(route(legacy.port)) as front:
        wires = await asked(front, 3)
        front.server.ease(3)
        front.server.ease(50)
        assert await told(wires) == {None: 3}


async def test_first_go_those_who_ask_for_something_now() -> None:
    held = Legacy()
    async with upstream(held.behave) as legacy, proxy(route(legacy.port)) as front:
        idle = await asked(front, 8)
        slow = [await front.dial() for _ in range(2)]
        for wire in slow:
            await wire.send(get("/slow"))
            await held.holds.acquire()
        front.server.ease(8)
        held.go_on.set()
        for wire in slow:
            answer = await wire.message()
            assert (answer.status, answer.one("Connection")) == (200, "close")
            assert await wire.ended()
        assert await told(idle) == {None: 8}


async def test_a_response_that_has_begun_without_saying_so_does_not_end_the_connection() -> None:
    """The next request may be on its way by then, and would be lost."""
    held = Legacy()
    async with upstream(held.behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/long"))
        head = await wire.head()
        front.server.ease(0)
        held.go_on.set()
        await wire.finish(head)
        assert (head.one("Connection"), head.body) == (None, b"onetwo")
        assert await told([wire]) == {None: 1}
        front.server.ease(0)
        assert await told([wire]) == {"close": 1}


async def test_websockets_stay() -> None:
    async with upstream(switch_and_echo) as legacy, proxy(route(legacy.port)) as front:
        wire = await opened(front)
        front.server.ease(0)
        await wire.send(b"still here")
        assert await wire.reader.readexactly(10) == b"still here"
