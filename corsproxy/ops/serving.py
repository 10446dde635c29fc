"""One process that serves: its server, and all who are told of each exchange.

Here:  server, meter and log joined, and taking over another configuration. What a worker does, and what the
       only process does beside the admin listener and the signals.
Never: where configurations come from, other processes.
"""

import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from corsproxy.config.table import Table
from corsproxy.ops.configuration import Loaded
from corsproxy.ops.log import ExchangeLog, set_up_logging
from corsproxy.ops.metrics import Meter
from corsproxy.ops.refusals import Refusal, Refusals, say_refusal
from corsproxy.ops.server import Observer, Server
from corsproxy.ops.snapshot import Snapshot
from corsproxy.ops.tracing import start_tracing
from corsproxy.ops.writer import LineWriter
from corsproxy.proxy.exchange import Exchange

__all__ = ["Serving"]

# For the last spans, of what is left of `drain.timeout`.
_LEAST_FLUSH_SECONDS, _MOST_FLUSH_SECONDS = 1.0, 5.0


class Serving:
    """The data plane of this process."""

    def __init__(
        self,
        table: Table,
        out: LineWriter,
        env: Mapping[str, str],
        *,
        observers: Sequence[Observer] = (),
        socks: Sequence[socket.socket] | None = None,
        captures: bool = False,
        say: Callable[[Refusal], None] | None = say_refusal,
    ) -> None:
        """out: where the log goes. observers, socks, captures: as for `Server`. say: told of refusals that
        were not seen before; None = somebody else tells of them.
        """
        self._out = out
        self._env = env
        self._meter = Meter()
        self._log: ExchangeLog | None = None
        self._use_log(table)
        self._refusals = None if say is None else Refusals(table.file, say)
        self._tracer = tracer = start_tracing(env)
        self.server = Server(
            table,
            [self._meter.record, self._write, *([] if tracer is None else [tracer.record]), *observers],
            socks,
            captures=captures,
            trace=None if tracer is None else tracer.begin,
        )

    def _use_log(self, table: Table) -> None:
        if self._log is not None:
            self._log.flush()
        self._log = ExchangeLog(table.log, self._out, self._env) if table.log.access else None

    def _write(self, exchange: Exchange, ended: float) -> None:
        if self._log is not None:
            self._log.record(exchange, ended)
        decision = exchange.decision
        if decision is not None and not decision.allowed and self._refusals is not None:
            self._refusals.note(exchange, ended)

    async def take(self, loaded: Loaded) -> None:
        """Serve by another configuration. Raises PemError, and goes on as before."""
        table = loaded.served
        before = self.server.table.log
        self.server.swap(table)
        if self._refusals is not None:
            self._refusals.forget()
        self._meter.fold()  # what it has counted by name holds on to no table
        if table.log != before:
            set_up_logging(table.log, self._out)
            self._use_log(table)

    def snapshot(self) -> Snapshot:
        """What this process has counted, and what can be read off it now."""
        return self._meter.snapshot(replace(self.server.readings(), log_lines_lost=self._out.lost_lines))

    async def stop(self) -> None:
        """End gracefully; the log is complete afterwards, and the last spans are sent."""
        ends = time.monotonic() + self.server.table.drain.timeout
        await self.server.stop()
        if self._tracer is not None:
            left = ends - time.monotonic()
            await self._tracer.stop(min(max(left, _LEAST_FLUSH_SECONDS), _MOST_FLUSH_SECONDS))
        if self._log is not None:
            self._log.flush()

    def abort(self) -> None:
        """End everything now, finished or not."""
        if self._tracer is not None:
            self._tracer.abandon()
        self.server.abort()
