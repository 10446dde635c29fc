"""An explanation for people: short, aligned, top to bottom as a browser goes.

Here:  the lines of one explanation, and the one line of an entry of a HAR.
Never: finding anything out, JSON.
"""

from collections.abc import Iterator, Sequence

from corsproxy.config.problems import path_text
from corsproxy.config.table import Route
from corsproxy.config.words import printable
from corsproxy.cors.browser import Step
from corsproxy.cors.explain import Outcome
from corsproxy.cors.fields import shown
from corsproxy.proxy.explain import Explanation, Leg
from corsproxy.proxy.explained import change_text, place_text

__all__ = ["as_line", "as_text"]

_LABEL = 10  # columns before the text of a line
_MOST_ROUTES = 8

_OUTCOMES = {
    Outcome.READABLE: "the script can read the response",
    Outcome.NOT_SENT: "the script gets a network error; the call is never sent",
    Outcome.UNREADABLE: "the script gets a network error, although the upstream was asked",
    Outcome.UPSTREAM_DECIDES: "the upstream's own CORS fields decide: this proxy passes them through",
}


def as_text(found: Explanation) -> str:
    """Everything there is to say about one call; ends with a line end."""
    return "".join(f"{printable(line).rstrip()}\n" for line in _lines(found))


def as_line(found: Explanation) -> str:
    """The call and its verdict, in one line."""
    call = found.question.call
    place = f" ({place_text(found.file, found.rule.line)})" if found.rule else ""
    return printable(
        f"{_mark(found)} {shown(call.sent_method)} {found.question.target.decode('latin-1')} "
        f"from {shown(call.origin)}: {_reason(found)}{place}"
    )


def _lines(found: Explanation) -> Iterator[str]:
    yield from _head(found)
    yield ""
    yield from _route(found)
    yield ""
    yield from _preflight(found)
    yield from _actual(found)
    yield ""
    yield from _labelled("browser", [_outcome(found)])
    for message in found.verdict.messages:
        yield from _labelled(message.browser, [f"{message.kind}: {message.says}"])
    yield from _remedy(found)


def _head(found: Explanation) -> Iterator[str]:
    call = found.question.call
    reason = _reason(found)
    verdict = "allowed" if found.allowed else "not allowed"
    yield f"{_mark(found)} {verdict}{'' if reason == verdict else f': {reason}'}"
    mode = " with credentials" if call.credentials else ""
    target = found.question.target.decode("latin-1")
    yield f"  {shown(call.sent_method)} {target} from {shown(call.origin)}{mode}"


def _mark(found: Explanation) -> str:
    return "✓" if found.allowed else "✗"


def _reason(found: Explanation) -> str:
    # That it is allowed says the origin already.
    is_plain = not found.detail or (found.allowed and found.detail == shown(found.question.call.origin))
    return found.reason if is_plain else f"{found.reason}: {found.detail}"


def _labelled(label: str, lines: Sequence[str]) -> Iterator[str]:
    for at, line in enumerate(lines):
        yield f"{'' if at else label:<{_LABEL}} {line}"


def _route(found: Explanation) -> Iterator[str]:
    route, policy = found.route, found.actual.policy
    if route is not None:
        yield from _labelled("route", [f"{route.name}  {place_text(found.file, route.line)}"])
        spec = policy.spec if policy else None
        name = f"{spec.name}  {place_text(found.file, spec.line)}" if spec else "none: cors is off"
        yield from _labelled("policy", [name])
    elif (fault := found.actual.fault) is not None:
        yield from _labelled("route", [f"none: {fault.says}"])
    if rule := found.rule:
        text = f"{rule.text}  " if rule.text else ""
        place = place_text(found.file, rule.line)
        yield from _labelled("rule", [f"{text}{path_text(rule.where)}  {place}"])
    yield from _labelled("passed by", _passed_over(found))


def _passed_over(found: Explanation) -> list[str]:
    lines = [f"{route.name}: {why}" for route, why in found.passed_over[:_MOST_ROUTES]]
    more = len(found.passed_over) - len(lines)
    return [*lines, f"and {more} more"] if more else lines


def _preflight(found: Explanation) -> Iterator[str]:
    leg = found.preflight
    if leg is None:
        why = (
            "the page's own origin is asked" if found.question.is_same_origin else "every part is safelisted"
        )
        yield from _labelled("preflight", [f"not needed: {why}"])
        return
    yield from _labelled("preflight", [f"needed: {', '.join(found.needs_preflight)}"])
    if leg.route is not found.actual.route and isinstance(leg.route, Route):
        yield from _labelled(
            "", [f"goes to route {leg.route.name}: it cannot carry the headers that routes ask for"]
        )
    yield from _leg(leg, found.verdict.preflight)


def _actual(found: Explanation) -> Iterator[str]:
    is_sent = found.verdict.outcome is not Outcome.NOT_SENT
    answer = "this answer:" if found.actual.answer.status is not None else "the upstream's response, with"
    yield from _labelled("call", [f"{'gets' if is_sent else 'not sent; it would get'} {answer}"])
    yield from _leg(found.actual, found.verdict.actual if is_sent else ())


def _leg(leg: Leg, steps: Sequence[Step]) -> Iterator[str]:
    answer = leg.answer
    lines = [] if answer.status is None else [f"{answer.status} {_reason_of(leg)}".rstrip()]
    lines += [f"{name.decode('latin-1')}: {value.decode('latin-1')}" for name, value in answer.fields]
    if answer.passes:
        lines.append("the upstream's own CORS fields")
    lines += [_dependent(leg)] if _dependent(leg) else []
    lines += [_step(step) for step in steps]
    yield from _labelled("", [f"  {line}" for line in lines or ["no CORS fields"]])


def _reason_of(leg: Leg) -> str:
    return leg.decision.reason.value if leg.fault is None else leg.fault.code


def _dependent(leg: Leg) -> str:
    """Which names are added to those exposed once the upstream has answered."""
    if leg.decision.expose_present:
        return "and in Access-Control-Expose-Headers the names on the response"
    return "and the names that the upstream exposes" if leg.decision.merge_expose else ""


def _step(step: Step) -> str:
    mark = "✓" if step.failure is None else "✗"
    return f"{mark} {step.check}: {step.seen}  (Fetch, {step.section})"


def _outcome(found: Explanation) -> str:
    leg = found.leg
    if found.verdict.outcome is Outcome.READABLE and leg.answer.status is not None:
        return f"the script can read the {leg.answer.status}"
    if found.verdict.outcome is Outcome.UNREADABLE and found.actual.answer.status is not None:
        return "the script gets a network error; the upstream was not asked"
    return _OUTCOMES[found.verdict.outcome]


def _remedy(found: Explanation) -> Iterator[str]:
    remedy = found.remedy
    changes = [change_text(change, found.file) for change in remedy.changes]
    if not (changes or remedy.warning or remedy.advice):
        return
    yield ""
    yield from _labelled("to allow", changes)
    yield from _labelled("careful" if changes else "unsafe", [remedy.warning] if remedy.warning else [])
    yield from _labelled("instead", [remedy.advice] if remedy.advice else [])
