"""One exchange as one line, in three formats: pretty, json, combined.

Here:  what a line says, and in which order.
Never: Cookie, Authorization, query values or bodies, which the record does not hold either; writing.
"""

import json
import re
import time
from functools import lru_cache

from corsproxy.cors.decide import Kind
from corsproxy.http.trace_context import parse_traceparent
from corsproxy.proxy.exchange import Exchange, outcome_of

__all__ = ["combined_line", "json_line", "pretty_line", "timestamp"]

_GREEN, _RED, _YELLOW, _DIM, _PLAIN = "\033[32m", "\033[31m", "\033[33m", "\033[2m", "\033[0m"
_LONGEST = 2048  # bytes of what a client sent
# Nearly all that clients send is this already: one match instead of a look at every character.
_HARMLESS = re.compile(rb"[ !#-\[\]-~]{0,%d}" % _LONGEST)
# Written before, as JSON: methods, hosts, origins, user agents. They come from clients.
_KNOWN: dict[bytes, str] = {}
_KNOWN_LIMIT = 1024
_KNOWN_BYTES = 256
_encode = json.encoder.encode_basestring  # a string as a member of JSON, in quotes; not only ASCII


def json_line(exchange: Exchange, ended: float, now: float) -> str:
    """One JSON object: `cors` is the outcome, `reason` the decision's word, `fault` where there is one.

    Written member by member, since next to nothing needs an escape: half of the time that an encoder takes.
    """
    decision, fault, route, origin = exchange.decision, exchange.fault, exchange.route, exchange.origin
    line = (
        f'{{"ts": "{timestamp(now)}", "method": {_known(exchange.method)}, "path": {_quoted(exchange.path)}, '
        f'"status": {exchange.status}, "ms": {_milliseconds(ended - exchange.started)}, '
        f'"bytes": {exchange.sent_bytes}, "bytes_in": {exchange.received_bytes}, '
        f'"peer": {_encode(exchange.peer)}, "scheme": {_known(exchange.scheme)}, '
        f'"host": {_known(exchange.host)}, "protocol": "{_protocol(exchange)}", '
        f'"route": {"null" if route is None else _encode(route.name)}, '
        f'"origin": {"null" if origin is None else _known(origin)}'
    )
    if exchange.client:
        line += f', "client": {_quoted(exchange.client.encode("latin-1", "replace"))}'
    if exchange.user_agent:
        line += f', "user_agent": {_known(exchange.user_agent)}'
    if exchange.request_id:
        line += f', "request_id": {_quoted(exchange.request_id)}'
    ids = _trace_ids(exchange)
    if ids is not None:
        line += ', "trace_id": "{}", "span_id": "{}"'.format(*ids)
    if route is not None and route.policy is not None:
        line += f', "policy": {_encode(route.policy.name)}'
    if decision is not None:
        line += (
            f', "kind": "{decision.kind}", "cors": "{outcome_of(decision)}", "reason": "{decision.reason}"'
        )
        if decision.detail and not decision.allowed:
            line += f', "detail": {_encode(decision.detail)}'
    if exchange.endpoint:
        line += f', "upstream": {_encode(exchange.endpoint)}'
        if exchange.address:
            line += f', "upstream_address": {_encode(exchange.address)}'
        if exchange.responded:
            line += f', "upstream_ms": {_milliseconds(exchange.responded - exchange.started)}'
    if exchange.retries:
        line += f', "retries": {exchange.retries}'
    if fault is not None:
        line += f', "fault": "{fault.code}", "side": "{fault.side}"'
        if fault.detail:
            line += f', "fault_detail": {_encode(fault.detail)}'
    return line + "}"


def pretty_line(exchange: Exchange, ended: float, now: float, *, colour: bool = False) -> str:
    """A line for a person: time, method, path, outcome, status, duration, origin, and what went wrong."""
    decision, fault = exchange.decision, exchange.fault
    outcome = outcome_of(decision)
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
    if exchange.retries:
        parts.append(f"sent {exchange.retries + 1} times")
    if fault is not None:
        parts.append(f"{fault.code}: {fault.detail}" if fault.detail else fault.code)
    ids = _trace_ids(exchange)
    if ids is not None:
        parts.append("trace {} span {}".format(*ids))
    return "  ".join(parts)


def combined_line(exchange: Exchange, ended: float, now: float) -> str:
    """Apache's combined format; the referrer is without its query."""
    del ended
    when = time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(now))
    asked = f"{_text(exchange.method) or '-'} {_text(exchange.path) or '-'} {_protocol(exchange)}"
    answered = f"{exchange.status} {exchange.sent_bytes}"
    teller = f'"{_text(exchange.referrer) or "-"}" "{_text(exchange.user_agent) or "-"}"'
    client = _text((exchange.client or exchange.peer).encode("latin-1", "replace")) or "-"
    return f'{client} - - [{when}] "{asked}" {answered} {teller}'


def _protocol(exchange: Exchange) -> str:
    return "HTTP/1.0" if exchange.is_http10 else "HTTP/1.1"


def _trace_ids(exchange: Exchange) -> tuple[str, str] | None:
    """Trace and span, as tools search for them: ours where it is traced here, else the caller's."""
    trace = exchange.trace
    if trace is not None:
        return f"{trace.trace_id:032x}", f"{trace.server_id:016x}"
    asked = parse_traceparent(exchange.traceparent) if exchange.traceparent else None
    return None if asked is None else (f"{asked.trace_id:032x}", f"{asked.parent_id:016x}")


def _text(raw: bytes) -> str:
    """Bytes of a client as text that cannot break a line or a terminal, nor forge a field."""
    if _HARMLESS.fullmatch(raw):
        return raw.decode("ascii")
    return "".join(
        char if char.isprintable() and char not in '"\\' else f"\\x{ord(char):02x}"
        for char in raw[:_LONGEST].decode("latin-1")
    )


def _quoted(raw: bytes) -> str:
    """The same as a member of JSON."""
    return f'"{raw.decode("ascii")}"' if _HARMLESS.fullmatch(raw) else _encode(_text(raw))


def _known(raw: bytes) -> str:
    """As `_quoted`, for what is likely to be the same next time."""
    quoted = _KNOWN.get(raw)
    if quoted is None:
        quoted = _quoted(raw)
        if len(raw) <= _KNOWN_BYTES:
            if len(_KNOWN) >= _KNOWN_LIMIT:
                _KNOWN.clear()
            _KNOWN[raw] = quoted
    return quoted


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)


def timestamp(now: float) -> str:
    """UTC to the millisecond, as RFC 3339 has it. now: unix seconds."""
    return f"{_second(int(now))}.{int(now % 1 * 1000):03}Z"


@lru_cache(maxsize=4)
def _second(now: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
