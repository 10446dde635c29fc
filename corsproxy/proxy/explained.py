"""An explanation as data: JSON for programs, commands that reproduce it, the change of the file in words.

Here:  the shape that `explain --json`, the admin port and the inspector share.
Never: finding anything out (`explain`), laying text out for people.
"""

import re
import shlex
from collections.abc import Iterator, Sequence

from corsproxy.config.problems import path_text
from corsproxy.config.table import Address, Route
from corsproxy.cors.browser import Lines, Step, unsafe_names
from corsproxy.cors.fields import shown
from corsproxy.cors.remedy import Change
from corsproxy.proxy.explain import Explanation, Leg, Question

__all__ = [
    "Json",
    "as_json",
    "authority_of",
    "change_text",
    "curl_commands",
    "place_text",
    "remedy_text",
    "steps_json",
    "yaml_value",
]

Json = dict[str, object]

# Words that YAML reads as something else than text, and the look of text that needs no quotes in [ ].
_NO_TEXT = frozenset({"null", "true", "false", "yes", "no", "on", "off", "~"})
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/-+~")


def as_json(found: Explanation) -> Json:
    """The object that `explain --json` prints.

    route, policy: of the call itself. kind, reason, detail, rule, status, response_headers: of the message
    that settled it, which is the preflight when that failed.
    """
    leg = found.leg
    return {
        "route": found.route.name if found.route else None,
        "policy": found.actual.policy.name if found.actual.policy else None,
        "kind": leg.decision.kind.value,
        "allowed": found.allowed,
        "reason": found.reason,
        "detail": found.detail,
        "rule": _rule(found),
        "fault": leg.fault.code if leg.fault else None,
        "status": leg.answer.status,
        "response_headers": _pairs(leg.answer.fields),
        "browser": _browser(found),
        "remedy": remedy_text(found),
        "warning": found.remedy.warning,
        "changes": [_change(change) for change in found.remedy.changes],
        "steps": [
            *steps_json("preflight", found.verdict.preflight),
            *steps_json("actual", found.verdict.actual),
        ],
        "needs_preflight": list(found.needs_preflight),
        "preflight": _leg(found.preflight) if found.preflight else None,
        "actual": _leg(found.actual),
        "other_routes": [
            {"route": route.name, "line": route.line or None, "why": why} for route, why in found.passed_over
        ],
    }


def _route_name(leg: Leg) -> str | None:
    return leg.route.name if isinstance(leg.route, Route) else None


def _rule(found: Explanation) -> Json:
    rule = found.rule
    if rule is None:
        return {"file": found.file, "line": None, "where": "", "text": ""}
    where = path_text(rule.where)
    return {"file": found.file, "line": rule.line or None, "where": where, "text": rule.text}


def _pairs(fields: Lines) -> list[list[str]]:
    return [[name.decode("latin-1"), value.decode("latin-1")] for name, value in fields]


def _browser(found: Explanation) -> Json:
    messages = found.verdict.messages
    return {
        "outcome": found.verdict.outcome.value,
        "console": "\n".join(f"{message.browser}: {message.kind}: {message.says}" for message in messages),
        "messages": [
            {"browser": message.browser, "kind": message.kind, "says": message.says} for message in messages
        ],
    }


def steps_json(request: str, steps: Sequence[Step]) -> Iterator[Json]:
    """The steps of a check. request: "preflight" or "actual"."""
    for step in steps:
        yield {
            "request": request,
            "check": step.check,
            "seen": step.seen,
            "passed": step.failure is None,
            "section": step.section,
        }


def _leg(leg: Leg) -> Json:
    return {
        "route": _route_name(leg),
        "policy": leg.policy.name if leg.policy else None,
        "kind": leg.decision.kind.value,
        "allowed": leg.decision.allowed,
        "reason": leg.decision.reason.value,
        "detail": leg.decision.detail,
        "status": leg.answer.status,
        "response_headers": _pairs(leg.answer.fields),
    }


def _change(change: Change) -> Json:
    value = list(change.value) if isinstance(change.value, tuple) else change.value
    action = "add" if change.adds else "set"
    return {"where": path_text(change.where), "line": change.line or None, action: value}


# In words


def remedy_text(found: Explanation) -> str:
    """What to do, in one line; "" when nothing needs to be done, or nothing can be said."""
    changes = "; ".join(change_text(change, found.file) for change in found.remedy.changes)
    return "; ".join(part for part in (changes, found.remedy.advice) if part)


def change_text(change: Change, file: str) -> str:
    """One change: where, and what is to stand there."""
    where, value = path_text(change.where), yaml_value(change.value)
    action = f"add {value} to {where}" if change.adds else f"set {where} to {value}"
    return f"{action} ({place_text(file, change.line)})"


def place_text(file: str, line: int) -> str:
    """`corsproxy.yaml:12`; the file alone when the line is not known."""
    return f"{file}:{line}" if line else file


def yaml_value(value: str | bool | tuple[str, ...]) -> str:
    """A value as YAML writes it in one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return f"[{', '.join(map(yaml_value, value))}]"
    is_plain = value and set(value) <= _PLAIN and value.lower() not in _NO_TEXT and value[0].isalpha()
    return value if is_plain else "'" + value.replace("'", "''") + "'"


# Commands

# What stands in for a value that was not given: CORS looks at names alone.
_EXAMPLE_VALUES = {b"content-type": b"application/json", b"authorization": b"Bearer example"}


_GLOB = frozenset("[]{}")
# A segment that starts with a dot, also where it is no dot segment; newer versions of curl decode "%2e".
_DOT_SEGMENT = re.compile(r"/(?:\.|%2e)", re.IGNORECASE)


def curl_commands(found: Explanation, listen: Address) -> list[str]:
    """The requests of this call as commands for a shell: the preflight, if there is one, and the call."""
    call = found.question.call
    actual = [(b"Origin", call.origin), *_example_headers(found)]
    method = [] if call.sent_method == b"GET" else ["-X", shown(call.sent_method)]
    if call.sent_method == b"HEAD":
        method = ["--head"]  # with -X HEAD curl would wait for a body
    commands = [_curl(method, actual, found.question, listen)]
    if found.preflight is None:
        return commands
    asks = [(b"Origin", call.origin), (b"Access-Control-Request-Method", call.sent_method)]
    if names := unsafe_names(call):
        asks.append((b"Access-Control-Request-Headers", b",".join(names)))
    return [_curl(["-X", "OPTIONS"], asks, found.question, listen), *commands]


def _example_headers(found: Explanation) -> list[tuple[bytes, bytes]]:
    return [
        (name, value if value is not None else _EXAMPLE_VALUES.get(name.lower(), b"example"))
        for name, value in found.question.call.headers
    ]


def _curl(
    options: Sequence[str], fields: Sequence[tuple[bytes, bytes]], question: Question, listen: Address
) -> str:
    host, scheme = question.host.decode("latin-1"), question.scheme.decode("ascii")
    target = question.target.decode("latin-1")
    words = ["curl", "-i", *_as_it_stands(target), *options]
    if listen.path:
        words += ["--unix-socket", listen.path]
    reached = host if listen.path else authority_of(listen)
    words.append(f"{scheme}://{reached}{target}")
    if host != reached:
        words += ["-H", f"Host: {host}"]
    for name, value in fields:
        # "Name:" would take the field out; "Name;" sends it empty (curl(1), --header).
        words += [
            "-H",
            f"{name.decode('latin-1')}: {value.decode('latin-1')}" if value else f"{shown(name)};",
        ]
    return shlex.join(words)


def _as_it_stands(target: str) -> list[str]:
    """What keeps curl from asking for another target: it expands braces and brackets, and resolves dot
    segments.
    """
    globs = not _GLOB.isdisjoint(target)
    return [*(["-g"] if globs else []), *(["--path-as-is"] if _DOT_SEGMENT.search(target) else [])]


def authority_of(listen: Address) -> str:
    """Host and port under which a client on this machine reaches a listener."""
    if listen.path:
        return "localhost"
    everywhere = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - compared, not bound
    host = everywhere.get(listen.host, listen.host)
    return str(Address(host, listen.port))
