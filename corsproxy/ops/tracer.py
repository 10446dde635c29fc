"""Traces by OpenTelemetry: ids when an exchange begins, its spans when it is over.

Here:  sampling, the `traceparent` that the upstream gets, and the way of finished spans to a thread that
       sends them. Needs the extra `otel`.
Never: what a span says (spans), whether there are traces (tracing); waiting on the event loop.
"""

import asyncio
import contextlib
import logging
import threading
import time
import uuid

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.trace.status import Status, StatusCode

from corsproxy import __version__
from corsproxy.http.trace_context import SAMPLED, Trace, TraceParent, parse_traceparent, traceparent
from corsproxy.ops.exporter import WatchedExporter
from corsproxy.ops.spans import SpanFacts, client_facts, server_facts
from corsproxy.proxy.exchange import Exchange
from corsproxy.proxy.request import Request

__all__ = ["Tracer", "otlp_tracer"]

_log = logging.getLogger(__name__)

_SCOPE = InstrumentationScope("corsproxy", __version__)
_RANDOM = 0x02  # flag of level 2: the trace id is random; passed on as it came
_HOPELESS_SECONDS = 1.0  # at the end, for a collector that was not there lately either
_UNSET = Status(StatusCode.UNSET)


class Tracer:
    """Makes the spans of one process."""

    def __init__(self, exporter: WatchedExporter) -> None:
        """exporter: gets batches, in a thread."""
        self._exporter = exporter
        # Not a global provider, and no spans of its making: it knows what OTEL_* says of sampling and ids.
        provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
        self._resource = provider.resource
        self._sampler = provider.sampler
        self._ids = provider.id_generator
        self._batches = BatchSpanProcessor(exporter)
        self._is_stopped = False

    # An exchange

    def begin(self, exchange: Exchange, request: Request) -> None:
        """Settle which trace it belongs to and whether it is recorded, and tell the upstream."""
        parent = parse_traceparent(request.traceparent) if request.traceparent else None
        trace_id = self._ids.generate_trace_id() if parent is None else parent.trace_id
        flags = SAMPLED if self._samples(trace_id, parent, exchange) else 0
        if parent is not None:
            flags |= parent.flags & _RANDOM
        ids = self._ids
        trace = Trace(trace_id, ids.generate_span_id(), ids.generate_span_id(), flags)
        trace.parent = parent
        exchange.trace = trace
        # Without a valid parent, `tracestate` speaks of another trace: both start anew (Trace Context, §4.3).
        lines = [line for line in request.lines if line[:12].lower() != b"traceparent:"]
        if parent is None:
            lines = [line for line in lines if not _is_state(line)]
        else:
            trace.state = b",".join(line.partition(b":")[2].strip() for line in lines if _is_state(line))
        lines.append(b"traceparent: " + traceparent(trace_id, trace.client_id, flags))
        request.lines = lines

    def _samples(self, trace_id: int, parent: TraceParent | None, exchange: Exchange) -> bool:
        """Ask the sampler of OTEL_TRACES_SAMPLER, for both spans at once: they are of one trace."""
        context = Context()
        if parent is not None:
            flags = TraceFlags(parent.flags)
            caller = SpanContext(trace_id, parent.parent_id, is_remote=True, trace_flags=flags)
            context = set_span_in_context(NonRecordingSpan(caller), context)
        method = exchange.method.decode("latin-1")
        result = self._sampler.should_sample(
            context,
            trace_id,
            method,
            SpanKind.SERVER,
            {"http.request.method": method, "url.path": exchange.path.decode("utf-8", "replace")},
        )
        return result.decision is Decision.RECORD_AND_SAMPLE

    def record(self, exchange: Exchange, ended: float) -> None:
        """Take one finished exchange. ended: seconds on the monotonic clock."""
        trace = exchange.trace
        if trace is None or not trace.is_sampled or self._is_stopped:
            return
        end = time.time_ns()
        start = end - int((ended - exchange.started) * 1e9)
        state = TraceState.from_header([trace.state.decode("latin-1")]) if trace.state else None
        parent = None if trace.parent is None else _context(trace, trace.parent.parent_id, state, remote=True)
        server = _context(trace, trace.server_id, state)
        asked = client_facts(exchange)
        if asked is not None:
            client = _context(trace, trace.client_id, state)
            self._batches.on_end(self._span(asked, client, server, SpanKind.CLIENT, start, end))
        self._batches.on_end(self._span(server_facts(exchange), server, parent, SpanKind.SERVER, start, end))

    def _span(
        self,
        facts: SpanFacts,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        start: int,
        end: int,
    ) -> ReadableSpan:
        """A finished span. start, end: unix nanoseconds.

        Made in one go when all is known: a span that is filled in from start to end costs ten times as much.
        """
        return ReadableSpan(
            facts.name,
            context,
            parent,
            self._resource,
            facts.attributes,
            kind=kind,
            status=Status(StatusCode.ERROR, facts.why or None) if facts.failed else _UNSET,
            start_time=start,
            end_time=end,
            instrumentation_scope=_SCOPE,
        )

    # The end

    async def stop(self, seconds: float) -> None:
        """Send what is waiting, within this time at most; what comes later is not recorded."""
        if self._is_stopped:
            return
        self._is_stopped = True
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def flush() -> None:
            self._batches.shutdown()  # type: ignore[no-untyped-call] # as OpenTelemetry has it
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(done.set)

        # A thread of its own: one of the loop's would have to be waited for when the loop ends.
        threading.Thread(target=flush, name="traces", daemon=True).start()
        try:
            async with asyncio.timeout(seconds if self._exporter.works else min(seconds, _HOPELESS_SECONDS)):
                await done.wait()
        except TimeoutError:
            _log.warning("the last spans could not be sent in time")

    def abandon(self) -> None:
        """Send nothing more, and do not wait in `stop`."""
        self._is_stopped = True


def otlp_tracer(collector: str) -> Tracer:
    """One that sends by OTLP/HTTP, as OTEL_* says. Raises what OpenTelemetry raises at a useless value."""
    return Tracer(WatchedExporter(OTLPSpanExporter(), collector))


def _resource() -> Resource:
    """Who makes the spans: what OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say, before our own words."""
    own = {
        "service.name": "corsproxy",
        "service.version": __version__,
        "service.instance.id": str(uuid.uuid4()),  # of this process: each worker is an instance
    }
    return Resource.create({**own, **OTELResourceDetector().detect().attributes})


def _context(trace: Trace, span_id: int, state: TraceState | None, *, remote: bool = False) -> SpanContext:
    return SpanContext(trace.trace_id, span_id, remote, TraceFlags(trace.flags), state)


def _is_state(line: bytes) -> bool:
    return line[:11].lower() == b"tracestate:"
