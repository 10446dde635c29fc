"""The cookie guard on real sockets: what an upstream gets of the cookies that a browser sends."""

from dataclasses import replace

from corsproxy.config.table import Endpoint
from corsproxy.http.own_cookies import ForwardedCookies
from corsproxy.proxy.cookie_guard import _MOST_NAMES, CookieMemory, guard_for
from tests.proxy.conftest import APP, policy, proxy, route, upstream_at
from tests.wire import Upstream, Wire, ask, get, ok, upstream

OWN = ForwardedCookies(frozenset({b"listed"}), learns=True)
LISTED = ForwardedCookies(frozenset({b"listed"}))
ORIGIN = f"Origin: {APP}"
COOKIES = "Cookie: sid=1; other=2; listed=3"


async def sets_a_cookie(server: Upstream, wire: Wire) -> None:
    """A login at /login; every other answer is plain."""
    while True:
        message = await server.request(wire)
        lines = ["Set-Cookie: sid=1; Path=/"] if "/login" in message.first_line else []
        await wire.send(ok(b"", *lines))


def cookies(server: Upstream) -> list[list[str]]:
    """What each request brought along."""
    return [message.all("Cookie") for message in server.requests]


async def test_trap_42_only_what_the_upstream_has_set_or_the_route_lists_goes_on() -> None:
    async with (
        upstream(sets_a_cookie) as legacy,
        proxy(route(legacy.port, forwarded_cookies=OWN)) as front,
    ):
        for path in ("/me", "/login", "/me"):
            await ask(front.address, get(path, COOKIES, ORIGIN))
        assert cookies(legacy) == [["listed=3"], ["listed=3"], ["sid=1; listed=3"]]


async def test_listed_learns_nothing() -> None:
    async with (
        upstream(sets_a_cookie) as legacy,
        proxy(route(legacy.port, forwarded_cookies=LISTED)) as front,
    ):
        for path in ("/login", "/me"):
            await ask(front.address, get(path, COOKIES))
        assert cookies(legacy) == [["listed=3"], ["listed=3"]]


async def test_trap_42_one_upstream_never_gets_the_cookies_of_another() -> None:
    async with upstream(sets_a_cookie) as first, upstream(sets_a_cookie) as second:
        routes = [
            route(
                first.port, name="first", match=replace(route(1).match, path=b"/first"), forwarded_cookies=OWN
            ),
            route(second.port, name="second", forwarded_cookies=OWN),
        ]
        async with proxy(*routes) as front:
            for path in ("/first/login", "/me", "/first/me"):
                await ask(front.address, get(path, "Cookie: sid=1"))
        assert cookies(first) == [[], ["sid=1"]]
        assert cookies(second) == [[]]


async def test_two_routes_to_one_upstream_know_the_same() -> None:
    async with upstream(sets_a_cookie) as legacy:
        shared = upstream_at(legacy.port)
        routes = [
            route(1, name="login", upstream=shared, match=replace(route(1).match, path=b"/login"),
                  forwarded_cookies=OWN),
            route(1, name="rest", upstream=upstream_at(legacy.port), forwarded_cookies=OWN),
        ]  # fmt: skip
        async with proxy(*routes) as front:
            for path in ("/login", "/me"):
                await ask(front.address, get(path, "Cookie: sid=1"))
        assert cookies(legacy) == [[], ["sid=1"]]


async def test_another_table_remembers() -> None:
    async with (
        upstream(sets_a_cookie) as legacy,
        proxy(route(legacy.port, forwarded_cookies=OWN)) as front,
    ):
        await ask(front.address, get("/login"))
        again = route(legacy.port, forwarded_cookies=ForwardedCookies(learns=True))
        front.server.swap(replace(front.server.table, routes=(again,)))
        await ask(front.address, get("/me", COOKIES))
        assert cookies(legacy) == [[], ["sid=1"]]


async def test_a_switched_connection_teaches_as_well() -> None:
    async def switches(server: Upstream, wire: Wire) -> None:
        message = await server.request(wire)
        if "/socket" in message.first_line:
            await wire.send(
                b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Set-Cookie: sid=1\r\n\r\n"
            )
            await wire.rest()
        else:
            await wire.send(ok())

    async with upstream(switches) as legacy, proxy(route(legacy.port, forwarded_cookies=OWN)) as front:
        wire = await front.dial()
        await wire.send(get("/socket", "Connection: Upgrade", "Upgrade: websocket", ORIGIN))
        assert (await wire.head()).status == 101
        await ask(front.address, get("/me", COOKIES))
        assert cookies(legacy)[-1] == ["sid=1; listed=3"]


def test_trap_42_deleting_a_cookie_is_no_way_to_see_it() -> None:
    memory = CookieMemory()
    guard = guard_for(route(9, forwarded_cookies=OWN), memory)
    assert guard is not None
    guard.learn([(b"Set-Cookie", b"other=; Max-Age=0"), (b"Set-Cookie", b"sid=1")])
    guard.learn([(b"Set-Cookie", b"sid=; Max-Age=0")])  # its own it may go on to see
    assert list(memory.names().values()) == [[b"sid"]]


def test_what_is_remembered_is_bounded() -> None:
    memory = CookieMemory()
    guard = guard_for(route(9, forwarded_cookies=OWN), memory)
    assert guard is not None
    for number in range(_MOST_NAMES + 1):
        guard.learn([(b"Set-Cookie", b"c%d=1" % number)])
    (names,) = memory.names().values()
    assert len(names) == _MOST_NAMES
    assert b"c0" not in names
    assert list(memory.names()) == [(Endpoint("http", "127.0.0.1", 9),)]


# Pages that pass for the upstream's own

PAGE = (ORIGIN, f"Referer: {APP}/cart", "Sec-Fetch-Site: cross-site")


async def fields(*lines: str, method: str = "POST", **settings: object) -> list[str | None]:
    """Origin, Referer and Sec-Fetch-Site as the upstream got them."""
    async with upstream(sets_a_cookie) as legacy:
        own = upstream_at(legacy.port, origin="upstream", host=b"api.example.com")
        async with proxy(route(1, upstream=own, **settings)) as front:
            await ask(front.address, get("/", *lines, method=method))
        (message,) = legacy.requests
    return [message.one(name) for name in ("Origin", "Referer", "Sec-Fetch-Site")]


async def test_a_page_that_the_policy_allows_passes_for_one_of_the_upstream() -> None:
    assert await fields(*PAGE) == ["http://api.example.com", "http://api.example.com/", "same-origin"]


async def test_one_that_it_does_not_allow_keeps_its_fields() -> None:
    evil = ("Origin: https://evil.test", "Referer: https://evil.test/", "Sec-Fetch-Site: cross-site")
    assert await fields(*evil) == ["https://evil.test", "https://evil.test/", "cross-site"]


async def test_what_is_no_call_of_a_script_keeps_its_fields() -> None:
    image = ("Referer: https://evil.test/", "Sec-Fetch-Site: cross-site")
    assert await fields(*image, method="GET") == [None, "https://evil.test/", "cross-site"]


async def test_without_a_policy_nobody_has_allowed_it() -> None:
    assert (await fields(*PAGE, policy=None))[0] == APP


async def test_where_a_policy_only_reports_nobody_has_allowed_it() -> None:
    assert (await fields(*PAGE, policy=policy(mode="report_only")))[0] == APP
