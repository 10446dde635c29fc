"""The policy on real sockets: what a browser gets, whatever the upstream says about CORS itself.

A number is that of the trap, a mistake seen in a real system.
"""

import json
import socket
from typing import NamedTuple

import pytest

from corsproxy.config.table import Limits, Match
from corsproxy.cors.decide import Reason
from corsproxy.cors.policy import PolicySpec
from tests.proxy.conftest import APP, SPEC, policy, proxy, route, words
from tests.wire import Message, answers, ask, get, names_of, ok, upstream

OTHER = "https://other.example"
CORS = "access-control-.*"
OPEN = PolicySpec("open", allow_origins=words("*"))
# An upstream with a CORS policy of its own, and the wrong one.
LOOSE = ok(
    b"hello",
    "access-control-allow-ORIGIN: *",
    "Access-Control-Allow-Origin: https://other.example",
    "ACCESS-CONTROL-ALLOW-CREDENTIALS: true",
    "Access-Control-Expose-Headers: *",
    "X-Total-Count: 7",
)


def preflight(*lines: str, origin: str = APP, method: str = "PUT", path: str = "/") -> bytes:
    return get(
        path, f"Origin: {origin}", f"Access-Control-Request-Method: {method}", *lines, method="OPTIONS"
    )


def cors_fields(message: Message) -> dict[str, str]:
    """The Access-Control fields, none of them twice."""
    names = names_of(message, CORS)
    assert len(names) == len({name.lower() for name in names}), names
    return {name: message.one(name) or "" for name in names}


def vary(message: Message) -> set[str]:
    return {token.strip().lower() for value in message.all("Vary") for token in value.split(",")}


READABLE = {"Access-Control-Allow-Origin": APP, "Access-Control-Allow-Credentials": "true"}
EXPOSED = {**READABLE, "Access-Control-Expose-Headers": "X-Total-Count"}
GRANTED = {
    **READABLE,
    "Access-Control-Allow-Methods": "GET, PUT, DELETE",
    "Access-Control-Allow-Headers": "content-type, authorization",
    "Access-Control-Max-Age": "600",
}


# Preflights


class Allowed(NamedTuple):
    says: str
    request: bytes


ALLOWED = [
    Allowed("15: without credentials, and the upstream is not asked for any", preflight()),
    Allowed("18: without request headers", preflight(method="DELETE")),
    Allowed("a safelisted method needs no listing", preflight(method="POST")),
    Allowed(
        "22: as browsers send them", preflight("Access-Control-Request-Headers: authorization,content-type")
    ),
    Allowed(
        "22: on several lines, re-spaced and re-cased",
        preflight(
            "Access-Control-Request-Headers: Authorization ,", "access-control-request-HEADERS: ,Content-Type"
        ),
    ),
    Allowed("23: empty elements", preflight("Access-Control-Request-Headers: ,,")),
]


@pytest.mark.parametrize("case", ALLOWED, ids=lambda case: case.says)
async def test_an_allowed_preflight_is_answered_here(case: Allowed) -> None:
    async with upstream(answers(LOOSE)) as legacy, proxy(route(legacy.port)) as front:
        answer = await ask(front.address, case.request)
        assert (answer.status, answer.body) == (204, b"")
        assert cors_fields(answer) == GRANTED
        assert vary(answer) == {"origin", "access-control-request-method", "access-control-request-headers"}
        assert names_of(answer, "content-length|transfer-encoding|content-type") == []
        assert not legacy.connections


class Refused(NamedTuple):
    says: str
    request: bytes
    reason: Reason
    detail: str


REFUSED = [
    Refused("an origin that is not listed", preflight(origin=OTHER), Reason.ORIGIN_NOT_ALLOWED, OTHER),
    Refused(
        "1: an origin that only starts alike",
        preflight(origin=APP + ".evil.test"),
        Reason.ORIGIN_NOT_ALLOWED,
        APP + ".evil.test",
    ),
    Refused(
        "3: an origin that only ends alike",
        preflight(origin="https://evilpreview.example.com"),
        Reason.ORIGIN_NOT_ALLOWED,
        "https://evilpreview.example.com",
    ),
    Refused("8: null is nobody", preflight(origin="null"), Reason.NULL_NOT_ALLOWED, "null"),
    Refused(
        "30: a list of origins",
        preflight(origin=f"{APP}, {OTHER}"),
        Reason.ORIGIN_MALFORMED,
        f"{APP}, {OTHER}",
    ),
    Refused("an origin with a path", preflight(origin=APP + "/"), Reason.ORIGIN_MALFORMED, APP + "/"),
    Refused("two Origin lines", preflight(f"Origin: {APP}"), Reason.ORIGIN_MALFORMED, f"{APP}, {APP}"),
    Refused("a method that is not listed", preflight(method="PATCH"), Reason.METHOD_NOT_ALLOWED, "PATCH"),
    Refused("26: methods are compared with case", preflight(method="put"), Reason.METHOD_NOT_ALLOWED, "put"),
    Refused(
        "a header that is not listed",
        preflight("Access-Control-Request-Headers: content-type,x-id"),
        Reason.HEADER_NOT_ALLOWED,
        "x-id",
    ),
    Refused(
        "25: a list that is none",
        preflight("Access-Control-Request-Headers: a b"),
        Reason.REQUEST_HEADER_LIST_MALFORMED,
        "a b",
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.says)
async def test_a_refused_preflight_says_why_and_allows_nothing(case: Refused) -> None:
    async with upstream(answers(LOOSE)) as legacy, proxy(route(legacy.port)) as front:
        answer = await ask(front.address, case.request)
        problem = json.loads(answer.body)
        assert (answer.status, cors_fields(answer)) == (403, {})
        assert (problem["reason"], problem["detail"]) == (case.reason.value, case.detail)
        assert front.last.decision is not None
        assert front.last.decision.reason is case.reason
        assert vary(answer) == {"origin", "access-control-request-method", "access-control-request-headers"}
        assert not legacy.connections


async def test_15_preflights_work_while_the_upstream_is_down() -> None:
    with socket.socket() as taken:  # bound, not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        async with proxy(route(taken.getsockname()[1])) as front:
            assert (await ask(front.address, preflight())).status == 204
            assert (await ask(front.address, get("/", f"Origin: {APP}"))).status == 502


async def test_a_preflight_status_of_200_has_an_empty_body() -> None:
    async with proxy(route(1, policy=policy(preflight_status=200))) as front:
        answer = await ask(front.address, preflight())
        assert (answer.status, answer.one("Content-Length"), answer.body) == (200, "0", b"")


async def test_6_any_method_and_header_without_credentials_is_a_literal_star() -> None:
    spec = PolicySpec(
        "any", allow_origins=words("*"), allow_methods=words("*"), allow_headers=words("*", "Authorization")
    )
    async with proxy(route(1, policy=policy(spec))) as front:
        answer = await ask(
            front.address, preflight("Access-Control-Request-Headers: authorization,x-id", method="PATCH")
        )
        assert answer.one("Access-Control-Allow-Origin") == "*"
        assert answer.one("Access-Control-Allow-Methods") == "*"
        assert answer.one("Access-Control-Allow-Headers") == "*, Authorization"
        assert vary(answer) == {"access-control-request-method", "access-control-request-headers"}


async def test_21_any_method_and_header_with_credentials_is_what_was_asked_for() -> None:
    web = policy(allow_methods=words("*"), allow_headers=words("*"))
    async with proxy(route(1, policy=web)) as front:
        answer = await ask(
            front.address, preflight("Access-Control-Request-Headers: x-id,x-other", method="PATCH")
        )
        assert answer.one("Access-Control-Allow-Methods") == "PATCH"
        assert answer.one("Access-Control-Allow-Headers") == "x-id,x-other"


@pytest.mark.parametrize("method", ["CHICKEN", "patch", "TRACE", "CONNECT"])
async def test_a_method_that_could_not_be_forwarded_is_not_promised(method: str) -> None:
    async with proxy(route(1, policy=policy(allow_methods=words("*")))) as front:
        assert (await ask(front.address, preflight(method=method))).status == 403


async def test_48_private_network_is_granted_only_when_asked_and_allowed() -> None:
    asked = "Access-Control-Request-Private-Network: true"
    name = "Access-Control-Allow-Private-Network"
    async with proxy(route(1, policy=policy(allow_private_network=True))) as front:
        assert (await ask(front.address, preflight(asked))).one(name) == "true"
        assert (await ask(front.address, preflight())).one(name) is None
        assert (await ask(front.address, preflight(asked, origin=OTHER))).one(name) is None


async def test_19_a_preflight_finds_the_route_of_the_request_it_is_about() -> None:
    """20: each route has a policy of its own, though the path is the same."""
    reads = route(1, name="reads", match=Match(methods=frozenset({b"GET"})), policy=policy(OPEN))
    writes = route(
        1, name="writes", match=Match(methods=frozenset({b"PUT"}), headers=((b"x-tenant", b"blue"),))
    )
    async with proxy(reads, writes) as front:
        assert (await ask(front.address, preflight(method="PUT"))).one("Access-Control-Allow-Origin") == APP
        assert (await ask(front.address, preflight(method="GET"))).one("Access-Control-Allow-Origin") == "*"


@pytest.mark.parametrize("lines", [[], [f"Origin: {APP}"], ["Access-Control-Request-Method: PUT"]])
async def test_17_options_that_is_no_preflight_is_the_upstreams(lines: list[str]) -> None:
    async with upstream(answers(ok(b"menu", "Allow: GET"))) as legacy, proxy(route(legacy.port)) as front:
        answer = await ask(front.address, get("/", *lines, method="OPTIONS"))
        assert (answer.body, legacy.requests[0].first_line) == (b"menu", "OPTIONS / HTTP/1.1")


async def test_diagnostics_name_the_step_that_fails() -> None:
    """Browsers look at the status first: so that devtools say which step fails, the status is fine."""
    async with proxy(route(1, policy=policy(diagnostics=True))) as front:
        answer = await ask(front.address, preflight("Access-Control-Request-Headers: x-id"))
        granted = cors_fields(answer)
        assert json.loads(answer.body)["reason"] == "header-not-allowed"
        assert granted.items() >= READABLE.items()
        assert "Access-Control-Allow-Headers" not in granted
        refused = await ask(front.address, preflight(origin=OTHER))
        assert (refused.status, cors_fields(refused)) == (403, {})


async def test_report_only_lets_the_upstream_answer_and_records_the_verdict() -> None:
    async with (
        upstream(answers(ok(b"", f"Access-Control-Allow-Origin: {OTHER}"))) as legacy,
        proxy(route(legacy.port, policy=policy(mode="report_only"))) as front,
    ):
        for request in (preflight(origin=OTHER), get("/", f"Origin: {OTHER}")):
            answer = await ask(front.address, request)
            assert (answer.status, cors_fields(answer)) == (200, {"Access-Control-Allow-Origin": OTHER})
            assert front.last.decision is not None
            assert front.last.decision.reason is Reason.REPORT_ONLY
            assert front.last.decision.detail == "origin-not-allowed"
        assert [request.first_line.split()[0] for request in legacy.requests] == ["OPTIONS", "GET"]


async def test_cors_off_passes_preflights_and_the_upstreams_fields() -> None:
    async with upstream(answers(ok(b"", "aCCESS-cONTROL-aLLOW-oRIGIN: *"))) as legacy:
        async with proxy(route(legacy.port, policy=None)) as front:
            for request in (preflight(), get("/", f"Origin: {APP}"), get("/")):
                answer = await ask(front.address, request)
                assert names_of(answer, CORS) == ["aCCESS-cONTROL-aLLOW-oRIGIN"]
                assert answer.all("Vary") == []
        assert len(legacy.requests) == 3


# Actual requests


class Actual(NamedTuple):
    says: str
    lines: list[str]
    fields: dict[str, str]
    reason: Reason


ACTUAL = [
    Actual("27: an allowed origin", [f"Origin: {APP}"], EXPOSED, Reason.ALLOWED),
    Actual(
        "an origin that a pattern allows",
        ["Origin: https://pr-1.preview.example.com"],
        {**EXPOSED, "Access-Control-Allow-Origin": "https://pr-1.preview.example.com"},
        Reason.ALLOWED,
    ),
    Actual("12: an origin that is not listed", [f"Origin: {OTHER}"], {}, Reason.ORIGIN_NOT_ALLOWED),
    Actual("12: no Origin", [], {}, Reason.NOT_CORS),
    Actual("8: null", ["Origin: null"], {}, Reason.NULL_NOT_ALLOWED),
    Actual("an empty Origin", ["Origin:"], {}, Reason.ORIGIN_MALFORMED),
    Actual(
        "two Origin lines, though both are allowed",
        [f"Origin: {APP}", f"Origin: {APP}"],
        {},
        Reason.ORIGIN_MALFORMED,
    ),
    Actual("30: a list of allowed origins", [f"Origin: {APP}, {APP}"], {}, Reason.ORIGIN_MALFORMED),
    Actual(
        "46: an endless Origin",
        ["Origin: https://" + "a" * 2000 + ".example.com"],
        {},
        Reason.ORIGIN_MALFORMED,
    ),
    Actual("bytes above ASCII", ["Origin: https://\xe4pp.example.com"], {}, Reason.ORIGIN_MALFORMED),
    Actual("another port", [f"Origin: {APP}:8443"], {}, Reason.ORIGIN_NOT_ALLOWED),
    Actual("another scheme", ["Origin: http://app.example.com"], {}, Reason.ORIGIN_NOT_ALLOWED),
    Actual(
        "32: upper case is no origin that a browser writes",
        ["Origin: https://APP.example.com"],
        {},
        Reason.ORIGIN_MALFORMED,
    ),
    Actual(
        "34: the page of this very proxy, by Sec-Fetch-Site",
        ["Origin: https://p.test", "Sec-Fetch-Site: same-origin"],
        {},
        Reason.SAME_ORIGIN,
    ),
    Actual("34: the page of this very proxy, by Host", ["Origin: http://proxy.test"], {}, Reason.SAME_ORIGIN),
    Actual(
        "34: Sec-Fetch-Site has the last word",
        ["Origin: http://proxy.test", "Sec-Fetch-Site: cross-site"],
        {},
        Reason.ORIGIN_NOT_ALLOWED,
    ),
]


@pytest.mark.parametrize("case", ACTUAL, ids=lambda case: case.says)
async def test_11_the_upstreams_cors_fields_are_replaced_by_the_policys(case: Actual) -> None:
    async with upstream(answers(LOOSE)) as legacy, proxy(route(legacy.port)) as front:
        answer = await ask(front.address, get("/", *case.lines))
        assert (answer.status, answer.body) == (200, b"hello")
        assert cors_fields(answer) == case.fields
        assert vary(answer) == {"origin"}  # 9: on every one of them
        assert front.last.decision is not None
        assert front.last.decision.reason is case.reason
        assert answer.one("X-Total-Count") == "7"


STATUSES = [
    "301 Moved Permanently",
    "304 Not Modified",
    "401 Unauthorized",
    "404 Not Found",
    "500 Internal Server Error",
]


@pytest.mark.parametrize("status", STATUSES)
async def test_27_every_status_of_the_upstream_carries_the_fields(status: str) -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nLocation: /x\r\nVary: Accept\r\n\r\n"
    async with upstream(answers(head.encode())) as legacy, proxy(route(legacy.port)) as front:
        answer = await ask(front.address, get("/", f"Origin: {APP}"))
        assert answer.first_line == f"HTTP/1.1 {status}"
        assert cors_fields(answer) == EXPOSED
        assert vary(answer) == {"accept", "origin"}  # 10


async def test_9_a_plain_star_stands_on_every_response_and_does_not_vary() -> None:
    async with upstream(answers(LOOSE)) as legacy, proxy(route(legacy.port, policy=policy(OPEN))) as front:
        for lines in ([f"Origin: {OTHER}"], [], ["Origin: null"]):
            answer = await ask(front.address, get("/", *lines))
            assert cors_fields(answer) == {"Access-Control-Allow-Origin": "*"}
            assert answer.all("Vary") == []


async def test_45_one_clients_origin_never_shows_up_on_anothers_response() -> None:
    origins = [f"https://pr-{number}.preview.example.com" for number in range(20)] + [OTHER, APP]
    async with upstream(answers(LOOSE)) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        for origin in origins * 2:
            await wire.send(get("/", f"Origin: {origin}"))
            sent = (await wire.message()).one("Access-Control-Allow-Origin")
            assert sent == (None if origin == OTHER else origin)


class Block(NamedTuple):
    says: str
    request: bytes
    status: int


BLOCK = [
    Block("36: a foreign origin is stopped here", get("/", f"Origin: {OTHER}"), 403),
    Block("36: a malformed one too", get("/", "Origin: nonsense"), 403),
    Block("an allowed origin passes", get("/", f"Origin: {APP}"), 200),
    Block("no Origin passes", get("/"), 200),
    Block(
        "34: same-origin passes, by Sec-Fetch-Site",
        get("/", "Origin: https://p.test", "Sec-Fetch-Site: same-origin", "Content-Length: 0", method="POST"),
        200,
    ),
    Block(
        "34: same-origin passes, by Host",
        get("/", "Origin: http://proxy.test:8080", host="Proxy.test:8080"),
        200,
    ),
    Block("34: Host may name the default port", get("/", "Origin: http://h.test", host="h.test:80"), 200),
    Block("34: not that of https", get("/", "Origin: http://h.test", host="h.test:443"), 403),
    Block("same-site is not same-origin", get("/", f"Origin: {OTHER}", "Sec-Fetch-Site: same-site"), 403),
    Block("a scheme of its own", get("/", "Origin: https://proxy.test"), 403),
    Block(
        "trap 34 is no way in for a malformed origin",
        get("/", "Origin: x", "Sec-Fetch-Site: same-origin"),
        403,
    ),
]


@pytest.mark.parametrize("case", BLOCK, ids=lambda case: case.says)
async def test_on_denied_block(case: Block) -> None:
    async with (
        upstream(answers(ok())) as legacy,
        proxy(route(legacy.port, policy=policy(on_denied="block"))) as front,
    ):
        answer = await ask(front.address, case.request)
        assert answer.status == case.status
        assert len(legacy.requests) == (1 if case.status == 200 else 0)
        assert vary(answer) == {"origin"}
        if case.status == 403:
            assert cors_fields(answer) == {}
            assert json.loads(answer.body)["reason"].startswith("origin-")


async def test_35_a_blocked_head_request_has_no_body() -> None:
    async with proxy(route(1, policy=policy(on_denied="block"))) as front:
        wire = await front.dial()
        for _ in range(2):  # a body here would be read as the next answer
            await wire.send(get("/", f"Origin: {OTHER}", method="HEAD"))
            assert (await wire.message(head_only=True)).status == 403


async def test_merge_expose_keeps_the_upstreams_names_and_nothing_else() -> None:
    response = ok(b"", "Access-Control-Expose-Headers: ETag", "Access-Control-Allow-Origin: *")
    async with (
        upstream(answers(response)) as legacy,
        proxy(route(legacy.port, policy=policy(upstream_cors="merge_expose"))) as front,
    ):
        answer = await ask(front.address, get("/", f"Origin: {APP}"))
        assert cors_fields(answer) == {**EXPOSED, "Access-Control-Expose-Headers": "X-Total-Count, etag"}


async def test_49_trailers_add_nothing_to_the_policy() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    response = head + b"0\r\naccess-control-allow-origin: *\r\nX-Sum: 1\r\n\r\n"
    async with upstream(answers(response)) as legacy, proxy(route(legacy.port)) as front:
        answer = await ask(front.address, get("/", f"Origin: {OTHER}", "TE: trailers", "Connection: TE"))
        assert answer.trailers == [("X-Sum", "1")]


async def test_26_a_client_cannot_take_our_fields_away() -> None:
    """CVE-2024-45410: by naming them in Connection."""
    names = "Origin, Access-Control-Allow-Origin, Access-Control-Request-Method, Vary"
    async with upstream(answers(LOOSE)) as legacy, proxy(route(legacy.port)) as front:
        answer = await ask(front.address, get("/", f"Origin: {APP}", f"Connection: {names}"))
        assert cors_fields(answer) == EXPOSED
        answer = await ask(front.address, preflight(f"Connection: {names}"))
        assert cors_fields(answer) == GRANTED


# Answers of the proxy's own


async def test_28_errors_of_the_proxy_carry_the_fields_and_say_what_is_wrong() -> None:
    small = Limits(request_body=1)
    async with proxy(route(1, limits=small)) as front:
        for lines, status in ((["Content-Length: 5"], 413), ([], 502)):
            answer = await ask(front.address, get("/", f"Origin: {APP}", *lines, method="POST"))
            assert answer.status == status
            assert cors_fields(answer).items() >= READABLE.items()
            assert "Proxy-Status" in (answer.one("Access-Control-Expose-Headers") or "").split(", ")
            foreign = await ask(front.address, get("/", f"Origin: {OTHER}", *lines, method="POST"))
            assert (foreign.status, cors_fields(foreign), vary(foreign)) == (status, {}, {"origin"})


async def test_28_a_404_carries_the_fields_of_the_first_policy_that_allows_the_origin() -> None:
    shop = policy(PolicySpec("shop", allow_origins=words(OTHER)))
    routes = [route(1, match=Match(path=b"/a")), route(1, match=Match(path=b"/b"), policy=shop)]
    async with proxy(*routes) as front:
        for origin, allowed in ((APP, APP), (OTHER, OTHER), ("https://third.example", None)):
            answer = await ask(front.address, get("/x", f"Origin: {origin}"))
            assert (answer.status, answer.one("Access-Control-Allow-Origin")) == (404, allowed)
            assert vary(answer) == {"origin"}
        refused = await ask(front.address, preflight(path="/x"))
        assert (refused.status, front.last.decision and front.last.decision.reason) == (404, Reason.NO_ROUTE)


async def test_37_an_ambiguous_path_is_refused_readably() -> None:
    routes = [route(1, match=Match(path=b"/admin"), policy=policy(OPEN)), route(1, match=Match(path=b"/api"))]
    async with proxy(*routes) as front:
        answer = await ask(front.address, get("/api/..%2fadmin", f"Origin: {APP}"))
        assert (answer.status, json.loads(answer.body)["reason"]) == (400, "ambiguous-path")
        assert answer.one("Access-Control-Allow-Origin") is not None


@pytest.mark.parametrize("path", ["/", "/nowhere"])
async def test_62_an_error_for_head_has_no_body(path: str) -> None:
    async with proxy(route(1, match=Match(path_exact=b"/"))) as front:
        wire = await front.dial()
        for _ in range(2):
            await wire.send(get(path, f"Origin: {APP}", method="HEAD"))
            answer = await wire.message(head_only=True)
            assert answer.status == (502 if path == "/" else 404)
            assert int(answer.one("Content-Length") or 0) > 0
            assert answer.one("Access-Control-Allow-Origin") == APP


@pytest.mark.parametrize("nasty", ["<script>", "%0d%0aSet-Cookie:a=1", "\x22\x27"])
async def test_25_error_pages_reflect_nothing_that_could_be_read_as_markup(nasty: str) -> None:
    async with proxy(route(1, match=Match(path=b"/only"))) as front:
        answer = await ask(front.address, get("/" + nasty, f"Origin: {nasty}"))
        assert answer.one("Content-Type") == "application/problem+json"
        assert nasty.encode() not in answer.body
        assert answer.all("Set-Cookie") == []


def test_the_policy_of_these_tests_is_what_they_say() -> None:
    assert SPEC.allow_credentials
    assert [written.text for written in SPEC.allow_methods] == ["GET", "PUT", "DELETE"]
