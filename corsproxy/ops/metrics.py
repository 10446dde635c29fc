"""What happened to exchanges, counted: a few additions for each, names only when somebody asks.

Here:  the meter, an observer of finished exchanges, and what it makes of them for `snapshot`.
Never: labels that clients could fill (methods outside a list, origins, paths); the format of Prometheus.
"""

import time
from bisect import bisect_left

from corsproxy.config.table import Route
from corsproxy.cors.decide import Decision
from corsproxy.http.faults import Fault, Side
from corsproxy.ops.denied import DeniedOrigins
from corsproxy.ops.families import (
    DURATION_BOUNDS,
    ERROR_KINDS,
    METHODS,
    class_label,
    code_label,
    method_label,
)
from corsproxy.ops.snapshot import Labels, Readings, Snapshot, Usage
from corsproxy.proxy.exchange import Exchange, outcome_of

__all__ = ["Meter", "Readings", "Snapshot", "Usage"]

# Decisions hold origins, so clients decide how many cells there are: a full table is folded and starts anew.
# Folding takes about a millisecond at this size.
_MOST_CELLS = 1024

_ALONE = Readings(processes=1)

# Not by name: Route and Decision hash by identity, and what is known by heart costs no Python code.
_Key = tuple[Route | None, bytes, int, Decision | None]


class _Cell:
    """Exchanges that get the same labels. Durations are shared with other cells, and outlive them."""

    __slots__ = ("bytes_in", "bytes_out", "count", "durations", "is_refused", "waits")

    def __init__(self, durations: list[float], waits: list[float], *, is_refused: bool) -> None:
        self.count = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.durations = durations  # exchanges by bucket, those beyond all, and the sum of seconds
        self.waits = waits  # the same for the upstream's responses
        self.is_refused = is_refused


class Meter:
    """Counts the exchanges of one process, across reloads: routes are told apart by name."""

    def __init__(self) -> None:
        self._cells: dict[_Key, _Cell] = {}
        self._counters: dict[str, dict[Labels, int]] = {}
        self._durations: dict[Labels, list[float]] = {}
        self._waits: dict[Labels, list[float]] = {}
        self._denied = DeniedOrigins()

    def record(self, exchange: Exchange, ended: float) -> None:
        """Count one finished exchange. ended: seconds on the monotonic clock."""
        cell = self._cells.get((exchange.route, exchange.method, exchange.status, exchange.decision))
        if cell is None:
            cell = self._open_cell(exchange)
        cell.count += 1
        started = exchange.started
        seconds = ended - started
        durations = cell.durations
        durations[bisect_left(DURATION_BOUNDS, seconds)] += 1
        durations[-1] += seconds
        if exchange.responded:
            seconds = exchange.responded - started
            waits = cell.waits
            waits[bisect_left(DURATION_BOUNDS, seconds)] += 1
            waits[-1] += seconds
        cell.bytes_in += exchange.received_bytes
        cell.bytes_out += exchange.sent_bytes
        if cell.is_refused:
            self._denied.note(exchange, ended)
        if exchange.fault is not None or exchange.stripped or exchange.retries:
            self._note_rest(exchange)

    def snapshot(self, readings: Readings = _ALONE) -> Snapshot:
        """Everything so far. readings: what the server adds at this moment."""
        self.fold()
        return Snapshot(
            {name: dict(counts) for name, counts in self._counters.items()},
            {
                "corsproxy_request_duration_seconds": _in_whole_numbers(self._durations),
                "corsproxy_upstream_duration_seconds": _in_whole_numbers(self._waits),
            },
            readings,
            self._denied.listed(time.time() - time.monotonic()),
        )

    def _open_cell(self, exchange: Exchange) -> _Cell:
        """A cell for labels that were not seen lately."""
        if len(self._cells) >= _MOST_CELLS:
            self.fold()
        route, decision = exchange.route, exchange.decision
        name = "" if route is None else route.name
        if route is not None and (name,) not in self._waits:
            self._start_at_zero(name)
        cell = _Cell(
            _durations_of(self._durations, (name, class_label(exchange.status))),
            _durations_of(self._waits, (name,)),
            is_refused=decision is not None and not decision.allowed and route is not None,
        )
        # Of methods outside the list clients have many, and long ones: they share a cell.
        method = exchange.method if exchange.method in METHODS else b""
        return self._cells.setdefault((route, method, exchange.status, decision), cell)

    def fold(self) -> None:
        """Add the cells to the named counters. Lets go of the tables and decisions that they name."""
        cells, self._cells = self._cells, {}
        for (route, method, status, decision), cell in cells.items():
            name = "" if route is None else route.name
            self._add(
                "corsproxy_requests_total", (name, method_label(method), code_label(status)), cell.count
            )
            if decision is not None:
                labels = (name, decision.kind.value, outcome_of(decision), decision.reason.value)
                self._add("corsproxy_cors_decisions_total", labels, cell.count)
            self._add("corsproxy_request_body_bytes_total", (name,), cell.bytes_in)
            self._add("corsproxy_response_body_bytes_total", (name,), cell.bytes_out)

    def _start_at_zero(self, route: str) -> None:
        """Show what has not happened yet: no rate sees a counter's first step from nothing to one."""
        for kind in ERROR_KINDS.values():
            self._add("corsproxy_upstream_errors_total", (route, kind), 0)
        self._add("corsproxy_upstream_retries_total", (route,), 0)
        self._add("corsproxy_upstream_header_overrides_total", (route,), 0)

    def _note_rest(self, exchange: Exchange) -> None:
        """Count what few exchanges have."""
        route = "" if exchange.route is None else exchange.route.name
        if exchange.fault is not None:
            self._note_fault(route, exchange.fault)
        if exchange.stripped:
            self._add("corsproxy_upstream_header_overrides_total", (route,), exchange.stripped)
        if exchange.retries:
            self._add("corsproxy_upstream_retries_total", (route,), exchange.retries)

    def _note_fault(self, route: str, fault: Fault) -> None:
        self._add("corsproxy_faults_total", (route, fault.side.value, fault.code), 1)
        if fault.side is Side.UPSTREAM:
            self._add("corsproxy_upstream_errors_total", (route, ERROR_KINDS[fault.code]), 1)

    def _add(self, family: str, labels: Labels, count: int) -> None:
        counts = self._counters.setdefault(family, {})
        counts[labels] = counts.get(labels, 0) + count


def _durations_of(every: dict[Labels, list[float]], labels: Labels) -> list[float]:
    return every.setdefault(labels, [0] * (len(DURATION_BOUNDS) + 1) + [0.0])


def _in_whole_numbers(every: dict[Labels, list[float]]) -> dict[Labels, tuple[int, ...]]:
    return {
        labels: (*map(int, numbers[:-1]), round(numbers[-1] * 1_000_000)) for labels, numbers in every.items()
    }
