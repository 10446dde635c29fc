"""What is kept of one exchange: a row for the list, and the fields before and after for a closer look.

Here:  from the record to plain, redacted values; both parts as JSON, so that their size is known and nothing
       in them can change.
Never: judging (judged), bodies, secrets (redact), references to tables, connections or requests.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from corsproxy.config.problems import path_text
from corsproxy.cors.decide import Decision, Kind, Reason
from corsproxy.cors.fields import shown
from corsproxy.cors.policy import CorsPolicy
from corsproxy.cors.remedy import Key, place_of
from corsproxy.dev.inspector.notes import Note
from corsproxy.dev.inspector.redact import lines_of, shown_fields, shown_path, shown_query
from corsproxy.http.faults import Fault
from corsproxy.proxy.capture import Capture
from corsproxy.proxy.exchange import Exchange, outcome_of

__all__ = ["Entry", "Json", "detail_of", "is_blocked", "is_socket", "make_entry", "row_of"]

Json = dict[str, object]

# What a refusal is about in the file; other decisions name their rule.
_KEY_OF: Mapping[Reason, Key] = {
    Reason.ORIGIN_NOT_ALLOWED: "allow_origins",
    Reason.NULL_NOT_ALLOWED: "allow_origins",
    Reason.METHOD_NOT_ALLOWED: "allow_methods",
    Reason.HEADER_NOT_ALLOWED: "allow_headers",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One exchange, as JSON texts."""

    id: int  # counts up from 1
    row: str
    detail: str  # the fields; "" where none were captured

    @property
    def size(self) -> int:
        """Bytes, near enough: JSON texts are ASCII here, and Python keeps those in a byte a character."""
        return len(self.row) + len(self.detail)


def make_entry(number: int, row: Json, detail: Json | None) -> Entry:
    """The entry of these values."""
    return Entry(number, _dump(row), "" if detail is None else _dump(detail))


def row_of(number: int, exchange: Exchange, ended: float, now: float) -> Json:
    """What the list shows. ended: on the monotonic clock; now: the same moment in unix seconds."""
    decision, fault, route = exchange.decision, exchange.fault, exchange.route
    method = exchange.requested_method if exchange.requested_method is not None else exchange.method
    return {
        "id": number,
        "at": round(now, 3),
        "method": shown(exchange.method),
        "asks": shown(method),  # of a preflight: the method that it asks for
        "path": shown_path(exchange.path),
        "origin": None if exchange.origin is None else shown(exchange.origin),
        "kind": decision.kind.value if decision else Kind.NOT_CORS.value,
        "outcome": outcome_of(decision),
        "reason": decision.reason.value if decision else "",
        "about": decision.detail if decision and not decision.allowed else "",
        "route": route.name if route else None,
        "status": exchange.status,
        "ms": round((ended - exchange.started) * 1000, 1),
        "fault": fault.code if fault else "",
        # Where nothing else is kept, this is all that is known.
        **({"broke": _in_words(fault)} if fault and exchange.capture is None else {}),
    }


def _in_words(fault: Fault) -> str:
    says = fault.says.rstrip(".")
    return f"{says}: {fault.detail}" if fault.detail else says


def is_socket(exchange: Exchange) -> bool:
    """True for a request that would become a WebSocket: no browser makes a CORS check of it."""
    if exchange.capture is None:
        return False
    fields = exchange.capture.request.raw_fields
    return any(name.lower() == b"upgrade" and value.strip().lower() == b"websocket" for name, value in fields)


def is_blocked(exchange: Exchange) -> bool:
    """True for a call that the policy allows and the browser keeps from its script all the same: it came with
    a cookie, and the policy has no `allow_credentials`.
    """
    decision, route = exchange.decision, exchange.route
    if decision is None or route is None or route.policy is None or exchange.capture is None:
        return False
    is_allowed = (
        decision.kind is Kind.ACTUAL and decision.reason is Reason.ALLOWED and not is_socket(exchange)
    )
    return is_allowed and not route.policy.credentials and _has_cookie(exchange.capture)


def detail_of(exchange: Exchange, notes: Iterable[Note] = ()) -> Json | None:
    """The fields on both wires and what else a closer look needs; None where they were not captured."""
    capture = exchange.capture
    if capture is None:
        return None
    request = capture.request
    fault = exchange.fault
    return {
        "host": shown(request.host),
        "scheme": shown(capture.scheme),
        "query": shown_query(request.query),
        "peer": exchange.peer,
        "request_id": shown(exchange.request_id),
        "policy": _policy_name(exchange),
        "rule": _rule(exchange),
        "fault": {"code": fault.code, "side": fault.side.value, "says": fault.says, "detail": fault.detail}
        if fault
        else None,
        "upstream": {
            "endpoint": exchange.endpoint,
            "address": exchange.address,
            "ms": round((exchange.responded - exchange.started) * 1000, 1) if exchange.responded else None,
        }
        if exchange.endpoint
        else None,
        "bytes": {"received": exchange.received_bytes, "sent": exchange.sent_bytes},
        "request": _request(capture, was_sent=bool(exchange.endpoint)),
        "response": _response(capture),
        "credentials": _has_cookie(capture),
        "notes": [list(note) for note in notes],
    }


def _request(capture: Capture, *, was_sent: bool) -> Json:
    request = capture.request
    first, sent = lines_of(capture.sent if was_sent else b"")  # ready before anybody can be reached
    return {
        "line": f"{shown(request.method)} {shown_path(request.path)}{shown_query(request.query)}",
        "before": shown_fields(request.raw_fields),
        "sent_line": _redacted_start(first) if first else "",
        "after": shown_fields(sent) if was_sent else None,
    }


def _redacted_start(line: str) -> str:
    method, _, rest = line.partition(" ")
    target = rest.rpartition(" ")[0]
    path, mark, query = target.partition("?")
    shown_target = shown_path(path.encode("latin-1")) + shown_query((mark + query).encode("latin-1"))
    return f"{method} {shown_target}"


def _response(capture: Capture) -> Json:
    first, answer = lines_of(capture.answer)
    return {
        "line": first,
        "before": None if capture.response is None else shown_fields(capture.response),
        "after": shown_fields(answer) if capture.answer else None,
    }


def _has_cookie(capture: Capture) -> bool:
    """A browser sends cookies only where the call has credentials; without any, nothing is known."""
    return any(name.lower() == b"cookie" for name, _ in capture.request.raw_fields)


def _policy_name(exchange: Exchange) -> str | None:
    policy = exchange.route.policy if exchange.route else None
    return policy.name if policy else None


def _rule(exchange: Exchange) -> Json | None:
    """Where in the file the decision comes from; None without a route."""
    route, decision = exchange.route, exchange.decision
    if route is None or decision is None:
        return None
    if route.policy is None:
        return {"line": route.line, "where": path_text(("routes", route.index, "cors")), "text": ""}
    where, line, text = _settled_by(route.policy, decision)
    return {"line": line, "where": path_text(where), "text": text}


def _settled_by(policy: CorsPolicy, decision: Decision) -> tuple[tuple[str | int, ...], int, str]:
    reason = Reason(decision.detail) if decision.reason is Reason.REPORT_ONLY else decision.reason
    if reason in _KEY_OF:
        where, line = place_of(policy.spec, _KEY_OF[reason])
        return where, line, ""
    if decision.rule is not None:
        return decision.rule.where, decision.rule.line, decision.rule.text
    return policy.spec.where, policy.spec.line, ""


def _dump(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"))
