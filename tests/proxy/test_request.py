"""The facts of one request head, and the heads that are refused although the parser took them."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corsproxy.http.faults import BAD_REQUEST, METHOD_REFUSED, TRANSFER_CODING, Fault
from corsproxy.http.fields import Fields
from corsproxy.proxy.request import Request, read_request

HOST = (b"Host", b"proxy.test")


def read(
    *fields: tuple[bytes, bytes],
    method: bytes = b"GET",
    target: bytes = b"/",
    is_http10: bool = False,
) -> Request | Fault:
    return read_request(method, target, list(fields), is_http10=is_http10, keep_alive=True)


def facts(*fields: tuple[bytes, bytes], method: bytes = b"GET", target: bytes = b"/") -> Request:
    request = read(HOST, *fields, method=method, target=target)
    assert isinstance(request, Request), request
    return request


class Line(NamedTuple):
    says: str
    fields: Fields
    lines: list[bytes]


LINES = [
    Line("an unknown field crosses as it is", [(b"x-B", b"1")], [b"x-B: 1"]),
    Line(
        "order, case and repetition are kept",
        [(b"B", b"2"), (b"a", b"1"), (b"b", b"3")],
        [b"B: 2", b"a: 1", b"b: 3"],
    ),
    Line(
        "Cookie lines stay apart",
        [(b"Cookie", b"a=1"), (b"Cookie", b"b=2")],
        [b"Cookie: a=1", b"Cookie: b=2"],
    ),
    Line("an empty value crosses", [(b"X-A", b"")], [b"X-A: "]),
    Line("bytes above ASCII cross", [(b"X-A", b"\xff\x80")], [b"X-A: \xff\x80"]),
    Line("Host is made anew for the upstream", [], []),
    Line(
        "hop-by-hop fields end here",
        [(b"Keep-Alive", b"1"), (b"Proxy-Connection", b"x"), (b"tRAILER", b"x")],
        [],
    ),
    Line("h2c is not asked of the upstream", [(b"Upgrade", b"h2c"), (b"HTTP2-Settings", b"AA")], []),
    Line("authentication with this proxy ends here", [(b"Proxy-Authorization", b"Basic eA==")], []),
    Line("authentication with the upstream crosses", [(b"Authorization", b"x")], [b"Authorization: x"]),
    Line(
        "who asked is not the client's to say",
        [(b"X-Forwarded-For", b"1"), (b"Forwarded", b"x"), (b"x-real-ip", b"1")],
        [],
    ),
    Line("TE ends here", [(b"TE", b"gzip")], []),
    Line("Expect: 100-continue crosses", [(b"Expect", b"100-Continue")], [b"Expect: 100-Continue"]),
    Line("another expectation does not", [(b"Expect", b"200-ok")], []),
    Line("a length crosses as written", [(b"Content-Length", b"003")], [b"Content-Length: 003"]),
    Line("a coding is made anew", [(b"Transfer-Encoding", b"chunked")], []),
    Line("a field that Connection names ends here", [(b"X-A", b"1"), (b"Connection", b"x-a")], []),
    Line(
        "also when Connection comes first",
        [(b"Connection", b"X-A"), (b"x-a", b"1"), (b"X-B", b"2")],
        [b"X-B: 2"],
    ),
    Line(
        "also over several lines",
        [(b"Connection", b"a"), (b"A", b"1"), (b"connection", b"b"), (b"B", b"2")],
        [],
    ),
    Line(
        "CVE-2024-45410: Connection takes away neither origin nor framing",
        [(b"Connection", b"Origin, Content-Length, Cookie"), (b"Origin", b"x"), (b"Content-Length", b"0")],
        [b"Origin: x", b"Content-Length: 0"],
    ),
    Line(
        "trap 43: Origin and the fields of a preflight cross, the upstream may look at them",
        [(b"Origin", b"https://a"), (b"Access-Control-Request-Method", b"PUT"), (b"Sec-Fetch-Site", b"none")],
        [b"Origin: https://a", b"Access-Control-Request-Method: PUT", b"Sec-Fetch-Site: none"],
    ),
]


@pytest.mark.parametrize("case", LINES, ids=lambda case: case.says)
def test_the_lines_that_cross(case: Line) -> None:
    assert facts(*case.fields).lines == case.lines


class Form(NamedTuple):
    says: str
    method: bytes
    target: bytes
    host: bytes
    path: bytes
    query: bytes = b""


FORMS = [
    Form("origin-form", b"GET", b"/a/b?c=d", b"proxy.test", b"/a/b", b"?c=d"),
    Form("the bytes of the target are kept", b"GET", b"//a/../%7e?", b"proxy.test", b"//a/../%7e", b"?"),
    Form("absolute-form: its host wins", b"GET", b"http://other.test/x?y", b"other.test", b"/x", b"?y"),
    Form("absolute-form with a port", b"GET", b"http://other.test:81/", b"other.test:81", b"/"),
    Form("absolute-form without a path", b"GET", b"http://other.test", b"other.test", b"/"),
    Form(
        "absolute-form without a path but with a query",
        b"GET",
        b"http://other.test?x",
        b"other.test",
        b"/",
        b"?x",
    ),
    Form("absolute-form of https", b"GET", b"HTTPS://other.test/", b"other.test", b"/"),
    Form("asterisk-form", b"OPTIONS", b"*", b"proxy.test", b"*"),
]


@pytest.mark.parametrize("case", FORMS, ids=lambda case: case.says)
def test_the_forms_of_a_target(case: Form) -> None:
    request = facts(method=case.method, target=case.target)
    assert (request.host, request.path, request.query) == (case.host, case.path, case.query)


class Refused(NamedTuple):
    says: str
    fault: Fault
    fields: Fields
    target: bytes = b"/"
    method: bytes = b"GET"
    is_http10: bool = False


CHUNKED = (b"Transfer-Encoding", b"chunked")

REFUSED = [
    Refused("20 (RFC 9112 3.2): no Host", BAD_REQUEST, []),
    Refused("20 (RFC 9112 3.2): an empty Host", BAD_REQUEST, [(b"Host", b"")]),
    *(
        Refused(f"20 (RFC 9112 3.2): the Host {host!r}", BAD_REQUEST, [(b"Host", host)])
        for host in (
            b"a b",
            b"a/b",
            b"a?b",
            b"a@b",
            b"a\\b",
            b"a:b",
            b"a:1:2",
            b"::1",
            b"[::1",
            b"a:123456",
            b"\xff",
            b"a%41",
        )
    ),
    Refused("21 (RFC 9112 3.2.2): userinfo in the authority", BAD_REQUEST, [HOST], b"http://a@b/"),
    Refused("21 (RFC 9112 3.2.2): no authority", BAD_REQUEST, [HOST], b"http:///a"),
    Refused("21 (RFC 9112 3.2.2): another scheme", BAD_REQUEST, [HOST], b"ftp://a/"),
    Refused("22 (RFC 9112 3.2.3): authority-form without CONNECT", BAD_REQUEST, [HOST], b"a:80"),
    Refused("22 (RFC 9112 3.2.4): asterisk-form without OPTIONS", BAD_REQUEST, [HOST], b"*"),
    Refused("23 (RFC 9110 9.3.6): CONNECT", METHOD_REFUSED, [HOST], b"a:80", b"CONNECT"),
    Refused("24 (RFC 9112 3.2.1): a fragment", BAD_REQUEST, [HOST], b"/a#b"),
    Refused("24 (RFC 9112 3.2.1): a fragment in the query", BAD_REQUEST, [HOST], b"/a?b#c"),
    Refused("5 (RFC 9112 6.1): a coding in HTTP/1.0", BAD_REQUEST, [HOST, CHUNKED], is_http10=True),
    Refused("4 (RFC 9112 6.1): chunked twice", TRANSFER_CODING, [HOST, CHUNKED, CHUNKED]),
    Refused(
        "4 (RFC 9112 6.1): gzip before chunked",
        TRANSFER_CODING,
        [HOST, (b"Transfer-Encoding", b"gzip, chunked")],
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.says)
def test_refused_heads(case: Refused) -> None:
    found = read(*case.fields, method=case.method, target=case.target, is_http10=case.is_http10)
    assert isinstance(found, Fault)
    assert (found.code, found.status) == (case.fault.code, case.fault.status)


def test_http10_needs_no_host() -> None:
    request = read(is_http10=True)
    assert isinstance(request, Request)
    assert request.host == b""


class Preflight(NamedTuple):
    says: str
    method: bytes
    fields: Fields
    is_preflight: bool


ORIGIN = (b"Origin", b"https://a")
ASKED = (b"Access-Control-Request-Method", b"PUT")

PREFLIGHTS = [
    Preflight("OPTIONS with Origin and a requested method", b"OPTIONS", [ORIGIN, ASKED], True),
    Preflight("trap 18: no request headers are needed", b"OPTIONS", [ASKED, ORIGIN], True),
    Preflight(
        "names in any case", b"OPTIONS", [(b"oRIGIN", b"x"), (b"ACCESS-CONTROL-REQUEST-METHOD", b"")], True
    ),
    Preflight("trap 17: OPTIONS without Origin", b"OPTIONS", [ASKED], False),
    Preflight("trap 17: OPTIONS without a requested method", b"OPTIONS", [ORIGIN], False),
    Preflight("trap 17: OPTIONS alone", b"OPTIONS", [], False),
    Preflight("GET that carries the fields is a GET", b"GET", [ORIGIN, ASKED], False),
]


@pytest.mark.parametrize("case", PREFLIGHTS, ids=lambda case: case.says)
def test_what_a_preflight_is(case: Preflight) -> None:
    assert facts(*case.fields, method=case.method).is_preflight is case.is_preflight


def test_repeated_lines_are_joined_so_that_none_is_chosen() -> None:
    names = b"Access-Control-Request-Headers"
    request = facts(ORIGIN, (b"origin", b"https://b"), ASKED, ASKED, (names, b"a"), (names, b"b, c"))
    assert request.origin == b"https://a, https://b"
    assert request.requested_method == b"PUT, PUT"
    assert request.headers == b"a,b, c"  # trap 22: several lines are one list


class Fact(NamedTuple):
    says: str
    fields: Fields
    fact: str
    value: object


NETWORK = b"Access-Control-Request-Private-Network"

FACTS = [
    Fact("no Origin", [], "origin", None),
    Fact("an empty Origin is one", [(b"Origin", b"")], "origin", b""),
    Fact("private network, asked", [(NETWORK, b"true")], "network", True),
    Fact("private network, with case", [(NETWORK, b"True")], "network", False),
    Fact("the site of the page", [(b"sec-fetch-site", b"same-origin")], "site", b"same-origin"),
    Fact("trailers are wanted", [(b"TE", b"trailers")], "trailers_wanted", True),
    Fact("trailers among others", [(b"TE", b"gzip;q=0.5, Trailers")], "trailers_wanted", True),
    Fact("trailers are not wanted", [(b"TE", b"gzip")], "trailers_wanted", False),
    Fact("the client waits for 100", [(b"Expect", b"100-continue")], "expects", True),
    Fact(
        "a switch is asked for",
        [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade")],
        "upgrade",
        b"websocket",
    ),
    Fact("29: Upgrade alone asks for none (RFC 9110 7.8)", [(b"Upgrade", b"websocket")], "upgrade", b""),
    Fact(
        "Max-Forwards of a GET limits nothing (RFC 9110 7.6.2)", [(b"Max-Forwards", b"0")], "max_forwards", -1
    ),
    Fact("no body", [], "has_body", False),
    Fact("a length of zero is no body", [(b"Content-Length", b"0")], "has_body", False),
    Fact("a length", [(b"Content-Length", b"12")], "body_bytes", 12),
    Fact("a chunked body has no length", [CHUNKED], "body_bytes", -1),
    Fact("chunked, in any case", [(b"transfer-encoding", b"CHUNKED")], "chunked", True),
]


@pytest.mark.parametrize("case", FACTS, ids=lambda case: case.says)
def test_facts(case: Fact) -> None:
    assert getattr(facts(*case.fields), case.fact) == case.value


class Hops(NamedTuple):
    says: str
    sent: list[bytes]
    limit: int
    forwarded: list[bytes]


HOPS = [
    Hops("none", [], -1, []),
    Hops("the last hop", [b"0"], 0, [b"0"]),
    Hops("one more", [b"1"], 1, [b"0"]),
    Hops("leading zeros", [b"010"], 10, [b"9"]),
    Hops("no number", [b"few"], -1, [b"few"]),
    Hops("a negative one is no number", [b"-1"], -1, [b"-1"]),
    Hops("a list is no number", [b"0, 1"], -1, [b"0, 1"]),
    Hops("more than any chain has", [b"9" * 5000], -1, [b"9" * 5000]),
]


@pytest.mark.parametrize("case", HOPS, ids=lambda case: case.says)
def test_max_forwards_of_options(case: Hops) -> None:
    request = facts(*((b"Max-Forwards", value) for value in case.sent), method=b"OPTIONS")
    assert request.max_forwards == case.limit
    assert request.lines == [b"Max-Forwards: " + value for value in case.forwarded]


def test_39_an_http10_client_is_sent_no_100() -> None:
    """RFC 9110 §10.1.1."""
    request = read(HOST, (b"Expect", b"100-continue"), is_http10=True)
    assert isinstance(request, Request)
    assert (request.expects, request.lines) == (False, [])


names = st.from_regex(rb"\A[!#$%&'*+.^_`|~0-9A-Za-z-]{1,80}\Z")
values = st.binary(max_size=60).map(lambda raw: raw.translate(None, b"\r\n\x00").strip(b" \t"))


@given(st.lists(st.tuples(names, values), max_size=30))
def test_whatever_crosses_was_sent_and_in_this_order(fields: Fields) -> None:
    found = read(HOST, *fields)
    if isinstance(found, Request):
        sent = iter([name + b": " + value for name, value in fields])
        assert all(line in sent for line in found.lines)  # `in` moves the iterator on: a subsequence


def test_names_that_clients_invent_are_not_remembered_without_bound() -> None:
    from corsproxy.proxy import request as module

    for number in range(5000):
        facts((b"X-%d" % number, b"1"))
    facts((b"X-" + b"a" * 65, b"1"))
    assert len(module._SEEN) <= module._SEEN_LIMIT
    assert max(map(len, module._SEEN)) <= 64
