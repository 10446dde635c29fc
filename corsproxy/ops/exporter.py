"""Batches of spans on their way to a collector, and what the log says of it.

Here:  an exporter around OpenTelemetry's own: one line when it fails, one when it works again. Needs the
       extra `otel`.
Never: spans (tracer); the event loop: it runs in the thread that sends.
"""

import contextlib
import logging
import threading
from collections.abc import Iterator, Sequence

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from corsproxy.config.words import printable

__all__ = ["WatchedExporter"]

_log = logging.getLogger(__name__)

_LONGEST = 500  # characters of a message
_MOST_KINDS = 64  # of messages


class WatchedExporter(SpanExporter):
    """Another exporter, of which the log says in one line that it fails, and in one that it works again."""

    def __init__(self, exporter: SpanExporter, collector: str) -> None:
        """collector: its address, for the log."""
        self.works = True  # the last batch could be sent
        self._exporter = exporter
        self._collector = collector
        self._lost = 0  # spans, since it last worked
        self._said = _Said()
        self._is_shut = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; tries for as long as OTEL_EXPORTER_OTLP_TIMEOUT says."""
        with self._said.gather() as reasons:
            result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            if not self.works:
                _log.info("%s takes spans again; %d were lost", self._collector, self._lost)
            self.works, self._lost = True, 0
            return result
        if self.works:
            why = reasons[0] if reasons else "no reason is known"
            _log.warning("spans cannot be sent to %s and are lost for now: %s", self._collector, why)
        self.works = False
        self._lost += len(spans)
        return result

    def shutdown(self) -> None:
        """End what is under way."""
        if not self._is_shut:
            self._is_shut = True
            self._exporter.shutdown()


class _Said(logging.Handler):
    """What OpenTelemetry has to say: gathered while a batch is sent, else said once each."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._gathered: list[str] = []
        self._thread = 0  # that gathers; 0 = none
        self._known: set[object] = set()
        logger = logging.getLogger("opentelemetry")
        logger.handlers[:] = [self]
        logger.propagate = False

    @contextlib.contextmanager
    def gather(self) -> Iterator[list[str]]:
        """The messages of this thread until the end of the block."""
        self._gathered, self._thread = [], threading.get_ident()
        try:
            yield self._gathered
        finally:
            self._thread = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Take one message."""
        # What clients sent may be in it, such as a `tracestate` that is none.
        message = printable(record.getMessage())[:_LONGEST]
        if threading.get_ident() == self._thread:
            self._gathered.append(message)
        elif record.msg not in self._known and len(self._known) < _MOST_KINDS:
            self._known.add(record.msg)  # its form: what it is about differs each time
            _log.log(record.levelno, "OpenTelemetry: %s", message)
