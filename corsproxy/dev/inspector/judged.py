"""One exchange, judged: what the browser makes of what really went out, and what the configuration says now.

Here:  from what is kept of an exchange back to the call that a script made; the checks of Fetch on the fields
       that were sent; the same call by the table that serves now.
Never: what the proxy meant to send; sockets, files.
"""

from collections.abc import Sequence

from corsproxy.config.table import Table
from corsproxy.cors.browser import Call, Step, check_preflight, check_response, passes, set_by_script
from corsproxy.cors.consoles import console_messages
from corsproxy.cors.decide import Kind, Reason
from corsproxy.cors.fields import (
    FORBIDDEN_RESPONSE_HEADERS,
    SAFELISTED_RESPONSE_HEADERS,
    is_cors_field,
    parse_names,
)
from corsproxy.dev.inspector.entry import Json
from corsproxy.dev.inspector.redact import HIDDEN, Pairs
from corsproxy.dev.journal import DULL_RESPONSE_HEADERS
from corsproxy.dev.leaving import REDIRECTS
from corsproxy.proxy.explain import Question
from corsproxy.proxy.explained import authority_of, steps_json

__all__ = ["FAILED", "call_of", "judge_sent", "question_of"]

SWITCHING = 101
# What no script gets anything of.
FAILED = frozenset({"not-sent", "unreadable", "leaves", "socket-refused", "socket-failed"})

_SAYS = {
    "next": "The preflight passes: the browser sends the call next.",
    "not-sent": "The browser does not send the call. The script learns only of a network error.",
    "readable": "The script may read the response.",
    "unreadable": "The call was made and answered, but the script learns only of a network error.",
    "follows": "The browser follows the redirect by itself; the script gets what comes at its end.",
    # Fetch, #http-redirect-fetch: with the second origin that is not the page's, the Origin becomes null.
    "leaves": "The browser follows the redirect to {about}, past this proxy, and the call fails there unless "
    "that allows any page: it is asked with Origin: null.",
    "same-origin": "The page has the origin of the proxy itself: no check stands in the way.",
    "socket-open": "The WebSocket opened. No CORS check applies to it: the proxy let the Origin in.",
    "socket-refused": "The WebSocket did not open. No CORS check applies to it: the proxy itself refused the "
    "Origin. Chromium's console: “Error during WebSocket handshake: Unexpected response code: {about}”.",
    "socket-failed": "The WebSocket did not open: the answer was {about}, not 101. CORS has no say in it.",
    "not-cors": "There is no Origin, so CORS has no say.",
}


def question_of(table: Table, row: Json, detail: Json | None, preflight: Json | None) -> Question | None:
    """The call that an exchange was part of; None without an origin, or where its head was not read.

    preflight: the detail of the one that came before the call.
    """
    call = call_of(row, detail, preflight)
    if call is None:
        return None
    host = _bytes(detail["host"]) if detail else b""
    scheme = _bytes(detail["scheme"]) if detail else (b"https" if table.tls else b"http")
    target = _bytes(row["path"])
    return Question(call, target, host or authority_of(table.listen).encode(), scheme)


def call_of(row: Json, detail: Json | None, preflight: Json | None) -> Call | None:
    """What the script asked for, as far as it is seen on this side."""
    if row["origin"] is None or not row["method"]:
        return None
    origin, method = _bytes(row["origin"]), _bytes(row["asks"])
    if row.get("socket"):
        return Call(origin, method)  # no script sets its headers, and credentials make no difference
    fields = _before(detail, "request")
    if row["kind"] == Kind.PREFLIGHT:
        return Call(origin, method, tuple((name, None) for name in _asked(fields)), asks_first=True)
    asked = _asked(_before(preflight, "request")) if preflight else None
    credentials = bool(detail and detail["credentials"])
    headers = tuple((name, value) for name, value in set_by_script(fields, asked))
    return Call(origin, method, headers, credentials, asks_first=preflight is not None)


def judge_sent(row: Json, detail: Json | None, call: Call | None) -> Json:
    """How far a browser gets with the answer that it was sent."""
    if call is None or detail is None:
        return _judgement("not-cors", ())
    status = row["status"] if isinstance(row["status"], int) else 0
    if row.get("socket"):
        return _judge_socket(row, status)
    fields = _after(detail)
    if row["kind"] == Kind.PREFLIGHT:
        steps = check_preflight(call, status, fields)
        return _judgement("next" if passes(steps) else "not-sent", steps, preflight=True)
    if row["reason"] == Reason.SAME_ORIGIN:
        return _judgement("same-origin", ())
    steps = check_response(call, fields)
    if not passes(steps):
        return _judgement("unreadable", steps)
    if target := row.get("leaves"):
        return _judgement("leaves", steps, about=str(target))
    if status in REDIRECTS:
        return _judgement("follows", steps)
    return {**_judgement("readable", steps), "hidden": _hidden(call, fields, _before(detail, "response"))}


def _judge_socket(row: Json, status: int) -> Json:
    """Of a WebSocket browsers ask only whether the answer is 101 (RFC 6455 §4.1)."""
    if status == SWITCHING:
        return _judgement("socket-open", ())
    outcome = "socket-refused" if row["outcome"] == "denied" else "socket-failed"
    return _judgement(outcome, (), about=str(status or "none"))


def _judgement(outcome: str, steps: Sequence[Step], *, preflight: bool = False, about: str = "") -> Json:
    failing = next((step for step in steps if step.failure is not None), None)
    messages = () if failing is None else console_messages(failing, preflight=preflight)
    return {
        "outcome": outcome,
        "says": _SAYS[outcome].replace("{about}", about),
        "steps": list(steps_json("preflight" if preflight else "actual", steps)),
        "messages": [{"browser": m.browser, "kind": m.kind, "says": m.says} for m in messages],
        "hidden": [],
    }


def _hidden(
    call: Call, fields: Sequence[tuple[bytes, bytes]], sent: Sequence[tuple[bytes, bytes]]
) -> list[str]:
    """The fields of a response that its script does not see (Fetch, #cors-exposed-header-name).

    sent: by the upstream; what the proxy adds of its own is no script's business.
    """
    came = {name.lower() for name, _ in sent}
    listed = [value for name, value in fields if name.lower() == b"access-control-expose-headers"]
    exposed = {name.lower() for name in parse_names(b", ".join(listed)) or ()}
    if b"*" in exposed and not call.credentials:
        return []
    seen = SAFELISTED_RESPONSE_HEADERS | exposed
    # Of those that no list can expose, of CORS itself and of what no script wants, nobody needs to be told.
    dull = FORBIDDEN_RESPONSE_HEADERS | DULL_RESPONSE_HEADERS
    return [
        name.decode("latin-1")
        for name, _ in fields
        if (lower := name.lower()) in came and lower not in seen | dull and not is_cors_field(lower)
    ]


def _asked(fields: Sequence[tuple[bytes, bytes]]) -> tuple[bytes, ...]:
    named = [value for name, value in fields if name.lower() == b"access-control-request-headers"]
    return parse_names(b",".join(named)) or ()


def _before(detail: Json | None, side: str) -> list[tuple[bytes, bytes]]:
    part = detail[side] if detail else None
    return _raw(part["before"]) if isinstance(part, dict) else []


def _after(detail: Json) -> list[tuple[bytes, bytes]]:
    part = detail["response"]
    return _raw(part["after"]) if isinstance(part, dict) else []


def _raw(pairs: Pairs | None) -> list[tuple[bytes, bytes]]:
    """Fields as bytes again. What was hidden stays so: nothing here looks into secrets."""
    return [(_bytes(name), _bytes(value)) for name, value in pairs or ()]


def _bytes(text: object) -> bytes:
    return str(text).replace(HIDDEN, "...").encode("latin-1", "replace")
