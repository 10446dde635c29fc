"""What was counted, as a value: to expose, to send to another process, to add up.

Here:  counters, histograms and readings of one process or many; JSON and back; the sum of several.
Never: counting (metrics), the format of Prometheus (exposition).
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from corsproxy.ops.denied import Denied, merge_denied

__all__ = ["Counts", "Labels", "Readings", "Snapshot", "Usage"]

Labels = tuple[str, ...]
Counts = Mapping[Labels, int]
# Exchanges in each bucket of `families.DURATION_BOUNDS`, then those beyond, then the sum in microseconds.
# Whole numbers: so adding them up gives the same in any order.
Durations = Mapping[Labels, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Usage:
    """What processes take of the machine."""

    started_at: float  # unix seconds, of the first
    cpu_ms: int  # of all
    resident_bytes: int  # of all
    open_fds: int  # of the one that has most: the limit is each one's own
    max_fds: int  # of the one that may have least


@dataclass(frozen=True, slots=True)
class Readings:
    """What a process can read off when it is asked, instead of counting it."""

    processes: int = 0  # that serve; 1 from each of them
    connections: int = 0  # of clients, open
    rebalanced: int = 0  # connections that were let go because others have more time, since the start
    in_flight: Mapping[str, int] = field(default_factory=dict)  # exchanges with an upstream, by route
    websockets: Mapping[str, int] = field(default_factory=dict)  # switched connections, by route
    # By upstream and endpoint: how many processes ask it in its turn, of how many that know it.
    endpoints: Mapping[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    log_lines_lost: int = 0  # since the start
    restarts: int = 0  # of workers, since the start: the supervisor's to say
    usage: Usage | None = None  # None = nobody can tell on this system


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment. The empty one adds nothing to a sum."""

    counters: Mapping[str, Counts] = field(default_factory=dict)  # by the name of their family
    durations: Mapping[str, Durations] = field(default_factory=dict)
    readings: Readings = Readings()
    denied: tuple[Denied, ...] = ()

    @staticmethod
    def merge(every: Iterable["Snapshot"]) -> "Snapshot":
        """All of them as one. Only the list of denied origins is cut: it stays as long as one of theirs."""
        listed = list(every)
        return Snapshot(
            _add_up(snapshot.counters for snapshot in listed),
            _add_up_durations(snapshot.durations for snapshot in listed),
            _join_readings([snapshot.readings for snapshot in listed]),
            merge_denied(snapshot.denied for snapshot in listed),
        )

    def past(self) -> "Snapshot":
        """What stays true when the process has ended: no counter may fall because a worker died."""
        now = self.readings
        usage = None if now.usage is None else replace(now.usage, resident_bytes=0, open_fds=0)
        readings = Readings(
            rebalanced=now.rebalanced,
            log_lines_lost=now.log_lines_lost,
            restarts=now.restarts,
            usage=usage,
        )
        return Snapshot(self.counters, self.durations, readings, self.denied)

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        """The snapshot as JSON can hold it."""
        return {
            "counters": {name: list(map(list, counts.items())) for name, counts in self.counters.items()},
            "durations": {name: list(map(list, each.items())) for name, each in self.durations.items()},
            "readings": _readings_json(self.readings),
            "denied": [asdict(denied) for denied in self.denied],
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Snapshot":  # Any: JSON, written by `as_json` of this version
        """The snapshot again. Raises KeyError, TypeError or ValueError when it is none."""
        return Snapshot(
            {
                name: {tuple(labels): count for labels, count in counts}
                for name, counts in data["counters"].items()
            },
            {
                name: {tuple(labels): tuple(numbers) for labels, numbers in each}
                for name, each in data["durations"].items()
            },
            _readings_from_json(data["readings"]),
            tuple(Denied(**denied) for denied in data["denied"]),
        )


def _add_up(every: Iterable[Mapping[str, Counts]]) -> dict[str, dict[Labels, int]]:
    sums: dict[str, dict[Labels, int]] = {}
    for families in every:
        for name, counts in families.items():
            known = sums.setdefault(name, {})
            for labels, count in counts.items():
                known[labels] = known.get(labels, 0) + count
    return sums


def _add_up_durations(every: Iterable[Mapping[str, Durations]]) -> dict[str, dict[Labels, tuple[int, ...]]]:
    sums: dict[str, dict[Labels, tuple[int, ...]]] = {}
    for families in every:
        for name, durations in families.items():
            known = sums.setdefault(name, {})
            for labels, numbers in durations.items():
                before = known.get(labels)
                known[labels] = numbers if before is None else _pairwise(before, numbers)
    return sums


def _pairwise(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(left + right for left, right in zip(one, other, strict=True))


def _join_readings(every: list[Readings]) -> Readings:
    endpoints: dict[tuple[str, str], tuple[int, int]] = {}
    for readings in every:
        for key, (asked, known) in readings.endpoints.items():
            asked_before, known_before = endpoints.get(key, (0, 0))
            endpoints[key] = (asked_before + asked, known_before + known)
    return Readings(
        processes=sum(readings.processes for readings in every),
        connections=sum(readings.connections for readings in every),
        rebalanced=sum(readings.rebalanced for readings in every),
        in_flight=_add_up_routes(readings.in_flight for readings in every),
        websockets=_add_up_routes(readings.websockets for readings in every),
        endpoints=endpoints,
        log_lines_lost=sum(readings.log_lines_lost for readings in every),
        restarts=sum(readings.restarts for readings in every),
        usage=_join_usage([readings.usage for readings in every if readings.usage is not None]),
    )


def _add_up_routes(every: Iterable[Mapping[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for counts in every:
        for route, count in counts.items():
            sums[route] = sums.get(route, 0) + count
    return sums


def _join_usage(every: list[Usage]) -> Usage | None:
    if not every:
        return None
    return Usage(
        min(usage.started_at for usage in every),
        sum(usage.cpu_ms for usage in every),
        sum(usage.resident_bytes for usage in every),
        max(usage.open_fds for usage in every),
        min(usage.max_fds for usage in every),
    )


def _readings_json(readings: Readings) -> dict[str, Any]:  # Any: JSON
    plain = {each.name: getattr(readings, each.name) for each in fields(readings)}
    return plain | {
        "endpoints": [[*key, *counts] for key, counts in readings.endpoints.items()],
        "usage": None if readings.usage is None else asdict(readings.usage),
    }


def _readings_from_json(data: Mapping[str, Any]) -> Readings:  # Any: JSON
    rest = dict(data)
    endpoints = {(upstream, name): (asked, known) for upstream, name, asked, known in rest.pop("endpoints")}
    usage = rest.pop("usage")
    return Readings(**rest, endpoints=endpoints, usage=None if usage is None else Usage(**usage))
