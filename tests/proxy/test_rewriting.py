"""Rewriting on real sockets: what arrives upstream, what comes back, and what no edit can touch."""

from typing import NamedTuple

import pytest

from corsproxy.config.table import Rewriting, Route
from corsproxy.http.cookies import CookieRules
from corsproxy.http.edits import HeaderEdits
from corsproxy.http.forwarded import PRIVATE
from corsproxy.http.redirects import RedirectMap
from tests.proxy.conftest import APP, policy, proxy, route, words
from tests.wire import Message, answers, ask, get, ok, sent_lines, upstream

ORIGIN = f"Origin: {APP}"


async def asked(edits: HeaderEdits, *lines: str) -> Message:
    """The request as the upstream saw it."""
    async with (
        upstream(answers(ok())) as legacy,
        proxy(route(legacy.port, request_edits=edits)) as front,
    ):
        answer = await ask(front.address, get("/a", *lines))
        assert answer.status == 200
        return legacy.requests[0]


async def answered(response: bytes, *lines: str, **settings: object) -> Message:
    """The response as the client saw it; keyword arguments as in `Route`."""
    async with upstream(answers(response)) as legacy, proxy(route(legacy.port, **settings)) as front:
        return await ask(front.address, get("/", *lines))


# Requests


async def test_edits_of_a_request_leave_the_rest_in_place() -> None:
    edits = HeaderEdits(
        set=((b"X-Env", b"prod"),), add=((b"Accept", b"text/html"),), remove=frozenset({b"x-debug"})
    )
    seen = await asked(edits, "Accept: */*", "x-env: dev", "X-Debug: 1", "X-Env: test", ORIGIN)
    lines = [line for line in sent_lines(seen) if not line.startswith(("Host", "X-Forwarded", "X-Request"))]
    assert lines == ["Accept: */*", "X-Env: prod", ORIGIN, "Accept: text/html"]
    assert seen.first_line == "GET /a HTTP/1.1"


async def test_edits_come_last_and_also_change_what_the_proxy_says() -> None:
    edits = HeaderEdits(
        set=((b"X-Forwarded-Proto", b"https"), (b"X-Request-Id", b"fixed")),
        remove=frozenset({b"x-forwarded-for"}),
    )
    seen = await asked(edits, "X-Request-Id: mine")
    assert seen.all("X-Forwarded-Proto") == ["https"]
    assert seen.all("X-Request-Id") == ["fixed"]
    assert seen.all("X-Forwarded-For") == []
    assert seen.one("X-Forwarded-Host") == "proxy.test"


async def test_a_body_keeps_its_framing_under_edits() -> None:
    edits = HeaderEdits(set=((b"X-Env", b"prod"),))
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port, request_edits=edits)) as front:
        head = get("/", "Transfer-Encoding: chunked", "TE: trailers", method="POST")
        answer = await ask(front.address, head + b"3\r\nabc\r\n0\r\n\r\n")
        assert answer.status == 200
        (seen,) = legacy.requests
        assert (seen.one("X-Env"), seen.body) == ("prod", b"abc")


# Responses


async def test_edits_of_a_response() -> None:
    edits = HeaderEdits(
        set=((b"X-Env", b"prod"),), add=((b"X-More", b"1"),), remove=frozenset({b"server", b"x-powered-by"})
    )
    response = ok(b"", "Server: legacy/1.0", "X-Env: a", "X-Powered-By: PHP", "x-env: b", "ETag: 1")
    answer = await answered(response, policy=None, rewriting=Rewriting(edits=edits))
    date = f"Date: {answer.one('Date')}"  # which the upstream left out
    assert sent_lines(answer) == ["Content-Length: 0", "X-Env: prod", "ETag: 1", date, "X-More: 1"]


async def test_a_date_of_the_files_own_is_the_only_one() -> None:
    edits = HeaderEdits(set=((b"Date", b"Sat, 01 Jan 2000 00:00:00 GMT"),))
    answer = await answered(ok(b""), rewriting=Rewriting(edits=edits))
    assert answer.one("Date") == "Sat, 01 Jan 2000 00:00:00 GMT"


async def test_no_edit_touches_cors_fields_or_vary() -> None:
    """The file refuses these names; even with them in the table, the policy has the last word."""
    names = (b"Access-Control-Allow-Origin", b"Access-Control-Allow-Credentials", b"Vary")
    edits = HeaderEdits(remove=frozenset(name.lower() for name in names))
    plain = await answered(ok(b"", "Vary: Accept"), ORIGIN)
    edited = await answered(ok(b"", "Vary: Accept"), ORIGIN, rewriting=Rewriting(edits=edits))
    assert sent_lines(edited) == sent_lines(plain)
    assert edited.one("Access-Control-Allow-Origin") == APP
    assert edited.one("Vary") == "Accept, Origin"


async def test_what_is_exposed_is_what_is_there_after_the_edits() -> None:
    edits = HeaderEdits(set=((b"X-Env", b"prod"),), remove=frozenset({b"x-debug"}))
    every = policy(expose_headers=words("*"))
    answer = await answered(
        ok(b"", "X-Debug: 1", "ETag: 1"), ORIGIN, policy=every, rewriting=Rewriting(edits=edits)
    )
    assert answer.one("Access-Control-Expose-Headers") == "etag, x-env"


async def test_answers_of_the_proxy_are_not_edited() -> None:
    edits = HeaderEdits(set=((b"X-Env", b"prod"),))
    nowhere = route(1, rewriting=Rewriting(edits=edits))
    async with proxy(nowhere) as front:
        answer = await ask(front.address, get("/", ORIGIN))
        assert (answer.status, answer.one("X-Env")) == (502, None)
        assert answer.one("Access-Control-Allow-Origin") == APP


class Redirect(NamedTuple):
    says: str
    line: str  # {port} = the upstream's
    comes_back: str


REDIRECTS = [
    Redirect(
        "Location", "Location: http://127.0.0.1:{port}/v1/a?b", "Location: http://proxy.test:8080/api/a?b"
    ),
    Redirect("its name is kept as written", "LOCATION: /v1/a", "LOCATION: /api/a"),
    Redirect("Content-Location", "Content-Location: /v1/a", "Content-Location: /api/a"),
    Redirect("Refresh", "Refresh: 5; url=//127.0.0.1:{port}/v1/", "Refresh: 5; url=//proxy.test:8080/api/"),
    Redirect("another host", "Location: https://login.example/v1/a", "Location: https://login.example/v1/a"),
    Redirect("another port", "Location: http://127.0.0.1:1/v1/a", "Location: http://127.0.0.1:1/v1/a"),
    Redirect("a relative path", "Location: ../a", "Location: ../a"),
]


def moved(port: int, **settings: object) -> Route:
    names = frozenset({f"127.0.0.1:{port}".encode()})
    mapping = RedirectMap(frozenset({b"http"}), names, base_path=b"/v1", prefix=b"/api")
    settings = {"rewriting": Rewriting(mapping), "base_path": b"/v1", "strip_prefix": b"/api", **settings}
    return route(port, **settings)


@pytest.mark.parametrize("case", REDIRECTS, ids=lambda case: case.says)
async def test_redirects(case: Redirect) -> None:
    async with upstream(answers(b"")) as legacy, proxy(moved(legacy.port)) as front:
        response = f"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n{case.line}\r\n\r\n".replace(
            "{port}", str(legacy.port)
        )
        legacy.behaviour = answers(response.encode("latin-1"))
        answer = await ask(front.address, get("/api/x", ORIGIN, host="proxy.test:8080"))
        assert answer.status == 302
        assert sent_lines(answer)[1] == case.comes_back
        assert answer.one("Access-Control-Allow-Origin") == APP, "each hop passes the CORS check"
        assert legacy.requests[0].first_line == "GET /v1/x HTTP/1.1"


async def test_a_redirect_behind_a_trusted_proxy_leads_to_the_public_name() -> None:
    async with upstream(answers(b"")) as legacy, proxy(moved(legacy.port), trusted_proxies=PRIVATE) as front:
        location = f"http://127.0.0.1:{legacy.port}/v1/a"
        legacy.behaviour = answers(ok(b"", f"Location: {location}"))
        lines = ["X-Forwarded-Proto: https", "X-Forwarded-Host: app.example.com"]
        answer = await ask(front.address, get("/api/x", *lines))
        assert answer.one("Location") == "https://app.example.com/api/a"


async def test_a_stranger_cannot_say_where_a_redirect_leads() -> None:
    async with upstream(answers(b"")) as legacy, proxy(moved(legacy.port)) as front:
        legacy.behaviour = answers(ok(b"", f"Location: http://127.0.0.1:{legacy.port}/v1/a"))
        answer = await ask(front.address, get("/api/x", "X-Forwarded-Host: evil.example"))
        assert answer.one("Location") == "http://proxy.test/api/a"


async def test_redirects_that_are_kept() -> None:
    async with upstream(answers(b"")) as legacy, proxy(moved(legacy.port, rewriting=None)) as front:
        location = f"http://127.0.0.1:{legacy.port}/v1/a"
        legacy.behaviour = answers(ok(b"", f"Location: {location}", "Refresh: 5; url=/v1/a"))
        answer = await ask(front.address, get("/api/x"))
        assert (answer.one("Location"), answer.one("Refresh")) == (location, "5; url=/v1/a")


async def test_cookies_are_rewritten_one_by_one() -> None:
    lines = [
        "Set-Cookie: a=1; Domain=legacy.test; Path=/; Secure; Partitioned; SameSite=None",
        "set-cookie: b=\xe9; Expires=Wed, 21 Oct 2026 07:28:00 GMT; path=/v1/x",
        "Set-Cookie: __Host-c=1; Path=/; Secure",
        "Set-Cookie: a=1",
    ]
    rules = CookieRules(domain=b"", base_path=b"/v1", prefix=b"/api", secure="drop")
    answer = await answered(ok(b"", *lines), ORIGIN, rewriting=Rewriting(cookies=rules))
    assert sent_lines(answer)[1:5] == [
        "Set-Cookie: a=1; Path=/api; SameSite=Lax",
        "set-cookie: b=\xe9; Expires=Wed, 21 Oct 2026 07:28:00 GMT; path=/api/x",
        "Set-Cookie: __Host-c=1; Path=/; Secure",
        "Set-Cookie: a=1",
    ]


async def test_a_switch_of_protocols_is_rewritten_too() -> None:
    response = (
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Set-Cookie: a=1; Path=/\r\nServer: legacy\r\n\r\n"
    )
    changes = Rewriting(cookies=CookieRules(prefix=b"/api"), edits=HeaderEdits(remove=frozenset({b"server"})))
    async with upstream(answers(response)) as legacy, proxy(route(legacy.port, rewriting=changes)) as front:
        wire = await front.dial()
        await wire.send(get("/", ORIGIN, "Connection: Upgrade", "Upgrade: websocket"))
        head = await wire.head()
        assert (head.status, head.one("Set-Cookie"), head.one("Server")) == (101, "a=1; Path=/api", None)
        assert (head.one("Upgrade"), head.one("Connection")) == ("websocket", "Upgrade")
