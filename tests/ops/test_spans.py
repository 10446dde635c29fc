"""What the spans of an exchange say: the semantic conventions for HTTP, case by case."""

from dataclasses import dataclass

import pytest

from corsproxy.config.compile import load_table
from corsproxy.config.table import Route
from corsproxy.http.faults import (
    BODY_TOO_LARGE,
    CLIENT_GONE,
    IN_FLIGHT_LIMIT,
    NO_ROUTE,
    RESPONSE_TIMEOUT,
    UPSTREAM_BROKE_OFF,
    UPSTREAM_REFUSED,
    Fault,
)
from corsproxy.ops.spans import client_facts, route_pattern, server_facts
from corsproxy.proxy.exchange import Exchange
from tests.ops.exchanges import exchange


def routes(text: str) -> tuple[Route, ...]:
    table, problems = load_table(f"routes:\n{text}", "", {})
    assert table is not None, problems
    return table.routes


def route(match: str = "{}", upstream: str = "http://u.test:9000", more: str = "") -> Route:
    cors = "{allow_origins: ['https://app.example.com']}"
    return routes(f"  - {{name: r, match: {match}, upstream: '{upstream}', cors: {cors}{more}}}\n")[0]


ASKED = {"endpoint": "http://u.test:9000", "responded": 100.5, "at": route()}


# Names


@dataclass(frozen=True)
class Name:
    says: str
    made: Exchange
    server: str
    client: str | None


NAMES = [
    Name("a method and a route", exchange(**ASKED), "GET /*", "GET"),
    Name("no route", exchange(at=None, fault=NO_ROUTE, status=404), "GET", None),
    Name("a method that a client made up", exchange(method=b"PWN", **ASKED), "HTTP /*", "HTTP"),
    Name("methods have case", exchange(method=b"get", **ASKED), "HTTP /*", "HTTP"),
]


@pytest.mark.parametrize("case", NAMES, ids=lambda case: case.says)
def test_names(case: Name) -> None:
    client = client_facts(case.made)
    assert server_facts(case.made).name == case.server
    assert (client and client.name) == case.client


def test_a_method_outside_the_list_is_kept_as_the_original() -> None:
    found = server_facts(exchange(method=b"PWN")).attributes
    assert (found["http.request.method"], found["http.request.method_original"]) == ("_OTHER", "PWN")


PATTERNS = [
    ("{path: /api}", "/api/*"),
    ("{path: /}", "/*"),
    ("{path_exact: /health}", "/health"),
    ("{path_regex: '/v[0-9]+/.*'}", "/v[0-9]+/.*"),
]


@pytest.mark.parametrize(("match", "pattern"), PATTERNS, ids=[pattern for _, pattern in PATTERNS])
def test_the_pattern_of_a_route(match: str, pattern: str) -> None:
    assert route_pattern(route(match).match) == pattern


# Addresses

HOSTS: list[tuple[bytes, bytes, tuple[object, object]]] = [
    (b"api.test", b"http", ("api.test", 80)),
    (b"api.test", b"https", ("api.test", 443)),
    (b"api.test:8080", b"http", ("api.test", 8080)),
    (b"[2001:db8::1]:8080", b"http", ("2001:db8::1", 8080)),
    (b"[2001:db8::1]", b"http", ("2001:db8::1", 80)),
    (b"api.test:", b"http", ("api.test", 80)),
    (b"", b"http", (None, 80)),
]


@pytest.mark.parametrize(("host", "scheme", "found"), HOSTS, ids=str)
def test_the_server_is_the_one_that_was_asked_for(
    host: bytes, scheme: bytes, found: tuple[object, object]
) -> None:
    attributes = server_facts(exchange(host=host, scheme=scheme)).attributes
    assert (attributes.get("server.address"), attributes.get("server.port")) == found


def test_the_client_is_the_one_that_trusted_proxies_name() -> None:
    attributes = server_facts(exchange(client="203.0.113.7")).attributes
    assert attributes["client.address"] == "203.0.113.7"
    assert attributes["network.peer.address"] == "192.0.2.1"


@dataclass(frozen=True)
class Place:
    says: str
    made: Exchange
    expected: dict[str, str | int]


PLACES = [
    Place(
        "an address that a name led to",
        exchange(path=b"/a", address="192.0.2.9:9000", **ASKED),
        {
            "url.full": "http://u.test:9000/a",
            "server.address": "u.test",
            "server.port": 9000,
            "network.peer.address": "192.0.2.9",
            "network.peer.port": 9000,
        },
    ),
    Place(
        "the path that the upstream sees",
        exchange(
            path=b"/api/a",
            endpoint="https://u.test",
            at=route("{path: /api}", "https://u.test/base", ", strip_prefix: /api"),
        ),
        {"url.full": "https://u.test/base/a", "server.address": "u.test", "server.port": 443},
    ),
    Place(
        "a Unix socket",
        exchange(path=b"/a", endpoint="http+unix:///run/api.sock", at=route()),
        {
            "url.full": "http://localhost/a",
            "server.address": "/run/api.sock",
            "network.transport": "unix",
        },
    ),
]


@pytest.mark.parametrize("case", PLACES, ids=lambda case: case.says)
def test_the_place_of_the_upstream(case: Place) -> None:
    facts = client_facts(case.made)
    assert facts is not None
    found = {key: facts.attributes.get(key) for key in case.expected}
    assert found == case.expected


# Errors


@dataclass(frozen=True)
class Ended:
    says: str
    made: Exchange
    server: tuple[bool, str | None]  # failed, error.type
    client: tuple[bool, str | None] | None  # None = no such span


def ended(status: int, fault: Fault | None = None, **more: object) -> Exchange:
    return exchange(status=status, fault=fault, **{**ASKED, **more})


FINE = (False, None)
ENDED = [
    Ended("well", ended(200), FINE, FINE),
    Ended("a redirect", ended(302), FINE, FINE),
    Ended("an upstream's 404 is no error of ours", ended(404), FINE, (True, "404")),
    Ended("an upstream's 500 is one of both", ended(500), (True, "500"), (True, "500")),
    Ended(
        "no connection",
        ended(502, UPSTREAM_REFUSED, endpoint="", responded=0.0),
        (True, "connection-refused"),
        (True, "connection-refused"),
    ),
    Ended(
        "no answer in time",
        ended(504, RESPONSE_TIMEOUT, responded=0.0),
        (True, "response-timeout"),
        (True, "response-timeout"),
    ),
    Ended(
        "a response that breaks off",
        ended(200, UPSTREAM_BROKE_OFF),
        (True, "broke-off"),
        (True, "broke-off"),
    ),
    Ended(
        "a client that leaves is nobody's failure here",
        ended(200, CLIENT_GONE),
        (False, "client-gone"),
        (False, "client-gone"),
    ),
    Ended(
        "a body that is too large, by the client's own word",
        ended(413, BODY_TOO_LARGE, endpoint="", responded=0.0),
        (False, "body-too-large"),
        None,
    ),
    Ended(
        "too many at once: the upstream is not asked",
        ended(503, IN_FLIGHT_LIMIT, endpoint="", responded=0.0),
        (True, "in-flight-limit"),
        None,
    ),
    Ended("answered here", ended(204, endpoint="", responded=0.0), FINE, None),
]


@pytest.mark.parametrize("case", ENDED, ids=lambda case: case.says)
def test_errors(case: Ended) -> None:
    server, client = server_facts(case.made), client_facts(case.made)
    assert (server.failed, server.attributes.get("error.type")) == case.server
    assert (client and (client.failed, client.attributes.get("error.type"))) == case.client


def test_a_failure_says_what_is_known_of_it() -> None:
    made = ended(502, UPSTREAM_REFUSED.because("http://u.test:9000"), responded=0.0)
    assert server_facts(made).why == "http://u.test:9000"
    assert server_facts(ended(200, CLIENT_GONE.because("x"))).why == ""


def test_the_upstreams_status_is_not_ours() -> None:
    """A 504 of our own is not what the upstream said."""
    client = client_facts(ended(504, RESPONSE_TIMEOUT, responded=0.0))
    assert client is not None
    assert "http.response.status_code" not in client.attributes
