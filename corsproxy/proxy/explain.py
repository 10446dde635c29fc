"""One call of a script, explained: what this proxy would answer, and what the browser makes of it.

Here:  the very functions that serve (`Router.match`, the decisions, the answers), asked one after the other.
Never: sockets, text for people; deciding anything by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from corsproxy.config.table import Route, Table
from corsproxy.cors.browser import Call, unsafe_names, why_preflight
from corsproxy.cors.decide import (
    NO_POLICY,
    Decision,
    Preflight,
    Reason,
    decide_actual,
    decide_no_route,
    decide_preflight,
)
from corsproxy.cors.explain import CREDENTIALS_NOT_ALLOWED, Answer, Outcome, Verdict, judge
from corsproxy.cors.policy import CorsPolicy
from corsproxy.cors.remedy import Key, Remedy, find_remedy, place_of
from corsproxy.http.faults import Fault
from corsproxy.http.paths import split_target
from corsproxy.http.redirects import without_default_port
from corsproxy.proxy.answers import fault_answer, head_lines, preflight_answer, refusal_answer
from corsproxy.proxy.routing import Router, host_name
from corsproxy.proxy.why_not import why_not

__all__ = ["Explanation", "Leg", "Question", "Rule", "explain"]

# Of the body that an answer of ours carries, not of CORS.
_BODY_FIELDS = frozenset({b"content-type", b"content-length", b"cache-control"})


@dataclass(frozen=True, slots=True)
class Question:
    """A call, and where it goes."""

    call: Call
    target: bytes  # path with query
    host: bytes  # as in the Host field
    scheme: bytes = b"http"  # that the client speaks with this proxy

    @property
    def path(self) -> bytes:
        """The raw path without query."""
        return split_target(self.target)[0]

    @property
    def is_same_origin(self) -> bool:
        """Does the page come through this proxy itself?"""
        own = without_default_port(self.scheme, self.host.lower())
        return self.call.origin == self.scheme + b"://" + own


@dataclass(frozen=True, slots=True)
class Leg:
    """One message to the proxy, and what it answers."""

    route: Route | Fault
    decision: Decision
    answer: Answer  # its fields: those of the policy, and Vary; as they stand on the wire

    @property
    def fault(self) -> Fault | None:
        """Why there is no route."""
        return self.route if isinstance(self.route, Fault) else None

    @property
    def policy(self) -> CorsPolicy | None:
        """That of the route; None without route and with `cors: off`."""
        return None if isinstance(self.route, Fault) else self.route.policy


@dataclass(frozen=True, slots=True)
class Rule:
    """What settled it: an entry, or the key that lacks one."""

    line: int  # 1-based; 0 = not from a file
    where: tuple[str | int, ...] = ()  # path in the document
    text: str = ""  # the entry; "" for a key


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything there is to say about one call."""

    file: str
    question: Question
    needs_preflight: tuple[str, ...]  # why; nothing when none is needed
    preflight: Leg | None
    actual: Leg
    verdict: Verdict
    passed_over: tuple[tuple[Route, str], ...]  # the other routes, and why they were not chosen
    remedy: Remedy

    @property
    def leg(self) -> Leg:
        """The message that settled it: the preflight when it failed, else the call itself."""
        if self.preflight is None:
            return self.actual
        is_settled = self.verdict.outcome is Outcome.NOT_SENT or not self.preflight.decision.allowed
        return self.preflight if is_settled else self.actual

    @property
    def route(self) -> Route | None:
        """The route of the call itself; its preflight may go to another."""
        return self.actual.route if isinstance(self.actual.route, Route) else None

    @property
    def allowed(self) -> bool:
        """May the script make this call and read the response?

        Of what passes through, only the policy's word is known.
        """
        legs = [leg for leg in (self.preflight, self.actual) if leg is not None]
        blocked = self.verdict.outcome in {Outcome.NOT_SENT, Outcome.UNREADABLE}
        return not blocked and all(leg.decision.allowed for leg in legs)

    @property
    def reason(self) -> str:
        """The word for it: the log's, but for credentials, which only a browser sees."""
        decision = self.leg.decision
        if decision.allowed and not self.allowed:
            return CREDENTIALS_NOT_ALLOWED
        return decision.reason.value

    @property
    def detail(self) -> str:
        """The value that settled it."""
        return self.leg.decision.detail

    @property
    def rule(self) -> Rule | None:
        """The line of the file that settled it; None when it was none."""
        return _rule_of(self)


def explain(table: Table, question: Question, router: Router | None = None) -> Explanation:
    """What happens to a call.

    router: one made from this table, where it is at hand.
    """
    router = router or Router(table.routes)
    call = question.call
    same_origin = question.is_same_origin
    reasons = () if same_origin else why_preflight(call)
    preflight = _preflight_leg(table, router, question) if reasons else None
    actual = _actual_leg(table, router, question)
    verdict = judge(call, preflight.answer if preflight else None, actual.answer, same_origin=same_origin)
    found = Explanation(
        table.file,
        question,
        reasons,
        preflight,
        actual,
        verdict,
        _passed_over(table, actual, question),
        Remedy(),
    )
    return found if found.allowed else replace(found, remedy=_remedy(found))


# The two messages


def _preflight_leg(table: Table, router: Router, question: Question) -> Leg:
    call = question.call
    found = router.match(call.sent_method, question.host, question.path, None)
    if isinstance(found, Fault):
        return _fault_leg(found, decide_no_route(table.policies, call.origin, preflight=True))
    if found.policy is None:
        return Leg(found, NO_POLICY, Answer(None, (), passes=True))
    names = unsafe_names(call)
    ask = Preflight(call.origin, call.sent_method, b",".join(names) if names else None)
    decision = decide_preflight(found.policy, ask)
    if decision.passes:
        return Leg(found, decision, Answer(None, (), passes=True))
    if decision.allowed:
        return Leg(found, decision, _answer(preflight_answer(decision, found.policy.preflight_status)))
    return Leg(found, decision, _answer(refusal_answer(decision, "")[0]))


def _actual_leg(table: Table, router: Router, question: Question) -> Leg:
    call = question.call
    fields = _request_fields(question)
    found = router.match(call.sent_method, question.host, question.path, fields)
    origin = dict(fields).get(b"Origin")
    if isinstance(found, Fault):
        return _fault_leg(found, decide_no_route(table.policies, origin))
    decision = _decide(found.policy, origin, same_origin=question.is_same_origin)
    if decision.passes:
        return Leg(found, decision, Answer(None, (), passes=True))
    if decision.blocks:
        return Leg(found, decision, _answer(refusal_answer(decision, "")[0]))
    return Leg(found, decision, Answer(None, _fields(head_lines(decision))))


def _request_fields(question: Question) -> list[tuple[bytes, bytes]]:
    call = question.call
    set_by_script = [(name, value or b"") for name, value in call.headers]
    # A browser leaves Origin out of a GET or HEAD to the page's own origin (Fetch, #origin-header).
    is_bare = question.is_same_origin and call.sent_method in {b"GET", b"HEAD"}
    return [(b"Host", question.host), *([] if is_bare else [(b"Origin", call.origin)]), *set_by_script]


def _decide(policy: CorsPolicy | None, origin: bytes | None, *, same_origin: bool) -> Decision:
    """As the handler does it: what comes from the proxy's own origin needs no permission."""
    if policy is None:
        return NO_POLICY
    decision = decide_actual(policy, origin)
    return (
        decide_actual(policy, origin, same_origin=True) if same_origin and not decision.allowed else decision
    )


def _fault_leg(fault: Fault, decision: Decision) -> Leg:
    return Leg(fault, decision, _answer(fault_answer(fault, decision)[0]))


def _answer(head: bytes) -> Answer:
    """An answer's status and fields, without those of its body."""
    status, _, lines = head.partition(b"\r\n")
    return Answer(int(status[9:12]), _fields(lines))


def _fields(lines: bytes) -> tuple[tuple[bytes, bytes], ...]:
    split = (line.partition(b": ") for line in lines.split(b"\r\n") if line)
    return tuple((name, value) for name, _, value in split if name.lower() not in _BODY_FIELDS)


# Why


def _passed_over(table: Table, actual: Leg, question: Question) -> tuple[tuple[Route, str], ...]:
    """The routes that were not chosen; behind the chosen one they were not looked at."""
    fields = _request_fields(question)
    because: list[tuple[Route, str]] = []
    is_settled = False
    for route in table.routes:
        if route is actual.route:
            is_settled = True
            continue
        why = why_not(route.match, question.call.sent_method, host_name(question.host), question.path, fields)
        if why or is_settled:
            because.append((route, why or "an earlier route takes it"))
        else:
            because.append((route, "the path could be read as another route's"))
    return tuple(because)


def _remedy(found: Explanation) -> Remedy:
    leg = found.leg
    if leg.fault is not None:
        return Remedy(advice=_ROUTE_ADVICE.get(leg.fault.code, leg.fault.says))
    if leg.policy is None:
        return Remedy()
    # A preflight may have gone to another route: then its policy is not the one to change here.
    asks = found.preflight is not None and found.preflight.policy is leg.policy
    return find_remedy(leg.policy, found.question.call, preflight=asks)


_ROUTE_ADVICE = {
    "no-route": "ask for another path or host, or add a route that takes this one",
    "host-unknown": "ask for a host that a route names, or add this one to the `hosts` of a route",
    "ambiguous-path": "ask for the path without dot segments, and without doubled or encoded slashes",
}

_KEY_OF: Mapping[str, Key] = {
    Reason.ORIGIN_NOT_ALLOWED: "allow_origins",
    Reason.NULL_NOT_ALLOWED: "allow_origins",
    Reason.METHOD_NOT_ALLOWED: "allow_methods",
    Reason.HEADER_NOT_ALLOWED: "allow_headers",
    CREDENTIALS_NOT_ALLOWED: "allow_credentials",
}


def _rule_of(found: Explanation) -> Rule | None:
    leg = found.leg
    if isinstance(leg.route, Fault):
        return None
    if leg.policy is None:
        return Rule(leg.route.line, ("routes", leg.route.index, "cors"))
    word = leg.decision.detail if found.reason == Reason.REPORT_ONLY else found.reason
    if word in _KEY_OF:
        where, line = place_of(leg.policy.spec, _KEY_OF[word])
        return Rule(line, where)
    rule = leg.decision.rule
    if rule is not None:
        return Rule(rule.line, rule.where, rule.text)
    return Rule(leg.policy.spec.line, leg.policy.spec.where)
