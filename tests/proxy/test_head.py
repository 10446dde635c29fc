"""What a request head may look like, and what httptools is relied on for."""

from typing import NamedTuple

import pytest
from httptools import HttpRequestParser
from hypothesis import given
from hypothesis import strategies as st

from corsproxy.http.faults import BAD_REQUEST, TRANSFER_CODING, VERSION_REFUSED, Fault
from corsproxy.http.fields import Fields
from corsproxy.proxy.head import END, Head, HeadStart, end_of_section, parse_head

LINE = b"GET / HTTP/1.1\r\n"
HOST = b"Host: a\r\n"


def head(raw: bytes) -> Head:
    found = parse_head(raw)
    assert isinstance(found, Head), found
    return found


class Fine(NamedTuple):
    says: str
    raw: bytes
    fields: Fields
    keep_alive: bool = True


FINE = [
    Fine("no fields at all: who needs which is not asked here", LINE + END[2:], []),
    Fine("names and values are bytes as sent", LINE + b"x-B: \xff\r\n\r\n", [(b"x-B", b"\xff")]),
    Fine("white space around a value is not of it", LINE + b"A:  \t b c \t \r\n\r\n", [(b"A", b"b c")]),
    Fine("a value may be empty", LINE + b"A:\r\nB: \r\n\r\n", [(b"A", b""), (b"B", b"")]),
    Fine(
        "order and repetition are kept",
        LINE + b"B: 1\r\na: 2\r\nB: 3\r\n\r\n",
        [(b"B", b"1"), (b"a", b"2"), (b"B", b"3")],
    ),
    Fine("close is the last one", LINE + b"Connection: close\r\n\r\n", [(b"Connection", b"close")], False),
    Fine(
        "so is close in a list",
        LINE + b"Connection: x, Close\r\n\r\n",
        [(b"Connection", b"x, Close")],
        False,
    ),
    Fine("HTTP/1.0 ends", b"GET / HTTP/1.0\r\n\r\n", [], False),
    Fine(
        "HTTP/1.0 goes on when asked to",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        [(b"Connection", b"keep-alive")],
    ),
    Fine("empty lines before it are not of it", b"\r\n\r\n" + LINE + HOST + b"\r\n", [(b"Host", b"a")]),
    Fine(
        "a wish to switch is a request like others",
        LINE + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")],
    ),
    Fine(
        "a body that is announced is not waited for",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n",
        [(b"Content-Length", b"5")],
    ),
    Fine(
        "nor one in chunks",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        [(b"Transfer-Encoding", b"chunked")],
    ),
]


@pytest.mark.parametrize("case", FINE, ids=lambda case: case.says)
def test_a_good_head(case: Fine) -> None:
    found = head(case.raw)
    assert found.fields == case.fields
    assert found.keep_alive is case.keep_alive


class Line(NamedTuple):
    raw: bytes
    method: bytes
    target: bytes
    is_http10: bool = False


@pytest.mark.parametrize(
    "case",
    [
        Line(b"GET / HTTP/1.1", b"GET", b"/"),
        Line(b"PATCH /a%2F?b?c HTTP/1.0", b"PATCH", b"/a%2F?b?c", is_http10=True),
        Line(b"M-SEARCH * HTTP/1.1", b"M-SEARCH", b"*"),
        Line(b"GET http://[::1]:80/%ff HTTP/1.1", b"GET", b"http://[::1]:80/%ff"),
        Line(b"CONNECT a:443 HTTP/1.1", b"CONNECT", b"a:443"),
    ],
    ids=lambda case: case.raw.decode(),
)
def test_a_request_line_in_its_three_parts(case: Line) -> None:
    found = head(case.raw + b"\r\n" + HOST + b"\r\n")
    assert (found.method, found.target, found.is_http10) == (case.method, case.target, case.is_http10)


class Refused(NamedTuple):
    says: str
    raw: bytes
    because: str
    fault: Fault = BAD_REQUEST


REFUSED = [
    Refused("a method that is none", b"CHICKEN / HTTP/1.1\r\n\r\n", "unknown method"),
    Refused("a method in lower case", b"get / HTTP/1.1\r\n\r\n", "unknown method"),
    Refused("another protocol", b"GET / HTTQ/1.1\r\n\r\n", "malformed request line"),
    Refused("RTSP, which llhttp knows", b"GET / RTSP/1.0\r\n\r\n", "malformed request line"),
    Refused("two spaces, which llhttp takes", b"GET  / HTTP/1.1\r\n\r\n", "malformed request line"),
    Refused("two spaces before the version", b"GET /  HTTP/1.1\r\n\r\n", "malformed request line"),
    Refused("a line that ends in LF", b"GET / HTTP/1.1\nHost: a\r\n\r\n", "malformed request line"),
    Refused("a control byte in the target", b"GET /\x01 HTTP/1.1\r\n\r\n", "malformed request target"),
    Refused("a byte above ASCII in the target", b"GET /\xff HTTP/1.1\r\n\r\n", "malformed request target"),
    Refused("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\n", "malformed request line"),
    Refused("HTTP/2.0 as text", b"GET / HTTP/2.0\r\n\r\n", "", VERSION_REFUSED),
    Refused("HTTP/0.9", b"GET /\r\n\r\n", "", VERSION_REFUSED),
    Refused("a version that never was", b"GET / HTTP/1.2\r\n\r\n", "malformed request line"),
    Refused("a space in a name", LINE + b"X A: 1\r\n\r\n", "Invalid header token"),
    Refused("a control byte in a value", LINE + b"A: \x01\r\n\r\n", "Invalid header value char"),
    Refused("a folded value", LINE + b"A: 1\r\n 2\r\n\r\n", "Unexpected whitespace after header value"),
    Refused("an empty coding", LINE + b"Transfer-Encoding:\r\n\r\n", "", TRANSFER_CODING),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.says)
def test_a_bad_head_and_what_is_said_of_it(case: Refused) -> None:
    expected = case.fault.because(case.because) if case.because else case.fault
    assert parse_head(case.raw) == expected


def test_two_heads_are_none() -> None:
    """Whoever cuts them apart has made a mistake: neither is read."""
    assert isinstance(parse_head((LINE + HOST + b"\r\n") * 2), Fault)


@pytest.mark.parametrize("raw", [b"\r\n\r\n", b"\n\r\n\r\n"], ids=repr)
def test_empty_lines_alone_are_no_head_yet(raw: bytes) -> None:
    """RFC 9112 §2.2."""
    assert parse_head(raw) is None


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.says)
def test_what_is_said_quotes_nothing_of_the_request(case: Refused) -> None:
    marked = case.raw.replace(b"\r\n", b"\r\nx-secret-4711: secret-4711\r\n", 1)
    found = parse_head(marked)
    assert isinstance(found, Fault)
    assert "4711" not in found.detail


@pytest.mark.parametrize("case", FINE, ids=lambda case: case.says)
def test_a_parser_outlives_no_head(case: Fine) -> None:
    """It is let go without the garbage collector: it and what it calls do not hold each other."""
    assert not hasattr(head(case.raw), "parser")


@pytest.mark.parametrize("case", [*FINE, *REFUSED], ids=lambda case: case.says)
def test_nothing_is_carried_over_to_the_next_head(case: Fine | Refused) -> None:
    parse_head(case.raw)
    found = head(LINE + HOST + b"\r\n")
    assert (found.method, found.fields, found.keep_alive) == (b"GET", [(b"Host", b"a")], True)


# A head in pieces


@pytest.mark.parametrize("case", FINE, ids=lambda case: case.says)
def test_to_what_may_become_a_good_head_nothing_is_objected(case: Fine) -> None:
    start = HeadStart()
    for at in range(len(case.raw) - 1):
        assert start.feed(case.raw[at : at + 1], case.raw[: at + 1]) is None


@pytest.mark.parametrize(
    ("raw", "because"),
    [
        (b"\x16\x03\x01\x02\x00\x01", "unknown method"),
        (b"GET / HTTQ", "malformed request line"),
        (b"GET / HTTP/1.1\nH", "malformed request line"),
        (b"GET /\x00", "malformed request target"),
        (LINE + b"A: 1\r\n 2", "Unexpected whitespace after header value"),
        (LINE + HOST + b"A\x00", "Invalid header token"),
    ],
    ids=repr,
)
def test_what_cannot_become_one_is_refused_before_its_end(raw: bytes, because: str) -> None:
    """So that a browser that speaks TLS, say, does not wait until the time for a head is over."""
    start = HeadStart()
    found = [start.feed(raw[at : at + 1], raw[: at + 1]) for at in range(len(raw))]
    assert next(filter(None, found)) == BAD_REQUEST.because(because)


@given(st.text("\r\nab", max_size=24).map(str.encode), st.integers(0, 24))
def test_the_end_is_found_wherever_the_bytes_are_cut(data: bytes, cut: int) -> None:
    whole = end_of_section(data)
    before, after = data[:cut], data[cut:]
    if whole < 0 or whole > len(before):
        found = end_of_section(after, before)
        assert found == (whole - len(before) if whole >= 0 else -1)


def test_the_end_is_looked_for_from_where_one_says() -> None:
    assert end_of_section(END + b"a" + END, start=4) == 9
    assert end_of_section(END + b"a" + END) == 4


# httptools


def test_what_httptools_calls_and_when() -> None:
    """The order of its calls, and that the state of the connection is known when the head is complete."""
    calls: list[str] = []

    class Sink:
        def on_header(self, name: bytes, value: bytes) -> None:
            calls.append(f"{name!r}={value!r}")

        def on_headers_complete(self) -> None:
            calls.append(f"complete, goes on: {parser.should_keep_alive()}")

        def on_body(self, data: bytes) -> None:
            calls.append(repr(data))

        def on_message_complete(self) -> None:
            calls.append("end")

    parser = HttpRequestParser(Sink())
    parser.feed_data(b"POST / HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
    parser.feed_data(b"1\r\na\r\n0\r\nB: c \r\n\r\n")
    assert calls == [
        "b'Connection'=b'close'",
        "b'Transfer-Encoding'=b'chunked'",
        "complete, goes on: False",
        "b'a'",
        "b'B'=b'c '",
        "end",
    ]
