"""Requests that two readers could read differently: refused, and nothing behind them is ever served.

The number that opens a case's words is the requirement's; its RFC section and wording stand beside it. Each
bad request hides a second one where the other reading would find it: no byte of that may reach the upstream.
"""

import asyncio
from dataclasses import dataclass, field

import pytest

from corsproxy.config.table import Limits, Match
from tests.proxy.conftest import APP, policy, proxy, route
from tests.wire import Upstream, Wire, answers, get, ok, upstream

BLOCKING = policy(on_denied="block")
# What a smuggled request would look like to the upstream.
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: hidden.test\r\n\r\n"


def head(*lines: str, first: str = "POST / HTTP/1.1", host: str | None = "Host: proxy.test") -> bytes:
    """A request head as exact bytes (Latin-1)."""
    return "\r\n".join([first, *([] if host is None else [host]), *lines, "", ""]).encode("latin-1")


def chunked(body: bytes, *lines: str) -> bytes:
    return head(*lines, "Transfer-Encoding: chunked") + body


@dataclass(frozen=True)
class Bad:
    says: str
    request: bytes
    status: int = 400


LENGTHS = [
    Bad(
        "1 (RFC 9112 6.3): Content-Length before chunked",
        chunked(b"0\r\n\r\n" + HIDDEN, "Content-Length: 6"),
    ),
    Bad(
        "1 (RFC 9112 6.3): chunked before Content-Length",
        head("Transfer-Encoding: chunked", "Content-Length: 48") + b"0\r\n\r\n" + HIDDEN,
    ),
    Bad(
        "1 (RFC 9112 6.3): chunked with a Content-Length of zero",
        head("Transfer-Encoding: chunked", "Content-Length: 0") + b"0\r\n\r\n" + HIDDEN,
    ),
    Bad(
        "1 (RFC 9112 6.3): an unknown coding with a Content-Length",
        head("Transfer-Encoding: xchunked", "Content-Length: 5") + HIDDEN,
    ),
    Bad(
        "2 (RFC 9112 6.3): two lengths that differ", head("Content-Length: 0", "Content-Length: 43") + HIDDEN
    ),
    Bad(
        "2 (RFC 9112 6.3): two lengths that are equal",
        head("Content-Length: 0", "Content-Length: 0") + HIDDEN,
    ),
    Bad("2 (RFC 9112 6.3): a list of equal lengths", head("Content-Length: 0, 0") + HIDDEN),
    Bad("2 (RFC 9112 6.3): a list of lengths", head("Content-Length: 0, 43") + HIDDEN),
    Bad("2 (RFC 9112 6.3): a length with a sign", head("Content-Length: +0") + HIDDEN),
    Bad("2 (RFC 9112 6.3): a negative length", head("Content-Length: -1") + HIDDEN),
    Bad("2 (RFC 9112 6.3): a length in hex", head("Content-Length: 0x2") + HIDDEN),
    Bad("2 (RFC 9112 6.3): a length with a fraction", head("Content-Length: 0.0") + HIDDEN),
    Bad("2 (RFC 9112 6.3): a length with an underscore", head("Content-Length: 4_3") + HIDDEN),
    Bad("2 (RFC 9112 6.3): a blank inside the length", head("Content-Length: 4 3") + HIDDEN),
    Bad("2 (RFC 9112 6.3): an empty length", head("Content-Length:") + HIDDEN),
    Bad("2 (RFC 9112 6.3): a length in quotes", head('Content-Length: "0"') + HIDDEN),
    Bad("2 (RFC 9112 6.3): digits outside ASCII", head("Content-Length: \xb2\xb3") + HIDDEN),
    Bad("3 (RFC 9110 8.6): 2^64 does not wrap to zero", head(f"Content-Length: {2**64}") + HIDDEN),
    Bad("3 (RFC 9110 8.6): 2^64+43 does not wrap to 43", head(f"Content-Length: {2**64 + 43}") + HIDDEN),
    Bad("3 (RFC 9110 8.6): forty digits", head("Content-Length: " + "9" * 40) + HIDDEN),
]

CODINGS = [
    Bad("4 (RFC 9112 6.1): an unknown coding", head("Transfer-Encoding: xchunked") + b"0\r\n\r\n" + HIDDEN),
    Bad("4 (RFC 9112 6.1): chunked twice in a list", head("Transfer-Encoding: chunked, chunked") + HIDDEN),
    Bad(
        "4 (RFC 9112 6.1): chunked on two lines",
        head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked") + HIDDEN,
    ),
    Bad(
        "4 (RFC 9112 6.1): chunked, then identity on a line of its own",
        head("Transfer-Encoding: chunked", "Transfer-Encoding: identity") + HIDDEN,
    ),
    Bad("4 (RFC 9112 6.1): chunked is not last", head("Transfer-Encoding: chunked, gzip") + HIDDEN),
    Bad(
        "4 (RFC 9112 6.1): identity, which is no coding any more",
        head("Transfer-Encoding: identity") + HIDDEN,
    ),
    Bad("4 (RFC 9112 6.1): an empty coding", head("Transfer-Encoding:") + HIDDEN, 501),
    Bad("4 (RFC 9112 6.1): chunked in quotes", head('Transfer-Encoding: "chunked"') + HIDDEN),
    Bad("4 (RFC 9112 6.1): a vertical tab before chunked", head("Transfer-Encoding: \x0bchunked") + HIDDEN),
    Bad("4 (RFC 9112 6.1): chunked with a parameter", head("Transfer-Encoding: chunked;q=1") + HIDDEN),
    Bad(
        "4 (RFC 9112 6.1): a coding this proxy does not undo, before chunked",
        head("Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n" + HIDDEN,
        501,
    ),
    Bad(
        "5 (RFC 9112 6.1): chunked in HTTP/1.0, kept alive",
        head("Connection: keep-alive", "Transfer-Encoding: chunked", first="POST / HTTP/1.0")
        + b"0\r\n\r\n"
        + HIDDEN,
    ),
]

FIELDS = [
    Bad("6 (RFC 9112 5.1): a space before the colon", head("X-A : 1") + HIDDEN),
    Bad("6 (RFC 9112 5.1): a tab before the colon", head("X-A\t: 1") + HIDDEN),
    Bad("6 (RFC 9112 5.1): a space before the colon of Host", head(host="Host : proxy.test") + HIDDEN),
    Bad("6 (RFC 9112 5.1): a space before the colon of a length", head("Content-Length : 43") + HIDDEN),
    Bad(
        "6 (RFC 9112 5.1): a space before the colon of a coding", head("Transfer-Encoding : chunked") + HIDDEN
    ),
    Bad("7 (RFC 9112 5.2): a folded value", head("X-A: 1", " folded: 2") + HIDDEN),
    Bad("7 (RFC 9112 5.2): a value folded by a tab", head("X-A: 1", "\tfolded") + HIDDEN),
    Bad("7 (RFC 9112 5.2): a folded length", head("Content-Length:", " 43") + HIDDEN),
    Bad("7 (RFC 9112 5.2): a folded coding", head("Transfer-Encoding:", " chunked") + HIDDEN),
    Bad("7 (RFC 9112 5.2): a folded Origin", head(f"Origin: {APP}", " .evil.test") + HIDDEN),
    Bad("8 (RFC 9112 2.2): a bare CR in a value", head("X-A: 1\rX-B: 2") + HIDDEN),
    Bad("8 (RFC 9112 2.2): a bare CR in a name", head("X-\rA: 1") + HIDDEN),
    Bad("8 (RFC 9112 2.2): a bare CR ends a line", head("X-A: 1\rContent-Length: 43") + HIDDEN),
    Bad("8 (RFC 9112 2.2): a bare CR in the request line", head(first="GET /\rx HTTP/1.1") + HIDDEN),
    Bad("9 (RFC 9112 2.2): a bare LF between fields", head("X-A: 1\nContent-Length: 43") + HIDDEN),
    Bad(
        "9 (RFC 9112 2.2): a bare LF after the request line",
        b"GET / HTTP/1.1\nHost: proxy.test\r\n\r\n" + HIDDEN,
    ),
    Bad("9 (RFC 9112 2.2): a whole head with bare LF", b"GET / HTTP/1.1\nHost: proxy.test\n\n" + HIDDEN),
    Bad("9 (RFC 9112 2.2): the empty line has no CR", b"GET / HTTP/1.1\r\nHost: proxy.test\r\n\n" + HIDDEN),
    Bad("10 (RFC 9110 5.5): NUL in a value", head("X-A: 1\x002") + HIDDEN),
    Bad("10 (RFC 9110 5.5): NUL in Origin", head(f"Origin: {APP}\x00.evil.test") + HIDDEN),
    *(
        Bad(
            f"10 (RFC 9110 5.5): the control byte {byte:02x} in a value", head(f"X-A: 1{chr(byte)}2") + HIDDEN
        )
        for byte in (0x01, 0x08, 0x0B, 0x0C, 0x1B, 0x1F, 0x7F)
    ),
    *(
        Bad(f"11 (RFC 9110 5.1): the name {name!r} is no token", head(f"{name}: 1") + HIDDEN)
        for name in (
            "X A",
            "X(A",
            "X,A",
            "X/A",
            "X;A",
            "X<A",
            "X=A",
            "X@A",
            "X[A",
            "X\\A",
            "X{A",
            'X"A',
            "X\xe9",
            "",
        )
    ),
    Bad("11 (RFC 9110 5.1): a line without colon", head("nonsense") + HIDDEN),
    Bad("12 (RFC 9112 2.2): white space before the first field", head(host=" Host: proxy.test") + HIDDEN),
    Bad("12 (RFC 9112 2.2): white space before a hidden Host", head(" Host: hidden.test") + HIDDEN),
    Bad("12 (RFC 9112 2.2): a line of white space ends no head", head("X-A: 1", " ", "X-B: 2") + HIDDEN),
]

LINES = [
    *(
        Bad(f"24 (RFC 9112 3): the request line {line!r}", head(first=line) + HIDDEN)
        for line in (
            "GET",
            "GET  / HTTP/1.1",
            "GET /  HTTP/1.1",
            "GET\t/ HTTP/1.1",
            "GET /\tHTTP/1.1",
            " GET / HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET / HTTP/1.1 x",
            "GET / HTTP/1.10",
            "GET / HTTP/1",
            "GET / HTTP/1,1",
            "GET / HTTP/+1.1",
            "GET / HTTP/-1.1",
            "GET / http/1.1",
            "GET / HTP/1.1",
            "GET / ICE/1.0",
            "GET /a b HTTP/1.1",
            "GET /\x00 HTTP/1.1",
            "GET /\x01 HTTP/1.1",
            "GET /\x7f HTTP/1.1",
            "GET /caf\xe9 HTTP/1.1",
            "GET /?\xff HTTP/1.1",
            "GET a HTTP/1.1",
            "GET ? HTTP/1.1",
            "GET /a#b HTTP/1.1",
            "G(T / HTTP/1.1",
            "G\xe9T / HTTP/1.1",
        )
    ),
    Bad(
        "24 (RFC 9112 3): bytes of a TLS client hello",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    ),
    Bad("59 (RFC 9110 9.1): a method in lower case is another method", head(first="get / HTTP/1.1") + HIDDEN),
    Bad("59 (RFC 9110 9.1): a method the parser does not know", head(first="CHICKEN / HTTP/1.1") + HIDDEN),
    Bad("24 (RFC 9112 3): a line without version is HTTP/0.9", head(first="GET /") + HIDDEN, 505),
    Bad("24 (RFC 9110 2.5): HTTP/2.0 in HTTP/1 form", head(first="GET / HTTP/2.0") + HIDDEN, 505),
    Bad("24 (RFC 9110 2.5): the HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    Bad("24 (RFC 9110 2.5): HTTP/0.9 by name", head(first="GET / HTTP/0.9") + HIDDEN, 505),
    Bad("24 (RFC 9110 2.5): HTTP/1.2 was never written", head(first="GET / HTTP/1.2") + HIDDEN),
    Bad("24 (RFC 9110 2.5): HTTP/3.0 is no text", head(first="GET / HTTP/3.0") + HIDDEN),
]

HOSTS = [
    Bad("20 (RFC 9112 3.2): no Host", head(host=None) + HIDDEN),
    Bad("20 (RFC 9112 3.2): two Hosts", head("Host: hidden.test") + HIDDEN),
    Bad("20 (RFC 9112 3.2): the same Host twice", head("Host: proxy.test") + HIDDEN),
    Bad("20 (RFC 9112 3.2): two Hosts in different case", head("hOST: hidden.test") + HIDDEN),
    Bad(
        "20 (RFC 9112 3.2): two Hosts in HTTP/1.0", head("Host: hidden.test", first="GET / HTTP/1.0") + HIDDEN
    ),
    *(
        Bad(f"20 (RFC 9112 3.2): the Host {host!r}", head(host=f"Host: {host}") + HIDDEN)
        for host in (
            "",
            "proxy.test, hidden.test",
            "proxy.test hidden.test",
            "user@proxy.test",
            "http://proxy.test",
            "proxy.test/",
            "proxy.test?x",
            "proxy.test#x",
            "proxy.test\\x",
            "proxy.test:port",
            "proxy.test:80:80",
            "proxy.test:-1",
            "proxy.test:655360",
            "::1",
            "[::1",
            "[]",
            "<proxy>",
            "pr\xf6xy.test",
            ":80",
        )
    ),
]

FORMS = [
    Bad("21 (RFC 9112 3.2.2): absolute-form without a host", head(first="GET http:///x HTTP/1.1") + HIDDEN),
    Bad("21 (RFC 9112 3.2.2): absolute-form with userinfo", head(first="GET http://a@b/x HTTP/1.1") + HIDDEN),
    Bad(
        "21 (RFC 9112 3.2.2): absolute-form of another scheme", head(first="GET ftp://b/x HTTP/1.1") + HIDDEN
    ),
    Bad("21 (RFC 9112 3.2.2): a file", head(first="GET file:///etc/passwd HTTP/1.1") + HIDDEN),
    Bad(
        "21 (RFC 9112 3.2.2): absolute-form with a bad port", head(first="GET http://b:x/ HTTP/1.1") + HIDDEN
    ),
    Bad("21 (RFC 9112 3.2): a path that starts with @", head(first="GET @hidden.test/ HTTP/1.1") + HIDDEN),
    Bad("22 (RFC 9112 3.2.3): authority-form with GET", head(first="GET hidden.test:80 HTTP/1.1") + HIDDEN),
    Bad("22 (RFC 9112 3.2.4): asterisk-form with GET", head(first="GET * HTTP/1.1") + HIDDEN),
    Bad("22 (RFC 9112 3.2.4): asterisk-form with a tail", head(first="OPTIONS *x HTTP/1.1") + HIDDEN),
    Bad("23 (RFC 9110 9.3.6): CONNECT", head(first="CONNECT hidden.test:443 HTTP/1.1") + HIDDEN, 405),
    Bad("23 (RFC 9110 9.3.6): CONNECT by address", head(first="CONNECT 127.0.0.1:22 HTTP/1.1") + HIDDEN, 405),
]

# What no parser of messages objects to.
MEANING = [
    *(
        Bad(f"33 (RFC 9110 5.3): {line!r} twice", head(line, line.swapcase()) + HIDDEN)
        for line in (
            "Content-Type: text/plain",
            "Content-Range: bytes 0-1/2",
            "Content-Location: /a",
            'ETag: "a"',
            "Server: a",
            "User-Agent: a",
            "User-Agent:",
            "Max-Forwards: 1",
        )
    ),
    Bad(
        "20 (RFC 9112 3.2): no Host, and absolute-form",
        head(first="GET http://a/ HTTP/1.1", host=None) + HIDDEN,
    ),
    Bad("20 (RFC 3986 3.2.2): a Host that is no address", head(host="Host: [1]") + HIDDEN),
    Bad("20 (RFC 9112 3.2): a port that no host has", head(host="Host: proxy.test:65536") + HIDDEN),
    Bad(
        "21 (RFC 9112 3.2.2): a target that is no address", head(first="GET http://[1]:80/ HTTP/1.1") + HIDDEN
    ),
    Bad(
        "21 (RFC 9112 3.2.2): a target with such a port", head(first="GET http://a:99999/ HTTP/1.1") + HIDDEN
    ),
    Bad("21 (RFC 9112 3.2.2): brackets before userinfo", head(first="GET http://a[]@/ HTTP/1.1") + HIDDEN),
    Bad(
        "43 (RFC 6455 1.3): a WebSocket handshake of old, whose body has no length",
        head(
            "Connection: Upgrade",
            "Upgrade: WebSocket",
            "Sec-WebSocket-Key1: 4 @1 46546xW%0l 1 5",
            first="GET / HTTP/1.1",
        )
        + HIDDEN,
    ),
]


async def ends_after_one_answer(wire: Wire, status: int) -> None:
    """The answer says `status` and that it is the last one, and it is."""
    answer = await wire.message()
    assert (answer.status, answer.one("Connection")) == (status, "close")
    assert answer.one("Content-Type") == "application/problem+json"
    assert await wire.ended()


def saw_nothing(legacy: Upstream) -> bool:
    """True when no request, and no byte of one, arrived."""
    return not legacy.connections and not legacy.requests


@pytest.mark.parametrize(
    "case", [*LENGTHS, *CODINGS, *FIELDS, *LINES, *HOSTS, *FORMS, *MEANING], ids=lambda case: case.says
)
async def test_a_request_that_can_be_read_in_two_ways_is_refused(case: Bad) -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(case.request)
        await ends_after_one_answer(wire, case.status)
        assert saw_nothing(legacy)
        assert [exchange.status for exchange in front.recorder.exchanges] == [case.status]


@pytest.mark.parametrize("case", [*LENGTHS, *CODINGS[:3], *HOSTS[:3]], ids=lambda case: case.says)
async def test_the_verdict_does_not_depend_on_how_the_bytes_are_cut(case: Bad) -> None:
    """Byte by byte, as a slow link or an attacker would."""
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        for at in range(len(case.request)):
            wire.writer.write(case.request[at : at + 1])
            await asyncio.sleep(0)  # not to wait: to let the byte out on its own
        await ends_after_one_answer(wire, case.status)
        assert saw_nothing(legacy)


CHUNKS = [
    Bad("15 (RFC 9110 6.5.1): a length among the trailers", chunked(b"0\r\nContent-Length: 43\r\n\r\n")),
    Bad("15 (RFC 9110 6.5.1): a coding among the trailers", chunked(b"0\r\nTransfer-Encoding: gzip\r\n\r\n")),
    *(
        Bad(
            f"13 (RFC 9112 7.1): the chunk size {size!r}",
            chunked(f"{size}\r\nabc\r\n0\r\n\r\n".encode("latin-1")),
        )
        for size in (
            "",
            " 3",
            "3 ",
            "+3",
            "-3",
            "0x3",
            "3_",
            "3g",
            "g",
            "3,3",
            "\t3",
            "3.0",
            '"3"',
            "\xb3",
            "3\x00",
            "1" + "0" * 16,  # 2^64
            "1" + "0" * 15 + "3",  # 2^60+3
            "f" * 17,
            "f" * 40,
        )
    ),
    Bad("13 (RFC 9112 7.1): data longer than its size", chunked(b"3\r\nabcd\r\n0\r\n\r\n")),
    Bad("13 (RFC 9112 7.1): data without its CRLF", chunked(b"3\r\nabc0\r\n\r\n")),
    Bad("13 (RFC 9112 7.1): a size line ended by LF", chunked(b"3\nabc\r\n0\r\n\r\n")),
    Bad("13 (RFC 9112 7.1): data ended by LF", chunked(b"3\r\nabc\n0\r\n\r\n")),
    Bad("8 (RFC 9112 2.2): a size line ended by a bare CR", chunked(b"3\rabc\r\n0\r\n\r\n")),
    Bad("14 (RFC 9112 7.1.1): a bare LF in an extension", chunked(b"3;a\nb\r\nabc\r\n0\r\n\r\n")),
    Bad("14 (RFC 9112 7.1.1): a bare CR in an extension", chunked(b"3;a\rb\r\nabc\r\n0\r\n\r\n")),
    Bad("14 (RFC 9112 7.1.1): a NUL in an extension", chunked(b"3;a\x00\r\nabc\r\n0\r\n\r\n")),
    Bad("15 (RFC 9112 7.1.2): a folded trailer", chunked(b"0\r\nX-A: 1\r\n b\r\n\r\n")),
    Bad("15 (RFC 9112 7.1.2): a trailer that is no field", chunked(b"0\r\nnonsense\r\n\r\n")),
    Bad("15 (RFC 9112 7.1.2): a trailer with a space before its colon", chunked(b"0\r\nX-A : 1\r\n\r\n")),
    Bad("9 (RFC 9112 2.2): the last line ended by LF", chunked(b"0\r\n\n" + HIDDEN)),
]


@pytest.mark.parametrize("case", CHUNKS, ids=lambda case: case.says)
async def test_a_bad_chunk_ends_the_connection_and_the_upstream_never_sees_a_whole_request(case: Bad) -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(case.request + HIDDEN)
        await ends_after_one_answer(wire, case.status)
        assert legacy.requests == []


@dataclass(frozen=True)
class Good:
    says: str
    request: bytes
    body: bytes = b""


FINE = [
    Good("2 (RFC 9112 6.3): a length with leading zeros", head("Content-Length: 0003") + b"abc", b"abc"),
    Good("13 (RFC 9112 7.1): a chunk size with leading zeros", chunked(b"0003\r\nabc\r\n0\r\n\r\n"), b"abc"),
    Good(
        "13 (RFC 9112 7.1): a chunk size in capitals", chunked(b"A\r\n0123456789\r\n0\r\n\r\n"), b"0123456789"
    ),
    Good("14 (RFC 9112 7.1.1): a token extension", chunked(b"3;a=b\r\nabc\r\n0;c\r\n\r\n"), b"abc"),
    Good("14 (RFC 9112 7.1.1): a quoted extension", chunked(b'3;a="b c"\r\nabc\r\n0\r\n\r\n'), b"abc"),
    Good(
        "4 (RFC 9112 6.1): codings are compared without case",
        head("Transfer-Encoding: Chunked") + b"0\r\n\r\n",
    ),
    Good("16 (RFC 9110 6.5): trailers", chunked(b"3\r\nabc\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\n"), b"abc"),
    Good("24 (RFC 9112 2.2): empty lines before a request line", b"\r\n\r\n" + head(first="GET / HTTP/1.1")),
    Good("21 (RFC 9112 3.2.2): absolute-form", head(first="GET http://other.test:8080/ HTTP/1.1")),
    Good("22 (RFC 9112 3.2.4): asterisk-form with OPTIONS", head(first="OPTIONS * HTTP/1.1")),
    Good("20 (RFC 9112 3.2): an IPv6 Host with a port", head(first="GET / HTTP/1.1", host="Host: [::1]:80")),
    Good(
        "20 (RFC 9112 3.2): a Host with an empty port", head(first="GET / HTTP/1.1", host="Host: proxy.test:")
    ),
    Good(
        "20 (RFC 9112 3.2): HTTP/1.0 needs no Host",
        head("Connection: keep-alive", first="GET / HTTP/1.0", host=None),
    ),
    Good("34 (RFC 9110 5.5): bytes above ASCII in a value", head("X-A: \x80\xff", first="GET / HTTP/1.1")),
]


@pytest.mark.parametrize("case", FINE, ids=lambda case: case.says)
async def test_what_is_unusual_but_unambiguous_is_served(case: Good) -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(case.request + get("/next"))
        assert [(await wire.message()).status for _ in range(2)] == [200, 200]
        assert [request.body for request in legacy.requests] == [case.body, b""]
        assert legacy.requests[1].first_line == "GET /next HTTP/1.1"


TRAILERS = ["X-Evil: 1", "Authorization: evil", "Cookie: evil=1", f"Origin: {APP}", "Content-Type: text/evil"]


@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize("cut", [False, True], ids=["in one piece", "in pieces"])
async def test_15_a_trailer_becomes_no_field_of_this_request_nor_of_the_next(trailer: str, cut: bool) -> None:
    """RFC 9112 §7.1.2: where a load balancer shares its connections, the next request is another user's."""
    upload = chunked(b"3\r\nabc\r\n0\r\nX-First: 1\r\n" + trailer.encode() + b"\r\n\r\n")
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        if cut:
            await wire.send(upload)
            assert (await wire.message()).status == 200
            await wire.send(get("/next"))
        else:
            await wire.send(upload + get("/next"))
            assert (await wire.message()).status == 200
        assert (await wire.message()).status == 200
        allowed = ["Host", "X-Request-Id", "X-Forwarded-Host", "X-Forwarded-For", "X-Forwarded-Proto"]
        assert [name for name, _ in legacy.requests[0].fields] == ["Host", "Transfer-Encoding", *allowed[1:]]
        assert [name for name, _ in legacy.requests[1].fields] == allowed


async def test_19_the_request_behind_a_chunked_body_is_served_wherever_its_end_is_cut() -> None:
    """RFC 9112 §7.1.2: the end is found though it comes in two reads, the next request with the second."""
    upload = chunked(b"3\r\nabc\r\n0\r\nX-Late: 1\r\n\r\n")

    async def behave(server: Upstream, wire: Wire) -> None:
        while True:
            request = await wire.head()
            server.asked.set()  # the first read is through
            await wire.finish(request)
            server.requests.append(request)
            await wire.send(ok())

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        for cut in range(1, 5):
            wire = await front.dial()
            legacy.asked.clear()
            await wire.send(upload[:-cut])
            async with asyncio.timeout(5):
                await legacy.asked.wait()
            await wire.send(upload[-cut:] + get("/next"))
            assert [(await wire.message()).status for _ in range(2)] == [200, 200]
        assert [request.body for request in legacy.requests] == [b"abc", b""] * 4


async def test_14_an_extension_of_a_mebibyte_is_refused() -> None:
    """RFC 9112 §7.1.1: a recipient ought to limit their total length."""
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(chunked(b"3;" + b"a" * 1024 * 1024 + b"\r\nabc\r\n0\r\n\r\n"))
        assert (await wire.message()).status == 400
        assert legacy.requests == []


async def test_24_who_speaks_another_protocol_is_told_so_at_once() -> None:
    """Not when the time for a head is over: what comes never ends as a head does."""
    async with proxy(route(1)) as front:
        for hello in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"SSH-2.0-OpenSSH\r\n", b"EHLO a\r\n"):
            wire = await front.dial()
            await wire.send(hello)
            await ends_after_one_answer(wire, 400)


async def test_18_nothing_is_served_after_the_client_said_close() -> None:
    """RFC 9112 §9.6."""
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/last", "Connection: close") + HIDDEN)
        answer = await wire.message()
        assert (answer.status, answer.one("Connection")) == (200, "close")
        assert await wire.ended()
        assert [request.first_line for request in legacy.requests] == ["GET /last HTTP/1.1"]


async def test_18_nothing_is_served_after_a_bad_request() -> None:
    """RFC 9112 §9.6: neither what came with it nor what comes later."""
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(head("X-A : 1") + HIDDEN)
        assert (await wire.message()).status == 400
        await wire.send(HIDDEN)
        assert await wire.ended()
        assert saw_nothing(legacy)


async def test_18_http10_ends_after_one_request_unless_asked_otherwise() -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(b"GET /old HTTP/1.0\r\n\r\n" + HIDDEN)
        assert (await wire.message()).one("Connection") == "close"
        assert await wire.ended()
        assert len(legacy.requests) == 1


async def test_17_the_body_of_a_preflight_is_not_the_next_request() -> None:
    """RFC 9112 §9.3: an answer that does not wait for the body skips it or ends the connection."""
    preflight = head(
        f"Origin: {APP}",
        "Access-Control-Request-Method: PUT",
        f"Content-Length: {len(HIDDEN)}",
        first="OPTIONS / HTTP/1.1",
    )
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        for pieces in ([preflight + HIDDEN], [preflight, HIDDEN]):
            wire = await front.dial()
            for piece in pieces:
                await wire.send(piece)
            assert (await wire.message()).status == 204
            wire.writer.write_eof()
            assert await wire.ended()
        assert saw_nothing(legacy)


@dataclass(frozen=True)
class Own:
    """A request with a body that the proxy answers by itself."""

    says: str
    first: str
    lines: tuple[str, ...] = ()
    status: int = 404
    settings: dict[str, object] = field(default_factory=dict)


OWN_ANSWERS = [
    Own("no route", "POST /zzz HTTP/1.1"),
    Own("a path that may be another's", "POST /api/..%2fx HTTP/1.1", status=400),
    Own("another origin", "POST /api HTTP/1.1", ("Origin: https://evil.test",), 403, {"policy": BLOCKING}),
    Own("too much at once", "POST /api HTTP/1.1", (), 503, {"limits": Limits(in_flight=1)}),
    Own(
        "a preflight", "OPTIONS /api HTTP/1.1", (f"Origin: {APP}", "Access-Control-Request-Method: PUT"), 204
    ),
    Own("an OPTIONS that goes no further", "OPTIONS /api HTTP/1.1", ("Max-Forwards: 0",), 200),
]


@pytest.mark.parametrize("first_chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("then_chunked", [False, True], ids=["then length", "then chunked"])
@pytest.mark.parametrize("case", OWN_ANSWERS, ids=lambda case: case.says)
async def test_17_a_body_that_nobody_wanted_is_no_part_of_the_next(
    case: Own, first_chunked: bool, then_chunked: bool
) -> None:
    """RFC 9112 §9.3: read in full, and dropped. In the next body it would be a request of its own there."""
    held = asyncio.Event()

    async def behave(server: Upstream, wire: Wire) -> None:
        while True:
            request = await server.request(wire)
            if "/held" in request.first_line:
                await held.wait()
            await wire.send(ok())

    settings = {"match": Match(path=b"/api"), **case.settings}
    async with upstream(behave) as legacy, proxy(route(legacy.port, **settings)) as front:
        wire = await front.dial()
        other = await front.dial()
        if case.status == 503:
            await other.send(get("/api/held"))
            await legacy.asked.wait()
        await wire.send(with_body(case.first, b"hello" + HIDDEN, *case.lines, is_chunked=first_chunked))
        answer = await wire.message()
        assert (answer.status, answer.one("Connection")) == (case.status, None)
        held.set()
        if case.status == 503:
            await other.message()
        legacy.requests.clear()
        await wire.send(with_body("POST /api HTTP/1.1", b"HELLO", is_chunked=then_chunked))
        assert (await wire.message()).status == 200
        assert [request.body for request in legacy.requests] == [b"HELLO"]


def with_body(first: str, body: bytes, *lines: str, is_chunked: bool) -> bytes:
    if is_chunked:
        return head(*lines, "Transfer-Encoding: chunked", first=first) + b"%x\r\n%b\r\n0\r\n\r\n" % (
            len(body),
            body,
        )
    return head(*lines, f"Content-Length: {len(body)}", first=first) + body


async def test_a_body_that_nobody_wanted_takes_no_memory() -> None:
    async with proxy(route(1, match=Match(path=b"/api"))) as front:
        wire = await front.dial()
        for _ in range(3):
            await wire.send(with_body("POST /zzz HTTP/1.1", b"x" * 10_000, is_chunked=False))
            assert (await wire.message()).status == 404
        assert front.server._clients is not None
        assert [each._reader.body for each in front.server._clients._connections] == [[]]


async def test_19_pipelined_answers_keep_their_order_when_the_first_is_slow() -> None:
    """RFC 9112 §9.3.2."""
    release = asyncio.Event()

    async def behave(server: Upstream, wire: Wire) -> None:
        while True:
            request = await server.request(wire)
            if request.first_line.startswith("GET /slow"):
                await release.wait()
            await wire.send(ok(request.first_line.encode()))

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/slow") + get("/fast"))
        await legacy.asked.wait()
        release.set()
        bodies = [(await wire.message()).body for _ in range(2)]
        assert bodies == [b"GET /slow HTTP/1.1", b"GET /fast HTTP/1.1"]


async def test_19_five_hundred_pipelined_preflights() -> None:
    """RFC 9112 §9.3.2: answered at once, in a loop and not by recursion."""
    ask = get("/", f"Origin: {APP}", "Access-Control-Request-Method: PUT", method="OPTIONS")
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(ask * 500 + get("/end"))
        assert {(await wire.message()).status for _ in range(500)} == {204}
        assert (await wire.message()).status == 200
        assert len(legacy.requests) == 1


async def test_55_an_upload_that_the_client_breaks_off_never_looks_complete() -> None:
    """RFC 9112 §8: neither with a length nor in chunks."""
    ends: list[bytes] = []

    async def behave(server: Upstream, wire: Wire) -> None:
        await wire.head()
        server.asked.set()
        try:
            ends.append(await wire.reader.read())
        except ConnectionResetError:
            ends.append(b"reset")

    for request in (head("Content-Length: 10") + b"12345", chunked(b"5\r\n12345\r\n")):
        async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
            wire = await front.dial()
            await wire.send(request)
            async with asyncio.timeout(5):
                await legacy.asked.wait()
                wire.abort()
                await legacy.gone.wait()
    assert all(not end.endswith(b"0\r\n\r\n") and len(end) < 15 for end in ends), ends
    assert len(ends) == 2
