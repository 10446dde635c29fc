"""A real proxy on a free port, on both event loops that it is made for."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace

import pytest
import uvloop

from corsproxy.config.table import Address, Endpoint, Limits, Match, Route, Table, Timeouts, Upstream
from corsproxy.cors.compile import compile_policy
from corsproxy.cors.policy import CorsPolicy, PolicySpec, Written
from corsproxy.ops.server import Server
from corsproxy.proxy.exchange import Exchange
from tests.wire import Wire, dial


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


def words(*texts: str) -> tuple[Written, ...]:
    return tuple(Written(text) for text in texts)


APP = "https://app.example.com"

SPEC = PolicySpec(
    "web",
    allow_origins=words(APP, "https://*.preview.example.com"),
    allow_methods=words("GET", "PUT", "DELETE"),
    allow_headers=words("content-type", "authorization"),
    expose_headers=words("X-Total-Count"),
    allow_credentials=True,
    max_age=600,
)


def policy(spec: PolicySpec = SPEC, **changes: object) -> CorsPolicy:
    compiled, hazards = compile_policy(replace(spec, **changes))  # type: ignore[arg-type]
    assert compiled is not None, hazards
    return compiled


WEB = policy()


def upstream_at(port: int, **settings: object) -> Upstream:
    return Upstream("legacy", (Endpoint("http", "127.0.0.1", port),), **settings)  # type: ignore[arg-type]


def route(port: int, **settings: object) -> Route:
    """A route for everything to an upstream on this port; keyword arguments as in `Route`."""
    plain: dict[str, object] = {
        "name": "all",
        "index": 0,
        "line": 0,
        "match": Match(),
        "upstream": upstream_at(port),
        "base_path": b"",
        "strip_prefix": b"",
        "policy": WEB,
        "timeouts": Timeouts(),
        "limits": Limits(),
    }
    return Route(**{**plain, **settings})  # type: ignore[arg-type]


class Recorder:
    """An observer that keeps everything."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self.recorded = asyncio.Event()

    def record(self, exchange: Exchange, ended: float) -> None:
        assert ended >= exchange.started
        self.exchanges.append(exchange)
        self.recorded.set()


class Proxy:
    """A running proxy and what it recorded."""

    def __init__(self, server: Server, recorder: Recorder) -> None:
        self.server = server
        self.address = server.addresses[0]
        self.recorder = recorder
        self._wires: list[Wire] = []

    async def dial(self) -> Wire:
        """A client connection, closed with the proxy at the latest."""
        return self.adopt(await dial(self.address))

    def adopt(self, wire: Wire) -> Wire:
        """Close this connection with the proxy, at the latest."""
        self._wires.append(wire)
        return wire

    async def close_clients(self) -> None:
        for wire in self._wires:
            await wire.close()

    @property
    def last(self) -> Exchange:
        return self.recorder.exchanges[-1]


@contextlib.asynccontextmanager
async def proxy(
    *routes: Route, listener: socket.socket | None = None, **settings: object
) -> AsyncIterator[Proxy]:
    """Run a proxy with these routes; keyword arguments as in `Table`. listener: instead of one of its own."""
    numbered = tuple(replace(each, index=at) for at, each in enumerate(routes))
    policies = tuple(dict.fromkeys(each.policy for each in numbered if each.policy))
    table = Table(numbered, policies, **{"listen": Address("127.0.0.1", 0), **settings})  # type: ignore[arg-type]
    recorder = Recorder()
    server = Server(table, [recorder.record], None if listener is None else [listener])
    await server.start()
    front = Proxy(server, recorder)
    try:
        yield front
    finally:
        await front.close_clients()
        server.abort()
        await server.stop()
