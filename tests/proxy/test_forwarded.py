"""Who asked: what a client may say of it, what a trusted proxy may, and the id of a request."""

from dataclasses import dataclass

import pytest

from corsproxy.http.forwarded import PRIVATE, Network
from tests.proxy.conftest import APP, proxy, route
from tests.wire import answers, ask, get, ok, upstream


@dataclass(frozen=True)
class Hop:
    says: str
    trusted: tuple[Network, ...]
    sent: tuple[str, ...]
    arrives: dict[str, str | None]


HOPS = [
    Hop(
        "a stranger's words are replaced",
        (),
        (
            "X-Forwarded-For: 6.6.6.6",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Host: evil",
            "Forwarded: for=6.6.6.6",
        ),
        {
            "X-Forwarded-For": "127.0.0.1",
            "X-Forwarded-Proto": "http",
            "X-Forwarded-Host": "p.test",
            "Forwarded": None,
        },
    ),
    Hop(
        "a trusted proxy's are kept, with its own address added",
        PRIVATE,
        (
            "X-Forwarded-For: 9.9.9.9",
            "x-forwarded-for: 8.8.8.8",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Port: 443",
        ),
        {
            "X-Forwarded-For": "9.9.9.9, 8.8.8.8, 127.0.0.1",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "p.test",
            "X-Forwarded-Port": "443",
        },
    ),
    Hop(
        "Forwarded gets an element of ours where there was one",
        PRIVATE,
        ("Forwarded: for=9.9.9.9;proto=https",),
        {
            "Forwarded": 'for=9.9.9.9;proto=https, for=127.0.0.1;host="p.test";proto=http',
            "X-Forwarded-For": "127.0.0.1",
        },
    ),
    Hop(
        "a trusted proxy that says nothing is a client like others",
        PRIVATE,
        (),
        {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "p.test"},
    ),
]


@pytest.mark.parametrize("case", HOPS, ids=lambda case: case.says)
async def test_who_asked(case: Hop) -> None:
    async with (
        upstream(answers(ok())) as legacy,
        proxy(route(legacy.port), trusted_proxies=case.trusted) as front,
    ):
        await ask(front.address, get("/", *case.sent, host="p.test"))
        seen = legacy.requests[0]
        assert {name: seen.one(name) for name in case.arrives} == case.arrives


async def test_behind_tls_termination_the_proxys_own_origin_is_what_a_trusted_proxy_says() -> None:
    """Trap 34: the page's own POST carries its own origin, which no policy lists."""
    lines = ("Origin: https://shop.test", "X-Forwarded-Proto: https", "X-Forwarded-Host: shop.test")
    async with upstream(answers(ok())) as legacy:
        for trusted, reason in ((PRIVATE, "same-origin"), ((), "origin-not-allowed")):
            async with proxy(route(legacy.port), trusted_proxies=trusted) as front:
                await ask(front.address, get("/", *lines, host="10.0.0.7"))
                assert front.last.decision is not None
                assert front.last.decision.reason == reason


@pytest.mark.parametrize("sent", ["abc-123", "01HZX/trace=="])
async def test_a_request_id_is_kept(sent: str) -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        await ask(front.address, get("/", f"X-Request-Id: {sent}"))
        assert legacy.requests[0].one("X-Request-Id") == sent == front.last.request_id.decode()


@pytest.mark.parametrize("sent", ["", "x" * 129, "a b", "caf\xe9"])
async def test_a_request_id_is_made_where_there_is_none_that_can_be_kept(sent: str) -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        for _ in range(2):
            await ask(front.address, get("/", f"X-Request-Id: {sent}", f"Origin: {APP}"))
        first, second = (request.one("X-Request-Id") for request in legacy.requests)
        assert first
        assert first != second
