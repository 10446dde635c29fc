"""One exchange as spans: names, attributes, errors, by the semantic conventions of OpenTelemetry for HTTP.

Here:  what the SERVER span and the CLIENT span of an exchange say.
Never: OpenTelemetry itself (tracer); query values, Cookie, Authorization, which the record does not hold.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from corsproxy.config.table import Match
from corsproxy.http.faults import Side
from corsproxy.ops.families import METHODS, OTHER
from corsproxy.proxy.exchange import Exchange, outcome_of
from corsproxy.proxy.outgoing import path_at_upstream

__all__ = ["Attributes", "SpanFacts", "client_facts", "route_pattern", "server_facts"]

Attributes = dict[str, str | int]

_LONGEST = 2048  # bytes of what a client sent
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class SpanFacts:
    """What one span says."""

    name: str
    attributes: Attributes
    failed: bool  # its status is Error; else it is left unset
    why: str = ""  # the status's description


def server_facts(exchange: Exchange) -> SpanFacts:
    """The span of the exchange as its client sees it."""
    fault, status, route = exchange.fault, exchange.status, exchange.route
    attributes = _method(exchange)
    attributes |= {
        "url.path": _text(exchange.path),
        "url.scheme": exchange.scheme.decode("ascii"),
        "network.protocol.version": "1.0" if exchange.is_http10 else "1.1",
        "http.response.status_code": status,
    }
    attributes |= _authority(_text(exchange.host), attributes["url.scheme"])
    if exchange.peer:
        attributes["client.address"] = exchange.client or exchange.peer
        attributes["network.peer.address"] = exchange.peer
    if exchange.user_agent:
        attributes["user_agent.original"] = _text(exchange.user_agent)
    attributes |= _sizes(exchange)
    name = _span_name(attributes)
    if route is not None:
        attributes["http.route"] = pattern = route_pattern(route.match)
        attributes["corsproxy.route"] = route.name
        name = f"{name} {pattern}"
    attributes.update(_decided(exchange))
    # 4xx is the client's own doing. Below it, a fault of another side means that the response was cut off.
    is_cut = fault is not None and fault.side is not Side.CLIENT and status < 400
    failed = status >= 500 or is_cut
    if fault is not None:
        attributes["error.type"] = fault.code
    elif failed:
        attributes["error.type"] = str(status)
    return SpanFacts(name, attributes, failed, fault.detail if fault is not None and failed else "")


def client_facts(exchange: Exchange) -> SpanFacts | None:
    """The span of what the upstream was asked, all its attempts together; None when it was not."""
    fault, route = exchange.fault, exchange.route
    is_upstreams = fault is not None and fault.side is Side.UPSTREAM
    if route is None or not (exchange.endpoint or is_upstreams):
        return None
    attributes = _method(exchange)
    # Without a connection the record names no endpoint: it was the only one, or one of several.
    endpoint = exchange.endpoint or str(route.upstream.endpoints[0])
    attributes |= _place(endpoint, _text(path_at_upstream(exchange.path, route)))
    if exchange.address:
        attributes |= _authority(exchange.address, "", "network.peer.address", "network.peer.port")
    if exchange.retries:
        attributes["http.request.resend_count"] = exchange.retries
    failed = is_upstreams
    if exchange.responded:
        attributes["http.response.status_code"] = exchange.status
        attributes["network.protocol.version"] = "1.1"
        if exchange.status >= 400:
            failed = True
            attributes["error.type"] = str(exchange.status)
    if fault is not None:
        attributes["error.type"] = fault.code
    return SpanFacts(
        _span_name(attributes), attributes, failed, fault.detail if fault is not None and failed else ""
    )


def route_pattern(match: Match) -> str:
    """What a route takes, as `http.route`: a path, an expression, or a path with `*` for what follows."""
    if match.path_exact is not None:
        return match.path_exact.decode("latin-1")
    if match.path_regex is not None:
        return match.path_regex.pattern.decode("latin-1")
    return match.path.decode("latin-1").rstrip("/") + "/*"


def _method(exchange: Exchange) -> Attributes:
    known = METHODS.get(exchange.method)
    if known is not None:
        return {"http.request.method": known}
    return {"http.request.method": OTHER, "http.request.method_original": _text(exchange.method)}


def _span_name(attributes: Attributes) -> str:
    """The method, which clients may not make up (semantic conventions, HTTP spans, name)."""
    method = str(attributes["http.request.method"])
    return "HTTP" if method == OTHER else method


def _authority(
    text: str, scheme: str | int, host_key: str = "server.address", port_key: str = "server.port"
) -> Attributes:
    """Host and port of an authority; the port that the scheme implies where none is written."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal():
        host, port = text.removesuffix(":"), ""
    number = int(port) if port else _PORTS.get(str(scheme), 0)
    attributes: Attributes = {host_key: host.strip("[]")} if host else {}
    return {**attributes, port_key: number} if number else attributes


def _place(endpoint: str, path: str) -> Attributes:
    """Where the upstream is, and the full URL without its query."""
    parts = urlsplit(endpoint)
    if parts.scheme == "http+unix":
        return {
            "server.address": parts.path,
            "network.transport": "unix",
            "url.full": f"http://localhost{path}",
        }
    return {**_authority(parts.netloc, parts.scheme), "url.full": endpoint + path}


def _sizes(exchange: Exchange) -> Attributes:
    sizes = {
        "http.request.body.size": exchange.received_bytes,
        "http.response.body.size": exchange.sent_bytes,
    }
    return {key: size for key, size in sizes.items() if size}


def _decided(exchange: Exchange) -> Iterator[tuple[str, str]]:
    """The decision in the words of the log."""
    if exchange.request_id:
        yield "corsproxy.request_id", _text(exchange.request_id)
    decision = exchange.decision
    if decision is not None:
        yield "corsproxy.cors.kind", decision.kind.value
        yield "corsproxy.cors.outcome", outcome_of(decision)
        yield "corsproxy.cors.reason", decision.reason.value
        if decision.detail and not decision.allowed:
            yield "corsproxy.cors.detail", decision.detail


def _text(raw: bytes) -> str:
    return raw[:_LONGEST].decode("utf-8", "replace")
