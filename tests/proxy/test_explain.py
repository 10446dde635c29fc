"""`explain` against the thing itself: a running proxy answers with the very fields it printed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corsproxy.config.table import Address, Match, Route, Table
from corsproxy.cors.browser import Call, unsafe_names
from corsproxy.cors.decide import Reason
from corsproxy.cors.explain import Outcome
from corsproxy.cors.policy import FORBIDDEN_METHODS, PolicySpec
from corsproxy.http.faults import AMBIGUOUS_PATH, HOST_UNKNOWN, NO_ROUTE
from corsproxy.http.methods import FORWARDABLE_METHODS
from corsproxy.proxy.exchange import Exchange
from corsproxy.proxy.explain import Explanation, Leg, Question, explain
from corsproxy.proxy.routing import Router, host_name
from corsproxy.proxy.why_not import why_not
from tests.browser_model import Fetch
from tests.proxy.conftest import APP, Proxy, policy, proxy, route, words
from tests.strategies import fetches, policies
from tests.wire import Message, answers, ask, ok, upstream

HOST = b"api.test:8080"
ORIGIN = APP.encode()
# What belongs to the connection or the body is not explained.
NOT_EXPLAINED = {"date", "connection", "content-type", "content-length", "cache-control"}

OPEN = policy(
    PolicySpec("open", allow_origins=words("*"), allow_headers=words("*"), expose_headers=words("*"))
)
BLOCK = policy(on_denied="block")
DIAGNOSE = policy(diagnostics=True)
REPORT = policy(mode="report_only")
NEIGHBOURS = policy(
    timing_allow_origin=True, cross_origin_resource_policy="cross-origin", preflight_status=200
)
EXPOSE_ANY = policy(expose_headers=words("*"))


def table(*routes: Route) -> Table:
    numbered = tuple(replace(each, index=at) for at, each in enumerate(routes))
    found = tuple(dict.fromkeys(each.policy for each in numbered if each.policy))
    return Table(numbered, found, listen=Address("127.0.0.1", 8080), file="corsproxy.yaml")


def routes(port: int) -> tuple[Route, ...]:
    """One of each kind."""
    return (
        route(port, name="tenant", match=Match(path=b"/web", headers=((b"x-tenant", b"blue"),)), policy=OPEN),
        route(port, name="web", match=Match(path=b"/web")),
        route(
            port, name="open", match=Match(path=b"/open", methods=frozenset({b"GET", b"PUT"})), policy=OPEN
        ),
        route(port, name="block", match=Match(path=b"/block"), policy=BLOCK),
        route(port, name="diagnose", match=Match(path=b"/diagnose"), policy=DIAGNOSE),
        route(port, name="report", match=Match(path=b"/report"), policy=REPORT),
        route(port, name="neighbours", match=Match(path=b"/neighbours"), policy=NEIGHBOURS),
        route(port, name="any", match=Match(path=b"/any"), policy=EXPOSE_ANY),
        route(port, name="off", match=Match(path=b"/off"), policy=None),
    )


def asked(target: bytes, call: Call) -> Question:
    return Question(call, target, HOST)


def explained(target: bytes, call: Call) -> Explanation:
    return explain(table(*routes(9)), asked(target, call))


# What it says

SECRET = Call(ORIGIN, credentials=True)


@dataclass(frozen=True)
class Case:
    says: str
    target: bytes
    call: Call
    allowed: bool
    reason: str
    outcome: Outcome
    route: str | None
    detail: str = ""


CASES = [
    Case("a GET", b"/web", Call(ORIGIN), True, "allowed", Outcome.READABLE, "web", APP),
    Case("with credentials", b"/web?q=1", SECRET, True, "allowed", Outcome.READABLE, "web", APP),
    Case(
        "a method that is not listed",
        b"/web",
        Call(ORIGIN, b"PATCH"),
        False,
        "method-not-allowed",
        Outcome.NOT_SENT,
        "tenant",
        "PATCH",
    ),
    Case(
        "a star and credentials",
        b"/open",
        SECRET,
        False,
        "credentials-not-allowed",
        Outcome.UNREADABLE,
        "open",
        APP,
    ),
    Case(
        "no route",
        b"/nowhere",
        Call(ORIGIN),
        False,
        "no-route",
        Outcome.READABLE,  # the 404, since one policy of the file allows the origin
        None,
    ),
    Case(
        "no route, and a preflight",
        b"/nowhere",
        Call(ORIGIN, b"PUT"),
        False,
        "no-route",
        Outcome.NOT_SENT,
        None,
    ),
    Case(
        "a path that may be another's",
        b"/off/../web",
        Call(ORIGIN),
        False,
        "no-route",
        Outcome.READABLE,
        None,
    ),
    Case("no policy", b"/off", SECRET, True, "no-policy", Outcome.UPSTREAM_DECIDES, "off"),
    Case(
        "report-only says what it would be",
        b"/report",
        Call(b"https://two.example.com"),
        False,
        "report-only",
        Outcome.UPSTREAM_DECIDES,
        "report",
        "origin-not-allowed",
    ),
    Case(
        "report-only, allowed",
        b"/report",
        Call(ORIGIN),
        True,
        "report-only",
        Outcome.UPSTREAM_DECIDES,
        "report",
        "allowed",
    ),
    Case(
        "blocked",
        b"/block",
        Call(b"https://two.example.com"),
        False,
        "origin-not-allowed",
        Outcome.UNREADABLE,
        "block",
        "https://two.example.com",
    ),
    Case(
        "the proxy's own origin",
        b"/block",
        Call(b"http://api.test:8080", b"PUT"),
        True,
        "same-origin",
        Outcome.READABLE,
        "block",
        "http://api.test:8080",
    ),
    Case(
        "a GET from there carries no Origin",
        b"/block",
        Call(b"http://api.test:8080"),
        True,
        "not-cors",
        Outcome.READABLE,
        "block",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_what_it_says(case: Case) -> None:
    found = explained(case.target, case.call)
    name = found.leg.route.name if isinstance(found.leg.route, Route) else None
    assert (found.allowed, found.reason, found.detail) == (case.allowed, case.reason, case.detail)
    assert (found.verdict.outcome, name) == (case.outcome, case.route)


def test_a_preflight_goes_where_its_missing_headers_send_it() -> None:
    blue = Call(ORIGIN, b"GET", ((b"X-Tenant", b"blue"),))
    found = explained(b"/web", blue)
    assert found.preflight is not None
    assert isinstance(found.preflight.route, Route)
    assert isinstance(found.actual.route, Route)
    assert (found.preflight.route.name, found.actual.route.name) == ("tenant", "tenant")
    red = explained(b"/web", Call(ORIGIN, b"GET", ((b"X-Tenant", b"red"),)))
    assert red.preflight is not None
    assert isinstance(red.preflight.route, Route)
    assert isinstance(red.actual.route, Route)
    assert (red.preflight.route.name, red.actual.route.name) == ("tenant", "web")


@pytest.mark.parametrize(
    ("scheme", "host", "is_own"),
    [
        (b"http", b"H.test:80", True),
        (b"http", b"h.test:", True),
        (b"http", b"h.test:443", False),
        (b"https", b"h.test:80", False),
    ],
)
def test_an_origin_has_no_default_port(scheme: bytes, host: bytes, is_own: bool) -> None:
    question = Question(Call(scheme + b"://h.test"), b"/", host, scheme)
    assert question.is_same_origin is is_own


def test_diagnostics_bring_the_browser_to_the_step_that_fails() -> None:
    found = explained(b"/diagnose", Call(ORIGIN, b"PATCH"))
    assert found.verdict.preflight[-1].about == "PATCH"
    assert found.verdict.messages[0].kind == "MethodDisallowedByPreflightResponse"
    assert found.reason == Reason.METHOD_NOT_ALLOWED


# Against the running proxy


def policy_fields(message: Message) -> list[tuple[bytes, bytes]]:
    """What the proxy put on a message, in order."""
    return [
        (name.encode(), value.encode()) for name, value in message.fields if name.lower() not in NOT_EXPLAINED
    ]


def head_of(method: bytes, target: bytes, fields: Sequence[tuple[bytes, bytes]]) -> bytes:
    lines = b"".join(b"%b: %b\r\n" % each for each in [(b"Host", HOST), *fields])
    return b"%b %b HTTP/1.1\r\n%bConnection: close\r\n\r\n" % (method, target, lines)


def asks_of(call: Call) -> list[tuple[bytes, bytes]]:
    """The fields of a preflight as a browser sends it."""
    method = (b"Access-Control-Request-Method", call.sent_method)
    names = unsafe_names(call)
    headers = [(b"Access-Control-Request-Headers", b",".join(names))] if names else []
    return [(b"Origin", call.origin), method, *headers]


def fields_of(question: Question) -> list[tuple[bytes, bytes]]:
    """The fields of the call itself."""
    call = question.call
    is_bare = question.is_same_origin and call.sent_method in {b"GET", b"HEAD"}
    own = [(name, value or b"") for name, value in call.headers]
    return own if is_bare else [(b"Origin", call.origin), *own]


async def agrees(front: Proxy, question: Question) -> None:
    """Send what a browser sends, and hold answers and records against the explanation."""
    found = explain(front.server.table, question)
    call = question.call
    if found.preflight is not None:
        head = head_of(b"OPTIONS", question.target, asks_of(call))
        holds(found.preflight, await ask(front.address, head), front.last)
    if call.sent_method in FORWARDABLE_METHODS - FORBIDDEN_METHODS:
        head = head_of(call.sent_method, question.target, fields_of(question))
        holds(found.actual, await ask(front.address, head), front.last)


def holds(leg: Leg, message: Message, exchange: Exchange) -> None:
    assert policy_fields(message) == list(leg.answer.fields)
    assert message.status == (200 if leg.answer.status is None else leg.answer.status)
    assert exchange.decision is not None
    assert (exchange.decision.reason, exchange.decision.detail) == (leg.decision.reason, leg.decision.detail)
    assert (exchange.fault and exchange.fault.code) == (leg.fault and leg.fault.code)
    assert exchange.route is (leg.route if isinstance(leg.route, Route) else None)


TARGETS = (
    b"/web",
    b"/open/a?b=c",
    b"/block",
    b"/diagnose",
    b"/report",
    b"/neighbours",
    b"/any",
    b"/off",
    b"/no",
)
CALLS = (
    Call(ORIGIN),
    Call(ORIGIN, b"HEAD"),
    Call(ORIGIN, b"POST", ((b"Content-Type", b"text/plain"),)),
    Call(ORIGIN, b"PUT", ((b"Content-Type", b"application/json"),), credentials=True),
    Call(ORIGIN, b"PUT", ((b"X-Tenant", b"blue"), (b"Authorization", b"Bearer x"))),
    Call(ORIGIN, b"PATCH"),
    Call(ORIGIN, headers=((b"X-Id", b"1"),)),
    Call(b"https://two.example.com"),
    Call(b"https://two.example.com", b"DELETE"),
    Call(b"null", b"PUT"),
    Call(b"https://app.example.com/", b"PUT"),
    Call(b"http://api.test:8080", b"POST"),
    Call(b"http://api.test:8080"),
)


async def test_a_running_proxy_answers_what_was_explained() -> None:
    async with upstream(answers(ok(b""))) as legacy, proxy(*routes(legacy.port)) as front:
        for target in (*TARGETS, b"/off/../web", b"/web%2f..%2fopen"):
            for call in CALLS:
                await agrees(front, asked(target, call))


@settings(max_examples=40, deadline=None)
@given(policies(), st.lists(fetches(), min_size=1, max_size=6))
async def test_so_it_does_with_any_policy(spec: PolicySpec, calls: list[Fetch]) -> None:
    async with (
        upstream(answers(ok(b""))) as legacy,
        proxy(route(legacy.port, policy=policy(spec), match=Match(path=b"/a"))) as front,
    ):
        for fetch in calls:
            with_credentials = fetch.credentials == "include"
            call = Call(fetch.origin, fetch.method, tuple(fetch.headers.items()), with_credentials)
            await agrees(front, asked(b"/a", call))
            await agrees(front, asked(b"/b", call))


# Why a route does not take a request

hosts = st.sampled_from([b"a.test", b"b.a.test", b"*.a.test", b"[::1]"])
paths = st.sampled_from([b"/", b"/api", b"/api/v1", b"/apix", b"/api/", b"/%41", b"/A", b"/v1/x"])
methods = st.sampled_from([b"GET", b"PUT", b"POST"])
header_fields = st.tuples(st.sampled_from([b"x-a", b"x-b"]), st.sampled_from([b"1", b"2"]))


@st.composite
def matches(draw: st.DrawFn) -> Match:
    kind = draw(st.sampled_from(["prefix", "exact", "regex"]))
    path = draw(paths.filter(lambda text: text == b"/" or not text.endswith(b"/")))
    return Match(
        path=path if kind == "prefix" else b"/",
        path_exact=path if kind == "exact" else None,
        path_regex=re.compile(rb"/v\d/.*") if kind == "regex" else None,
        hosts=tuple(draw(st.lists(hosts, max_size=2))),
        methods=frozenset(draw(st.lists(methods, max_size=2))),
        headers=tuple(dict(draw(st.lists(header_fields, max_size=2))).items()),
    )


@given(
    st.lists(matches(), min_size=1, max_size=5),
    methods,
    st.sampled_from([b"a.test", b"B.a.test:80", b"c.test", b"[::1]:8080", b"x.b.a.test."]),
    paths,
    st.none() | st.lists(header_fields, max_size=2),
)
def test_the_first_route_without_an_objection_is_the_one_that_serves(
    wanted: list[Match],
    method: bytes,
    host: bytes,
    path: bytes,
    fields: list[tuple[bytes, bytes]] | None,
) -> None:
    listed = table(*(route(9, name=f"route-{at}", match=match) for at, match in enumerate(wanted))).routes
    found = Router(listed).match(method, host, path, fields)
    fits = (each for each in listed if not why_not(each.match, method, host_name(host), path, fields))
    expected = next(fits, None)
    if found is not AMBIGUOUS_PATH:  # that is about how an upstream might read the path
        knows_host = any(
            not why_not(Match(hosts=each.match.hosts), method, host_name(host), path, None) for each in listed
        )
        assert found is (expected or (NO_ROUTE if knows_host else HOST_UNKNOWN))


WHY_NOT = [
    ("the host", Match(hosts=(b"a.test", b"*.b.test")), "hosts are a.test, *.b.test, not api.test"),
    ("the path", Match(path=b"/other"), "path is /other"),
    ("the whole path", Match(path_exact=b"/we"), "path_exact is /we"),
    ("an expression", Match(path_regex=re.compile(rb"/v\d")), "path_regex is /v\\d"),
    ("the method", Match(methods=frozenset({b"PUT", b"GET"})), "methods are GET, PUT"),
    ("a header", Match(headers=((b"x-tenant", b"blue"),)), "it wants the header x-tenant: blue"),
    ("nothing", Match(path=b"/web"), ""),
]


@pytest.mark.parametrize(("says", "match", "why"), WHY_NOT, ids=[row[0] for row in WHY_NOT])
def test_why_not(says: str, match: Match, why: str) -> None:
    assert why_not(match, b"POST", b"api.test", b"/web/x", [(b"X-Tenant", b"red")]) == why


def test_every_other_route_has_its_reason() -> None:
    found = explained(b"/open", Call(ORIGIN))
    assert [(each.name, why) for each, why in found.passed_over[:4]] == [
        ("tenant", "path is /web"),
        ("web", "path is /web"),
        ("block", "path is /block"),
        ("diagnose", "path is /diagnose"),
    ]
    assert {each.name: why for each, why in explained(b"/web", Call(ORIGIN)).passed_over}["tenant"] == (
        "it wants the header x-tenant: blue"
    )


def test_of_a_path_that_could_be_another_no_route_is_blamed() -> None:
    found = explained(b"/off/../web", Call(ORIGIN))
    assert {each.name: why for each, why in found.passed_over}["off"] == (
        "the path could be read as another route's"
    )
