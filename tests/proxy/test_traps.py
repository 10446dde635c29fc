"""Traps that only show when both ends are there: preflights an upstream would spoil, answers that lose their
fields, requests that would lead elsewhere.

Here:  one test for a trap of docs/traps.md, where no table nearer to the code can show it.
Never: the rules themselves (tests/cors).
"""

import json

import pytest

from corsproxy.config.table import Match
from tests.proxy.conftest import APP, SPEC, policy, proxy, route
from tests.wire import answers, ask, get, ok, upstream

ORIGIN = f"Origin: {APP}"
PREFLIGHT = (ORIGIN, "Access-Control-Request-Method: PUT")
EMPTY = "Content-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    "response",
    [
        f"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n{EMPTY}",
        f"HTTP/1.1 301 Moved Permanently\r\nLocation: https://login.example.com/\r\n{EMPTY}",
        f"HTTP/1.1 405 Method Not Allowed\r\nAllow: GET\r\n{EMPTY}",
    ],
    ids=["trap 15: it wants a login", "trap 16: it redirects", "it knows no OPTIONS"],
)
async def test_an_upstream_cannot_spoil_a_preflight(response: str) -> None:
    async with upstream(answers(response.encode())) as legacy, proxy(route(legacy.port)) as front:
        answer = await ask(front.address, get("/", *PREFLIGHT, method="OPTIONS"))
        assert (answer.status, answer.one("Access-Control-Allow-Origin")) == (204, APP)
        assert legacy.requests == []


@pytest.mark.parametrize("lines", [(), (ORIGIN,), PREFLIGHT[1:]], ids=["alone", "Origin only", "no Origin"])
async def test_17_any_other_options_is_the_upstreams(lines: tuple[str, ...]) -> None:
    async with upstream(answers(ok(b"", "Allow: GET, PURGE"))) as legacy, proxy(route(legacy.port)) as front:
        answer = await ask(front.address, get("/", *lines, method="OPTIONS"))
        assert (answer.status, answer.one("Allow")) == (200, "GET, PURGE")
        assert len(legacy.requests) == 1


@pytest.mark.parametrize("status", [200, 206, 301, 304, 401, 404, 429, 500, 503])
async def test_27_every_status_of_the_upstream_carries_the_fields(status: int) -> None:
    response = f"HTTP/1.1 {status} Whatever\r\n{EMPTY}".encode()
    async with upstream(answers(response)) as legacy, proxy(route(legacy.port)) as front:
        answer = await ask(front.address, get("/", ORIGIN))
        assert answer.status == status
        assert answer.one("Access-Control-Allow-Origin") == APP
        assert answer.one("Access-Control-Allow-Credentials") == "true"
        assert answer.one("Vary") == "Origin"


async def test_35_a_blocked_request_is_told_so() -> None:
    block = policy(SPEC, on_denied="block")
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port, policy=block)) as front:
        answer = await ask(front.address, get("/", "Origin: https://other.example"))
        assert (answer.status, answer.one("Vary")) == (403, "Origin")
        assert json.loads(answer.body)["reason"] == "origin-not-allowed"
        assert legacy.requests == []


async def test_36_a_refused_request_is_forwarded_unless_blocked() -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        answer = await ask(front.address, get("/", "Origin: https://other.example", method="POST"))
        assert (answer.status, answer.one("Access-Control-Allow-Origin")) == (200, None)
        assert len(legacy.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_39_a_redirect_is_handed_on_never_followed(status: int) -> None:
    async with upstream(answers(ok())) as inside:
        target = f"http://127.0.0.1:{inside.port}/secret"
        response = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {target}\r\n{EMPTY}".encode()
        async with upstream(answers(response)) as legacy, proxy(route(legacy.port)) as front:
            answer = await ask(front.address, get("/", ORIGIN, "Content-Length: 0", method="POST"))
            assert (answer.status, answer.one("Location")) == (status, target)
            assert (len(legacy.requests), len(inside.requests)) == (1, 0)


@pytest.mark.parametrize("form", ["/{}", "{}", "/?url={}", "//127.0.0.1:{port}/"])
async def test_40_no_request_names_its_own_upstream(form: str) -> None:
    async with upstream(answers(ok())) as inside, upstream(answers(ok())) as legacy:
        target = form.format(f"http://127.0.0.1:{inside.port}/", port=inside.port)
        async with proxy(route(legacy.port, match=Match())) as front:
            answer = await ask(front.address, get(target))
        assert answer.status == 200
        assert (len(legacy.requests), len(inside.requests)) == (1, 0)


async def test_50_http2_with_prior_knowledge_does_not_pass() -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        answer = await wire.message()
        assert answer.status in {400, 405, 505}
        assert await wire.ended()
        assert legacy.requests == []
