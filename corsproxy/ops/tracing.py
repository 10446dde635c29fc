"""Are traces wanted, and can they be had? Then, who makes them.

Here:  the standard variables that switch traces on and off, and the extra `otel`, imported only if they ask.
Never: what a span says (spans), how it is sent (tracer).
"""

import importlib.util
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # else whoever wants no traces would pay for the import, or could not even make it
    from corsproxy.ops.tracer import Tracer

__all__ = ["collector", "start_tracing", "tracing_objection", "wants_traces"]

_log = logging.getLogger(__name__)

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
EXPORTER = "OTEL_TRACES_EXPORTER"
DISABLED = "OTEL_SDK_DISABLED"
_DEFAULT_ENDPOINT = "http://localhost:4318"
_NEEDED = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")


def wants_traces(env: Mapping[str, str]) -> bool:
    """True when the environment names an exporter or a collector's place, and does not switch all off."""
    if _word(env, DISABLED) == "true":
        return False
    exporter = _word(env, EXPORTER)
    return exporter != "none" and bool(exporter or _first(env, ENDPOINTS))


def tracing_objection(env: Mapping[str, str]) -> str:
    """Why traces that are wanted cannot be had; "" when there is nothing to say."""
    if not wants_traces(env):
        return ""
    exporter = _word(env, EXPORTER)
    if exporter not in {"", "otlp"}:
        return f"no traces: {EXPORTER} is {exporter}, and only otlp is known here"
    protocol = _first(env, PROTOCOLS).strip().lower()
    if protocol not in {"", "http/protobuf"}:
        return f"no traces: the OTLP protocol is {protocol}, and only http/protobuf is known here"
    if not all(map(_is_installed, _NEEDED)):
        return "no traces: OTEL_* asks for them, but the extra is missing: pip install 'corsproxy[otel]'"
    return ""


def start_tracing(env: Mapping[str, str]) -> "Tracer | None":
    """Who makes the traces of this process, from now until its `stop`; None when there are none to make.

    env: decides whether there are any; OpenTelemetry reads the rest from the process's own environment.
    """
    if not wants_traces(env) or tracing_objection(env):
        return None
    from corsproxy.ops.tracer import otlp_tracer  # noqa: PLC0415 - see above

    try:
        return otlp_tracer(collector(env))
    except Exception as error:  # noqa: BLE001 - a mistake in OTEL_* costs the traces, never the proxy
        _log.error("no traces: %s", error)
        return None


def collector(env: Mapping[str, str]) -> str:
    """Where spans are sent, without what may be secret in a URL."""
    endpoint = _first(env, ENDPOINTS) or _DEFAULT_ENDPOINT
    scheme, _, rest = endpoint.partition("://")
    return f"{scheme}://{rest.partition('/')[0].rpartition('@')[2].partition('?')[0]}"


def _word(env: Mapping[str, str], name: str) -> str:
    return env.get(name, "").strip().lower()


def _first(env: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((env[name] for name in names if env.get(name)), "")


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package around it
        return False
