"""For any policy: an upstream's CORS fields change no verdict, a cache that honours Vary misleads nobody."""

from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from corsproxy.cors.compile import compile_policy
from corsproxy.cors.decide import decide_actual
from corsproxy.cors.policy import PolicySpec, Written
from corsproxy.http.fields import Fields, list_members
from corsproxy.proxy.response import ResponseHead, response_head, trailer_section
from corsproxy.proxy.service import Ready
from tests import browser_model as browser
from tests.strategies import fetches, policies

EXAMPLES = settings(deadline=None, max_examples=300)

PLAIN: Fields = [(b"Content-Type", b"a/b"), (b"ETag", b"1"), (b"X-Total-Count", b"3")]
APP = b"https://app.example.com"


def in_odd_case(name: str) -> st.SearchStrategy[bytes]:
    return st.sampled_from([name, name.lower(), name.upper(), name.swapcase()]).map(str.encode)


# Duplicates, any case, and what an attacker or a careless upstream would most like to have sent.
hostile = st.lists(
    st.tuples(
        st.one_of(
            in_odd_case("Access-Control-Allow-Origin"),
            in_odd_case("Access-Control-Allow-Credentials"),
            in_odd_case("Access-Control-Expose-Headers"),
            in_odd_case("Access-Control-Something-New"),
        ),
        st.sampled_from([b"*", b"true", b"null", APP, b"https://evil.test", b"x-total-count, etag", b""]),
    ),
    max_size=6,
)
varying = st.lists(
    st.tuples(in_odd_case("Vary"), st.sampled_from([b"Accept", b"origin, Accept", b"ORIGIN", b"*", b"a,,b"])),
    max_size=2,
)


def response_to(spec: PolicySpec, origin: bytes | None, fields: Fields) -> Fields:
    """The fields that the client gets for this response of the upstream."""
    policy, _ = compile_policy(spec)
    assert policy is not None
    head = response_head(200, b"OK", fields, Ready(decide_actual(policy, origin), policy), head_only=False)
    assert isinstance(head, ResponseHead)
    lines = b"\r\n".join(head.lines[1:]).split(b"\r\n")
    return [(name, value.strip()) for name, _, value in (line.partition(b":") for line in lines if line)]


def enforced(spec: PolicySpec) -> PolicySpec:
    return replace(spec, mode="enforce", upstream_cors="replace")


@EXAMPLES
@given(policies(), fetches(), hostile)
@example(
    PolicySpec("web", allow_origins=(Written(APP.decode()),)),
    browser.Fetch(b"https://evil.test", credentials="include"),
    [(b"access-control-allow-origin", b"https://evil.test"), (b"Access-Control-Allow-Credentials", b"true")],
)
def test_what_the_upstream_says_of_cors_changes_no_verdict(
    spec: PolicySpec, fetch: browser.Fetch, theirs: Fields
) -> None:
    """Traps 11, 12 and 13."""
    spec = enforced(spec)
    clean = response_to(spec, fetch.origin, PLAIN)
    for fields in (theirs + PLAIN, PLAIN + theirs):
        seen = response_to(spec, fetch.origin, fields)
        assert browser.passes_cors_check(fetch, seen) is browser.passes_cors_check(fetch, clean)
        assert browser.readable_names(fetch, seen) == browser.readable_names(fetch, clean)
    assert trailer_section(theirs) == b""  # trap 49


def is_reusable(stored: Fields, first: bytes | None, second: bytes | None) -> bool:
    """May a cache answer the second request with what it stored for the first (RFC 9111 §4.1)?

    The two differ in Origin alone.
    """
    names = {
        member.lower() for name, value in stored if name.lower() == b"vary" for member in list_members(value)
    }
    return b"*" not in names and (b"origin" not in names or first == second)


@EXAMPLES
@given(policies(), fetches(), st.one_of(st.none(), fetches()), varying, hostile)
@example(
    PolicySpec("web", allow_origins=(Written(APP.decode()),)),
    browser.Fetch(APP),
    None,
    [(b"Vary", b"Accept")],
    [],
)
def test_a_cache_that_honours_vary_misleads_nobody(
    spec: PolicySpec,
    fetch: browser.Fetch,
    before: browser.Fetch | None,
    vary: Fields,
    theirs: Fields,
) -> None:
    """Traps 9 and 10: what was stored for another origin, or for none, is what a script would have had."""
    spec = enforced(spec)
    first = None if before is None else before.origin
    fields = [*PLAIN, *vary, *theirs]
    stored = response_to(spec, first, fields)
    if not is_reusable(stored, first, fetch.origin):
        return  # the cache asks again, so nobody is misled
    fresh = response_to(spec, fetch.origin, fields)
    assert browser.passes_cors_check(fetch, stored) is browser.passes_cors_check(fetch, fresh)
    assert browser.readable_names(fetch, stored) == browser.readable_names(fetch, fresh)
