"""Traces, from a request on a socket to a span at a collector; and nothing of it when nobody wants them."""

import asyncio
import contextlib
import io
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from corsproxy.ops.configuration import Source, load_text
from corsproxy.ops.exporter import WatchedExporter
from corsproxy.ops.single import SingleProcess
from corsproxy.ops.supervisor import Supervisor
from corsproxy.ops.tracing import collector as place_of
from corsproxy.ops.tracing import start_tracing, tracing_objection, wants_traces
from corsproxy.ops.writer import LineWriter
from tests.ops.otlp import CLIENT, ERROR, SERVER, UNSET, Collector, SentSpan, collector
from tests.wire import Behaviour, Message, Upstream, Wire, answers, ask, dial, get, ok, sent_lines, upstream

APP, EVIL = "Origin: https://app.example.com", "Origin: https://evil.example"
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"traceparent: 00-{TRACE}-{CALLER}-01"


@pytest.fixture
def no_otel(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment without OTEL_*; what a test sets is the process's own, as the SDK reads it."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.fixture(autouse=True)
def _quiet_again() -> Iterator[None]:
    """The SDK's logger as it was."""
    logger = logging.getLogger("opentelemetry")
    handlers, propagate = list(logger.handlers), logger.propagate
    yield
    logger.handlers[:], logger.propagate = handlers, propagate


@dataclass
class Traced:
    """A proxy that sends spans, and what is around it."""

    plane: SingleProcess
    collector: Collector
    legacy: Upstream

    async def ask(self, request: bytes) -> Message:
        return await ask(self.plane.addresses[0], request)

    async def pair(self) -> tuple[SentSpan, SentSpan]:
        """The SERVER and the CLIENT span of the one exchange there was."""
        await self.collector.sent(2)
        (server,), (client,) = self.collector.of(SERVER), self.collector.of(CLIENT)
        return server, client

    def upstream_got(self, name: str) -> list[str]:
        return self.legacy.requests[-1].all(name)


def config(port: int) -> str:
    return f"""
listen: 127.0.0.1:0
admin: off
log: {{access: false}}
drain: {{timeout: 5s}}
upstreams: {{legacy: {{endpoints: ["http://127.0.0.1:{port}"]}}}}
routes:
  - {{name: dead, match: {{path: /dead}}, upstream: "http://127.0.0.1:1", cors: off}}
  - name: api
    match: {{path: /api}}
    strip_prefix: /api
    upstream: legacy
    cors: {{allow_origins: [https://app.example.com], allow_methods: [GET, PUT]}}
"""


@contextlib.asynccontextmanager
async def serving(port: int) -> AsyncIterator[SingleProcess]:
    source = Source("", os.environ)
    out = LineWriter(io.StringIO())
    plane = SingleProcess(source, load_text(config(port), source), out)
    await plane.start()
    try:
        yield plane
    finally:
        await plane.stop()
        out.close()


@contextlib.asynccontextmanager
async def traced(
    env: pytest.MonkeyPatch, behaviour: Behaviour | None = None, **variables: str
) -> AsyncIterator[Traced]:
    async with collector() as taken, upstream(behaviour or answers(ok())) as legacy:
        env.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", taken.endpoint)
        env.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        env.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
        for name, value in variables.items():
            env.setenv(name, value)
        async with serving(legacy.port) as plane:
            yield Traced(plane, taken, legacy)


# The two spans


async def test_a_request_has_a_span_here_and_one_towards_the_upstream(no_otel: pytest.MonkeyPatch) -> None:
    async with traced(no_otel) as front:
        lines = (APP, PARENT, "tracestate: vendor=a:1", "baggage: user=7", "User-Agent: test/1")
        await front.ask(get("/api/orders?secret=x", *lines, "X-Request-Id: r-1", host="api.test:8443"))
        server, client = await front.pair()
        port = front.legacy.port
        assert front.upstream_got("traceparent") == [f"00-{TRACE}-{client.span_id}-01"]
        assert front.upstream_got("tracestate") == ["vendor=a:1"]
        assert front.upstream_got("baggage") == ["user=7"]
    assert (server.trace_id, server.parent_id, server.name) == (TRACE, CALLER, "GET /api/*")
    assert (client.trace_id, client.parent_id, client.name) == (TRACE, server.span_id, "GET")
    assert (server.status, client.status) == (UNSET, UNSET)
    assert (server.state, client.state) == ("vendor=a:1", "vendor=a:1")
    assert 0 < server.seconds < 5
    assert server.attributes == {
        "http.request.method": "GET",
        "url.path": "/api/orders",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
        "server.address": "api.test",
        "server.port": 8443,
        "client.address": "127.0.0.1",
        "network.peer.address": "127.0.0.1",
        "user_agent.original": "test/1",
        "http.response.body.size": 5,
        "http.route": "/api/*",
        "corsproxy.route": "api",
        "corsproxy.request_id": "r-1",
        "corsproxy.cors.kind": "actual",
        "corsproxy.cors.outcome": "allowed",
        "corsproxy.cors.reason": "allowed",
    }
    assert client.attributes == {
        "http.request.method": "GET",
        "url.full": f"http://127.0.0.1:{port}/orders",
        "server.address": "127.0.0.1",
        "server.port": port,
        "http.response.status_code": 200,
        "network.protocol.version": "1.1",
    }


async def test_a_preflight_is_answered_here_so_it_has_one_span(no_otel: pytest.MonkeyPatch) -> None:
    async with traced(no_otel) as front:
        asks = ("Access-Control-Request-Method: DELETE", APP, PARENT)
        await front.ask(get("/api", *asks, method="OPTIONS"))
        await front.ask(get("/api", APP))  # the next one, to be sure that no second span comes late
        await front.collector.sent(3)
        (preflight, _), (client,) = front.collector.of(SERVER), front.collector.of(CLIENT)
    assert preflight.name == "OPTIONS /api/*"
    assert client.trace_id != preflight.trace_id == TRACE
    assert preflight.status == UNSET
    found = {
        key: preflight.attributes[f"corsproxy.cors.{key}"] for key in ("kind", "outcome", "reason", "detail")
    }
    assert found == {
        "kind": "preflight",
        "outcome": "denied",
        "reason": "method-not-allowed",
        "detail": "DELETE",
    }


async def test_without_a_trace_of_the_clients_one_begins_here(no_otel: pytest.MonkeyPatch) -> None:
    async with traced(no_otel) as front:
        await front.ask(get("/api", "tracestate: of=nothing"))
        server, client = await front.pair()
        assert front.upstream_got("traceparent") == [f"00-{server.trace_id}-{client.span_id}-01"]
        assert front.upstream_got("tracestate") == []
    assert server.parent_id == ""
    assert int(server.trace_id, 16)


async def test_an_invalid_trace_is_left_behind_with_its_state(no_otel: pytest.MonkeyPatch) -> None:
    async with traced(no_otel) as front:
        await front.ask(get("/api", f"traceparent: 00-{'0' * 32}-{CALLER}-01", "tracestate: vendor=a"))
        server, client = await front.pair()
        assert front.upstream_got("traceparent") == [f"00-{server.trace_id}-{client.span_id}-01"]
        assert front.upstream_got("tracestate") == []
    assert server.parent_id == ""
    assert int(server.trace_id, 16)


async def test_a_state_that_is_none_harms_nobody(
    no_otel: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with traced(no_otel) as front:
        for number in range(3):
            await front.ask(get("/api", PARENT, f"tracestate: \xff\t{number}" + "x" * 9999))
        await front.collector.sent(6)
        assert len(front.collector.of(CLIENT)) == 3
    (said,) = [record.getMessage() for record in caplog.records if "OpenTelemetry: " in record.getMessage()]
    assert said.isprintable()
    assert len(said) < 600


async def test_what_the_client_does_not_sample_is_not_recorded_here(no_otel: pytest.MonkeyPatch) -> None:
    async with traced(no_otel) as front:
        await front.ask(get("/api", f"traceparent: 00-{TRACE}-{CALLER}-00", "tracestate: vendor=a"))
        (told,) = front.upstream_got("traceparent")
        assert front.upstream_got("tracestate") == ["vendor=a"]
        await front.ask(get("/api"))
        server, _ = await front.pair()
    assert server.trace_id != TRACE
    version, trace_id, span_id, flags = told.split("-")
    assert (version, trace_id, flags) == ("00", TRACE, "00")
    assert span_id != CALLER


async def test_a_sampler_is_chosen_by_the_standard_variable(no_otel: pytest.MonkeyPatch) -> None:
    async with traced(no_otel, OTEL_TRACES_SAMPLER="parentbased_always_off") as front:
        await front.ask(get("/api"))
        assert front.upstream_got("traceparent")[0].endswith("-00")
        await front.ask(get("/api", PARENT))
        server, _ = await front.pair()
    assert server.trace_id == TRACE


async def test_the_service_is_named_by_the_standard_variables(no_otel: pytest.MonkeyPatch) -> None:
    variables = {"OTEL_SERVICE_NAME": "edge", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test"}
    async with traced(no_otel, **variables) as front:
        await front.ask(get("/api"))
        server, _ = await front.pair()
    assert server.resource["service.name"] == "edge"
    assert server.resource["deployment.environment.name"] == "test"
    assert server.resource["service.instance.id"]


async def test_else_it_is_named_after_the_program(no_otel: pytest.MonkeyPatch) -> None:
    async with traced(no_otel) as front:
        await front.ask(get("/api"))
        server, _ = await front.pair()
    assert server.resource["service.name"] == "corsproxy"


# Errors


def status_line(status: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode()


async def test_an_upstreams_404_is_an_error_of_the_call_alone(no_otel: pytest.MonkeyPatch) -> None:
    async with traced(no_otel, answers(status_line("404 Not Found"))) as front:
        await front.ask(get("/api"))
        server, client = await front.pair()
    assert (server.status, server.attributes.get("error.type")) == (UNSET, None)
    assert (client.status, client.attributes["error.type"]) == (ERROR, "404")


async def test_an_upstreams_503_is_an_error_of_both(no_otel: pytest.MonkeyPatch) -> None:
    async with traced(no_otel, answers(status_line("503 Busy"))) as front:
        await front.ask(get("/api"))
        for span in await front.pair():
            assert (span.status, span.attributes["error.type"]) == (ERROR, "503")


async def test_an_upstream_that_is_not_there_is_named_as_the_error(no_otel: pytest.MonkeyPatch) -> None:
    async with traced(no_otel) as front:
        assert (await front.ask(get("/dead"))).status == 502
        server, client = await front.pair()
    assert (server.status, server.attributes["error.type"]) == (ERROR, "connection-refused")
    assert (client.status, client.attributes["error.type"]) == (ERROR, "connection-refused")
    assert (
        server.attributes["http.response.status_code"],
        client.attributes.get("http.response.status_code"),
    ) == (
        502,
        None,
    )
    assert client.attributes["url.full"] == "http://127.0.0.1:1/dead"


async def test_a_request_that_was_sent_again_says_so(no_otel: pytest.MonkeyPatch) -> None:
    async def one_each(server: Upstream, wire: Wire) -> None:
        """Close the first connection upon its second request."""
        await server.request(wire)
        await wire.send(ok())
        await server.request(wire)
        if server.connections == 1:
            wire.abort()
            return
        await wire.send(ok())

    async with traced(no_otel, one_each) as front:
        for _ in range(2):
            assert (await front.ask(get("/api"))).status == 200
        await front.collector.sent(4)
        first, second = front.collector.of(CLIENT)
        told = [request.one("traceparent") for request in front.legacy.requests]
    assert "http.request.resend_count" not in first.attributes
    assert second.attributes["http.request.resend_count"] == 1
    assert [each and each.split("-")[2] for each in told] == [first.span_id, second.span_id, second.span_id]


# The way to the collector


async def test_waiting_spans_are_sent_at_the_end(no_otel: pytest.MonkeyPatch) -> None:
    async with traced(no_otel, OTEL_BSP_SCHEDULE_DELAY="3600000") as front:
        await front.ask(get("/api"))
        assert front.collector.batches == 0
        await front.plane.stop()
        assert {span.kind for span in front.collector.spans} == {SERVER, CLIENT}


async def test_each_worker_has_a_way_of_its_own(no_otel: pytest.MonkeyPatch) -> None:
    async with collector() as taken, upstream(answers(ok())) as legacy:
        no_otel.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", taken.endpoint)
        no_otel.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
        source = Source("", os.environ)
        out = LineWriter(io.StringIO())
        plane = Supervisor(source, load_text(f"workers: 2\n{config(legacy.port)}", source), out)
        await plane.start()
        try:
            instances: set[str | int] = set()
            asked = 0
            while len(instances) < 2:  # the kernel decides which of them gets a connection
                assert asked < 200
                await ask(plane.addresses[0], get("/api"))
                asked += 1
                await taken.sent(2 * asked)
                instances = {span.resource["service.instance.id"] for span in taken.spans}
        finally:
            await plane.stop()
            out.close()
    assert len(taken.spans) == 2 * asked
    assert len({span.trace_id for span in taken.spans}) == asked


async def test_a_second_signal_does_not_wait_for_the_collector(no_otel: pytest.MonkeyPatch) -> None:
    async with traced(no_otel, OTEL_BSP_SCHEDULE_DELAY="3600000") as front:
        await front.ask(get("/api"))
        front.plane.abort()
        await front.plane.stop()
        assert front.collector.batches == 0


async def test_a_collector_that_refuses_is_said_once_and_again_when_it_recovers(
    no_otel: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "corsproxy.ops.exporter")
    async with traced(no_otel) as front:
        front.collector.status = 400
        for batch in range(3):
            assert (await front.ask(get("/api"))).status == 200
            await front.collector.until(lambda batch=batch: front.collector.batches > batch)  # type: ignore[misc]
        front.collector.status = 200
        await front.ask(get("/api"))
        await front.collector.sent(2)
        place = front.collector.endpoint
    said = [record.getMessage() for record in caplog.records if record.name == "corsproxy.ops.exporter"]
    assert len(said) == 2
    assert said[0].startswith(f"spans cannot be sent to {place} and are lost for now: ")
    assert "400" in said[0]
    assert said[1] == f"{place} takes spans again; 6 were lost"


async def test_without_a_collector_requests_are_served_and_the_end_is_not_held_up(
    no_otel: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        nowhere = f"http://127.0.0.1:{gone.getsockname()[1]}"
    async with traced(no_otel, OTEL_EXPORTER_OTLP_ENDPOINT=nowhere) as front:
        assert (await front.ask(get("/api"))).status == 200
        async with asyncio.timeout(10):
            while not caplog.records:
                await asyncio.to_thread(time.sleep, 0.01)
        for _ in range(20):
            assert (await front.ask(get("/api"))).status == 200
        started = time.monotonic()
        await front.plane.stop()
        assert time.monotonic() - started < 4
    said = [record.getMessage() for record in caplog.records if "spans cannot be sent" in record.getMessage()]
    assert len(said) == 1
    assert nowhere in said[0]


class Silent(SpanExporter):
    """Takes everything."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        del spans
        logging.getLogger("opentelemetry.exporter").warning("within a batch")
        return SpanExportResult.SUCCESS


def test_what_opentelemetry_says_is_said_once_for_each_kind(caplog: pytest.LogCaptureFixture) -> None:
    exporter = WatchedExporter(Silent(), "http://c.test")
    logger = logging.getLogger("opentelemetry.sdk")
    for kind in ("Span", "Span", "LogRecord"):
        logger.warning("Queue full, dropping %s.", kind)
    exporter.export(())  # what it says meanwhile would be the reason of a failure
    logger.error("another thing")
    said = [record.getMessage() for record in caplog.records]
    assert said == ["OpenTelemetry: Queue full, dropping Span.", "OpenTelemetry: another thing"]


# Off


OFF = [
    {},
    {"OTEL_SERVICE_NAME": "edge"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"},
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"},
    {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4318"},
]
ON = [
    {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"},
    {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"},
    {"OTEL_TRACES_EXPORTER": "otlp"},
    {
        "OTEL_TRACES_EXPORTER": "OTLP",
        "OTEL_SDK_DISABLED": "false",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
    },
]


@pytest.mark.parametrize("env", OFF, ids=str)
def test_these_want_no_traces(env: dict[str, str]) -> None:
    assert not wants_traces(env)
    assert start_tracing(env) is None
    assert tracing_objection(env) == ""


@pytest.mark.parametrize("env", ON, ids=str)
def test_these_want_traces(env: dict[str, str]) -> None:
    assert wants_traces(env)
    assert tracing_objection(env) == ""


CANNOT = [
    ({"OTEL_TRACES_EXPORTER": "zipkin"}, "zipkin"),
    ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "grpc"),
]


@pytest.mark.parametrize(("env", "word"), CANNOT, ids=str)
def test_what_cannot_be_had_is_said(env: dict[str, str], word: str) -> None:
    assert word in tracing_objection(env)
    assert start_tracing(env) is None


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    env = {"OTEL_TRACES_EXPORTER": "otlp"}
    assert "corsproxy[otel]" in tracing_objection(env)
    assert start_tracing(env) is None


def test_a_mistake_in_a_variable_costs_the_traces_alone(
    no_otel: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    no_otel.setenv("OTEL_TRACES_EXPORTER", "otlp")
    no_otel.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    assert start_tracing(os.environ) is None
    assert [record.getMessage() for record in caplog.records] == [
        "no traces: max_queue_size must be a positive integer."
    ]


def test_no_part_of_opentelemetry_is_imported_when_nobody_wants_traces() -> None:
    code = (
        "import sys, corsproxy.ops.process, corsproxy.ops.worker\n"
        "from corsproxy.ops.tracing import start_tracing\n"
        "assert start_tracing({}) is None\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'google'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.strip() == "[]"


async def test_without_traces_the_clients_own_pass_as_they_came(no_otel: pytest.MonkeyPatch) -> None:
    del no_otel
    sent = [
        "TraceParent: 00-not-valid-at-all",
        "traceparent: of a second line",
        "tracestate: a=1,b=2",
        "tracestate: c=3",
        "baggage: user=7;p=1, x=y",
    ]
    async with upstream(answers(ok())) as legacy, serving(legacy.port) as plane:
        await ask(plane.addresses[0], get("/api", *sent))
        got = [line for line in sent_lines(legacy.requests[0]) if line in sent]
    assert got == sent


def test_what_is_secret_in_the_collectors_address_is_not_said() -> None:
    assert (
        place_of({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://me:pw@c.test:4318/x?key=1"})
        == "https://c.test:4318"
    )
    assert place_of({}) == "http://localhost:4318"


async def test_a_switched_connection_is_one_long_span(no_otel: pytest.MonkeyPatch) -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"

    async def switches(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        await wire.send(switch)
        await wire.rest()

    async with traced(no_otel, switches) as front:
        wire = await dial(front.plane.addresses[0])
        handshake = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: eA==", APP)
        await wire.send(get("/api", *handshake))
        assert (await wire.head()).status == 101
        await wire.close()
        server, client = await front.pair()
    assert (server.attributes["http.response.status_code"], server.status) == (101, UNSET)
    assert (client.attributes["http.response.status_code"], client.status) == (101, UNSET)
