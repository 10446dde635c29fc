"""What holds for every policy and every request.

The last property is the one that counts: what a browser concludes from our fields is what the policy says.
"""

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from corsproxy.cors.compile import compile_policy
from corsproxy.cors.decide import (
    Decision,
    Preflight,
    Reason,
    decide_actual,
    decide_no_route,
    decide_preflight,
)
from corsproxy.cors.fields import exposable, expose_also, is_token, merge_vary, parse_names
from corsproxy.cors.origins import OriginRules, is_well_formed, parse_origin
from corsproxy.cors.policy import CorsPolicy, PolicySpec, Written
from tests import browser_model as browser
from tests.strategies import fetches, origin_like, policies

EXAMPLES = settings(deadline=None)  # the machine that runs this may be busy: time is no property here


def compiled(spec: PolicySpec) -> CorsPolicy:
    policy, hazards = compile_policy(spec)
    assert policy is not None, hazards
    return policy


asked_names = (
    st.none() | st.binary(max_size=200) | st.lists(st.sampled_from([b"x-id", b"accept", b"*"])).map(b",".join)
)
asked_methods = st.binary(max_size=40) | st.sampled_from([b"GET", b"PUT", b"patch", b"TRACE", b"*"])


def every_decision(policy: CorsPolicy, ask: Preflight) -> list[Decision]:
    return [
        decide_preflight(policy, ask),
        decide_actual(policy, ask.origin),
        decide_actual(policy, ask.origin, same_origin=True),
        decide_actual(policy, None),
        decide_no_route([policy], ask.origin),
    ]


@EXAMPLES
@given(policies(), st.builds(Preflight, origin_like, asked_methods, asked_names, st.booleans()))
def test_a_decision_is_always_made_and_always_clean(spec: PolicySpec, ask: Preflight) -> None:
    policy = compiled(spec)
    for decision in every_decision(policy, ask):
        names = [name for name, _ in decision.fields]
        assert len(set(names)) == len(names)  # trap 11
        assert all(is_token(name) and value and value.isascii() for name, value in decision.fields)
        assert all(0x20 <= byte < 0x7F for _, value in decision.fields for byte in value)  # trap 25
        assert decision.detail.isprintable()
        assert len(decision.detail) <= 128
        assert decision.rule is None or decision.allowed or decision.reason is Reason.NO_ROUTE


@EXAMPLES
@given(policies(), st.builds(Preflight, origin_like, asked_methods, asked_names))
def test_a_star_never_stands_beside_credentials(spec: PolicySpec, ask: Preflight) -> None:
    for decision in every_decision(compiled(spec), ask):
        fields = dict(decision.fields)
        if b"Access-Control-Allow-Credentials" in fields:  # trap 7
            assert fields[b"Access-Control-Allow-Origin"] == ask.origin
            assert fields[b"Access-Control-Allow-Credentials"] == b"true"


@EXAMPLES
@given(policies(), st.builds(Preflight, origin_like, asked_methods, asked_names))
def test_only_a_well_formed_origin_is_ever_echoed(spec: PolicySpec, ask: Preflight) -> None:
    for decision in every_decision(compiled(spec), ask):
        allow_origin = dict(decision.fields).get(b"Access-Control-Allow-Origin", b"*")
        assert allow_origin == b"*" or (allow_origin == ask.origin and is_well_formed(ask.origin))


@EXAMPLES
@given(policies(), st.builds(Preflight, origin_like, asked_methods, asked_names))
def test_a_refused_preflight_carries_nothing_without_diagnostics(spec: PolicySpec, ask: Preflight) -> None:
    decision = decide_preflight(compiled(spec), ask)
    assume(not decision.allowed)
    assert decision.blocks
    assert spec.diagnostics or decision.fields == ()
    if decision.reason in {Reason.ORIGIN_NOT_ALLOWED, Reason.ORIGIN_MALFORMED, Reason.NULL_NOT_ALLOWED}:
        assert decision.fields == ()


@EXAMPLES
@given(origin_like)
def test_parsing_and_finding_never_raise(raw: bytes) -> None:
    parsed = parse_origin(raw)
    assert parsed is None or bytes(parsed) == raw  # an origin has one spelling
    assert OriginRules().find(raw) is None


@EXAMPLES
@given(st.binary(max_size=300))
def test_a_list_of_names_is_tokens_or_refused(raw: bytes) -> None:
    names = parse_names(raw)
    if names is not None:
        assert all(is_token(name) and name == name.lower() for name in names)
        assert parse_names(b",".join(names)) == names


tokens = st.sampled_from([b"Origin", b"Accept", b"Accept-Encoding", b"*", b"X-Id"])


@EXAMPLES
@given(
    st.lists(st.lists(tokens).map(b", ".join)),
    st.lists(tokens.filter(lambda token: token != b"*"), unique=True),
)
def test_vary_holds_every_token_after_one_merge(lines: list[bytes], wanted: list[bytes]) -> None:
    added = merge_vary(lines, wanted)
    assert merge_vary([*lines, *([added] if added else [])], wanted) is None


@EXAMPLES
@given(st.text(max_size=60), st.booleans())
@example("https://[::1]]", False)
@example("https://[v1.x]:80", False)
@example("://", True)
@example("*://*:*", True)
@example("*://\x1b[31m", True)
def test_any_entry_is_read_or_refused_with_a_remedy(text: str, credentials: bool) -> None:
    for spec in (
        PolicySpec("p", allow_origins=(Written(text),), allow_credentials=credentials),
        PolicySpec("p", allow_origin_regex=(Written(text),), allow_credentials=credentials),
        PolicySpec(
            "p",
            allow_methods=(Written(text),),
            allow_headers=(Written(text),),
            expose_headers=(Written(text),),
        ),
    ):
        policy, hazards = compile_policy(spec)
        assert (policy is None) is any(hazard.severity == "error" for hazard in hazards)
        assert all(hazard.remedy and (hazard.message + hazard.remedy).isprintable() for hazard in hazards)


@EXAMPLES
@given(st.text(alphabet="aehttps:/.\\*+?|()[]{}0-9,^$", max_size=40).map("https://{}".format))
def test_any_expression_is_read_or_refused(text: str) -> None:
    policy, hazards = compile_policy(PolicySpec("p", allow_origin_regex=(Written(text),)))
    assert (policy is None) is bool(hazards)


# What the policy says, written as naively as it can be said.

ADMITS = {
    "https://*.example.com": lambda origin: origin.startswith("https://") and origin.endswith(".example.com"),
    "https://*.preview.example.com:8443": lambda origin: (
        origin.startswith("https://") and origin.endswith(".preview.example.com:8443")
    ),
    "http://localhost:*": lambda origin: (
        origin == "http://localhost" or origin.startswith("http://localhost:")
    ),
    "@loopback": lambda origin: (
        origin.startswith(("http://", "https://")) and ("localhost" in origin or "[::1]" in origin)
    ),
    "*": lambda _: True,
}


def admits(spec: PolicySpec, origin: str) -> bool:
    return any(ADMITS.get(entry.text, entry.text.__eq__)(origin) for entry in spec.allow_origins)


def lists(entries: tuple[Written, ...], name: str) -> bool:
    return any(entry.text.lower() == name for entry in entries)


def intends(spec: PolicySpec, fetch: browser.Fetch) -> bool:
    """Should this call of fetch() succeed?"""
    if not admits(spec, fetch.origin.decode()):
        return False
    if fetch.credentials == "include" and not spec.allow_credentials:
        return False
    method = fetch.sent_method.decode()
    if method not in {"GET", "HEAD", "POST"}:
        any_method = lists(spec.allow_methods, "*") and method != "patch"  # no server knows it in lower case
        if not any_method and method not in {entry.text for entry in spec.allow_methods}:
            return False
    for raw in browser.unsafe_request_header_names(fetch.headers):
        name = raw.decode()
        any_header = lists(spec.allow_headers, "*") and name != "authorization"
        if not any_header and not lists(spec.allow_headers, name):
            return False
    return True


def succeeds(policy: CorsPolicy, fetch: browser.Fetch) -> bool:
    """Does it, by the browser's own checks of what we send?"""
    if browser.needs_preflight(fetch):
        decision = decide_preflight(policy, Preflight(fetch.origin, *browser.preflight_asks(fetch)))
        status = policy.preflight_status if decision.allowed else 403
        if not browser.passes_preflight(fetch, status, decision.fields):
            return False
    return browser.passes_cors_check(fetch, decide_actual(policy, fetch.origin).fields)


@settings(EXAMPLES, max_examples=500)
@given(policies(), fetches())
def test_the_browser_concludes_what_the_policy_says(spec: PolicySpec, fetch: browser.Fetch) -> None:
    assert succeeds(compiled(spec), fetch) is intends(spec, fetch)


RESPONSE = (
    (b"ETag", b"1"),
    (b"Location", b"/x"),
    (b"X-Total-Count", b"3"),
    (b"Content-Type", b"a/b"),
    (b"Set-Cookie", b"c=d"),
)


@EXAMPLES
@given(policies(), fetches())
def test_a_script_reads_what_the_policy_exposes(spec: PolicySpec, fetch: browser.Fetch) -> None:
    decision = decide_actual(compiled(spec), fetch.origin)
    fields = decision.fields
    if decision.expose_present:
        fields = expose_also(fields, exposable(name for name, _ in RESPONSE))
    response = (*RESPONSE, *fields)
    assume(browser.passes_cors_check(fetch, response))
    own = {name.lower() for name, _ in RESPONSE}
    intended = {
        name
        for name in own
        if name == b"content-type"
        or lists(spec.expose_headers, name.decode())
        or lists(spec.expose_headers, "*")
    }
    assert browser.readable_names(fetch, response) & own == intended - {b"set-cookie"}


@EXAMPLES
@given(policies())
def test_a_preflight_is_kept_as_long_as_the_policy_says(spec: PolicySpec) -> None:
    policy = compiled(spec)
    decision = decide_preflight(policy, Preflight(b"https://app.example.com", b"GET"))
    assume(decision.allowed)
    assert browser.preflight_seconds(decision.fields) == (
        5 if spec.max_age is None else spec.max_age
    )  # trap 47
