"""The decision for preflights and for all other requests."""

from dataclasses import dataclass, replace

import pytest

from corsproxy.cors.compile import compile_policy
from corsproxy.cors.decide import (
    NO_POLICY,
    Decision,
    Kind,
    Preflight,
    Reason,
    decide_actual,
    decide_no_route,
    decide_preflight,
)
from corsproxy.cors.policy import CorsPolicy, PolicySpec, Written

APP = b"https://app.example.com"
OTHER = b"https://other.example"


def words(*texts: str) -> tuple[Written, ...]:
    return tuple(map(Written, texts))


def compiled(spec: PolicySpec) -> CorsPolicy:
    policy, hazards = compile_policy(spec)
    assert policy is not None, hazards
    return policy


SHOP = PolicySpec(
    "shop",
    allow_origins=words("https://app.example.com", "https://*.preview.example.com"),
    allow_methods=words("GET", "PUT", "PATCH"),
    allow_headers=words("Content-Type", "Authorization"),
    expose_headers=words("X-Total-Count", "ETag"),
    allow_credentials=True,
    max_age=600,
)
OPEN = PolicySpec("open", allow_origins=words("*"))
OPEN_ALL = replace(OPEN, allow_methods=words("*"), allow_headers=words("*"), expose_headers=words("*"))
NULL = replace(SHOP, allow_origins=words("null"), allow_credentials=False)
ANY_NAMES = replace(
    SHOP,
    allow_methods=words("*"),
    allow_headers=words("*", "Authorization"),
    expose_headers=words("*"),
    max_age=None,
)
ANY_BUT_TOKENS = replace(ANY_NAMES, allow_headers=words("*"))

ORIGIN = ("Access-Control-Allow-Origin", "https://app.example.com")
ANY = ("Access-Control-Allow-Origin", "*")
CREDENTIALS = ("Access-Control-Allow-Credentials", "true")
METHODS = ("Access-Control-Allow-Methods", "GET, PUT, PATCH")
DEFAULT_METHODS = ("Access-Control-Allow-Methods", "GET, HEAD, POST")
HEADERS = ("Access-Control-Allow-Headers", "Content-Type, Authorization")
MAX_AGE = ("Access-Control-Max-Age", "600")
EXPOSE = ("Access-Control-Expose-Headers", "X-Total-Count, ETag")
FULL = (ORIGIN, CREDENTIALS, METHODS, HEADERS, MAX_AGE)

Pairs = tuple[tuple[str, str], ...]


def fields_of(decision: Decision) -> Pairs:
    return tuple((name.decode(), value.decode()) for name, value in decision.fields)


@dataclass(frozen=True)
class Ask:
    says: str
    spec: PolicySpec
    ask: Preflight
    reason: Reason
    detail: str
    fields: Pairs = ()


def asks(
    method: bytes, headers: bytes | None = None, *, origin: bytes = APP, private: bool = False
) -> Preflight:
    return Preflight(origin, method, headers, private)


ALLOWED = "https://app.example.com"
PREFLIGHTS = [
    Ask("a listed method", SHOP, asks(b"PUT"), Reason.ALLOWED, ALLOWED, FULL),
    Ask(
        "trap 18: without asked headers it is a preflight all the same",
        SHOP,
        asks(b"GET"),
        Reason.ALLOWED,
        ALLOWED,
        FULL,
    ),
    Ask("a safelisted method needs no listing", SHOP, asks(b"POST"), Reason.ALLOWED, ALLOWED, FULL),
    Ask("an unlisted method is named", SHOP, asks(b"DELETE"), Reason.METHOD_NOT_ALLOWED, "DELETE"),
    Ask(
        "trap 26: browsers leave patch in lower case, and it is another method",
        SHOP,
        asks(b"patch"),
        Reason.METHOD_NOT_ALLOWED,
        "patch",
    ),
    Ask(
        "a safelisted method in lower case is another one",
        SHOP,
        asks(b"get"),
        Reason.METHOD_NOT_ALLOWED,
        "get",
    ),
    Ask("an empty method", SHOP, asks(b""), Reason.METHOD_NOT_ALLOWED, ""),
    Ask("listed headers", SHOP, asks(b"PUT", b"authorization,content-type"), Reason.ALLOWED, ALLOWED, FULL),
    Ask(
        "trap 22: upper case, spaces, unsorted",
        SHOP,
        asks(b"PUT", b"Content-Type , AUTHORIZATION"),
        Reason.ALLOWED,
        ALLOWED,
        FULL,
    ),
    Ask("trap 22: empty elements", SHOP, asks(b"PUT", b",content-type,, "), Reason.ALLOWED, ALLOWED, FULL),
    Ask("an empty list", SHOP, asks(b"PUT", b""), Reason.ALLOWED, ALLOWED, FULL),
    Ask(
        "an unlisted header is named",
        SHOP,
        asks(b"PUT", b"content-type,X-Id"),
        Reason.HEADER_NOT_ALLOWED,
        "x-id",
    ),
    Ask(
        "trap 23: accept is asked for when its value is odd, and must be listed then",
        SHOP,
        asks(b"PUT", b"accept"),
        Reason.HEADER_NOT_ALLOWED,
        "accept",
    ),
    Ask(
        "trap 25: garbage in the list is refused",
        ANY_NAMES,
        asks(b"PUT", b"x-a,x b"),
        Reason.REQUEST_HEADER_LIST_MALFORMED,
        "x-a,x b",
    ),
    Ask(
        "trap 25: control bytes do not reach the log",
        ANY_NAMES,
        asks(b"PUT", b"x-a\r\nset-cookie: b"),
        Reason.REQUEST_HEADER_LIST_MALFORMED,
        "x-a??set-cookie: b",
    ),
    Ask(
        "trap 46: 8 KiB of names are enough",
        ANY_NAMES,
        asks(b"PUT", b"a" * 8193),
        Reason.REQUEST_HEADER_LIST_MALFORMED,
        "a" * 127 + "…",
    ),
    Ask(
        "trap 46: 17 empty elements are too many",
        ANY_NAMES,
        asks(b"PUT", b"," * 16),
        Reason.REQUEST_HEADER_LIST_MALFORMED,
        "," * 16,
    ),
    Ask(
        "an unlisted origin",
        SHOP,
        asks(b"PUT", origin=OTHER),
        Reason.ORIGIN_NOT_ALLOWED,
        "https://other.example",
    ),
    Ask(
        "the origin is judged before the method",
        SHOP,
        asks(b"DELETE", b"\0", origin=OTHER),
        Reason.ORIGIN_NOT_ALLOWED,
        "https://other.example",
    ),
    Ask(
        "the method is judged before the headers",
        SHOP,
        asks(b"DELETE", b"\0"),
        Reason.METHOD_NOT_ALLOWED,
        "DELETE",
    ),
    Ask("trap 8: null", SHOP, asks(b"PUT", origin=b"null"), Reason.NULL_NOT_ALLOWED, "null"),
    Ask(
        "null by its rule",
        NULL,
        asks(b"PUT", origin=b"null"),
        Reason.ALLOWED,
        "null",
        (("Access-Control-Allow-Origin", "null"), METHODS, HEADERS, MAX_AGE),
    ),
    Ask(
        "trap 30: two Origin lines",
        SHOP,
        asks(b"PUT", origin=APP + b", " + APP),
        Reason.ORIGIN_MALFORMED,
        "https://app.example.com, https://app.example.com",
    ),
    Ask(
        "a malformed origin, even when any is allowed",
        OPEN,
        asks(b"GET", origin=b"evil\r\n"),
        Reason.ORIGIN_MALFORMED,
        "evil??",
    ),
    Ask(
        "an origin over the bound is cut in the log",
        SHOP,
        asks(b"GET", origin=b"https://" + b"a" * 600),
        Reason.ORIGIN_MALFORMED,
        "https://" + "a" * 119 + "…",
    ),
    Ask(
        "any origin is answered with a star",
        OPEN,
        asks(b"GET", origin=OTHER),
        Reason.ALLOWED,
        "https://other.example",
        (ANY, DEFAULT_METHODS),
    ),
    Ask(
        "any origin has null among them",
        OPEN,
        asks(b"GET", origin=b"null"),
        Reason.ALLOWED,
        "null",
        (ANY, DEFAULT_METHODS),
    ),
    Ask(
        "stars for methods and headers",
        OPEN_ALL,
        asks(b"PURGE", b"x-id"),
        Reason.ALLOWED,
        ALLOWED,
        (ANY, ("Access-Control-Allow-Methods", "*"), ("Access-Control-Allow-Headers", "*")),
    ),
    Ask(
        "trap 21: a star is not Authorization",
        OPEN_ALL,
        asks(b"GET", b"authorization"),
        Reason.HEADER_NOT_ALLOWED,
        "authorization",
    ),
    Ask(
        "trap 21: Authorization beside the star",
        replace(OPEN_ALL, allow_headers=words("*", "Authorization")),
        asks(b"GET", b"authorization,x-id"),
        Reason.ALLOWED,
        ALLOWED,
        (ANY, ("Access-Control-Allow-Methods", "*"), ("Access-Control-Allow-Headers", "*, Authorization")),
    ),
    Ask(
        "a method that cannot be forwarded is not promised",
        OPEN_ALL,
        asks(b"FROBNICATE"),
        Reason.METHOD_NOT_ALLOWED,
        "FROBNICATE",
    ),
    Ask(
        "a method that no script may use is not promised",
        OPEN_ALL,
        asks(b"TRACE"),
        Reason.METHOD_NOT_ALLOWED,
        "TRACE",
    ),
    Ask(
        "trap 21: with credentials the asked names are echoed",
        ANY_NAMES,
        asks(b"PURGE", b"X-Id, authorization,x-id"),
        Reason.ALLOWED,
        ALLOWED,
        (
            ORIGIN,
            CREDENTIALS,
            ("Access-Control-Allow-Methods", "PURGE"),
            ("Access-Control-Allow-Headers", "x-id,authorization"),
        ),
    ),
    Ask(
        "with credentials and nothing asked nothing is echoed",
        ANY_NAMES,
        asks(b"GET"),
        Reason.ALLOWED,
        ALLOWED,
        (ORIGIN, CREDENTIALS, ("Access-Control-Allow-Methods", "GET")),
    ),
    Ask(
        "trap 21: with credentials a star is not Authorization either",
        ANY_BUT_TOKENS,
        asks(b"GET", b"x-id,authorization"),
        Reason.HEADER_NOT_ALLOWED,
        "authorization",
    ),
    Ask(
        "trap 47: a max-age of 0 is sent",
        replace(OPEN, max_age=0),
        asks(b"GET"),
        Reason.ALLOWED,
        ALLOWED,
        (ANY, DEFAULT_METHODS, ("Access-Control-Max-Age", "0")),
    ),
    Ask(
        "trap 47: no max-age is left out", OPEN, asks(b"GET"), Reason.ALLOWED, ALLOWED, (ANY, DEFAULT_METHODS)
    ),
    Ask(
        "an empty method list sends no field",
        replace(OPEN, allow_methods=()),
        asks(b"GET"),
        Reason.ALLOWED,
        ALLOWED,
        (ANY,),
    ),
    Ask(
        "trap 48: a private network, asked and allowed",
        replace(OPEN, allow_private_network=True),
        asks(b"GET", private=True),
        Reason.ALLOWED,
        ALLOWED,
        (ANY, DEFAULT_METHODS, ("Access-Control-Allow-Private-Network", "true")),
    ),
    Ask(
        "trap 48: a private network, allowed but not asked",
        replace(OPEN, allow_private_network=True),
        asks(b"GET"),
        Reason.ALLOWED,
        ALLOWED,
        (ANY, DEFAULT_METHODS),
    ),
    Ask(
        "trap 48: a private network, asked but not allowed, is never `false`",
        OPEN,
        asks(b"GET", private=True),
        Reason.ALLOWED,
        ALLOWED,
        (ANY, DEFAULT_METHODS),
    ),
    Ask(
        "diagnostics: the origin failed, nothing passed",
        replace(SHOP, diagnostics=True),
        asks(b"PUT", origin=OTHER),
        Reason.ORIGIN_NOT_ALLOWED,
        "https://other.example",
    ),
    Ask(
        "diagnostics: the method failed, the origin passed",
        replace(SHOP, diagnostics=True),
        asks(b"DELETE"),
        Reason.METHOD_NOT_ALLOWED,
        "DELETE",
        (ORIGIN, CREDENTIALS),
    ),
    Ask(
        "diagnostics: a header failed, origin and method passed",
        replace(SHOP, diagnostics=True),
        asks(b"PUT", b"x-id"),
        Reason.HEADER_NOT_ALLOWED,
        "x-id",
        (ORIGIN, CREDENTIALS, METHODS),
    ),
    Ask(
        "diagnostics: the header list failed",
        replace(SHOP, diagnostics=True),
        asks(b"PUT", b"x id"),
        Reason.REQUEST_HEADER_LIST_MALFORMED,
        "x id",
        (ORIGIN, CREDENTIALS, METHODS),
    ),
]


@pytest.mark.parametrize("case", PREFLIGHTS, ids=lambda case: case.says)
def test_preflight(case: Ask) -> None:
    decision = decide_preflight(compiled(case.spec), case.ask)
    assert (decision.reason, decision.detail, fields_of(decision)) == (case.reason, case.detail, case.fields)
    assert decision.kind is Kind.PREFLIGHT
    assert decision.allowed is (case.reason is Reason.ALLOWED)
    assert decision.blocks is not decision.allowed


@dataclass(frozen=True)
class Actual:
    says: str
    spec: PolicySpec
    origin: bytes | None
    reason: Reason
    detail: str
    fields: Pairs = ()
    same_origin: bool = False
    allowed: bool = False
    blocks: bool = False


BLOCK = replace(SHOP, on_denied="block")
CORP = replace(SHOP, cross_origin_resource_policy="same-site")
CORP_FIELD = ("Cross-Origin-Resource-Policy", "same-site")
TIMING = replace(SHOP, timing_allow_origin=True)

ACTUALS = [
    Actual(
        "a listed origin", SHOP, APP, Reason.ALLOWED, ALLOWED, (ORIGIN, CREDENTIALS, EXPOSE), allowed=True
    ),
    Actual("no Origin, no fields", SHOP, None, Reason.NOT_CORS, "", allowed=True),
    Actual(
        "trap 13: an unlisted origin gets nothing, credentials included",
        SHOP,
        OTHER,
        Reason.ORIGIN_NOT_ALLOWED,
        "https://other.example",
    ),
    Actual(
        "trap 36: on_denied: block asks no upstream",
        BLOCK,
        OTHER,
        Reason.ORIGIN_NOT_ALLOWED,
        "https://other.example",
        blocks=True,
    ),
    Actual(
        "trap 34: block spares the page's own origin",
        BLOCK,
        OTHER,
        Reason.SAME_ORIGIN,
        "https://other.example",
        same_origin=True,
        allowed=True,
    ),
    Actual(
        "trap 34: a same-origin POST under no-referrer sends null",
        BLOCK,
        b"null",
        Reason.SAME_ORIGIN,
        "null",
        same_origin=True,
        allowed=True,
    ),
    Actual(
        "a malformed origin is nobody's own",
        BLOCK,
        b"x",
        Reason.ORIGIN_MALFORMED,
        "x",
        same_origin=True,
        blocks=True,
    ),
    Actual(
        "a listed origin that is also the proxy's own keeps its fields",
        SHOP,
        APP,
        Reason.ALLOWED,
        ALLOWED,
        (ORIGIN, CREDENTIALS, EXPOSE),
        same_origin=True,
        allowed=True,
    ),
    Actual("block passes requests without Origin", BLOCK, None, Reason.NOT_CORS, "", allowed=True),
    Actual("trap 8: null is not admitted", SHOP, b"null", Reason.NULL_NOT_ALLOWED, "null"),
    Actual(
        "trap 30: two Origin lines",
        SHOP,
        APP + b", " + APP,
        Reason.ORIGIN_MALFORMED,
        "https://app.example.com, https://app.example.com",
    ),
    Actual(
        "trap 9: a plain star is sent without Origin too",
        OPEN,
        None,
        Reason.NOT_CORS,
        "",
        (ANY,),
        allowed=True,
    ),
    Actual("a plain star", OPEN, APP, Reason.ALLOWED, ALLOWED, (ANY,), allowed=True),
    Actual(
        "trap 9: a plain star is the same for a malformed origin: the answer may be cached",
        OPEN,
        b"x",
        Reason.ORIGIN_MALFORMED,
        "x",
        (ANY,),
    ),
    Actual(
        "expose a star, without credentials",
        OPEN_ALL,
        APP,
        Reason.ALLOWED,
        ALLOWED,
        (ANY, ("Access-Control-Expose-Headers", "*")),
        allowed=True,
    ),
    Actual(
        "expose a star, with credentials: the names come later",
        ANY_NAMES,
        APP,
        Reason.ALLOWED,
        ALLOWED,
        (ORIGIN, CREDENTIALS),
        allowed=True,
    ),
    Actual(
        "timing for the same origins",
        TIMING,
        APP,
        Reason.ALLOWED,
        ALLOWED,
        (ORIGIN, CREDENTIALS, EXPOSE, ("Timing-Allow-Origin", "https://app.example.com")),
        allowed=True,
    ),
    Actual("timing for no other", TIMING, OTHER, Reason.ORIGIN_NOT_ALLOWED, "https://other.example"),
    Actual(
        "timing for any",
        replace(OPEN, timing_allow_origin=True),
        None,
        Reason.NOT_CORS,
        "",
        (ANY, ("Timing-Allow-Origin", "*")),
        allowed=True,
    ),
    Actual(
        "resource policy for a listed origin",
        CORP,
        APP,
        Reason.ALLOWED,
        ALLOWED,
        (ORIGIN, CREDENTIALS, EXPOSE, CORP_FIELD),
        allowed=True,
    ),
    Actual(
        "resource policy for another origin",
        CORP,
        OTHER,
        Reason.ORIGIN_NOT_ALLOWED,
        "https://other.example",
        (CORP_FIELD,),
    ),
    Actual("resource policy without Origin", CORP, None, Reason.NOT_CORS, "", (CORP_FIELD,), allowed=True),
    Actual(
        "resource policy for the own origin",
        CORP,
        OTHER,
        Reason.SAME_ORIGIN,
        "https://other.example",
        (CORP_FIELD,),
        same_origin=True,
        allowed=True,
    ),
]


@pytest.mark.parametrize("case", ACTUALS, ids=lambda case: case.says)
def test_actual(case: Actual) -> None:
    decision = decide_actual(compiled(case.spec), case.origin, same_origin=case.same_origin)
    assert (decision.reason, decision.detail, fields_of(decision)) == (case.reason, case.detail, case.fields)
    assert (decision.allowed, decision.blocks, decision.passes) == (case.allowed, case.blocks, False)
    assert decision.kind is (Kind.NOT_CORS if case.origin is None else Kind.ACTUAL)


ON_PREFLIGHTS = (b"Access-Control-Request-Method", b"Access-Control-Request-Headers")


@pytest.mark.parametrize("origin", [APP, OTHER, b"null", b"malformed", None])
def test_trap_9_vary_names_origin_on_every_response_unless_the_answer_is_a_plain_star(
    origin: bytes | None,
) -> None:
    assert decide_actual(compiled(SHOP), origin).vary == (b"Origin",)
    assert decide_actual(compiled(OPEN), origin).vary == ()


@pytest.mark.parametrize(
    "ask", [asks(b"PUT"), asks(b"DELETE"), asks(b"PUT", origin=OTHER), asks(b"PUT", b"\0")]
)
def test_vary_on_preflights_names_the_request_fields_too(ask: Preflight) -> None:
    assert decide_preflight(compiled(SHOP), ask).vary == (b"Origin", *ON_PREFLIGHTS)
    assert decide_preflight(compiled(OPEN), ask).vary == ON_PREFLIGHTS


def test_report_only_decides_and_lets_the_upstream_answer() -> None:
    policy = compiled(replace(BLOCK, mode="report_only"))
    refused, allowed = decide_actual(policy, OTHER), decide_actual(policy, APP)
    preflight = decide_preflight(policy, asks(b"DELETE"))
    details = [(decision.detail, decision.allowed) for decision in (refused, allowed, preflight)]
    assert details == [("origin-not-allowed", False), ("allowed", True), ("method-not-allowed", False)]
    for decision in (refused, allowed, preflight):
        assert (decision.reason, decision.passes, decision.blocks) == (Reason.REPORT_ONLY, True, False)
        assert (decision.fields, decision.vary) == ((), ())


def test_cors_off_passes_the_upstream_fields() -> None:
    assert (NO_POLICY.reason, NO_POLICY.passes, NO_POLICY.fields, NO_POLICY.vary) == (
        Reason.NO_POLICY,
        True,
        (),
        (),
    )


def test_the_rule_that_admitted_is_named() -> None:
    rule = decide_actual(compiled(SHOP), b"https://pr-1.preview.example.com").rule
    assert rule is not None
    assert rule.text == "https://*.preview.example.com"


def test_flags_for_what_only_the_response_can_settle() -> None:
    decision = decide_actual(compiled(replace(ANY_NAMES, upstream_cors="merge_expose")), APP)
    assert (decision.expose_present, decision.merge_expose) == (True, True)
    refused = decide_actual(compiled(replace(ANY_NAMES, upstream_cors="merge_expose")), OTHER)
    assert (refused.expose_present, refused.merge_expose) == (False, False)
    # Without credentials the literal "*" says it, so nothing waits for the response.
    assert decide_actual(compiled(OPEN_ALL), APP).expose_present is False


def test_what_the_policy_owns_beside_the_cors_fields() -> None:
    assert compiled(SHOP).owned_fields == frozenset()
    owner = compiled(replace(CORP, timing_allow_origin=True))
    assert owner.owned_fields == {b"timing-allow-origin", b"cross-origin-resource-policy"}


class TestNoRoute:
    """A 404 that no route answers for, trap 28."""

    def test_carries_the_fields_of_the_first_policy_that_allows_the_origin(self) -> None:
        elsewhere = replace(SHOP, allow_origins=words("https://elsewhere.example"))
        decision = decide_no_route([compiled(elsewhere), compiled(SHOP)], APP)
        assert (decision.reason, decision.allowed, decision.vary) == (Reason.NO_ROUTE, False, (b"Origin",))
        assert fields_of(decision) == (ORIGIN, CREDENTIALS, EXPOSE)

    def test_carries_nothing_for_an_origin_that_none_allows(self) -> None:
        decision = decide_no_route([compiled(SHOP)], OTHER)
        assert (decision.fields, decision.vary, decision.detail) == ((), (b"Origin",), "")

    def test_of_a_preflight_depends_on_what_it_asks_for(self) -> None:
        decision = decide_no_route([compiled(SHOP)], APP, preflight=True)
        asked = (b"Access-Control-Request-Method", b"Access-Control-Request-Headers")
        assert (decision.fields, decision.vary) == ((), (b"Origin", *asked))

    def test_is_the_same_for_all_when_the_first_policy_is_a_plain_star(self) -> None:
        policies = [compiled(OPEN), compiled(SHOP)]
        for origin in (None, APP, OTHER):
            decision = decide_no_route(policies, origin)
            assert (fields_of(decision), decision.vary) == ((ANY,), ())

    def test_a_policy_that_only_reports_speaks_for_no_one(self) -> None:
        assert decide_no_route([compiled(replace(SHOP, mode="report_only"))], APP).fields == ()

    def test_a_preflight_fails_by_its_status_whatever_it_carries(self) -> None:
        decision = decide_no_route([compiled(SHOP)], APP, preflight=True)
        assert (decision.kind, decision.fields) == (Kind.PREFLIGHT, ())

    def test_without_policies_there_is_nothing_to_vary_on(self) -> None:
        assert decide_no_route([], APP).vary == ()
