"""The other parts of an experiment: pages on several origins, a real corsproxy, a real upstream.

Here:  the policies, what the upstream answers, who saw what.
Never: browsers, expectations.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from socket import socket

from aiohttp import web

from corsproxy.config.compile import load_table
from corsproxy.dev.places import port_of, take_port
from corsproxy.ops.server import Server
from corsproxy.proxy.exchange import Exchange

__all__ = ["World", "running"]

PAGE = Path(__file__).parent / "page"
PAGE_FILES = {"index.html": "text/html", "runner.js": "text/javascript"}

# Two of the pages are the same site as the proxy, which is localhost: SameSite=Lax cookies go along. One is
# a name under localhost, one an address: other sites, both.
HOSTS = {"app": "localhost", "admin": "localhost", "shop": "shop.localhost", "foreign": "127.0.0.1"}

CONFIG = """\
listen: 127.0.0.1:0
admin: off
timeouts: {{response: 250ms}}
policies:
  listed:
    allow_origins: ["{app}", "{admin}"]
    allow_credentials: true
    allow_methods: [GET, POST, PUT, DELETE, PATCH]
    allow_headers: [content-type, authorization, x-id]
    expose_headers: [X-Total-Count]
    max_age: 10m
  private: {{extends: listed, allow_origins: ["{app}"]}}
  everybody: {{extends: listed, allow_origins: ["@loopback"]}}
  pattern: {{extends: listed, allow_origins: ["http://*.localhost:*"]}}
  forgetful: {{extends: listed, max_age: 0}}
  silent: {{allow_origins: ["{app}"], allow_methods: [PUT]}}
  exposing: {{extends: listed, expose_headers: "*"}}
  hiding: {{extends: listed, expose_headers: []}}
  diagnosing: {{extends: listed, allow_methods: [PUT], diagnostics: true}}
  blocking: {{extends: listed, on_denied: block}}
  sandboxed: {{allow_origins: ["null"], allow_methods: [PUT]}}
  open: {{allow_origins: "*", allow_methods: "*", allow_headers: ["*", Authorization], expose_headers: "*"}}
  tokenless: {{allow_origins: "*", allow_headers: "*"}}
routes:
  - {{match: {{path: /listed/gone}}, upstream: "http://127.0.0.1:{gone}", cors: listed}}
{routes}"""
ROUTE = """\
  - match: {{path: /{name}}}
    upstream: http://127.0.0.1:{port}
    strip_prefix: /{name}
    cors: {name}
"""
POLICIES = (
    *("listed", "private", "everybody", "pattern", "forgetful", "silent", "exposing", "hiding", "diagnosing"),
    *("blocking", "sandboxed", "open", "tokenless"),
)

PATIENCE_SECONDS = 10  # with browsers and the proxy, until they say what they must


@dataclass
class World:
    """Where everything is, and what was seen of the experiment that runs."""

    origins: dict[str, str]  # of the pages, by their name, of the proxy and the upstream
    exchanges: list[Exchange] = field(default_factory=list)  # the proxy's
    reached: list[str] = field(default_factory=list)  # the upstream's: method and path
    recorded: asyncio.Event = field(default_factory=asyncio.Event)  # one more exchange

    def begin(self) -> None:
        """Forget the experiment before."""
        self.exchanges.clear()
        self.reached.clear()

    async def seen(self, count: int) -> list[str]:
        """The requests as the proxy recorded them, once there are so many: what each was, and the decision.

        A browser can know how a tunnel or a stream ended before the proxy does.
        """
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.exchanges) < count:
                self.recorded.clear()
                await self.recorded.wait()
        return [_in_words(exchange) for exchange in self.exchanges]

    def record(self, exchange: Exchange, ended: float) -> None:
        """Stand where the exchange log stands."""
        assert ended >= exchange.started
        if b"/page/" not in exchange.path:  # loading a page is no part of an experiment
            self.exchanges.append(exchange)
            self.recorded.set()

    def flush(self) -> None:
        """Nothing waits."""


def _in_words(exchange: Exchange) -> str:
    assert exchange.decision
    kind = "preflight" if exchange.requested_method else exchange.method.decode()
    return f"{kind} {exchange.decision.reason}"


@asynccontextmanager
async def running() -> AsyncIterator[World]:
    """Everything but the browser, on free ports."""
    async with AsyncExitStack() as stack:
        sockets = {name: stack.enter_context(take_port(0)) for name in HOSTS}
        origins = {name: f"http://{HOSTS[name]}:{port_of(listener)}" for name, listener in sockets.items()}
        world = World(origins)
        for listener in sockets.values():
            await serve(stack, page_app(), listener)
        upstream = stack.enter_context(take_port(0))
        await serve(stack, upstream_app(world), upstream)
        with take_port(0) as gone:  # a port that nobody answers at, as soon as this block is left
            config = configuration(origins, port_of(upstream), port_of(gone))
        server = await start_proxy(config, world)
        stack.push_async_callback(server.stop)
        stack.callback(server.abort)
        port = server.addresses[0].port
        origins |= {"proxy": f"http://localhost:{port}", "proxy elsewhere": f"http://127.0.0.1:{port}"}
        origins["upstream"] = f"http://127.0.0.1:{port_of(upstream)}"
        yield world


def configuration(origins: dict[str, str], upstream: int, gone: int) -> str:
    routes = "".join(ROUTE.format(name=name, port=upstream) for name in POLICIES)
    return CONFIG.format(**origins, gone=gone, routes=routes)


async def start_proxy(config: str, world: World) -> Server:
    table, problems = load_table(config, "browser.yaml", {})
    assert table, problems
    server = Server(table, [world.record])
    await server.start()
    return server


async def serve(stack: AsyncExitStack, app: web.Application, listener: socket) -> None:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, listener).start()


# Pages


def page_app() -> web.Application:
    app = web.Application()
    for name in PAGE_FILES:
        app.router.add_get("/" if name == "index.html" else f"/{name}", page_file)
    return app


async def page_file(request: web.Request) -> web.Response:
    name = request.path.rpartition("/")[2] or "index.html"
    return web.Response(text=(PAGE / name).read_text(encoding="utf-8"), content_type=PAGE_FILES[name])


# The upstream


def upstream_app(world: World) -> web.Application:
    """An API that knows nothing of CORS, but for `/wrong`, which has it all wrong."""
    app = web.Application()

    async def note(request: web.Request, _response: web.StreamResponse) -> None:
        if not request.path.startswith("/page/"):
            world.reached.append(f"{request.method} {request.path}")

    app.on_response_prepare.append(note)
    app.add_routes(
        [
            web.route("*", "/hello", say_hello),
            web.route("*", r"/status/{status:\d{3}}", answer_status),
            web.get("/cacheable", answer_cacheable),
            web.route("*", "/redirect", redirect),
            web.get("/login", log_in),
            web.get("/me", show_cookies),
            web.get("/wrong/{kind}", answer_with_wrong_cors),
            web.get("/events", send_event),
            web.get("/never", never_answer),
            web.get("/socket", echo_over_websocket),
            web.get("/page/", page_file),
            web.get("/page/runner.js", page_file),
        ]
    )
    return app


async def echo_over_websocket(request: web.Request) -> web.WebSocketResponse:
    """Send everything back, and close with a code of our own when told to."""
    socket = web.WebSocketResponse(protocols=["chat"])
    await socket.prepare(request)
    async for message in socket:
        if message.data == "close":
            await socket.close(code=4001, message=b"as told")
        else:
            await socket.send_str(message.data)
    return socket


FIELDS = {"X-Total-Count": "3", "ETag": '"v1"', "X-Legacy-Node": "rack-7", "Authorization": "odd, but legal"}


async def say_hello(request: web.Request) -> web.Response:
    """The fields that experiments look for, and two cookies that no script may ever read."""
    text = await request.text()
    response = web.Response(text=text or "hello", headers=FIELDS)
    response.headers.add("Set-Cookie", "crumb=1; Path=/nowhere")
    response.headers.add("Set-Cookie", "crumb=2; Path=/nowhere")
    return response


async def answer_status(request: web.Request) -> web.Response:
    return web.Response(status=int(request.match_info["status"]), text="a reason")


async def answer_cacheable(_request: web.Request) -> web.Response:
    return web.Response(text="kept", headers={"Cache-Control": "max-age=600"})


async def redirect(request: web.Request) -> web.Response:
    return web.Response(status=307, headers={"Location": request.query["to"]})


async def log_in(request: web.Request) -> web.Response:
    """`?user=`: each case has a user of its own, for the browser keeps cookies from one to the next."""
    response = web.Response(text="welcome")
    response.set_cookie("session", request.query["user"], path="/", httponly=True, samesite="Lax")
    return response


async def show_cookies(request: web.Request) -> web.Response:
    return web.Response(text=request.cookies.get("session", "nobody"))


async def answer_with_wrong_cors(request: web.Request) -> web.Response:
    fields = {
        "twice": [("Access-Control-Allow-Origin", "*"), ("access-control-allow-origin", "*")],
        "foreign": [("Access-Control-Allow-Origin", "https://intranet.example.com")],
        # whoever asks, with everything: the policy would be void if this came through
        "reflected": [
            ("Access-Control-Allow-Origin", request.headers.get("Origin", "*")),
            ("Access-Control-Allow-Credentials", "true"),
            ("Access-Control-Expose-Headers", "X-Legacy-Node"),
        ],
    }[request.match_info["kind"]]
    response = web.Response(text="17 in stock", headers=FIELDS)
    for name, value in fields:
        response.headers.add(name, value)
    return response


async def send_event(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write(f"data: for {request.cookies.get('session', 'nobody')}\n\n".encode())
    return response


async def never_answer(_request: web.Request) -> web.Response:
    await asyncio.Event().wait()  # the proxy gives up first, and hangs up
    raise AssertionError
