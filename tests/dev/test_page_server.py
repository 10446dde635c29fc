"""The page of the demo: a strict Content-Security-Policy settles what it may do; nothing comes from afar."""

import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from corsproxy.dev.legacy import Journal, Seen
from corsproxy.dev.page_server import CONTENT_TYPES, REFUSED_PREFLIGHT, Page, content_security_policy
from corsproxy.dev.places import Places, origin_of, port_of, take_port

PATHS = ["/" if name == "index.html" else f"/{name}" for name in CONTENT_TYPES]


async def refuse(request: web.Request) -> web.Response:
    """A proxy that tells what it was asked."""
    asked = {name: request.headers.get(name) for name in REFUSED_PREFLIGHT}
    return web.json_response({"asked": asked, "method": request.method}, status=403)


@pytest.fixture
async def proxy() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/api/items/43", refuse)
    async with TestServer(app) as server:
        yield origin_of(server.port)


@asynccontextmanager
async def visit(proxy: str) -> AsyncIterator[ClientSession]:
    """A client of the page, whose own origin is the base of its URLs."""
    listener = take_port(0)
    places = Places(page=origin_of(port_of(listener)), proxy=proxy, legacy="http://localhost:3")
    journal = Journal()
    journal.lines.append(Seen("mine", "GET", "/api/items", 200, cookie=False))
    journal.lines.append(Seen("other", "GET", "/api/me", 401, cookie=False))
    runner = web.AppRunner(Page(places, "listen: here", journal).app())
    await runner.setup()
    await web.SockSite(runner, listener).start()
    try:
        async with ClientSession(places.page) as session:
            yield session
    finally:
        await runner.cleanup()


@pytest.fixture
async def page(proxy: str) -> AsyncIterator[ClientSession]:
    async with visit(proxy) as session:
        yield session


def origin(page: ClientSession) -> str:
    return str(page._base_url).rstrip("/")


@pytest.mark.parametrize("path", PATHS)
async def test_every_file_is_served_under_the_strict_policy(page: ClientSession, path: str) -> None:
    response = await page.get(path)
    policy = response.headers["Content-Security-Policy"].split("; ")
    assert response.status == 200
    assert "default-src 'none'" in policy
    assert f"script-src {origin(page)}" in policy
    assert not {word for directive in policy for word in directive.split()} & {
        "'unsafe-inline'",
        "'unsafe-eval'",
        "*",
    }
    assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_what_is_not_there_is_under_the_policy_too(page: ClientSession) -> None:
    response = await page.get("/nowhere")
    assert response.status == 404
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'; ")


def test_scripts_may_call_the_two_apis_and_their_own_server_only() -> None:
    places = Places("http://localhost:1", "http://localhost:2", "http://localhost:3")
    directives = content_security_policy(places).split("; ")
    assert "connect-src http://localhost:1 http://localhost:2 http://localhost:3" in directives


@pytest.mark.parametrize("path", ["/", "/sandbox.html"])
async def test_nothing_is_inline_and_nothing_comes_from_elsewhere(page: ClientSession, path: str) -> None:
    text = await (await page.get(path)).text()
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text) == []
    loaded = re.findall(r'<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)="([^"]*)"', text)
    assert loaded
    assert [url for url in loaded if not url.startswith(("/", "data:image/svg+xml,"))] == []


async def test_every_experiment_of_the_page_has_a_script(page: ClientSession) -> None:
    html = await (await page.get("/")).text()
    script = await (await page.get("/experiments.js")).text()
    listing = script[script.index("export const experiments") :]
    keys = re.findall(r'^  "?([a-z-]+)"?: \[', listing, re.MULTILINE)
    assert keys == re.findall(r'<article id="([a-z-]+)"', html)
    assert len(keys) == 8


@pytest.mark.parametrize("host", ["127.0.0.1", "evil.example.com", "localhost"])
async def test_a_visitor_by_another_name_is_sent_home(page: ClientSession, host: str) -> None:
    response = await page.get("/demo.json", headers={"Host": host}, allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (302, f"{origin(page)}/")


async def test_the_page_learns_where_everything_is(page: ClientSession, proxy: str) -> None:
    document = await (await page.get("/demo.json")).json()
    assert document == {
        "page": origin(page),
        "proxy": proxy,
        "legacy": "http://localhost:3",
        "policy": "listen: here",
    }


async def test_the_journal_tells_of_one_run(page: ClientSession) -> None:
    lines = await (await page.get("/journal.json?run=mine")).json()
    assert lines == [{"run": "mine", "method": "GET", "path": "/api/items", "status": 200, "cookie": False}]


async def test_the_refusal_is_asked_as_a_sandboxed_frame_would(page: ClientSession) -> None:
    refusal = await (await page.get("/refusal.json")).json()
    assert refusal["status"] == 403
    assert ["Content-Type", "application/json; charset=utf-8"] in refusal["fields"]
    assert '"asked": {"Origin": "null", "Access-Control-Request-Method": "PUT"' in refusal["body"]
    assert '"method": "OPTIONS"' in refusal["body"]


async def test_a_proxy_that_is_gone_is_said_to_be_gone() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))  # bound, so nobody else gets it; not listening, so nobody answers
        async with visit(origin_of(port_of(mute))) as page:
            response = await page.get("/refusal.json")
            assert response.status == 502
            assert "the proxy did not answer" in (await response.json())["error"]
