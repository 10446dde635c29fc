"""What the process says while it runs: a line for each exchange, and lines about itself.

Here:  which exchanges get a line, and buffered writing of these; the set-up of `logging`.
Never: what the line of an exchange says (lines).
"""

import asyncio
import json
import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import TextIO

from corsproxy.config.table import Log
from corsproxy.ops.lines import combined_line, json_line, pretty_line, timestamp
from corsproxy.ops.writer import LineWriter
from corsproxy.proxy.exchange import Exchange

__all__ = [
    "ExchangeLog",
    "combined_line",
    "is_remarkable",
    "json_line",
    "pretty_line",
    "resolve_format",
    "set_up_logging",
]

_FLUSH_SECONDS = 0.1
_FLUSH_LINES = 256

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
        self._sample = settings.sample
        self._unremarkable = 0  # how many there were
        self._lines: list[str] = []
        self._flusher: asyncio.TimerHandle | None = None

    def record(self, exchange: Exchange, ended: float) -> None:
        """Take one finished exchange. ended: seconds on the monotonic clock."""
        if self._sample < 1.0 and not is_remarkable(exchange) and self._is_left_out():
            return
        self._lines.append(self._format(exchange, ended, time.time()))
        if len(self._lines) >= _FLUSH_LINES:
            self.flush()
        elif self._flusher is None:
            self._flusher = asyncio.get_running_loop().call_later(_FLUSH_SECONDS, self.flush)

    def _is_left_out(self) -> bool:
        """Counted, not drawn: of n there are n x sample lines, at even distances, the first among them.

        Not by request id either, which clients choose: they could choose not to be seen.
        """
        before = math.ceil(self._unremarkable * self._sample)
        self._unremarkable += 1
        return math.ceil(self._unremarkable * self._sample) == before

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


def is_remarkable(exchange: Exchange) -> bool:
    """True for what a sample must not leave out: a fault, a status from 500 on, a refusal, and what would be
    one without `mode: report_only`.
    """
    decision = exchange.decision
    is_refused = decision is not None and not decision.allowed
    return is_refused or exchange.fault is not None or exchange.status >= 500


def _coloured(exchange: Exchange, ended: float, now: float) -> str:
    return pretty_line(exchange, ended, now, colour=True)


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "ts": timestamp(record.created),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def set_up_logging(settings: Log, out: LineWriter) -> None:
    """Send what the process says about itself to `out`, in the format of the exchange log. May be called
    again when the settings changed.
    """
    handler = logging.StreamHandler(out)
    if resolve_format(settings.format, out) == "json":
        formatter: logging.Formatter = _JsonFormatter()
    else:
        formatter = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    out.say_lost = partial(_lost_line, formatter)


def _lost_line(formatter: logging.Formatter, lines: int) -> str:
    message = f"{lines} log lines were lost"
    record = logging.LogRecord(__name__, logging.WARNING, "", 0, message, None, None)
    return formatter.format(record) + "\n"
