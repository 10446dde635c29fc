"""Metrics in the formats of Prometheus.

Here:  a snapshot and the state of the plane as text, or as OpenMetrics for a scraper that prefers it.
Never: counting; HTTP. prometheus-client is imported here alone, and this module by whoever is scraped: the
       proxy starts without it.
"""

import platform
import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

import aiohttp
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from corsproxy import __version__
from corsproxy.ops.families import DURATION_BOUNDS, FAMILIES, Family
from corsproxy.ops.plane import State
from corsproxy.ops.snapshot import Labels, Readings, Snapshot, Usage

__all__ = ["expose"]

Numbers = Mapping[Labels, float]
_ALONE: Labels = ()
_BOUNDS = (*map(str, DURATION_BOUNDS), "+Inf")


def expose(snapshot: Snapshot, state: State, accept: str = "") -> tuple[bytes, str]:
    """The body of an answer to a scrape, and its media type. accept: the Accept field."""
    registry = CollectorRegistry()
    registry.register(_Once([*_histograms(snapshot), *_numbers(snapshot, state)]))
    try:
        encode, media_type = choose_encoder(accept)
    except (ValueError, TypeError):  # a version that is no number: prometheus-client does not look
        encode, media_type = choose_encoder("")
    return encode(registry), media_type


class _Once(Collector):
    """What was gathered already, in the shape in which a registry asks for it."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _histograms(snapshot: Snapshot) -> Iterator[Metric]:
    for name, durations in snapshot.durations.items():
        family = FAMILIES[name]
        metric = HistogramMetricFamily(name, family.says, labels=family.labels)
        for labels, numbers in sorted(durations.items()):
            buckets = list(zip(_BOUNDS, map(float, accumulate(numbers[:-1])), strict=True))
            metric.add_metric(labels, buckets, numbers[-1] / 1_000_000)
        yield metric


def _numbers(snapshot: Snapshot, state: State) -> Iterator[Metric]:
    every: dict[str, Numbers] = {
        **snapshot.counters,
        **_of_readings(snapshot.readings),
        **_of_usage(snapshot.readings.usage),
        **_of_state(state),
    }
    for name, numbers in every.items():
        yield _metric(FAMILIES[name], numbers)


def _metric(family: Family, numbers: Numbers) -> Metric:
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    metric = kind(family.name, family.says, labels=family.labels)
    for labels, number in sorted(numbers.items()):
        metric.add_metric(labels, number)
    return metric


def _of_readings(readings: Readings) -> dict[str, Numbers]:
    return {
        "corsproxy_inflight_requests": {(route,): count for route, count in readings.in_flight.items()},
        "corsproxy_websocket_connections": {(route,): count for route, count in readings.websockets.items()},
        "corsproxy_client_connections": {_ALONE: readings.connections},
        "corsproxy_client_connections_rebalanced_total": {_ALONE: readings.rebalanced},
        "corsproxy_upstream_endpoint_up": {
            key: asked / known for key, (asked, known) in readings.endpoints.items() if known
        },
        "corsproxy_workers": {_ALONE: readings.processes},
        "corsproxy_worker_restarts_total": {_ALONE: readings.restarts},
        "corsproxy_log_lines_lost_total": {_ALONE: readings.log_lines_lost},
    }


def _of_usage(usage: Usage | None) -> dict[str, Numbers]:
    if usage is None:
        return {}
    return {
        "process_start_time_seconds": {_ALONE: usage.started_at},
        "process_cpu_seconds_total": {_ALONE: usage.cpu_ms / 1000},
        "process_resident_memory_bytes": {_ALONE: usage.resident_bytes},
        "process_open_fds": {_ALONE: usage.open_fds},
        "process_max_fds": {_ALONE: usage.max_fds},
    }


def _of_state(state: State) -> dict[str, Numbers]:
    failed = state.last_reload is not None and not state.last_reload.ok
    loop = "uvloop" if "uvloop" in sys.modules else "asyncio"
    return {
        "corsproxy_draining": {_ALONE: state.draining},
        "corsproxy_config_last_reload_successful": {_ALONE: not failed},
        "corsproxy_config_last_reload_success_timestamp_seconds": {_ALONE: state.loaded_at},
        "corsproxy_config_info": {(state.version,): 1},
        "corsproxy_build_info": {(__version__, platform.python_version(), aiohttp.__version__, loop): 1},
    }
