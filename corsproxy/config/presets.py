"""Presets: header names that belong together, as one `"@name"` in `allow_headers` or `expose_headers`.

Here:  the names, and what an entry stands for on each side of an exchange.
Never: origin groups, which look alike (`config.policies`); what a name means to the protocol it comes from.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from corsproxy.config.findings import Mistake
from corsproxy.config.words import did_you_mean, listed, quoted

__all__ = ["PRESETS", "Preset", "expand_preset"]


@dataclass(frozen=True, slots=True)
class Preset:
    """What one name stands for."""

    about: str
    allow: tuple[str, ...] = ()  # in `allow_headers`
    expose: tuple[str, ...] = ()  # in `expose_headers`


PRESETS: Mapping[str, Preset] = {
    "mcp": Preset(
        "Model Context Protocol over HTTP",
        ("Content-Type", "Authorization", "Mcp-Session-Id", "MCP-Protocol-Version", "Last-Event-ID"),
        ("Mcp-Session-Id", "MCP-Protocol-Version", "WWW-Authenticate"),
    ),
    "grpc-web": Preset(
        "gRPC-Web",
        ("Content-Type", "X-Grpc-Web", "X-User-Agent", "Grpc-Timeout"),
        ("Grpc-Status", "Grpc-Message", "Grpc-Status-Details-Bin"),
    ),
    "pagination": Preset(
        "pages of a list, by link, count or range",
        ("Range",),
        ("Link", "Content-Range", "X-Total-Count", "X-Total-Pages", "X-Page", "X-Per-Page", "X-Next-Page"),
    ),
    "ratelimit": Preset(
        "how much may still be asked, and when again",
        (),
        (
            "Retry-After",
            "RateLimit",
            "RateLimit-Policy",
            "RateLimit-Limit",
            "RateLimit-Remaining",
            "RateLimit-Reset",
            "X-RateLimit-Limit",
            "X-RateLimit-Remaining",
            "X-RateLimit-Reset",
        ),
    ),
    "download": Preset(
        "files: name, resuming, and what is cached",
        ("Range", "If-Range", "If-None-Match"),
        ("Content-Disposition", "Content-Encoding", "Content-Range", "Accept-Ranges", "ETag"),
    ),
    "tracing": Preset(
        "W3C Trace Context, B3 and Sentry; ids of requests",
        (
            "traceparent",
            "tracestate",
            "baggage",
            "b3",
            "X-B3-TraceId",
            "X-B3-SpanId",
            "X-B3-ParentSpanId",
            "X-B3-Sampled",
            "sentry-trace",
            "X-Request-Id",
            "X-Correlation-Id",
        ),
        ("traceresponse", "X-Request-Id", "X-Correlation-Id"),
    ),
}


def expand_preset(name: str, key: str) -> tuple[str, ...] | Mistake:
    """The names that `"@name"` stands for. key: `allow_headers` or `expose_headers`."""
    preset = PRESETS.get(name)
    if preset is None:
        near = did_you_mean(name, PRESETS).replace("'", "'@", 1)
        known = listed(f"@{each}" for each in PRESETS)
        return Mistake("unknown-preset", f"unknown preset {quoted('@' + name)}", near or f"write {known}")
    names = preset.allow if key == "allow_headers" else preset.expose
    if not names:
        message = f"{quoted('@' + name)} holds no names of requests: only responses carry them"
        return Mistake("empty-preset", message, "write it in expose_headers")
    return names
