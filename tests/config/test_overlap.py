"""Routes that share requests with an earlier one: what is said, where, and when nothing is."""

import itertools
import re
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corsproxy.config.compile import load_table
from corsproxy.config.overlap import shares_preflights
from corsproxy.config.table import Match
from corsproxy.proxy.routing import host_name
from corsproxy.proxy.why_not import why_not
from tests.docs.pages import page, rows, section

BLUE = "headers: {x-tenant: blue}"
A = "{allow_origins: [https://a.example]}"
B = "{allow_origins: [https://b.example]}"
TAKEN = "preflight-to-another-route"


def found(*entries: tuple[str, str]) -> list[tuple[str, str]]:
    """Code and place of each problem in a file of such routes: (what is matched, policy)."""
    lines = "".join(
        f"  - {{match: {{{match}}}, upstream: http://127.0.0.1:9000, cors: {cors}}}\n"
        for match, cors in entries
    )
    _, problems = load_table(
        f"policies: {{a: {A}, b: {B}, unused: {{extends: a}}}}\nroutes:\n{lines}", "f", {}
    )
    return [(problem.code, problem.where) for problem in problems if not problem.code.startswith("unused")]


class Case(NamedTuple):
    says: str
    first: tuple[str, str]
    second: tuple[str, str]
    problems: list[tuple[str, str]]


ASTRAY = [(TAKEN, "routes[1]")]
CASES = [
    Case("the same path", (f"path: /api, {BLUE}", "a"), ("path: /api", "b"), ASTRAY),
    Case("one policy", (f"path: /api, {BLUE}", "a"), ("path: /api", "a"), []),
    Case("the same keys written twice", (f"path: /api, {BLUE}", A), ("path: /api", "a"), []),
    Case("off is another policy", (f"path: /api, {BLUE}", "a"), ("path: /api", "off"), ASTRAY),
    Case("off twice", (f"path: /api, {BLUE}", "off"), ("path: /api", "off"), []),
    Case("a path below", (f"path: /api, {BLUE}", "a"), ("path: /api/v1", "b"), ASTRAY),
    Case("a path above", (f"path: /api/v1, {BLUE}", "a"), ("path: /api", "b"), ASTRAY),
    Case("a path beside", (f"path: /api, {BLUE}", "a"), ("path: /apix", "b"), []),
    Case("an exact path below", (f"path: /api, {BLUE}", "a"), ("path_exact: /api/v1", "b"), ASTRAY),
    Case("an exact path above", (f"path_exact: /api/v1, {BLUE}", "a"), ("path: /api", "b"), ASTRAY),
    Case("two exact paths", (f"path_exact: /a, {BLUE}", "a"), ("path_exact: /b", "b"), []),
    Case("an expression", (f"path_regex: '/v[0-9]', {BLUE}", "a"), ("path_exact: /v1", "b"), ASTRAY),
    Case("another expression", (f"path_regex: '/v[0-9]', {BLUE}", "a"), ("path_exact: /w1", "b"), []),
    Case("an expression twice", (f"path_regex: '/v', {BLUE}", "a"), ("path_regex: '/v'", "b"), ASTRAY),
    Case(
        "of two expressions nothing is certain",
        (f"path_regex: '/v', {BLUE}", "a"),
        ("path_regex: '/v?'", "b"),
        [],
    ),
    Case("an expression before everything", (f"path_regex: '/v', {BLUE}", "a"), ("path: /", "b"), ASTRAY),
    Case("other methods", (f"methods: [GET], {BLUE}", "a"), ("methods: [PUT]", "b"), []),
    Case("a method in common", (f"methods: [GET, PUT], {BLUE}", "a"), ("methods: [PUT]", "b"), ASTRAY),
    Case("other hosts", (f"hosts: [a.test], {BLUE}", "a"), ("hosts: [b.test]", "b"), []),
    Case("a host in a pattern", (f"hosts: ['*.test'], {BLUE}", "a"), ("hosts: [b.test]", "b"), ASTRAY),
    Case("another value", (BLUE, "a"), ("headers: {x-tenant: red}", "b"), ASTRAY),
    Case(
        "the headers and more", (f"path: /api, {BLUE}", "a"), ("headers: {x-tenant: blue, x-b: c}", "b"), []
    ),
    Case("the headerless one first", ("path: /api", "a"), (f"path: /, {BLUE}", "b"), []),
    Case(
        "a host that is taken",
        ("hosts: ['*.a.test']", "a"),
        ("hosts: [b.a.test, b.test]", "a"),
        [("host-taken", "routes[1].match.hosts[0]")],
    ),
    Case("a host that is not", ("hosts: [a.test], path: /api", "a"), ("hosts: [a.test, b.test]", "a"), []),
    Case(
        "all hosts taken",
        ("hosts: ['*.test']", "a"),
        ("hosts: [a.test, b.test]", "a"),
        [("unreachable-route", "routes[1]")],
    ),
    Case(
        "hosts that cover one another",
        ("hosts: ['*.a.test', b.a.test, a.test, '*.b.a.test', a.test]", "a"),
        ("path: /", "a"),
        [("host-covered", f"routes[0].match.hosts[{at}]") for at in (1, 3, 4)],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_two_routes(case: Case) -> None:
    assert found(case.first, case.second) == case.problems


def test_it_names_both_routes_and_the_header() -> None:
    text = f"""\
routes:
  - {{match: {{{BLUE}}}, upstream: http://127.0.0.1:9000, cors: {A}}}
  - {{upstream: http://127.0.0.1:9000, cors: {B}}}
"""
    (problem,) = load_table(text, "f", {})[1]
    assert problem.as_text() == (
        "f:3:5: warning: routes[1]: preflights go to routes[0] (line 2): a preflight carries no "
        "x-tenant, so those of this route are answered there, by another policy "
        "(Fetch, #cors-preflight-fetch)\n"
        "    give both routes one policy, or tell them apart by host or path"
    )


def test_the_page_has_these_codes() -> None:
    codes = {code for case in CASES for code, _ in case.problems} - {"unreachable-route"}
    assert {row[0] for row in rows(section(page("docs/hazards.md"), "Routes beside each other"))} == codes


PATHS = (b"/", b"/api", b"/api/v1", b"/b")
HOSTS = (b"a.test", b"b.a.test", b"c.test")
HEADERS = ((b"x-a", b"1"), (b"x-a", b"2"), (b"x-b", b"1"))
METHODS = (b"GET", b"PUT")


@st.composite
def matches(draw: st.DrawFn) -> Match:
    exact = draw(st.booleans())
    path = draw(st.sampled_from(PATHS))
    return Match(
        path=b"/" if exact else path,
        path_exact=path if exact else None,
        hosts=tuple(draw(st.lists(st.sampled_from((*HOSTS, b"*.a.test")), max_size=2))),
        methods=frozenset(draw(st.lists(st.sampled_from(METHODS), max_size=1))),
        headers=tuple(dict(draw(st.lists(st.sampled_from(HEADERS), max_size=2))).items()),
    )


@given(matches(), matches())
def test_it_is_so_exactly_when_a_request_shows_it(first: Match, second: Match) -> None:
    """Every request over the few values that matter: its call on the second, its preflight on the first."""
    carried = [
        list(dict(chosen).items()) for size in range(3) for chosen in itertools.combinations(HEADERS, size)
    ]
    shown = any(
        not why_not(second, method, host_name(host), path, fields)
        and why_not(first, method, host_name(host), path, fields)
        and not why_not(first, method, host_name(host), path, None)
        for method in METHODS
        for host in HOSTS
        for path in (*PATHS, b"/api/v1/x")
        for fields in carried
    )
    assert shares_preflights(first, second) == shown


def test_an_expression_counts_from_both_sides() -> None:
    header = ((b"x-a", b"1"),)
    regex = Match(path_regex=re.compile(b"/v[0-9]"), headers=header)
    assert shares_preflights(regex, Match(path_exact=b"/v1"))
    assert shares_preflights(
        Match(path_exact=b"/v1", headers=header), Match(path_regex=re.compile(b"/v[0-9]"))
    )
