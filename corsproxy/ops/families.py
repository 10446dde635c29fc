"""The metrics there are: names, labels, and what they say.

Here:  one table, which the meter, the exposition, docs/metrics.md, the alert rules and the dashboard share.
Never: counting; the format on the wire.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = [
    "DURATION_BOUNDS",
    "ERROR_KINDS",
    "FAMILIES",
    "METHODS",
    "OTHER",
    "Family",
    "class_label",
    "code_label",
    "method_label",
]

DURATION_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Upper ends of the buckets, in seconds: what OpenTelemetry advises for HTTP."""

OTHER = "_OTHER"
"""Stands for every value outside of a list, so that no client can make labels up."""

METHODS = {
    method.encode("ascii"): method
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY", "TRACE", "CONNECT")
}

# The words of `corsproxy_upstream_errors_total`, by the codes of the faults that they gather.
ERROR_KINDS = {
    "dns-error": "connect",
    "connection-refused": "connect",
    "unreachable": "connect",
    "tls-error": "connect",
    "connect-timeout": "timeout",
    "response-timeout": "timeout",
    "upstream-stalled": "timeout",
    "broke-off": "reset",
    "protocol-error": "protocol",
}


@dataclass(frozen=True, slots=True)
class Family:
    """One metric."""

    name: str  # as in a query; a histogram's without _bucket, _sum and _count
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    says: str


_LISTED = (
    Family(
        "corsproxy_requests_total",
        "counter",
        ("route", "method", "code"),
        "Exchanges that are over, by the status that the client was told.",
    ),
    Family(
        "corsproxy_request_duration_seconds",
        "histogram",
        ("route", "code"),
        "From the complete head of the request to the end of the exchange.",
    ),
    Family(
        "corsproxy_cors_decisions_total",
        "counter",
        ("route", "kind", "outcome", "reason"),
        "What was decided about CORS, in the words of the log.",
    ),
    Family(
        "corsproxy_upstream_duration_seconds",
        "histogram",
        ("route",),
        "Until the head of the upstream's response; connecting included.",
    ),
    Family(
        "corsproxy_upstream_errors_total",
        "counter",
        ("route", "kind"),
        "Exchanges that the upstream failed: connect, timeout, reset or protocol.",
    ),
    Family(
        "corsproxy_upstream_retries_total",
        "counter",
        ("route",),
        "Requests that were sent again, or to another endpoint.",
    ),
    Family(
        "corsproxy_upstream_header_overrides_total",
        "counter",
        ("route",),
        "CORS fields of the upstream's that the policy took off.",
    ),
    Family(
        "corsproxy_faults_total",
        "counter",
        ("route", "side", "fault"),
        "Exchanges that could not be finished, by who broke them and the fault of the log.",
    ),
    Family(
        "corsproxy_request_body_bytes_total", "counter", ("route",), "Bytes of request bodies that came in."
    ),
    Family(
        "corsproxy_response_body_bytes_total",
        "counter",
        ("route",),
        "Bytes of response bodies that went out.",
    ),
    Family(
        "corsproxy_inflight_requests",
        "gauge",
        ("route",),
        "Exchanges now with an upstream, WebSockets included: what limits.in_flight counts.",
    ),
    Family("corsproxy_websocket_connections", "gauge", ("route",), "Connections now switched to WebSocket."),
    Family("corsproxy_client_connections", "gauge", (), "Client connections now open, idle ones included."),
    Family(
        "corsproxy_client_connections_rebalanced_total",
        "counter",
        (),
        "Client connections that a busy worker let go, so that others take them.",
    ),
    Family(
        "corsproxy_upstream_endpoint_up",
        "gauge",
        ("upstream", "endpoint"),
        "1 = the endpoint is asked in its turn, 0 = it is left out; between them when workers differ.",
    ),
    Family("corsproxy_workers", "gauge", (), "Processes that serve."),
    Family(
        "corsproxy_worker_restarts_total", "counter", (), "Workers that were started in place of another."
    ),
    Family("corsproxy_log_lines_lost_total", "counter", (), "Log lines dropped because nobody took them."),
    Family("corsproxy_draining", "gauge", (), "1 = it is stopping, and not ready."),
    Family(
        "corsproxy_config_last_reload_successful",
        "gauge",
        (),
        "0 = the last attempt to load a configuration failed; the one before it serves on.",
    ),
    Family(
        "corsproxy_config_last_reload_success_timestamp_seconds",
        "gauge",
        (),
        "When the configuration that serves was loaded.",
    ),
    Family("corsproxy_config_info", "gauge", ("version",), "Always 1; which configuration serves."),
    Family("corsproxy_build_info", "gauge", ("version", "python", "aiohttp", "loop"), "Always 1; what runs."),
    Family("process_start_time_seconds", "gauge", (), "When the first process that serves started."),
    Family("process_cpu_seconds_total", "counter", (), "Processor time of all processes that serve."),
    Family("process_resident_memory_bytes", "gauge", (), "Memory of all processes that serve."),
    Family("process_open_fds", "gauge", (), "File descriptors in use, of the process that has most."),
    Family("process_max_fds", "gauge", (), "File descriptors that each process may have."),
)

FAMILIES = {family.name: family for family in _LISTED}


def method_label(method: bytes) -> str:
    """The method, when it is a known one."""
    return METHODS.get(method, OTHER)


def code_label(status: int) -> str:
    """The status; an upstream that invents codes gets one label for all of them."""
    return str(status) if 100 <= status < 600 else OTHER


def class_label(status: int) -> str:
    """`2xx` and so on."""
    return f"{status // 100}xx" if 100 <= status < 600 else OTHER
