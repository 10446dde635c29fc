"""Which route serves a request, and paths that an upstream could read as another route's."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corsproxy.config.table import Match, Route
from corsproxy.http.faults import AMBIGUOUS_PATH, HOST_UNKNOWN, NO_ROUTE, Fault
from corsproxy.http.fields import Fields
from corsproxy.http.paths import canonical_path, normalised_path
from corsproxy.proxy import routing
from corsproxy.proxy.routing import Router, host_name
from tests.proxy.conftest import route


def routes(*matches: Match) -> tuple[Route, ...]:
    return tuple(route(1, index=at, name=f"r{at}", match=match) for at, match in enumerate(matches))


class Ask(NamedTuple):
    says: str
    matches: tuple[Match, ...]
    path: bytes
    found: int | Fault | None
    host: bytes = b"proxy.test"
    method: bytes = b"GET"
    fields: Fields | None = []  # noqa: RUF012 - never changed


API, ADMIN, ALL = Match(path=b"/api"), Match(path=b"/admin"), Match()
EXACT = Match(path_exact=b"/health")
REGEX = Match(path_regex=re.compile(rb"/v\d+/.*"))
MATRIX = Match(path_exact=b"/admin;x=1")
INNER = Match(hosts=(b"inner.test",))
WILD = Match(hosts=(b"*.example.com",))
GETS = Match(methods=frozenset({b"GET"}))
BLUE = Match(headers=((b"x-tenant", b"blue"),))

PATHS = [
    Ask("a prefix is the path itself", (API,), b"/api", 0),
    Ask("a prefix with a slash behind", (API,), b"/api/", 0),
    Ask("a prefix with more behind", (API,), b"/api/x/y", 0),
    Ask("a prefix ends at a segment", (API,), b"/apix", None),
    Ask("a prefix is compared with case", (API,), b"/API", None),
    Ask("a prefix of two segments", (Match(path=b"/a/b"),), b"/a/b/c", 0),
    Ask("half a prefix is none", (Match(path=b"/a/b"),), b"/a", None),
    Ask("a trailing slash in the file adds nothing", (Match(path=b"/api/"),), b"/api", 0),
    Ask("/ is everything", (ALL,), b"/x/y", 0),
    Ask("/ is the root too", (ALL,), b"/", 0),
    Ask("/ takes the asterisk of OPTIONS", (ALL,), b"*", 0),
    Ask("no prefix takes the asterisk", (API,), b"*", None),
    Ask("exact", (EXACT,), b"/health", 0),
    Ask("exact takes nothing behind", (EXACT,), b"/health/", None),
    Ask("exact takes nothing below", (EXACT,), b"/health/x", None),
    Ask("a regular expression", (REGEX,), b"/v2/x", 0),
    Ask("a regular expression is for the whole path", (REGEX,), b"/x/v2/x", None),
    Ask(
        "a regular expression sees no look-alike end", (Match(path_regex=re.compile(rb"/a")),), b"/a\n", None
    ),
    Ask("encoded unreserved characters are the characters", (API,), b"/%61p%69/x", 0),
    Ask("a regular expression sees them decoded", (REGEX,), b"/%76%31/x", 0),
    Ask("exact sees them decoded", (EXACT,), b"/healt%68", 0),
]

ORDER = [
    Ask("the first in the file wins", (API, Match(path=b"/api/x")), b"/api/x", 0),
    Ask("a longer prefix wins only where it stands first", (Match(path=b"/api/x"), API), b"/api/x", 0),
    Ask("a prefix before an exact path", (ALL, EXACT), b"/health", 0),
    Ask("an exact path before a prefix", (EXACT, ALL), b"/health", 0),
    Ask("a regular expression before a prefix", (REGEX, ALL), b"/v1/x", 0),
    Ask("a prefix before a regular expression", (ALL, REGEX), b"/v1/x", 0),
    Ask("a host before any host", (INNER, ALL), b"/", 0, b"inner.test"),
    Ask("any host before a host", (ALL, INNER), b"/", 0, b"inner.test"),
    Ask(
        "a wildcard before an exact host", (WILD, Match(hosts=(b"a.example.com",))), b"/", 0, b"a.example.com"
    ),
    Ask(
        "a longer wildcard behind a shorter one",
        (WILD, Match(hosts=(b"*.a.example.com",))),
        b"/",
        0,
        b"x.a.example.com",
    ),
    Ask("what does not fit falls through", (GETS, ALL), b"/", 1, method=b"PUT"),
]

HOSTS = [
    Ask("an exact host", (INNER,), b"/", 0, b"inner.test"),
    Ask("hosts are compared without case", (INNER,), b"/", 0, b"INNER.Test"),
    Ask("the port does not count", (INNER,), b"/", 0, b"inner.test:8443"),
    Ask("a dot at the end does not count", (INNER,), b"/", 0, b"inner.test."),
    Ask("another host", (INNER,), b"/", None, b"other.test"),
    Ask("a host that ends alike", (INNER,), b"/", None, b"xinner.test"),
    Ask("a wildcard takes one label", (WILD,), b"/", 0, b"a.example.com"),
    Ask("a wildcard takes several labels", (WILD,), b"/", 0, b"a.b.example.com"),
    Ask("a wildcard never takes the apex", (WILD,), b"/", None, b"example.com"),
    Ask("trap 3: a wildcard ends at a label", (WILD,), b"/", None, b"evilexample.com"),
    Ask("a wildcard with a port", (WILD,), b"/", 0, b"a.example.com:80"),
    Ask("an IPv6 address", (Match(hosts=(b"[::1]",)),), b"/", 0, b"[::1]:8080"),
    Ask("no host in HTTP/1.0", (ALL,), b"/", 0, b""),
    Ask("no host is not some host", (INNER,), b"/", None, b""),
]

OTHERS = [
    Ask("trap 20: a method of the route", (GETS,), b"/", 0),
    Ask("trap 20: a method of no route", (GETS,), b"/", None, method=b"PUT"),
    Ask("methods are compared with case", (GETS,), b"/", None, method=b"get"),
    Ask("a header with its value", (BLUE,), b"/", 0, fields=[(b"X-Tenant", b"blue")]),
    Ask(
        "a header among several lines",
        (BLUE,),
        b"/",
        0,
        fields=[(b"x-tenant", b"red"), (b"x-tenant", b"blue")],
    ),
    Ask("a header with another value", (BLUE,), b"/", None, fields=[(b"X-Tenant", b"Blue")]),
    Ask("a header that is not there", (BLUE,), b"/", None),
    Ask("trap 19: headers are not asked of a preflight", (BLUE,), b"/", 0, fields=None),
    Ask("trap 19: methods are asked of a preflight", (GETS, ALL), b"/", 1, method=b"PUT", fields=None),
]

AMBIGUOUS = [
    Ask("trap 37: dot segments lead to another route", (ADMIN, API), b"/api/../admin", AMBIGUOUS_PATH),
    Ask("trap 37: encoded dots", (ADMIN, API), b"/api/%2e%2e/admin", AMBIGUOUS_PATH),
    Ask("trap 37: an encoded slash", (ADMIN, API), b"/api%2f..%2fadmin", AMBIGUOUS_PATH),
    Ask(
        "trap 37: an encoded slash below the route",
        (Match(path=b"/api/private"), API),
        b"/api%2Fprivate",
        AMBIGUOUS_PATH,
    ),
    Ask("trap 37: a backslash", (ADMIN, API), b"/api\\..\\admin", AMBIGUOUS_PATH),
    Ask("trap 37: an encoded backslash", (ADMIN, API), b"/api/%5c..%5c..%5cadmin", AMBIGUOUS_PATH),
    Ask("trap 37: a doubled slash", (ADMIN, ALL), b"//admin", AMBIGUOUS_PATH),
    Ask("trap 37: a doubled slash with an exact route", (EXACT, ALL), b"//health", AMBIGUOUS_PATH),
    Ask("trap 37: parameters on dot segments", (ADMIN, API), b"/api/..;/admin", AMBIGUOUS_PATH),
    Ask("trap 37: out of every route", (API,), b"/api/../x", AMBIGUOUS_PATH),
    Ask("trap 37: into a route from none", (API,), b"/x/../api", AMBIGUOUS_PATH),
    Ask(
        "trap 37: the method decides which route it would be",
        (Match(path=b"/admin", methods=frozenset({b"PUT"})), ALL),
        b"/x/../admin",
        1,
    ),
    Ask("trap 37: the same route either way is no matter", (ALL,), b"/a/../b", 0),
    Ask("trap 37: a parameter on a name", (ADMIN, ALL), b"/admin;x=1/users", AMBIGUOUS_PATH),
    Ask("a parameter that leads nowhere else", (ADMIN, ALL), b"/users;x=1", 1),
    Ask("parameters that the file itself tells apart", (MATRIX, ADMIN, ALL), b"/admin;x=1", 0),
    Ask("trap 37: dots that stay inside the route", (API,), b"/api/x/../y", 0),
    Ask("trap 37: nothing either way", (API,), b"/x/../y", None),
    Ask("an encoded slash that leads nowhere else", (API,), b"/api/a%2Fb", 0),
    Ask("trap 37: for a preflight too", (ADMIN, API), b"/api/../admin", AMBIGUOUS_PATH, fields=None),
]


@pytest.mark.parametrize("case", [*PATHS, *ORDER, *HOSTS, *OTHERS, *AMBIGUOUS], ids=lambda case: case.says)
def test_which_route(case: Ask) -> None:
    every = routes(*case.matches)
    router = Router(every)
    missed = nobody(every, host_name(case.host))
    expected = (
        missed if case.found is None else case.found if isinstance(case.found, Fault) else every[case.found]
    )
    for _ in range(2):  # found, and remembered
        assert router.match(case.method, case.host, case.path, case.fields) is expected


@pytest.mark.parametrize(
    ("base", "strip", "path", "is_ambiguous"),
    [
        (b"/public", b"", b"/../admin", True),
        (b"/public", b"", b"/%2e%2e/admin", True),
        (b"/public", b"", b"/..;/admin", True),
        (b"/public", b"", b"/a/../b", False),
        (b"", b"/api", b"/api/../api/secret", True),
        (b"/v1", b"/api", b"/api/..%2f../api/x", True),
        (b"/v1", b"/api", b"/api/a/../x", False),
        (b"", b"", b"/../x", False),
    ],
)
def test_no_path_leads_out_of_what_stands_before_it_at_the_upstream(
    base: bytes, strip: bytes, path: bytes, is_ambiguous: bool
) -> None:
    match = Match(path=strip or b"/")
    (one,) = (route(1, match=match, base_path=base, strip_prefix=strip),)
    found = Router([one]).match(b"GET", b"proxy.test", path, [])
    assert found is (AMBIGUOUS_PATH if is_ambiguous else one)


@pytest.mark.parametrize(
    ("sent", "matched"),
    [
        (b"A.b", b"a.b"),
        (b"a.b:1", b"a.b"),
        (b"a.b.", b"a.b"),
        (b"a.b.:80", b"a.b"),
        (b"[::A]:1", b"[::a]"),
        (b"[::a]", b"[::a]"),
        (b"", b""),
    ],
)
def test_a_host_as_it_is_matched(sent: bytes, matched: bytes) -> None:
    assert host_name(sent) == matched


# The index against a plain reading of the file


def admits_host(match: Match, host: bytes) -> bool:
    return not match.hosts or any(
        host == wanted or (wanted.startswith(b"*.") and host.endswith(wanted[1:]) and host != wanted[1:])
        for wanted in match.hosts
    )


def nobody(every: Sequence[Route], host: bytes) -> Fault:
    """What is said when no route takes a request: is there one for its host at all?"""
    return NO_ROUTE if any(admits_host(each.match, host) for each in every) else HOST_UNKNOWN


def admits_path(match: Match, path: bytes) -> bool:
    if match.path_exact is not None:
        return path == match.path_exact
    if match.path_regex is not None:
        return match.path_regex.fullmatch(path) is not None
    prefix = match.path.rstrip(b"/")
    return path == prefix or path.startswith(prefix + b"/")


def scan(
    every: Sequence[Route], method: bytes, host: bytes, path: bytes, fields: Fields | None
) -> Route | None:
    """The first route that matches, read from top to bottom."""
    for each in every:
        match = each.match
        sent = None if fields is None else {(name.lower(), value) for name, value in fields}
        if (
            admits_host(match, host)
            and admits_path(match, path)
            and (not match.methods or method in match.methods)
            and (sent is None or set(match.headers) <= sent)
        ):
            return each
    return None


prefixes = st.sampled_from([b"/", b"/a", b"/a/b", b"/b/"])
exacts = st.sampled_from([b"/a", b"/a/b", b"/b/"])
regexes = st.sampled_from([rb"/a.*", rb"/[ab]/b", rb"/b/?"]).map(re.compile)
hosts = st.sampled_from([(), (b"x.test",), (b"*.x.test",), (b"*.y.x.test", b"z.test")])
methods = st.sampled_from([frozenset(), frozenset({b"GET"}), frozenset({b"PUT", b"POST"})])
headers = st.sampled_from([(), ((b"x-a", b"1"),), ((b"x-a", b"1"), (b"x-b", b"2"))])
matches = st.one_of(
    st.builds(Match, path=prefixes, hosts=hosts, methods=methods, headers=headers),
    st.builds(Match, path_exact=exacts, hosts=hosts, methods=methods, headers=headers),
    st.builds(Match, path_regex=regexes, hosts=hosts, methods=methods, headers=headers),
)
asked_paths = st.lists(
    st.sampled_from([b"/", b"a", b"b", b"c", b"..", b"%61", b"%2F", b"."]), max_size=6
).map(lambda parts: b"/" + b"".join(parts))
asked_hosts = st.sampled_from([b"x.test", b"y.x.test", b"w.y.x.test", b"z.test", b"q.test", b"xx.test", b""])
asked_fields = st.sampled_from([None, [], [(b"X-A", b"1")], [(b"x-a", b"1"), (b"X-B", b"2")]])


@settings(max_examples=400)
@given(
    st.lists(matches, max_size=8),
    st.lists(
        st.tuples(st.sampled_from([b"GET", b"PUT"]), asked_hosts, asked_paths, asked_fields),
        min_size=1,
        max_size=6,
    ),
)
def test_the_index_finds_what_reading_the_file_from_the_top_finds(
    every: list[Match], asked: list[tuple[bytes, bytes, bytes, Fields | None]]
) -> None:
    table = routes(*every)
    router = Router(table)
    for method, host, path, fields in asked:
        plain = scan(table, method, host, canonical_path(path), fields)
        obliging = scan(table, method, host, normalised_path(path), fields)
        expected = AMBIGUOUS_PATH if plain is not obliging else plain or nobody(table, host)
        assert router.match(method, host, path, fields) is expected


def test_a_thousand_routes_are_found() -> None:
    table = routes(
        *(Match(path=b"/team-%d/api" % number, hosts=(b"h%d.test" % (number % 7),)) for number in range(1000))
    )
    router = Router(table)
    for number in range(1000):
        assert (
            router.match(b"GET", b"h%d.test" % (number % 7), b"/team-%d/api/x" % number, []) is table[number]
        )
        assert (
            router.match(b"GET", b"h%d.test" % ((number + 1) % 7), b"/team-%d/api/x" % number, []) is NO_ROUTE
        )


def test_what_clients_ask_for_is_not_remembered_without_bound() -> None:
    """Trap 46."""
    router = Router(routes(ALL))
    for number in range(routing._MEMO_LIMIT + 10):
        router.match(b"GET", b"h%d.test" % number, b"/%d" % number, [])
    assert len(router._memo) <= routing._MEMO_LIMIT
    router.match(b"GET", b"a.test", b"/" + b"x" * 5000, [])
    assert max(len(host) + len(path) for host, path in router._memo) <= routing._MEMO_KEY_BYTES


def test_a_long_host_is_not_remembered() -> None:
    """Trap 46: a host may be as long as a request head."""
    router = Router(routes(ALL))
    router.match(b"GET", b"a" * 30_000 + b".test", b"/", [])
    assert all(len(host) <= 1024 for host, _ in router._memo)
