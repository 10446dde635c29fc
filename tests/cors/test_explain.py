"""What a browser makes of given fields, what its console calls it, and the smallest change that helps."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corsproxy.cors.browser import (
    Call,
    Failure,
    Step,
    check_preflight,
    check_response,
    passes,
    unsafe_names,
    why_preflight,
)
from corsproxy.cors.compile import compile_policy
from corsproxy.cors.consoles import CHROMIUM, FIREFOX, console_messages
from corsproxy.cors.decide import Preflight, decide_actual, decide_preflight
from corsproxy.cors.explain import Answer, Outcome, judge
from corsproxy.cors.pasted import read_pasted
from corsproxy.cors.policy import CorsPolicy, PolicySpec, Written
from corsproxy.cors.remedy import Change, Remedy, find_remedy
from tests import browser_model
from tests.strategies import fetches, policies

APP = b"https://app.example.com"
ORIGIN = (b"Access-Control-Allow-Origin", APP)
ANY = (b"Access-Control-Allow-Origin", b"*")
CREDENTIALS = (b"access-control-allow-credentials", b"true")
METHODS = (b"Access-Control-Allow-Methods", b"PUT, PATCH")
HEADERS = (b"Access-Control-Allow-Headers", b"X-Id, Content-Type")


# Which header names need permission

NAMES = [
    ("a name of one's own", [(b"X-Id", b"1")], (b"x-id",)),
    ("lower case and sorted", [(b"X-B", b"1"), (b"X-A", b"1")], (b"x-a", b"x-b")),
    ("JSON is no form", [(b"Content-Type", b"application/json")], (b"content-type",)),
    ("a form is", [(b"Content-Type", b"Text/Plain; charset=utf-8")], ()),
    ("a type that is not known is taken for JSON", [(b"Content-Type", None)], (b"content-type",)),
    ("another value that is not known is taken for harmless", [(b"Accept", None), (b"Range", None)], ()),
    ("trap 23: a value of 129 bytes", [(b"Accept", b"a" * 129)], (b"accept",)),
    ("a value of 128 bytes", [(b"Accept", b"a" * 128)], ()),
    ("an unsafe byte", [(b"Accept", b"a(b)")], (b"accept",)),
    ("a language is letters and few marks", [(b"Accept-Language", b"de;q=0.5, en")], ()),
    ("a language with a slash", [(b"Content-Language", b"de/at")], (b"content-language",)),
    ("one range", [(b"Range", b"bytes=0-99")], ()),
    ("an open range", [(b"Range", b"bytes=5-")], ()),
    ("a range that ends before it starts", [(b"Range", b"bytes=9-1")], (b"range",)),
    ("the last bytes", [(b"Range", b"bytes=-5")], (b"range",)),
    (
        "what scripts cannot set is not asked for",
        [(b"Cookie", b"a=1"), (b"Sec-X", b"1"), (b"Host", b"a")],
        (),
    ),
]


@pytest.mark.parametrize(("says", "headers", "names"), NAMES, ids=[row[0] for row in NAMES])
def test_unsafe_names(says: str, headers: list[tuple[bytes, bytes | None]], names: tuple[bytes, ...]) -> None:
    assert unsafe_names(Call(APP, headers=tuple(headers))) == names


def test_trap_23_together_over_1024_bytes_all_are_unsafe() -> None:
    short = tuple((b"accept-language" if at % 2 else b"accept", b"a" * 128) for at in range(8))
    assert unsafe_names(Call(APP, headers=short)) == ()
    assert unsafe_names(Call(APP, headers=(*short, (b"range", b"bytes=0-")))) == (
        b"accept",
        b"accept-language",
        b"range",
    )


WHY = [
    ("nothing", Call(APP, b"post"), ()),
    ("the method", Call(APP, b"PUT"), ("PUT is not safelisted",)),
    ("a method that no browser upper-cases", Call(APP, b"patch"), ("patch is not safelisted",)),
    ("a header", Call(APP, headers=((b"X-Id", b"7"),)), ("x-id is not safelisted",)),
    (
        "a value",
        Call(APP, headers=((b"Content-Type", b"application/json"),)),
        ("content-type: application/json is not safelisted",),
    ),
]


@pytest.mark.parametrize(("says", "call", "why"), WHY, ids=[row[0] for row in WHY])
def test_why_a_preflight(says: str, call: Call, why: tuple[str, ...]) -> None:
    assert why_preflight(call) == why


def test_a_browser_may_ask_first_whatever_the_call_holds() -> None:
    assert len(why_preflight(Call(APP, asks_first=True))) == 1


# What a browser looks at


ASKS = Call(APP, b"PUT", ((b"X-Id", b"1"),))


@dataclass(frozen=True)
class Seen:
    says: str
    fields: list[tuple[bytes, bytes]]
    failure: Failure | None = None
    call: Call = ASKS
    status: int = 204
    kinds: tuple[str, str] = ("", "")
    about: str = ""


SECRET = replace(ASKS, credentials=True)
GOOD = [ORIGIN, METHODS, HEADERS]

PREFLIGHTS = [
    Seen("all there", GOOD),
    Seen("all there, with credentials", [*GOOD, CREDENTIALS], call=SECRET),
    Seen("stars without credentials", [ANY, (METHODS[0], b"*"), (HEADERS[0], b"*")]),
    Seen(
        "nothing there",
        [],
        Failure.ALLOW_ORIGIN_MISSING,
        kinds=("PreflightMissingAllowOriginHeader", "CORSMissingAllowOrigin"),
    ),
    Seen(
        "trap 7: a star with credentials",
        [ANY, CREDENTIALS, METHODS, HEADERS],
        Failure.ALLOW_ORIGIN_WILDCARD,
        SECRET,
        kinds=("PreflightWildcardOriginNotAllowed", "CORSNotSupportingCredentials"),
    ),
    Seen(
        "trap 11: two lines are two values, equal or not",
        [ORIGIN, ORIGIN, METHODS, HEADERS],
        Failure.ALLOW_ORIGIN_SEVERAL,
        kinds=("PreflightMultipleAllowOriginValues", "CORSMultipleAllowOriginNotAllowed"),
    ),
    Seen(
        "another origin",
        [(ORIGIN[0], b"https://two.example.com")],
        Failure.ALLOW_ORIGIN_DIFFERS,
        kinds=("PreflightAllowOriginMismatch", "CORSAllowOriginNotMatchingOrigin"),
    ),
    Seen(
        "no origin",
        [(ORIGIN[0], b"app.example.com")],
        Failure.ALLOW_ORIGIN_INVALID,
        kinds=("PreflightInvalidAllowOriginValue", "CORSAllowOriginNotMatchingOrigin"),
    ),
    Seen(
        "True is not true",
        [*GOOD, (CREDENTIALS[0], b"True")],
        Failure.ALLOW_CREDENTIALS_NOT_TRUE,
        SECRET,
        kinds=("PreflightInvalidAllowCredentials", "CORSMissingAllowCredentials"),
    ),
    Seen(
        "trap 16: a redirect",
        GOOD,
        Failure.PREFLIGHT_REDIRECTED,
        status=302,
        kinds=("PreflightDisallowedRedirect", "CORSExternalRedirectNotAllowed"),
    ),
    Seen(
        "trap 15: a refusal that carries the fields",
        GOOD,
        Failure.PREFLIGHT_STATUS,
        status=401,
        kinds=("PreflightInvalidStatus", "CORSPreflightDidNotSucceed"),
    ),
    Seen(
        "trap 24: a semicolon between methods",
        [ORIGIN, (METHODS[0], b"GET;PUT"), HEADERS],
        Failure.METHODS_UNREADABLE,
        kinds=("InvalidAllowMethodsPreflightResponse", "CORSInvalidAllowMethod"),
    ),
    Seen(
        "trap 24: a space in a name",
        [ORIGIN, METHODS, (HEADERS[0], b"x id")],
        Failure.HEADERS_UNREADABLE,
        kinds=("InvalidAllowHeadersPreflightResponse", "CORSInvalidAllowHeader"),
    ),
    Seen(
        "the method is not listed",
        [ORIGIN, HEADERS],
        Failure.METHOD_NOT_LISTED,
        kinds=("MethodDisallowedByPreflightResponse", "CORSMethodNotFound"),
        about="PUT",
    ),
    Seen(
        "trap 26: methods are compared with case",
        GOOD,
        Failure.METHOD_NOT_LISTED,
        Call(APP, b"patch"),
        kinds=("MethodDisallowedByPreflightResponse", "CORSMethodNotFound"),
        about="patch",
    ),
    Seen(
        "with credentials a star is a method of that name",
        [ORIGIN, CREDENTIALS, (METHODS[0], b"*"), HEADERS],
        Failure.METHOD_NOT_LISTED,
        SECRET,
        kinds=("MethodDisallowedByPreflightResponse", "CORSMethodNotFound"),
        about="PUT",
    ),
    Seen(
        "a header is not listed",
        [ORIGIN, METHODS],
        Failure.HEADER_NOT_LISTED,
        kinds=("HeaderDisallowedByPreflightResponse", "CORSMissingAllowHeaderFromPreflight"),
        about="x-id",
    ),
    Seen(
        "trap 21: a star does not cover Authorization",
        [ANY, METHODS, (HEADERS[0], b"*")],
        Failure.HEADER_NOT_LISTED,
        Call(APP, headers=((b"Authorization", None),)),
        kinds=("HeaderDisallowedByPreflightResponse", "CORSMissingAllowHeaderFromPreflight"),
        about="authorization",
    ),
    Seen(
        "no script may use TRACE",
        GOOD,
        Failure.METHOD_FORBIDDEN,
        Call(APP, b"trace"),
        kinds=("TypeError", "TypeError"),
    ),
]


@pytest.mark.parametrize("case", PREFLIGHTS, ids=lambda case: case.says)
def test_the_preflight_check(case: Seen) -> None:
    steps = check_preflight(case.call, case.status, case.fields)
    assert [step.failure for step in steps[:-1]] == [None] * (len(steps) - 1)
    assert (steps[-1].failure, steps[-1].about) == (case.failure, case.about)
    messages = console_messages(steps[-1], preflight=True)
    assert tuple(message.kind for message in messages) == (case.kinds if case.failure else ())
    assert all(case.about in message.says for message in messages)


RESPONSES = [
    Seen("the origin", [ORIGIN]),
    Seen("a star", [ANY]),
    Seen("the origin and true", [ORIGIN, CREDENTIALS], call=SECRET),
    Seen(
        "nothing",
        [CREDENTIALS],
        Failure.ALLOW_ORIGIN_MISSING,
        kinds=("MissingAllowOriginHeader", "CORSMissingAllowOrigin"),
    ),
    Seen(
        "no true",
        [ORIGIN],
        Failure.ALLOW_CREDENTIALS_NOT_TRUE,
        SECRET,
        kinds=("InvalidAllowCredentials", "CORSMissingAllowCredentials"),
    ),
]


@pytest.mark.parametrize("case", RESPONSES, ids=lambda case: case.says)
def test_the_cors_check(case: Seen) -> None:
    steps = check_response(case.call, case.fields)
    assert steps[-1].failure == case.failure
    kinds = tuple(message.kind for message in console_messages(steps[-1], preflight=False))
    assert kinds == (case.kinds if case.failure else ())


def test_every_failure_has_its_message_in_both_consoles() -> None:
    for failure in Failure:
        for preflight in (True, False):
            chromium, firefox = console_messages(Step("", "", "", failure), preflight=preflight)
            assert chromium.says == CHROMIUM[chromium.kind]
            assert firefox.says == FIREFOX[firefox.kind]


def call_of(fetch: browser_model.Fetch) -> Call:
    return Call(fetch.origin, fetch.method, tuple(fetch.headers.items()), fetch.credentials == "include")


field_names = st.sampled_from(
    [
        b"Access-Control-Allow-Origin",
        b"access-control-allow-credentials",
        b"Access-Control-Allow-Methods",
        b"Access-Control-Allow-Headers",
    ]
)
field_values = st.sampled_from(
    [
        b"*",
        b"true",
        b"True",
        APP,
        b"null",
        b"PUT, PATCH",
        b"*, authorization",
        b"content-type,x-id",
        b"a b",
        b"",
        b",",
    ]
)
field_lines = st.lists(st.tuples(field_names, field_values), max_size=6)


@given(fetches(), st.sampled_from([200, 204, 299, 301, 403, 500]), field_lines)
def test_any_fields_get_the_verdict_of_the_independent_model(
    fetch: browser_model.Fetch, status: int, lines: list[tuple[bytes, bytes]]
) -> None:
    call = call_of(fetch)
    assert list(unsafe_names(call)) == browser_model.unsafe_request_header_names(fetch.headers)
    assert bool(why_preflight(call)) == browser_model.needs_preflight(fetch)
    assert passes(check_response(call, lines)) == browser_model.passes_cors_check(fetch, lines)
    assert passes(check_preflight(call, status, lines)) == browser_model.passes_preflight(
        fetch, status, lines
    )


def compiled(spec: PolicySpec) -> CorsPolicy:
    policy, hazards = compile_policy(spec)
    assert policy is not None, hazards
    return policy


def outcome(policy: CorsPolicy, call: Call) -> Outcome:
    """How far a browser gets with what this policy answers."""
    asked = None
    if why_preflight(call):
        names = unsafe_names(call)
        decision = decide_preflight(
            policy, Preflight(call.origin, call.sent_method, b",".join(names) if names else None)
        )
        asked = Answer(204 if decision.allowed else 403, decision.fields, decision.passes)
    actual = decide_actual(policy, call.origin)
    return judge(call, asked, Answer(None, actual.fields, actual.passes)).outcome


@given(policies(), fetches())
def test_the_fields_of_a_policy_get_the_verdict_of_the_independent_model(
    spec: PolicySpec, fetch: browser_model.Fetch
) -> None:
    policy, call = compiled(spec), call_of(fetch)
    actual = decide_actual(policy, fetch.origin).fields
    expected = browser_model.passes_cors_check(fetch, actual)
    if browser_model.needs_preflight(fetch):
        method, headers = browser_model.preflight_asks(fetch)
        asked = decide_preflight(policy, Preflight(fetch.origin, method, headers))
        expected &= browser_model.passes_preflight(fetch, 204 if asked.allowed else 403, asked.fields)
    assert (outcome(policy, call) is Outcome.READABLE) == expected


def test_what_passes_through_is_the_upstreams() -> None:
    policy = compiled(PolicySpec("p", allow_origins=(Written("*"),), mode="report_only"))
    assert outcome(policy, Call(APP, b"PUT")) is Outcome.UPSTREAM_DECIDES


def test_the_pages_own_origin_needs_no_fields() -> None:
    verdict = judge(Call(APP, b"PUT"), None, Answer(None, ()), same_origin=True)
    assert (verdict.outcome, verdict.actual) == (Outcome.READABLE, ())


# The smallest change


WEB = ("policies", "web")


def entries(key: str, *texts: str) -> tuple[Written, ...]:
    return tuple(Written(text, (*WEB, key, at), 7) for at, text in enumerate(texts))


SHOP = PolicySpec(
    "web",
    where=WEB,
    line=3,
    allow_origins=entries("allow_origins", APP.decode()),
    allow_headers=entries("allow_headers", "X-Id"),
)
OPEN = replace(
    SHOP,
    allow_origins=(Written("*", (*WEB, "allow_origins"), 4),),
    allow_headers=(Written("*", (*WEB, "allow_headers"), 5),),
)


@dataclass(frozen=True)
class Help:
    says: str
    call: Call
    changes: tuple[Change, ...] = ()
    warning: str = ""
    advice: str = ""
    spec: PolicySpec = field(default=SHOP)


TWO = "https://two.example.com"
HELP = [
    Help("nothing to change", Call(APP)),
    Help(
        "one more origin",
        Call(TWO.encode()),
        (Change("allow_origins", (*WEB, "allow_origins"), 7, TWO, adds=True),),
    ),
    Help(
        "a key that is not written yet",
        Call(APP, b"PUT"),
        (Change("allow_methods", (*WEB, "allow_methods"), 3, ("PUT",), adds=False),),
    ),
    Help(
        "all that is missing, in the order of the browser",
        Call(TWO.encode(), b"DELETE", ((b"X-Two", None), (b"X-One", None)), credentials=True),
        (
            Change("allow_origins", (*WEB, "allow_origins"), 7, TWO, adds=True),
            Change("allow_methods", (*WEB, "allow_methods"), 3, ("DELETE",), adds=False),
            Change("allow_headers", (*WEB, "allow_headers"), 7, "x-one", adds=True),
            Change("allow_headers", (*WEB, "allow_headers"), 7, "x-two", adds=True),
            Change("allow_credentials", (*WEB, "allow_credentials"), 3, value=True, adds=False),
        ),
    ),
    Help(
        "trap 21: Authorization beside the star",
        Call(APP, headers=((b"Authorization", None),)),
        (Change("allow_headers", (*WEB, "allow_headers"), 5, ("*", "authorization"), adds=False),),
        spec=OPEN,
    ),
    Help(
        "in a group, when all origins come from there",
        Call(TWO.encode()),
        (Change("allow_origins", ("origins", "apps"), 2, TWO, adds=True),),
        spec=replace(SHOP, allow_origins=(Written(APP.decode(), ("origins", "apps", 0), 2),)),
    ),
    Help(
        "trap 6: any origin never gets credentials",
        Call(APP, credentials=True),
        warning="every site could act as the signed-in user",
        advice="list the origins beside allow_credentials: true, or call without",
        spec=OPEN,
    ),
    Help(
        "trap 8: null never gets credentials",
        Call(b"null", credentials=True),
        warning="any page can send it",
        advice="give the page an origin of its own, or call without credentials",
    ),
    Help(
        "plain http never gets credentials",
        Call(b"http://two.example.com", credentials=True),
        warning="whoever controls the network",
        advice="serve the page over https",
    ),
    Help(
        "plain http without credentials, with a warning",
        Call(b"http://two.example.com"),
        (Change("allow_origins", (*WEB, "allow_origins"), 7, "http://two.example.com", adds=True),),
        warning="whoever controls the network can serve a page from http://two.example.com",
    ),
    Help(
        "trap 1: what looks like a listed origin is not offered",
        Call(b"https://app.example.com.evil.test"),
        warning="looks like example.com, but belongs to whoever owns evil.test",
    ),
    Help(
        "trap 3: nor what ends like one",
        Call(b"https://evil-example.com"),
        warning="looks like example.com, but belongs to whoever owns evil-example.com",
    ),
    Help(
        "trap 26: the script is to blame for the case of a method",
        Call(APP, b"patch"),
        warning='"patch" is another method than PATCH (RFC 9110 §9.1: with case)',
        advice="write PATCH in upper case: fetch does not upper-case patch",
    ),
    Help(
        "trap 26: nor is it a matter of the list where every method is allowed",
        Call(APP, b"patch"),
        warning='"patch" is another method than PATCH (RFC 9110 §9.1: with case)',
        advice="write PATCH in upper case: fetch does not upper-case patch",
        spec=replace(OPEN, allow_methods=(Written("*", (*WEB, "allow_methods"), 6),)),
    ),
    Help(
        "what no script may use cannot be allowed",
        Call(APP, b"TRACE"),
        warning="forbidden to scripts",
        advice="use another method",
    ),
    Help(
        "trap 32: an origin that no browser sends",
        Call(b"https://app.example.com/"),
        advice="no browser sends this origin: ask with https://app.example.com",
    ),
    Help("an origin beyond repair", Call(b"?"), advice="no browser sends this origin"),
]


@pytest.mark.parametrize("case", HELP, ids=lambda case: case.says)
def test_the_remedy(case: Help) -> None:
    found = find_remedy(compiled(case.spec), case.call, preflight=bool(why_preflight(case.call)))
    assert (found.changes, found.advice) == (case.changes, case.advice)
    assert case.warning in found.warning if case.warning else found.warning == ""


def test_of_far_too_much_no_list_is_made() -> None:
    headers = tuple((b"x-%d" % at, None) for at in range(50))
    found = find_remedy(compiled(SHOP), Call(APP, headers=headers), preflight=True)
    assert found == Remedy(advice='too much is missing for a small change; is allow_headers: "*" meant?')


def changed(spec: PolicySpec, changes: tuple[Change, ...]) -> PolicySpec:
    """The policy with the changes made, by hand."""
    for change in changes:
        if change.key == "allow_credentials":
            spec = replace(spec, allow_credentials=True)
            continue
        texts = change.value if isinstance(change.value, tuple) else (str(change.value),)
        kept = getattr(spec, change.key) if change.adds else ()
        spec = replace(spec, **{change.key: (*kept, *map(Written, texts))})
    return spec


def placed(spec: PolicySpec) -> PolicySpec:
    """The policy as if it had been read from a file."""

    def at(key: str, listed: tuple[Written, ...]) -> tuple[Written, ...]:
        if [entry.text for entry in listed] == ["*"]:
            return (Written("*", (*WEB, key), 5),)
        return entries(key, *(entry.text for entry in listed))

    keys = ("allow_origins", "allow_methods", "allow_headers")
    return replace(spec, where=WEB, **{key: at(key, getattr(spec, key)) for key in keys})


@given(policies(), fetches())
def test_a_remedy_that_is_offered_is_enough_and_needed(spec: PolicySpec, fetch: browser_model.Fetch) -> None:
    spec, call = placed(spec), call_of(fetch)
    policy = compiled(spec)
    found = find_remedy(policy, call, preflight=bool(why_preflight(call)))
    if outcome(policy, call) is Outcome.READABLE:
        assert found.changes == ()
    elif found.changes:
        assert outcome(compiled(changed(spec, found.changes)), call) is Outcome.READABLE
        for at in range(len(found.changes)):
            fewer = (*found.changes[:at], *found.changes[at + 1 :])
            assert outcome(compiled(changed(spec, fewer)), call) is not Outcome.READABLE
    else:
        assert found.warning or found.advice


# Pasted messages

ACCESS = (
    "Access to fetch at 'https://api.test/x?y=1' from origin 'https://app.test' "
    "has been blocked by CORS policy: "
)
BLOCKED = (
    "Cross-Origin Request Blocked: The Same Origin Policy disallows reading the remote resource at "
    "https://api.test/x?y=1. (Reason: "
)
PREFIX = "Response to preflight request doesn't pass access control check: "
PASTED = [
    (
        ACCESS + "No 'Access-Control-Allow-Origin' header is present on the requested resource.",
        "MissingAllowOriginHeader",
    ),
    (
        ACCESS + PREFIX + "No 'Access-Control-Allow-Origin' header is present",
        "PreflightMissingAllowOriginHeader",
    ),
    (
        ACCESS
        + "The value of the 'Access-Control-Allow-Origin' header in the response must not be the wildcard "
        "'*' when the request's credentials mode is 'include'.",
        "WildcardOriginNotAllowed",
    ),
    (
        ACCESS + PREFIX + "The 'Access-Control-Allow-Origin' header contains multiple values '*, *'",
        "PreflightMultipleAllowOriginValues",
    ),
    (
        ACCESS + "The 'Access-Control-Allow-Origin' header contains the invalid value 'x'.",
        "InvalidAllowOriginValue",
    ),
    (
        ACCESS + "The 'Access-Control-Allow-Origin' header has a value 'https://b' that is not equal to the "
        "supplied origin.",
        "AllowOriginMismatch",
    ),
    (
        ACCESS
        + "The value of the 'Access-Control-Allow-Credentials' header in the response is '' which must be "
        "'true' when the request's credentials mode is 'include'.",
        "InvalidAllowCredentials",
    ),
    (ACCESS + PREFIX + "It does not have HTTP ok status.", "PreflightInvalidStatus"),
    (ACCESS + PREFIX + "Redirect is not allowed for a preflight request.", "PreflightDisallowedRedirect"),
    (
        ACCESS + "Cannot parse Access-Control-Allow-Methods response header field in preflight response.",
        "InvalidAllowMethodsPreflightResponse",
    ),
    (
        ACCESS + "Cannot parse Access-Control-Allow-Headers response header field in preflight response.",
        "InvalidAllowHeadersPreflightResponse",
    ),
    (
        ACCESS + "Method PUT is not allowed by Access-Control-Allow-Methods in preflight response.",
        "MethodDisallowedByPreflightResponse",
    ),
    (
        ACCESS
        + "Request header field X-Id is not allowed by Access-Control-Allow-Headers in preflight response.",
        "HeaderDisallowedByPreflightResponse",
    ),
    (
        ACCESS + "Permission was denied for this request to access the `loopback` address space.",
        "LocalNetworkAccessPermissionDenied",
    ),
    (
        ACCESS + "The request client is not a secure context and the resource is in more-private address "
        "space `loopback`.",
        "InsecureLocalNetwork",
    ),
    (
        BLOCKED + "CORS header ‘Access-Control-Allow-Origin’ missing). Status code: 200.",
        "CORSMissingAllowOrigin",
    ),
    (
        BLOCKED + "Credential is not supported if the CORS header ‘Access-Control-Allow-Origin’ is ‘*’).",
        "CORSNotSupportingCredentials",
    ),
    (
        BLOCKED + "Multiple CORS header ‘Access-Control-Allow-Origin’ not allowed).",
        "CORSMultipleAllowOriginNotAllowed",
    ),
    (
        BLOCKED + "CORS header ‘Access-Control-Allow-Origin’ does not match ‘https://b’).",
        "CORSAllowOriginNotMatchingOrigin",
    ),
    (
        BLOCKED + "expected ‘true’ in CORS header ‘Access-Control-Allow-Credentials’).",
        "CORSMissingAllowCredentials",
    ),
    (BLOCKED + "CORS preflight response did not succeed). Status code: 403.", "CORSPreflightDidNotSucceed"),
    (BLOCKED + "Did not find method in CORS header ‘Access-Control-Allow-Methods’).", "CORSMethodNotFound"),
    (
        BLOCKED + "invalid token ‘a b’ in CORS header ‘Access-Control-Allow-Methods’).",
        "CORSInvalidAllowMethod",
    ),
    (
        BLOCKED + "invalid token ‘a b’ in CORS header ‘Access-Control-Allow-Headers’).",
        "CORSInvalidAllowHeader",
    ),
    (
        BLOCKED
        + "missing token ‘X-Id’ in CORS header ‘Access-Control-Allow-Headers’ from CORS preflight channel).",
        "CORSMissingAllowHeaderFromPreflight",
    ),
    (BLOCKED + "CORS request did not succeed). Status code: (null).", "CORSDidNotSucceed"),
    (BLOCKED + "CORS request external redirect not allowed).", "CORSExternalRedirectNotAllowed"),
    (BLOCKED + "CORS request not http).", "CORSRequestNotHttp"),
]


@pytest.mark.parametrize(("text", "kind"), PASTED, ids=[kind for _, kind in PASTED])
def test_a_pasted_message(text: str, kind: str) -> None:
    found = read_pasted(f"index.js:42 {text}\n    at load (index.js:42)")
    assert found is not None
    assert (found.message.kind, found.url) == (kind, "https://api.test/x?y=1")
    assert found.origin == ("https://app.test" if text.startswith("Access") else "")
    assert found.header == ("x-id" if "X-Id" in text else "")
    assert found.method == ("PUT" if "PUT" in text else "")
    assert found.credentials == ("redentials" in kind or "Wildcard" in kind)


def test_every_kind_is_recognised() -> None:
    """Of those with "Preflight" before their name it is enough that the prefix is."""
    plain = {kind.removeprefix("Preflight") for kind in CHROMIUM} | set(FIREFOX)
    assert plain - {"TypeError"} == {kind.removeprefix("Preflight") for _, kind in PASTED}


@pytest.mark.parametrize(
    "text", ["", "404", "Origin x is not allowed", ACCESS + "Other words.", BLOCKED + "?)"]
)
def test_other_texts_are_not_guessed_at(text: str) -> None:
    assert read_pasted(text) is None


def test_a_message_over_several_lines_after_a_redirect() -> None:
    text = ACCESS.replace(" from origin", " (redirected from 'https://api.test/old')\nfrom origin")
    found = read_pasted(text + "\nNo 'Access-Control-Allow-Origin' header is present")
    assert found is not None
    assert (found.message.kind, found.via) == ("MissingAllowOriginHeader", "https://api.test/old")


def test_a_websocket_that_was_not_opened() -> None:
    found = read_pasted(
        "WebSocket connection to 'ws://localhost:8010/ws' failed: Error during WebSocket handshake: "
        "Unexpected response code: 403"
    )
    assert found is not None
    assert (found.message.kind, found.url) == ("WebSocket handshake", "ws://localhost:8010/ws")


@given(st.text(max_size=300))
def test_nothing_pasted_raises(text: str) -> None:
    read_pasted(text)
    read_pasted(ACCESS + text)
    read_pasted(BLOCKED + text)
