"""The head of an upstream's response as the client gets it.

Here:  one pass over the field lines: what ends at this hop, what is the policy's, how the body is framed.
Never: sockets; deciding.
"""

import re
from collections.abc import Callable
from enum import IntEnum

from corsproxy.cors.fields import exposable, expose_also, is_cors_field, merge_vary, parse_names
from corsproxy.http.cookies import rewrite_cookie
from corsproxy.http.edits import edit_lines
from corsproxy.http.fields import HOP_BY_HOP, PLAIN_OPTIONS, Fields, nominated
from corsproxy.http.redirects import Place, bring_back, bring_back_refresh
from corsproxy.proxy.answers import status_line
from corsproxy.proxy.service import Ready

__all__ = ["Framing", "ResponseHead", "response_head", "trailer_section"]


class Framing(IntEnum):
    """How a message body ends (RFC 9112 §6.3)."""

    NONE = 0
    LENGTH = 1
    CHUNKED = 2
    CLOSE = 3


_CROSS, _DROP, _CONNECTION, _LENGTH, _TRANSFER, _VARY, _CORS, _NEIGHBOUR = range(8)
_URL, _REFRESH, _COOKIE, _DATE = range(8, 12)
_ROLE_OF = {
    b"connection": _CONNECTION,
    b"content-length": _LENGTH,
    b"transfer-encoding": _TRANSFER,
    b"vary": _VARY,
    # Ours only where the policy sets them: two Cross-Origin-Resource-Policy lines would match nothing.
    b"timing-allow-origin": _NEIGHBOUR,
    b"cross-origin-resource-policy": _NEIGHBOUR,
    # What a route may rewrite.
    b"location": _URL,
    b"content-location": _URL,
    b"refresh": _REFRESH,
    b"set-cookie": _COOKIE,
    b"date": _DATE,
}
_SEEN: dict[bytes, int] = {}
_SEEN_LIMIT = 1024

# Kept apart from fields that steer the message or the session (RFC 9110 §6.5.1): no trailer may add these.
_NO_TRAILER = frozenset(
    {
        b"authorization",
        b"cache-control",
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"cookie",
        b"host",
        b"set-cookie",
        b"vary",
        b"www-authenticate",
    }
)
_REASON = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_STATUS_LINES: dict[tuple[int, bytes], bytes] = {}


class ResponseHead:
    """What was learned from the upstream's head, and the lines for the client."""

    __slots__ = ("cors_stripped", "framing", "lines")

    def __init__(self, lines: list[bytes], framing: Framing, cors_stripped: int) -> None:
        self.lines = lines  # the status line with its end, then field lines without
        self.framing = framing  # of the upstream's body
        self.cors_stripped = cors_stripped  # how many CORS fields of the upstream's were taken off


def response_head(
    status: int,
    reason: bytes,
    fields: Fields,
    ready: Ready,
    *,
    head_only: bool,
    date: bytes = b"",
    place: Callable[[], Place] | None = None,
) -> ResponseHead | str:
    """Turn an upstream's head into the client's; a string says why it cannot be.

    head_only: the request was a HEAD. Connection and Transfer-Encoding towards the client are the caller's.
    date: the line to add when the upstream sent no Date (RFC 9110 §6.6.1); b"" = none is added.
    place: where the client found the proxy, asked where a URL is rewritten; None = URLs stay.
    """
    first = _STATUS_LINES.get((status, reason))
    if first is None:
        if _REASON.fullmatch(reason) is None:
            return "control characters in the reason phrase"
        first = _remember_status(status, reason)
    lines = [first]
    framing = Framing.CLOSE
    decision = ready.decision
    cors: Fields = []
    vary: list[bytes] = []
    ends: list[bytes] = []
    for name, value in fields:
        role = _SEEN.get(name)
        if role is None:
            role = _role_of(name)
        if role == _CROSS:
            lines.append(name + b": " + value)
        elif role == _DATE:
            date = b""
            lines.append(name + b": " + value)
        elif role == _LENGTH:
            framing = Framing.LENGTH
            if status != 204:  # RFC 9110 §8.6
                lines.append(name + b": " + value)
        elif role == _VARY:
            vary.append(value)
        elif role == _CONNECTION:
            if value not in PLAIN_OPTIONS:
                ends.append(value)
        elif role == _CORS:
            cors.append((name, value))
        elif role == _TRANSFER:
            if value.strip().lower() != b"chunked" or framing == Framing.CHUNKED:
                return "a transfer coding other than chunked"
            framing = Framing.CHUNKED
        elif role == _NEIGHBOUR:
            if name.lower() not in ready.owned:
                lines.append(name + b": " + value)
        elif role >= _URL:
            lines.append(name + b": " + _rewritten(role, value, ready, place))
    if ends:
        lines = _without_nominated(lines, ends)
    if date:
        lines.append(date)
    if ready.plain:
        if ready.block:
            lines.append(ready.block)
    else:
        _edit(lines, ready)
        _add_dependent(lines, ready, cors, date)
    if vary:
        missing = merge_vary(vary, decision.vary)
        if missing is not None:  # onto the last line: caches that read only one Vary are still about
            vary[-1] += b", " + missing
        lines.extend(b"Vary: " + value for value in vary)
    elif ready.vary_line:
        lines.append(ready.vary_line)
    if head_only or status in {204, 304}:
        framing = Framing.NONE
    return ResponseHead(lines, framing, 0 if decision.passes else len(cors))


def trailer_section(trailers: Fields) -> bytes:
    """The trailer lines that may go on: none that adds to the policy, the framing or the session."""
    return b"".join(
        b"%b: %b\r\n" % (name, value)
        for name, value in trailers
        if not (
            is_cors_field(lower := name.lower())
            or lower in HOP_BY_HOP
            or lower in _NO_TRAILER
            or lower in _ROLE_OF
        )
    )


def _rewritten(role: int, value: bytes, ready: Ready, place: Callable[[], Place] | None) -> bytes:
    """The value of a field that points at the upstream or is bound to its host and path."""
    rewriting = ready.rewriting
    if rewriting is None:
        return value
    if role == _COOKIE:
        return value if rewriting.cookies is None else rewrite_cookie(value, rewriting.cookies)
    if rewriting.redirects is None or place is None:
        return value
    bring = bring_back if role == _URL else bring_back_refresh
    return bring(value, rewriting.redirects, place())


def _role_of(name: bytes) -> int:
    lower = name.lower()
    role = _ROLE_OF.get(lower, _CROSS)
    if is_cors_field(lower):
        role = _CORS
    elif role == _CROSS and lower in HOP_BY_HOP:
        role = _DROP
    if len(name) <= 64:
        if len(_SEEN) >= _SEEN_LIMIT:
            _SEEN.clear()
        _SEEN[name] = role
    return role


def _remember_status(status: int, reason: bytes) -> bytes:
    line = status_line(status, reason)[:-2]
    if len(_STATUS_LINES) >= _SEEN_LIMIT:
        _STATUS_LINES.clear()
    if len(reason) <= 64:
        _STATUS_LINES[status, reason] = line
    return line


def _without_nominated(lines: list[bytes], connection_values: list[bytes]) -> list[bytes]:
    """The lines without those that the upstream's Connection field names."""
    names = nominated(connection_values)
    if not names:
        return lines
    return lines[:1] + [line for line in lines[1:] if line.partition(b":")[0].lower() not in names]


def _edit(lines: list[bytes], ready: Ready) -> None:
    """Make the route's edits. CORS fields and Vary are not among the lines yet, so no edit touches them."""
    if ready.rewriting is not None and ready.rewriting.edits is not None:
        lines[1:] = edit_lines(lines[1:], ready.rewriting.edits)


def _add_dependent(lines: list[bytes], ready: Ready, cors: Fields, own_date: bytes) -> None:
    """Add the CORS lines that depend on what the upstream sent. A Date of our own is none of that."""
    decision = ready.decision
    if decision.passes:
        lines.extend(name + b": " + value for name, value in cors)
        return
    names: list[bytes] = []
    if decision.expose_present:
        names += exposable(line.partition(b":")[0] for line in lines[1:] if line is not own_date)
    if decision.merge_expose:
        for name, value in cors:
            if name.lower() == b"access-control-expose-headers":
                names += parse_names(value) or ()
    lines.extend(name + b": " + value for name, value in expose_also(decision.fields, names))
