"""What the process says while it runs: a line for each exchange, and lines about itself.

Here:  three formats (pretty, json, combined) for one record; buffered writing; the set-up of `logging`.
Never: Cookie, Authorization, query values or bodies, which the record does not hold either.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TextIO

from corsproxy.config.table import Log
from corsproxy.cors.decide import Kind, Reason
from corsproxy.ops.writer import LineWriter
from corsproxy.proxy.exchange import Exchange

__all__ = ["ExchangeLog", "combined_line", "json_line", "pretty_line", "resolve_format", "set_up_logging"]

_FLUSH_SECONDS = 0.1
_FLUSH_LINES = 256
_GREEN, _RED, _YELLOW, _DIM, _PLAIN = "\033[32m", "\033[31m", "\033[33m", "\033[2m", "\033[0m"

Formatter = Callable[[Exchange, float, float], str]


def resolve_format(wanted: str, stream: TextIO | LineWriter) -> str:
    """`auto` is pretty on a terminal, else json."""
    if wanted != "auto":
        return wanted
    return "pretty" if stream.isatty() else "json"


class ExchangeLog:
    """Writes one line an exchange, some at a time: a write for each would be the dearest part of it."""

    def __init__(self, settings: Log, stream: TextIO | LineWriter, env: Mapping[str, str]) -> None:
        chosen = resolve_format(settings.format, stream)
        if chosen == "pretty":
            self._format: Formatter = _coloured if stream.isatty() and "NO_COLOR" not in env else pretty_line
        else:
            self._format = json_line if chosen == "json" else combined_line
        self._stream = stream
        self._lines: list[str] = []
        self._flusher: asyncio.TimerHandle | None = None

    def record(self, exchange: Exchange, ended: float) -> None:
        """Take one finished exchange. ended: seconds on the monotonic clock."""
        self._lines.append(self._format(exchange, ended, time.time()))
        if len(self._lines) >= _FLUSH_LINES:
            self.flush()
        elif self._flusher is None:
            self._flusher = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what is waiting."""
        if self._flusher is not None:
            self._flusher.cancel()
            self._flusher = None
        lines, self._lines = self._lines, []
        if not lines:
            return
        with suppress(OSError, ValueError):  # a full disk, a closed pipe: the log never stops the proxy
            self._stream.write("\n".join(lines) + "\n")
            self._stream.flush()


def json_line(exchange: Exchange, ended: float, now: float) -> str:
    """One JSON object: `cors` is the outcome, `reason` the decision's word, `fault` where there is one."""
    decision, fault = exchange.decision, exchange.fault
    entry: dict[str, object] = {
        "ts": _timestamp(now),
        "method": _text(exchange.method),
        "path": _text(exchange.path),
        "status": exchange.status,
        "ms": _milliseconds(ended - exchange.started),
        "bytes": exchange.sent_bytes,
        "peer": exchange.peer,
        "route": exchange.route.name if exchange.route else None,
        "origin": None if exchange.origin is None else _text(exchange.origin),
    }
    if exchange.request_id:
        entry["request_id"] = _text(exchange.request_id)
    if decision is not None:
        entry |= {"kind": decision.kind.value, "cors": _outcome(exchange), "reason": decision.reason.value}
        if decision.detail and not decision.allowed:
            entry["detail"] = decision.detail
    if exchange.endpoint:
        entry["upstream"] = exchange.endpoint
        if exchange.address:
            entry["upstream_address"] = exchange.address
        if exchange.responded:
            entry["upstream_ms"] = _milliseconds(exchange.responded - exchange.started)
    if fault is not None:
        entry |= {"fault": fault.code, "side": fault.side.value}
        if fault.detail:
            entry["fault_detail"] = fault.detail
    return json.dumps(entry, ensure_ascii=False)


def pretty_line(exchange: Exchange, ended: float, now: float, *, colour: bool = False) -> str:
    """A line for a person: time, method, path, outcome, status, duration, origin, and what went wrong."""
    decision, fault = exchange.decision, exchange.fault
    outcome = _outcome(exchange)
    mark, tint = {"allowed": ("✓", _GREEN), "denied": ("✗", _RED)}.get(outcome, ("·", _DIM))
    if fault is not None:
        mark, tint = "!", _YELLOW
    kind = "preflight " if decision is not None and decision.kind is Kind.PREFLIGHT else ""
    parts = [
        time.strftime("%H:%M:%S", time.localtime(now)),
        f"{_text(exchange.method) or '-':<7}",
        _text(exchange.path) or "-",
        f"{tint}{kind}{mark} {exchange.status}{_PLAIN}" if colour else f"{kind}{mark} {exchange.status}",
        f"{_milliseconds(ended - exchange.started)}ms",
    ]
    if exchange.origin is not None:
        parts.append(_text(exchange.origin))
    if decision is not None and outcome != "allowed" and exchange.origin is not None:
        parts.append(
            f"{decision.reason.value}: {decision.detail}" if decision.detail else decision.reason.value
        )
    if fault is not None:
        parts.append(f"{fault.code}: {fault.detail}" if fault.detail else fault.code)
    return "  ".join(parts)


def combined_line(exchange: Exchange, ended: float, now: float) -> str:
    """Apache's combined format; referrer and user agent are not recorded."""
    del ended
    when = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now))
    request = f"{_text(exchange.method) or '-'} {_text(exchange.path) or '-'} HTTP/1.1"
    return f'{exchange.peer or "-"} - - [{when}] "{request}" {exchange.status} {exchange.sent_bytes} "-" "-"'


def _coloured(exchange: Exchange, ended: float, now: float) -> str:
    return pretty_line(exchange, ended, now, colour=True)


def _outcome(exchange: Exchange) -> str:
    """allowed, denied, or a dash for what no policy of a route settled."""
    decision = exchange.decision
    if decision is None or decision.kind is Kind.NOT_CORS:
        return "-"
    if decision.reason is Reason.NO_ROUTE:  # a script may well read that 404: its fields are another policy's
        return "-"
    if decision.passes:
        return "report-only" if decision.detail else "-"
    return "allowed" if decision.allowed else "denied"


def _text(raw: bytes) -> str:
    """Bytes of a client as text that cannot break a line or a terminal, nor forge a field."""
    return "".join(
        char if char.isprintable() and char not in '"\\' else f"\\x{ord(char):02x}"
        for char in raw[:2048].decode("latin-1")
    )


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _timestamp(now: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    return f"{whole}.{int(now % 1 * 1000):03}Z"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "ts": _timestamp(record.created),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def set_up_logging(settings: Log, stream: TextIO | LineWriter) -> None:
    """Send what the process says about itself to `stream`, in the format of the exchange log."""
    handler = logging.StreamHandler(stream)
    if resolve_format(settings.format, stream) == "json":
        handler.setFormatter(_JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
