"""What a route's edits, redirects and cookies become in the table."""

from typing import NamedTuple

import pytest

from corsproxy.config.compile import load_table
from corsproxy.config.table import Rewriting, Route
from corsproxy.http.cookies import CookieRules
from corsproxy.http.edits import HeaderEdits
from corsproxy.http.redirects import RedirectMap

HTTP = frozenset({b"http"})


def compiled(route: str, upstream: str = "endpoints: [http://Legacy:9000/v1]", **env: str) -> Route:
    text = f"upstreams: {{legacy: {{{upstream}}}}}\nroutes:\n  - {{upstream: legacy, cors: off, {route}}}\n"
    table, problems = load_table(text, "corsproxy.yaml", env)
    assert table is not None, [problem.as_text() for problem in problems]
    return table.routes[0]


def rewriting(route: str, upstream: str = "endpoints: [http://Legacy:9000/v1]") -> Rewriting:
    found = compiled(route, upstream).rewriting
    assert found is not None
    return found


def test_edits_keep_order_and_case() -> None:
    route = compiled(
        "request_headers: {set: {X-Env: prod, X-Name: Zoë}, add: {X-Env: more}, remove: [X-Debug]},"
        'response_headers: {remove: [SERVER], set: {X-Empty: ""}}'
    )
    assert route.request_edits == HeaderEdits(
        ((b"X-Env", b"prod"), (b"X-Name", "Zoë".encode())), ((b"X-Env", b"more"),), frozenset({b"x-debug"})
    )
    assert route.rewriting is not None
    assert route.rewriting.edits == HeaderEdits(((b"X-Empty", b""),), (), frozenset({b"server"}))


def test_nothing_to_do_is_nothing() -> None:
    route = compiled(
        "redirects: keep, cookies: {path: keep}, request_headers: {set: {}}, response_headers: {remove: []}"
    )
    assert (route.request_edits, route.rewriting) == (None, None)


def test_the_policy_and_the_edits_do_not_speak_of_the_same_field() -> None:
    """Without the key of the policy, the upstream's own Timing-Allow-Origin may be edited."""
    assert rewriting("response_headers: {remove: [Timing-Allow-Origin]}").edits is not None


def test_a_value_from_the_environment_that_is_not_text_is_refused() -> None:
    """A byte that is no UTF-8 comes out of the environment as half a surrogate pair."""
    text = "routes:\n  - {upstream: http://a, cors: off, request_headers: {set: {X-A: '${A}'}}}\n"
    table, problems = load_table(text, "corsproxy.yaml", {"A": b"\xff".decode("utf-8", "surrogateescape")})
    assert table is None
    assert [problem.code for problem in problems] == ["wrong-type"]


class Redirects(NamedTuple):
    says: str
    upstream: str
    authorities: set[bytes]
    keeps_host: bool = False
    schemes: frozenset[bytes] = HTTP


REDIRECTS = [
    Redirects("the endpoint", "endpoints: [http://Legacy:9000]", {b"legacy:9000"}),
    Redirects("without its default port", "endpoints: [http://legacy:80]", {b"legacy"}),
    Redirects("https", "endpoints: ['https://legacy:443']", {b"legacy"}, schemes=frozenset({b"https"})),
    Redirects("an IPv6 address", "endpoints: ['http://[::2]:9000']", {b"[::2]:9000"}),
    Redirects(
        "this machine by all of its names",
        "endpoints: ['http://127.0.0.1:9000']",
        {b"127.0.0.1:9000", b"localhost:9000", b"[::1]:9000"},
    ),
    Redirects("a Unix socket", "endpoints: [http+unix:///run/a.sock]", {b"localhost"}),
    Redirects(
        "a Host of its own", "endpoints: [http://a:9000], host: API.example:80", {b"a:9000", b"api.example"}
    ),
    Redirects(
        "the client's Host", "endpoints: [http://a:9000], host: preserve", {b"a:9000"}, keeps_host=True
    ),
]


@pytest.mark.parametrize("case", REDIRECTS, ids=lambda case: case.says)
def test_what_the_upstream_calls_itself(case: Redirects) -> None:
    assert rewriting("cookies: {path: keep}", case.upstream) == Rewriting(
        RedirectMap(case.schemes, frozenset(case.authorities), keeps_host=case.keeps_host)
    )


def test_paths_move_by_base_path_and_prefix() -> None:
    found = rewriting("match: {path: /api}, strip_prefix: /api")
    assert found.redirects == RedirectMap(HTTP, frozenset({b"legacy:9000"}), base_path=b"/v1", prefix=b"/api")
    assert found.cookies == CookieRules(base_path=b"/v1", prefix=b"/api")
    assert rewriting("redirects: keep").redirects is None


COOKIES = {
    "domain: ''": CookieRules(domain=b""),
    "domain: .Example.com": CookieRules(domain=b"example.com"),
    "domain: localhost": CookieRules(domain=b"localhost"),
    "domain: null": None,
    "secure: drop": CookieRules(secure="drop"),
    "secure: add, same_site: none": CookieRules(secure="add", same_site="none"),
    "same_site: lax": CookieRules(same_site="lax"),
    "path: rewrite": None,
}


@pytest.mark.parametrize("written", COOKIES)
def test_cookies(written: str) -> None:
    found = rewriting(f"cookies: {{{written}}}", "endpoints: [http://legacy:9000]")
    assert found.cookies == COOKIES[written]
