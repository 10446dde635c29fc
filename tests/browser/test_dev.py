"""`corsproxy dev` in real browsers: a login at a remote API over TLS, from a page on localhost; and which
cookies browsers keep there, held against what we say of them.

Here:  scripts in pages, what they get, what the API sees.
Never: what is said on the terminal (tests/dev).
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio
import trustme
from aiohttp import web
from aiohttp.typedefs import Handler

from corsproxy.dev.cookie_notes import Visit, why_lost
from corsproxy.dev.places import port_of, take_port
from tests.browser.browsers import Tab
from tests.certificates import files_of, server_context
from tests.dev.running import Dev, running

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@asynccontextmanager
async def served(app: web.Application, **settings: object) -> AsyncIterator[int]:
    """The port where it is served; keyword arguments as in `SockSite`."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    with take_port(0) as listener:
        await web.SockSite(runner, listener, **settings).start()  # type: ignore[arg-type]
        yield port_of(listener)
        await runner.cleanup()


def page_app() -> web.Application:
    async def page(_: web.Request) -> web.Response:
        return web.Response(
            text="<!doctype html><title>A page of localhost</title>", content_type="text/html"
        )

    app = web.Application()
    app.router.add_get("/", page)
    return app


# A login


def api_app() -> web.Application:
    """It knows nothing of CORS, refuses pages of elsewhere, and sets cookies for its own domain."""

    async def login(request: web.Request) -> web.Response:
        if request.headers.get("Origin") != f"https://{request.host}":
            return web.json_response({"error": "forged request"}, status=403)
        response = web.json_response({"hello": (await request.json())["user"]})
        for line in (
            "sid=1; Domain=api.example.com; Path=/v1; Secure; HttpOnly; SameSite=None; Partitioned",
            "__Host-csrf=2; Path=/; Secure; SameSite=Strict",
        ):
            response.headers.add("Set-Cookie", line)
        return response

    async def me(request: web.Request) -> web.Response:
        return web.json_response(dict(request.cookies), headers={"X-Total-Count": "7"})

    async def old(request: web.Request) -> web.Response:
        raise web.HTTPFound(f"https://{request.host}/v1/me")

    app = web.Application()
    app.router.add_post("/v1/login", login)
    app.router.add_get("/v1/me", me)
    app.router.add_get("/v1/old", old)
    return app


class Laptop(NamedTuple):
    """What runs on it."""

    page: str
    dev: Dev


@pytest_asyncio.fixture(loop_scope="session")
async def laptop(tmp_path: Path) -> AsyncIterator[Laptop]:
    files = files_of(trustme.CA(), tmp_path)
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(served(api_app(), ssl_context=server_context(files)))
        page = await stack.enter_async_context(served(page_app()))
        dev = await stack.enter_async_context(running(f"https://localhost:{api}/v1", ca=files.ca))
        yield Laptop(f"http://localhost:{page}", dev)


LOG_IN = """async (proxy) => {
  document.cookie = "other=secret; path=/";
  const call = (path, more) => fetch(proxy + path, { credentials: "include", ...more });
  const login = await call("/login", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ user: "ada" }),
  });
  const me = await call("/me");
  const moved = await call("/old");
  return {
    login: [login.status, await login.json()],
    me: [await me.json(), me.headers.get("X-Total-Count")],
    moved: [moved.redirected, moved.url, await moved.json()],
  };
}"""


async def test_a_login_with_cookies_at_a_remote_api(tab: Tab, laptop: Laptop) -> None:
    await tab.visit(f"{laptop.page}/")
    proxy = laptop.dev.place.profile.url
    session = {"sid": "1", "__Host-csrf": "2"}
    assert await tab.call(LOG_IN, proxy) == {
        "login": [200, {"hello": "ada"}],
        "me": [session, "7"],  # trap 42: `other`, which belongs to the page, stays on the laptop
        "moved": [True, f"{proxy}/me", session],
    }
    assert "cookie other stays here" in laptop.dev.said()


# Cookies, and what we say of them


class Line(NamedTuple):
    says: str
    line: str
    page: str = "localhost"


LINES = [
    Line("a plain one", "c=1"),
    Line("Secure over plain http", "c=1; Secure"),
    Line("None without Secure", "c=1; SameSite=None"),
    Line("None with Secure", "c=1; SameSite=None; Secure"),
    Line("a promise of Secure that is kept", "__Secure-c=1; Secure"),
    Line("a promise of Secure that is not", "__Secure-c=1"),
    Line("a promise of one host that is kept", "__Host-c=1; Secure; Path=/"),
    Line("a promise of Path that is not", "__Host-c=1; Secure; Path=/cookies"),
    Line("another domain", "c=1; Domain=api.example.com"),
    Line("too long", "c=" + "x" * 4096),
    Line("strict, from a page of the same name", "c=1; SameSite=Strict"),
    Line("strict, from a page of another name", "c=1; SameSite=Strict", "127.0.0.1"),
    Line("lax, from a page of another name", "c=1; SameSite=Lax", "127.0.0.1"),
    Line("deleted", "c=; Max-Age=0; SameSite=None"),
]

COMES_BACK = """async (server) => {
  const ask = (path) => fetch(server + path, { credentials: "include" });
  await ask("/cookies/set");
  const names = await (await ask("/cookies/get")).json();
  await ask("/cookies/clear");
  return names.length;
}"""


@asynccontextmanager
async def cookie_server(line: str) -> AsyncIterator[int]:
    """Sets one cookie, and tells what comes back; every page may ask."""

    @web.middleware
    async def open_to_all(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        response.headers["Access-Control-Allow-Origin"] = request.headers.get("Origin", "*")
        response.headers["Access-Control-Allow-Credentials"] = "true"
        return response

    name = line.partition("=")[0]

    async def answer(request: web.Request) -> web.Response:
        what = request.match_info["what"]
        response = web.json_response([each for each in request.cookies if each == name])
        if what == "set":
            response.headers["Set-Cookie"] = line
        if what == "clear":
            secure = "; Secure" if name.startswith("__") else ""
            for path in ("/", "/cookies"):
                response.headers.add("Set-Cookie", f"{name}=; Max-Age=0; Path={path}{secure}")
        return response

    app = web.Application(middlewares=[open_to_all])
    app.router.add_get("/cookies/{what}", answer)
    async with served(app) as port:
        yield port


@pytest.mark.parametrize("case", LINES, ids=lambda case: case.says)
async def test_a_cookie_comes_back_just_when_we_say_so(tab: Tab, case: Line) -> None:
    async with cookie_server(case.line) as server, served(page_app()) as page:
        origin = f"http://{case.page}:{page}"
        await tab.visit(f"{origin}/")
        came = await tab.call(COMES_BACK, f"http://localhost:{server}")
    visit = Visit(b"http", f"localhost:{server}".encode(), origin.encode())
    why = why_lost(case.line.encode(), visit)
    is_deleted = "Max-Age=0" in case.line
    assert bool(came) is (not is_deleted and (not why or why.startswith("Safari"))), why
