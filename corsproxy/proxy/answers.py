"""Answers the proxy makes itself: preflights, refusals, faults.

Here:  complete heads and bodies as bytes. RFC 9457 (problem details), RFC 9209 (Proxy-Status).
Never: deciding; writing to a connection.
"""

import json
from email.utils import formatdate
from http import HTTPStatus

from corsproxy.cors.decide import Decision, Kind
from corsproxy.cors.fields import expose_also, is_cors_field
from corsproxy.http.faults import Fault, Side
from corsproxy.http.fields import HOP_BY_HOP, Fields, nominated

__all__ = [
    "date_line",
    "fault_answer",
    "head_lines",
    "interim_head",
    "options_answer",
    "preflight_answer",
    "refusal_answer",
    "status_line",
]

# Of the methods that cross, those that everyone knows; the rest are extensions of WebDAV and the like.
_ALLOW = b"Allow: GET, HEAD, POST, PUT, DELETE, PATCH, OPTIONS\r\n"
_PHRASES = {status.value: status.phrase.encode("ascii") for status in HTTPStatus} | {
    413: b"Content Too Large",  # RFC 9110 §15.5.14 and §15.5.15: older Pythons know former names of both
    414: b"URI Too Long",
    499: b"Client Closed Request",
}


def status_line(status: int, reason: bytes | None = None) -> bytes:
    """`HTTP/1.1 404 Not Found` with its line end. reason: an upstream's own; None = the standard's."""
    phrase = _PHRASES.get(status, b"") if reason is None else reason
    return b"HTTP/1.1 %d %b\r\n" % (status, phrase)


def date_line(now: float) -> bytes:
    """The Date line for `now`, seconds since the epoch, without its end (RFC 9110 §6.6.1)."""
    return b"Date: " + formatdate(now, usegmt=True).encode("ascii")


def head_lines(decision: Decision, *, exposing: tuple[bytes, ...] = ()) -> bytes:
    """The field lines of a decision, with further names exposed, and Vary last; each ended by CRLF."""
    fields = expose_also(decision.fields, exposing) if exposing else decision.fields
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    return lines + b"Vary: " + b", ".join(decision.vary) + b"\r\n" if decision.vary else lines


def interim_head(status: int, fields: Fields) -> bytes:
    """A 1xx head, complete: without the fields of the hop and those about CORS, which mean nothing here, and
    without a length, which it must not have (RFC 9110 §8.6).
    """
    ends = (
        HOP_BY_HOP
        | {b"content-length"}
        | nominated(value for name, value in fields if name.lower() == b"connection")
    )
    crossing = [
        field for field in fields if field[0].lower() not in ends and not is_cors_field(field[0].lower())
    ]
    return status_line(status) + b"".join(b"%b: %b\r\n" % field for field in crossing) + b"\r\n"


def preflight_answer(decision: Decision, status: int) -> bytes:
    """The head of an allowed preflight's answer, up to and without Date, Connection and the empty line.

    200 gets a Content-Length: only 204 ends with its head (RFC 9112 §6.3).
    """
    length = b"" if status == 204 else b"Content-Length: 0\r\n"
    return status_line(status) + head_lines(decision) + length


def options_answer(decision: Decision) -> bytes:
    """The head of the answer to an OPTIONS that may go no further, up to and without Date, Connection and the
    empty line (RFC 9110 §7.6.2, §9.3.7).

    It speaks for this proxy alone. Whether the route or the upstream would take a method is not ours to say.
    """
    return status_line(200) + head_lines(decision) + _ALLOW + b"Content-Length: 0\r\n"


def refusal_answer(decision: Decision, title: str) -> tuple[bytes, bytes]:
    """Head (up to and without Date, Connection and the empty line) and body of a 403 that says why.

    With `diagnostics` a preflight is refused with 200 and the fields that passed: a browser looks at the
    status before methods and headers, and would name nothing but the 403 (Fetch,
    #cors-preflight-fetch).
    """
    is_diagnosis = decision.kind is Kind.PREFLIGHT and decision.fields
    status = 200 if is_diagnosis else 403
    problem = {"title": title, "status": status, "reason": decision.reason.value, "detail": decision.detail}
    return _problem(status, problem, head_lines(decision))


def fault_answer(fault: Fault, decision: Decision | None) -> tuple[bytes, bytes]:
    """Head (up to and without Date, Connection and the empty line) and body for a fault.

    decision: of the route, or of the first policy that allows the origin; its fields go out too, with
    Proxy-Status and Retry-After exposed where they stand, or a script sees no more than "network error"
    (Fetch, #cors-check looks at every status).
    """
    own: list[tuple[bytes, bytes]] = []
    if fault.error:
        # Without `details`: it would tell a client more of the inside than the problem does.
        own.append((b"Proxy-Status", b"corsproxy; error=" + fault.error.encode("ascii")))
    if fault.retry_after:
        own.append((b"Retry-After", b"%d" % fault.retry_after))
    lines = b"" if decision is None else head_lines(decision, exposing=tuple(name for name, _ in own))
    lines += b"".join(b"%b: %b\r\n" % field for field in own)
    if fault.status == 405:
        lines += _ALLOW
    problem: dict[str, object] = {"title": fault.says, "status": fault.status, "reason": fault.code}
    if fault.side == Side.CLIENT and fault.detail:  # what is known about the other side stays in the log
        problem["detail"] = fault.detail
    return _problem(fault.status, problem, lines)


def _problem(status: int, problem: dict[str, object], lines: bytes) -> tuple[bytes, bytes]:
    body = json.dumps(problem).encode("ascii") + b"\n"
    head = (
        status_line(status)
        + lines
        + b"Content-Type: application/problem+json\r\nContent-Length: %d\r\nCache-Control: no-store\r\n"
        % len(body)
    )
    return head, body
