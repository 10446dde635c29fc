"""The demo: a legacy API without CORS, the proxy before it, and a page on another origin, in one process.

Here:  the policy in between, the order of starting and ending, and the signals.
Never: arguments and words to the terminal (cli.demo), what is served (legacy, page_server), the proxy's work.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from aiohttp import web

from corsproxy.config.compile import load_table
from corsproxy.dev.legacy import Journal, legacy_app
from corsproxy.dev.page_server import Page
from corsproxy.dev.places import Places, origin_of, port_of, take_port
from corsproxy.ops.log import ExchangeLog
from corsproxy.ops.server import ListenError, Server

__all__ = ["demo", "policy_text", "run_demo"]

# Browsers keep connections open without using them: the page and the legacy API do not wait for those.
SHUTDOWN_SECONDS = 1.0
RACES = 3  # lost ones, before it is an error

POLICY = """\
listen: 127.0.0.1:{proxy}
admin: off
routes:
  - name: legacy
    upstream: http://127.0.0.1:{legacy}
    cors:
      # the page's origin and no other
      allow_origins: ["{page}"]
      # answers to requests with cookies may be read
      allow_credentials: true
      # POST passes unlisted: it is safelisted
      allow_methods: [GET, PUT, DELETE]
      # so that JSON may be sent
      allow_headers: [content-type]
      # beside the seven that every script may read
      expose_headers: [X-Total-Count, Link, ETag]
      # how long a browser need not ask again
      max_age: 10m
"""


def policy_text(page: str, proxy_port: int, legacy_port: int) -> str:
    """The configuration file of the demo: what the proxy runs by, and what the page shows."""
    return POLICY.format(page=page, proxy=proxy_port, legacy=legacy_port)


async def run_demo(first_port: int, announce: Callable[[Places], None], farewell: Callable[[], None]) -> int:
    """Serve until SIGINT or SIGTERM, then let what is in flight finish; the exit code. A second one kills."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    ends = (signal.SIGINT, signal.SIGTERM)

    def end() -> None:
        for number in ends:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)  # the next one is the system's, and at once
        farewell()
        told.set()

    for number in ends:
        loop.add_signal_handler(number, end)
    async with demo(first_port) as places:
        announce(places)
        await told.wait()
    return 0


@asynccontextmanager
async def demo(first_port: int) -> AsyncIterator[Places]:
    """All three, listening, on free ports from `first_port` on (0: any). Raises OSError, ListenError.

    They end in the reverse order, so that an answer on its way through the proxy still has both its ends.
    """
    journal = Journal()
    async with AsyncExitStack() as stack:
        page_listener = stack.enter_context(take_port(first_port))
        page_port = port_of(page_listener)
        page = origin_of(page_port)
        legacy_listener = stack.enter_context(take_port(first_port and page_port + 2))
        legacy_port = port_of(legacy_listener)
        await serve(stack, legacy_app(journal), legacy_listener)
        server, policy = await start_proxy(first_port and page_port + 1, page, legacy_port)
        stack.push_async_callback(server.stop)
        places = Places(page, origin_of(server.addresses[0].port), origin_of(legacy_port))
        await serve(stack, Page(places, policy, journal).app(), page_listener)
        yield places


async def serve(stack: AsyncExitStack, app: web.Application, listener: socket.socket) -> None:
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await web.SockSite(runner, listener).start()


async def start_proxy(first_port: int, page: str, legacy_port: int) -> tuple[Server, str]:
    """The proxy, and the configuration it runs by.

    The server binds for itself, so somebody may take the port between the look and the start: then once more.
    """
    for _ in range(RACES):
        with suppress(ListenError):
            return await start_on_free_port(first_port, page, legacy_port)
    return await start_on_free_port(first_port, page, legacy_port)


async def start_on_free_port(first_port: int, page: str, legacy_port: int) -> tuple[Server, str]:
    with take_port(first_port) as look:
        port = port_of(look)
    policy = policy_text(page, port, legacy_port)
    table, problems = load_table(policy, "demo", {})
    if table is None:
        raise RuntimeError(f"the demo's own policy does not load: {problems}")
    server = Server(table, [ExchangeLog(table.log, sys.stderr, os.environ).record])
    await server.start()
    return server, policy
