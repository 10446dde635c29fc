"""A collector: takes spans by OTLP/HTTP, and remembers them decoded."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

__all__ = ["CLIENT", "ERROR", "SERVER", "UNSET", "Collector", "SentSpan", "collector"]

SERVER, CLIENT = 2, 3  # Span.SpanKind
UNSET, ERROR = 0, 2  # Status.StatusCode
PATIENCE = 10.0


@dataclass(frozen=True)
class SentSpan:
    """One span, as it came over the wire."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str  # "" = none
    state: str
    status: int
    why: str
    seconds: float
    attributes: dict[str, str | int]
    resource: dict[str, str | int]


class Collector:
    """What was sent so far."""

    def __init__(self) -> None:
        self.port = 0
        self.status = 200  # answered to every batch
        self.batches = 0
        self.bodies: list[bytes] = []
        self.spans: list[SentSpan] = []
        self._changed = asyncio.Condition()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def of(self, kind: int) -> list[SentSpan]:
        return [span for span in self.spans if span.kind == kind]

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for batches until that is true."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(holds)

    async def sent(self, count: int) -> list[SentSpan]:
        """Wait for so many spans."""
        await self.until(lambda: len(self.spans) >= count)
        return self.spans

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        async with self._changed:
            self.batches += 1
            self.bodies.append(body)
            if self.status == 200:
                self.spans += decoded(body)
            self._changed.notify_all()
        return web.Response(status=self.status, content_type="application/x-protobuf")


def decoded(body: bytes) -> list[SentSpan]:
    message = ExportTraceServiceRequest.FromString(body)
    return [
        SentSpan(
            span.name,
            span.kind,
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            span.trace_state,
            span.status.code,
            span.status.message,
            (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9,
            plain(span.attributes),
            plain(of_resource.resource.attributes),
        )
        for of_resource in message.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]


def plain(attributes: "list[KeyValue]") -> dict[str, str | int]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


@contextlib.asynccontextmanager
async def collector() -> AsyncIterator[Collector]:
    """Run one on a free port."""
    taken = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", taken.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    taken.port = runner.addresses[0][1]
    try:
        yield taken
    finally:
        await runner.cleanup()
