"""From a request on a socket to a sample in a scrape: everything joined as it serves."""

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import aiohttp
from prometheus_client.parser import text_string_to_metric_families as parse_text

from corsproxy.ops.admin import Admin
from corsproxy.ops.configuration import Source, load_text
from corsproxy.ops.single import SingleProcess
from corsproxy.ops.writer import LineWriter
from tests.wire import Upstream, Wire, ask, dial, get, ok, upstream

APP, EVIL = "Origin: https://app.example.com", "Origin: https://evil.example"
HANDSHAKE = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: eA==",
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
PATIENCE = 5.0


@dataclass
class Served:
    """A proxy, its admin listener, and a way to look at its metrics."""

    plane: SingleProcess
    admin: Admin
    session: aiohttp.ClientSession

    async def page(self, path: str) -> str:
        async with self.session.get(f"http://{self.admin.address}{path}") as response:
            return await response.text()

    async def samples(self) -> dict[tuple[str, ...], float]:
        """By name, then the labels' values in the order of their names."""
        return {
            (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
            for family in parse_text(await self.page("/metrics"))
            for sample in family.samples
        }

    async def until(
        self, says: Callable[[dict[tuple[str, ...], float]], bool]
    ) -> dict[tuple[str, ...], float]:
        """Scrape until that is true: gauges follow what happens on sockets."""
        async with asyncio.timeout(PATIENCE):
            while not says(found := await self.samples()):
                pass
            return found


@contextlib.asynccontextmanager
async def served(port: int) -> AsyncIterator[Served]:
    text = f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
log: {{access: false}}
upstreams: {{legacy: {{endpoints: ["http://127.0.0.1:{port}"]}}}}
routes:
  - {{name: dead, match: {{path: /dead}}, upstream: "http://127.0.0.1:1", cors: off}}
  - name: api
    upstream: legacy
    cors: {{allow_origins: [https://app.example.com], allow_methods: [GET, PUT]}}
"""
    source = Source("", {})
    loaded = load_text(text, source)
    listener = loaded.served.admin
    assert listener is not None
    out = LineWriter(io.StringIO())
    plane = SingleProcess(source, loaded, out)
    admin = Admin(listener, plane)
    await plane.start()
    await admin.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield Served(plane, admin, session)
    finally:
        plane.abort()
        await plane.stop()
        await admin.stop()
        out.close()


async def answer(server: Upstream, wire: Wire) -> None:
    """A permissive legacy API; switches when it is asked to."""
    while True:
        request = await server.request(wire)
        if request.one("Upgrade"):
            await wire.send(SWITCH)
            await wire.rest()
            return
        await wire.send(ok(b"hello", "Access-Control-Allow-Origin: *", "Access-Control-Expose-Headers: X-A"))


async def test_requests_decisions_and_overrides() -> None:
    async with upstream(answer) as legacy, served(legacy.port) as front:
        address = front.plane.addresses[0]
        await ask(address, get("/", APP))
        await ask(address, get("/", EVIL))
        await ask(address, get("/dead"))
        preflight = ("Access-Control-Request-Method: DELETE", APP)
        await ask(address, get("/", *preflight, method="OPTIONS"))
        await ask(address, get("/", method="PROPFIND"))
        found = await front.samples()
        origins = json.loads(await front.page("/-/origins"))["denied"]
    expected = {
        ("corsproxy_requests_total", "200", "GET", "api"): 2,
        ("corsproxy_requests_total", "502", "GET", "dead"): 1,
        ("corsproxy_requests_total", "403", "OPTIONS", "api"): 1,
        ("corsproxy_requests_total", "200", "_OTHER", "api"): 1,
        ("corsproxy_cors_decisions_total", "actual", "allowed", "allowed", "api"): 1,
        ("corsproxy_cors_decisions_total", "actual", "denied", "origin-not-allowed", "api"): 1,
        ("corsproxy_cors_decisions_total", "preflight", "denied", "method-not-allowed", "api"): 1,
        ("corsproxy_cors_decisions_total", "not-cors", "-", "not-cors", "api"): 1,
        ("corsproxy_cors_decisions_total", "not-cors", "-", "no-policy", "dead"): 1,
        ("corsproxy_upstream_errors_total", "connect", "dead"): 1,
        ("corsproxy_faults_total", "connection-refused", "dead", "upstream"): 1,
        ("corsproxy_upstream_header_overrides_total", "api"): 6,
        ("corsproxy_upstream_header_overrides_total", "dead"): 0,
        ("corsproxy_upstream_duration_seconds_count", "api"): 3,
        ("corsproxy_upstream_endpoint_up", f"http://127.0.0.1:{legacy.port}", "legacy"): 1,
        ("corsproxy_workers",): 1,
        ("corsproxy_config_last_reload_successful",): 1,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert found["corsproxy_response_body_bytes_total", "api"] > 3 * len(
        "hello"
    )  # and the problem of the 403
    assert {(each["origin"], each["reason"]) for each in origins} == {
        ("https://evil.example", "origin-not-allowed"),
        ("https://app.example.com", "method-not-allowed"),
    }


async def test_what_is_under_way_is_seen_while_it_is() -> None:
    in_flight = ("corsproxy_inflight_requests", "api")
    switched = ("corsproxy_websocket_connections", "api")
    async with upstream(answer) as legacy, served(legacy.port) as front:
        wire = await dial(front.plane.addresses[0])
        await wire.send(get("/ws", *HANDSHAKE, APP))
        assert (await wire.head()).status == 101
        during = await front.samples()
        assert (during[in_flight], during[switched], during["corsproxy_client_connections",]) == (1, 1, 1)
        await wire.close()
        after = await front.until(lambda found: found[in_flight] == 0)
        assert after[switched] == 0
        assert after["corsproxy_requests_total", "101", "GET", "api"] == 1


async def test_a_stale_connection_that_was_asked_again_counts_as_a_retry() -> None:
    async def one_each(server: Upstream, wire: Wire) -> None:
        """Close every connection upon its second request, once."""
        await server.request(wire)
        await wire.send(ok())
        if server.connections == 1:
            await server.request(wire)
            wire.abort()
            return
        await server.request(wire)

    async with upstream(one_each) as legacy, served(legacy.port) as front:
        for _ in range(2):
            assert (await ask(front.plane.addresses[0], get("/"))).status == 200
        found = await front.samples()
    assert found["corsproxy_upstream_retries_total", "api"] == 1
    assert found["corsproxy_requests_total", "200", "GET", "api"] == 2


async def test_reload_by_request_keeps_the_counts() -> None:
    async with upstream(answer) as legacy, served(legacy.port) as front:
        address = front.plane.addresses[0]
        await ask(address, get("/", APP))
        text = front.plane.text.replace("https://app.example.com", "https://other.example")
        assert (await front.plane.apply(text)).ok
        await ask(address, get("/", APP))
        found = await front.samples()
        assert found["corsproxy_requests_total", "200", "GET", "api"] == 2
        assert found["corsproxy_cors_decisions_total", "actual", "denied", "origin-not-allowed", "api"] == 1
        assert not (await front.plane.apply("routes: 1")).ok
        assert (await front.samples())["corsproxy_config_last_reload_successful",] == 0
        config = await front.page("/-/config")
        assert "https://other.example" in config
