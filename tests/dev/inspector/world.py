"""A legacy API, a proxy before it, the inspector beside it: everything of `dev` but the command line.

Here:  starting and ending all three on free ports, and clients for them.
Never: expectations.
"""

import io
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import ClientSession, DummyCookieJar, web
from aiohttp.test_utils import TestServer

from corsproxy.config.table import Address, AdminListener
from corsproxy.dev.inspector import Gate, Inspector, Ring, mount
from corsproxy.ops.admin import Admin
from corsproxy.ops.configuration import Source, load_text
from corsproxy.ops.single import SingleProcess
from corsproxy.ops.writer import LineWriter
from tests.wire import Message, ask

__all__ = ["APP", "TOKEN", "World", "preflight", "running"]

APP = "https://app.example.com"
TOKEN = "0123456789abcdef"
CHANGES = {"X-Corsproxy-Inspector": "1"}

CONFIG = """\
# who may call
listen: 127.0.0.1:0
routes:
  - name: api
    match: {{path: /api}}
    upstream: http://127.0.0.1:{upstream}
    cors:
      # our own page
      allow_origins: ["https://app.example.com"]  # and no other
      allow_methods: [GET, PUT]
      allow_headers: [content-type]
      expose_headers: [X-Total-Count]
      max_age: 10m
    response_headers: {{remove: [Server]}}
  - name: open
    match: {{path: /open}}
    upstream: http://127.0.0.1:{upstream}
    cors: {{allow_origins: "*"}}
"""


@dataclass
class World:
    """What runs."""

    ring: Ring
    plane: SingleProcess
    admin: Admin
    gate: Gate
    inspector: Inspector
    file: Path
    seen: list[str]  # what reached the API: method and path with query
    stack: AsyncExitStack

    @property
    def proxy(self) -> Address:
        return self.plane.addresses[0]

    @property
    def home(self) -> str:
        return f"http://{self.admin.address}"

    async def send(
        self, *lines: str, method: str = "GET", path: str = "/api/items", body: str = ""
    ) -> Message:
        """One request through the proxy, on a connection of its own."""
        length = [f"Content-Length: {len(body)}"] if body else []
        head = [
            f"{method} {path} HTTP/1.1",
            "Host: proxy.test",
            *lines,
            *length,
            "Connection: close",
            "",
            body,
        ]
        return await ask(self.proxy, "\r\n".join(head).encode("latin-1"))

    async def restart_admin(self) -> None:
        """The listener goes, and comes back at the same address with the same link."""
        address = self.admin.address
        await self.admin.stop()
        self.admin = Admin(AdminListener(address, TOKEN), self.plane)
        mount(self.admin, self.inspector, self.plane, self.gate)
        await self.admin.start()
        self.stack.push_async_callback(self.admin.stop)

    async def stranger(self) -> ClientSession:
        """A client of the admin listener that has shown nothing."""
        return await self.stack.enter_async_context(ClientSession(self.home, cookie_jar=DummyCookieJar()))

    async def visitor(self) -> ClientSession:
        """A client that has followed the link."""
        stranger = await self.stranger()
        response = await stranger.get(self.gate.entrance, allow_redirects=False)
        assert response.status == 303
        cookie = response.headers["Set-Cookie"].partition(";")[0]
        return await self.stack.enter_async_context(
            ClientSession(
                self.home, cookie_jar=DummyCookieJar(), headers={**CHANGES, "Cookie": f"other=1; {cookie}"}
            )
        )


def preflight(method: str = "PUT", *names: str, origin: str = APP) -> list[str]:
    """The fields of a preflight; send it with OPTIONS."""
    asked = [f"Access-Control-Request-Headers: {','.join(names)}"] if names else []
    return [f"Origin: {origin}", f"Access-Control-Request-Method: {method}", *asked]


@asynccontextmanager
async def running(
    folder: Path, *, config: str = CONFIG, ring: Ring | None = None, may_apply: bool = True
) -> AsyncIterator[World]:
    """Everything. config: with `{upstream}` for the API's port."""
    async with AsyncExitStack() as stack:
        seen: list[str] = []
        upstream = await stack.enter_async_context(TestServer(_legacy(seen)))
        file = folder / "corsproxy.yaml"
        file.write_text(config.format(upstream=upstream.port), encoding="utf-8")
        source = Source(str(file), {})
        loaded = load_text(file.read_text(encoding="utf-8"), source)
        assert loaded.table, loaded.problems
        ring = ring or Ring()
        plane = SingleProcess(
            source, loaded, LineWriter(io.StringIO()), observers=[ring.record], captures=True
        )
        await plane.start()
        stack.push_async_callback(plane.stop)
        stack.callback(plane.abort)
        gate = Gate(TOKEN)
        admin = Admin(AdminListener(Address("127.0.0.1", 0), TOKEN), plane)
        inspector = Inspector(
            plane, ring, {}, listener=lambda: plane.addresses[0], may_apply=may_apply, save_to=file
        )
        mount(admin, inspector, plane, gate)
        await admin.start()
        stack.push_async_callback(admin.stop)
        yield World(ring, plane, admin, gate, inspector, file, seen, stack)


def _legacy(seen: list[str]) -> web.Application:
    """It answers everything, sets a cookie, and leads to a URL with a token in it; or redirects to X-To."""
    app = web.Application()

    async def answer(request: web.Request) -> web.Response:
        seen.append(f"{request.method} {request.path_qs}")
        fields = {
            "X-Total-Count": "42",
            "X-Node": "rack-7",
            "Server": "legacy",
            "Access-Control-Allow-Origin": "https://long-gone.example.com",
            "Set-Cookie": "session=top-secret; Path=/; HttpOnly",
            "Link": '</api/items?page=2&key=hush-hush>; rel="next"',
        }
        if target := request.headers.get("X-To"):
            return web.Response(status=302, headers={"Location": target})
        return web.json_response({"items": [1, 2, 3]}, headers=fields)

    app.router.add_route("*", "/{anything:.*}", answer)
    return app
