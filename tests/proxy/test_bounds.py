"""What clients can make the proxy remember or wait for is bounded, whatever the file holds."""

import asyncio

from corsproxy.config.table import Match, Timeouts
from corsproxy.proxy.service import _MEMO_LIMIT, Load, Memos, RouteService
from tests.proxy.conftest import APP, WEB, policy, proxy, route, words
from tests.proxy.test_tunnel import SWITCH, opened
from tests.wire import Upstream, Wire, answers, get, ok, upstream


def test_trap_46_memos_are_shared_by_all_routes_and_bounded() -> None:
    memos = Memos()
    services = [RouteService(route(9, index=index), None, memos, Load()) for index in range(3)]  # type: ignore[arg-type]
    for number in range(_MEMO_LIMIT + 10):
        for service in services:
            origin = b"https://h%d.test" % number
            service.actual(origin)
            service.preflight(origin, b"PUT", None, network=False)
    assert len(memos.actual) <= _MEMO_LIMIT
    assert len(memos.preflight) <= _MEMO_LIMIT


def test_what_is_long_is_not_remembered() -> None:
    memos = Memos()
    star = policy(allow_headers=words("*", "Authorization"))
    service = RouteService(route(9, policy=star), None, memos, Load())  # type: ignore[arg-type]
    decision, _, _ = service.preflight(APP.encode(), b"PUT", b"x" * 5000, network=False)
    assert decision.allowed
    assert not memos.preflight


def test_routes_that_share_a_memo_do_not_share_decisions() -> None:
    memos = Memos()
    other = policy(allow_origins=words("https://other.test"))
    first = RouteService(route(9, index=0, policy=WEB), None, memos, Load())  # type: ignore[arg-type]
    second = RouteService(route(9, index=1, policy=other), None, memos, Load())  # type: ignore[arg-type]
    for _ in range(2):
        assert first.actual(APP.encode()).decision.allowed
        assert not second.actual(APP.encode()).decision.allowed


async def test_a_length_of_thousands_of_digits_is_refused() -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        for digits in ("0" * 5000 + "3", "9" * 20):
            wire = await front.dial()
            await wire.send(get("/", f"Content-Length: {digits}", f"Origin: {APP}", method="POST") + b"abc")
            answer = await wire.message()
            assert (answer.status, answer.one("Access-Control-Allow-Origin")) == (400, APP)
        assert not legacy.requests


async def test_two_origins_side_by_side_are_no_origin_even_in_a_head_that_is_refused() -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        fields = [f"X-{number}: 1" for number in range(120)]
        for origins, allowed in (([APP], APP), ([APP, "https://evil.test"], None)):
            wire = await front.dial()
            await wire.send(get("/", *fields, *(f"Origin: {origin}" for origin in origins)))
            answer = await wire.message()
            assert (answer.status, answer.one("Access-Control-Allow-Origin")) == (431, allowed)


async def test_a_tunnel_to_an_upstream_that_reads_nothing_lets_go_of_it() -> None:
    async def behave(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        await wire.send(SWITCH)
        wire.writer.transport.pause_reading()
        await server.gone_elsewhere.wait()
        wire.writer.transport.resume_reading()
        await wire.rest()

    async with upstream(behave) as legacy:
        legacy.gone_elsewhere = asyncio.Event()  # type: ignore[attr-defined]
        timeouts = Timeouts(idle=0.2)
        async with proxy(route(legacy.port, match=Match(), timeouts=timeouts)) as front:
            wire = await opened(front)
            wire.writer.write(b"x" * (16 << 20))
            await asyncio.wait_for(front.recorder.recorded.wait(), 5)
            legacy.gone_elsewhere.set()  # type: ignore[attr-defined]
            await asyncio.wait_for(legacy.gone.wait(), 5)
            assert front.last.fault is not None
            assert front.last.fault.code == "tunnel-idle"
