"""One client's bytes into requests: where messages end, what is kept for later, and what is too much."""

import gc
import weakref
from collections.abc import Iterable
from typing import NamedTuple

import pytest

from corsproxy.config.table import Limits
from corsproxy.http.faults import BAD_REQUEST, HEAD_TOO_LARGE, TARGET_TOO_LONG, TOO_MANY_FIELDS, Fault
from corsproxy.proxy import reader as reading
from corsproxy.proxy.chunks import ChunkedBody
from corsproxy.proxy.reader import PreflightMemo, RequestReader
from corsproxy.proxy.request import Request

HOST = b"Host: a\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
NEXT = b"GET /next HTTP/1.1\r\n" + HOST + b"\r\n"
UPLOAD = b"PUT /up HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
PREFLIGHT = (
    b"OPTIONS / HTTP/1.1\r\n" + HOST + b"Origin: https://a.test\r\nAccess-Control-Request-Method: PUT\r\n\r\n"
)
LIMITS = Limits(request_head=200, request_fields=5)


def reader(limits: Limits = LIMITS) -> RequestReader:
    return RequestReader(limits, PreflightMemo())


def with_length(body: bytes) -> bytes:
    return b"PUT /up HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body) + body


def feed(client: RequestReader, data: bytes) -> list[Request | bytes | Fault]:
    """Read as a connection does that answers at once: requests and pieces of their bodies, in order."""
    client.waiting += data
    found: list[Request | bytes | Fault] = []
    while client.waiting:
        got = client.read_head() if client.complete else client.read_body()
        if got is not None:
            found.append(got)
        if isinstance(got, Fault):
            break
        found += client.take_body()
    return found


def seen(found: Iterable[Request | bytes | Fault]) -> tuple[list[bytes], bytes]:
    """The paths of the requests, and all that came as a body."""
    found = list(found)
    paths = [each.path for each in found if isinstance(each, Request)]
    return paths, b"".join(each for each in found if isinstance(each, bytes))


class Sent(NamedTuple):
    says: str
    data: bytes
    body: bytes


SENT = [
    Sent("no body", GET, b""),
    Sent("a body with a length", with_length(b"abc"), b"abc"),
    Sent("a body that looks like a head", with_length(GET), GET),
    Sent("chunks", UPLOAD + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
    Sent("no chunk but the last", UPLOAD + b"0\r\n\r\n", b""),
    Sent("chunks with trailers", UPLOAD + b"3\r\nabc\r\n0\r\nX-Late: 1\r\nHost: b\r\n\r\n", b"abc"),
    Sent("chunks that look like their end", UPLOAD + b"7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n\r\n"),
    Sent(
        "chunks in a request to switch",
        UPLOAD[:-2] + b"Connection: Upgrade\r\nUpgrade: x\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"a",
    ),
    Sent(
        "a length in a request to switch",
        with_length(b"abc").replace(HOST, HOST + b"Connection: upgrade\r\nUpgrade: x\r\n"),
        b"abc",
    ),
    Sent("empty lines first", b"\r\n\n\r\n\r\n" + GET, b""),
    Sent("the last of its connection", GET.replace(HOST, HOST + b"Connection: close\r\n"), b""),
]


@pytest.mark.parametrize("case", SENT, ids=lambda case: case.says)
def test_a_message_and_the_one_behind_it_wherever_they_are_cut(case: Sent) -> None:
    """In one read, in two at every place, and byte by byte."""
    data = case.data + NEXT
    path = case.data.strip().split(b" ")[1]
    for cut in range(len(data)):
        client = reader()
        assert seen(feed(client, data[:cut]) + feed(client, data[cut:])) == ([path, b"/next"], case.body), cut
    client = reader()
    single = (each for at in range(len(data)) for each in feed(client, data[at : at + 1]))
    assert seen(single) == ([path, b"/next"], case.body)


def test_a_request_is_read_and_what_is_behind_it_is_not_looked_at() -> None:
    client = reader()
    client.waiting = GET + b"nonsense\r\n\r\n" + NEXT
    assert isinstance(client.read_head(), Request)
    assert client.waiting == b"nonsense\r\n\r\n" + NEXT
    assert client.read_head() == BAD_REQUEST.because("unknown method")


def test_what_cannot_become_a_head_is_refused_before_its_end() -> None:
    client = reader()
    assert feed(client, GET[:-2] + b"A") == []
    assert feed(client, b"\x00") == [BAD_REQUEST.because("Invalid header token")]
    assert client.unfinished_head == GET[:-2] + b"A\x00"


def test_a_body_with_a_length_is_handed_on_without_a_copy() -> None:
    client = reader()
    client.waiting = with_length(bytes(100))[:-100]
    client.read_head()
    piece = bytes(60)
    client.waiting = piece
    client.read_body()
    [taken] = client.take_body()
    assert taken is piece
    assert not client.complete


def test_nothing_is_left_of_a_chunked_body() -> None:
    """Neither its trailer in the next request, nor its parser on the connection."""
    client = reader()
    feed(client, UPLOAD + b"0\r\nX-Late: 1\r\n\r\n")
    client.waiting = NEXT
    request = client.read_head()
    assert isinstance(request, Request)
    assert request.raw_fields == [(b"Host", b"a")]
    assert client._chunks is None


def test_a_body_goes_when_its_connection_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle, and without the garbage collector: it and its parser do not hold each other."""
    made: list[weakref.ref[ChunkedBody]] = []

    class Watched(ChunkedBody):
        def __init__(self) -> None:
            super().__init__()
            made.append(weakref.ref(self))

    monkeypatch.setattr(reading, "ChunkedBody", Watched)
    client = reader()
    feed(client, UPLOAD + b"3\r\nab")
    [body] = made
    assert body() is not None
    gc.disable()
    try:
        del client
        assert body() is None
    finally:
        gc.enable()


# Limits


class Much(NamedTuple):
    says: str
    data: bytes
    fault: Fault


MUCH = [
    Much("a long target", b"GET /" + b"a" * 200 + b" HTTP/1.1\r\n" + HOST + b"\r\n", TARGET_TOO_LONG),
    Much("a target without end", b"GET /" + b"a" * 200, TARGET_TOO_LONG),
    Much("a long field", GET[:-2] + b"A: " + b"a" * 200 + b"\r\n\r\n", HEAD_TOO_LARGE),
    Much("a field without end", GET[:-2] + b"A: " + b"a" * 200, HEAD_TOO_LARGE),
    Much("many fields", GET[:-2] + b"A: a\r\n" * 5 + b"\r\n", TOO_MANY_FIELDS),
    Much("empty lines", b"\r\n" * 102, HEAD_TOO_LARGE),
    Much(
        "an extension without end",
        UPLOAD + b"3;" + b"a" * 199,
        BAD_REQUEST.because("too many bytes of chunk extensions or trailers"),
    ),
    Much(
        "trailers without end",
        UPLOAD + b"0\r\n" + b"A: a\r\n" * 33,
        BAD_REQUEST.because("too many bytes of chunk extensions or trailers"),
    ),
]


@pytest.mark.parametrize("case", MUCH, ids=lambda case: case.says)
@pytest.mark.parametrize("size", [1, 7, 1000], ids=lambda size: f"in reads of {size}")
def test_too_much(case: Much, size: int) -> None:
    client = reader()
    found = [
        each for at in range(0, len(case.data), size) for each in feed(client, case.data[at : at + size])
    ]
    assert case.fault in found


@pytest.mark.parametrize("size", [1, 7, 1000], ids=lambda size: f"in reads of {size}")
def test_exactly_as_much_as_may_be(size: int) -> None:
    data = GET[:-2] + b"A: "
    data += b"a" * (LIMITS.request_head - len(data) - 4) + b"\r\n\r\n"
    assert len(data) == LIMITS.request_head
    client = reader()
    assert seen(
        [each for at in range(0, len(data), size) for each in feed(client, data[at : at + size])]
    ) == ([b"/"], b"")


def test_what_counts_against_a_limit_starts_anew_with_each_request() -> None:
    """Empty lines, and the framing of bodies without content."""
    client = reader()
    for _ in range(LIMITS.request_head):
        assert seen(feed(client, b"\r\n\r\n" + UPLOAD + b"0\r\n")) == ([b"/up"], b"")
        assert feed(client, b"\r\n") == []


def test_a_limit_that_changes_holds_from_the_next_head_on() -> None:
    client = reader()
    assert seen(feed(client, b"\r\n" * 30 + GET)) == ([b"/"], b"")
    client.adopt(Limits(request_head=20, request_fields=5), PreflightMemo())
    assert feed(client, GET) == [HEAD_TOO_LARGE]


@pytest.mark.parametrize(
    "data",
    [
        GET[:-2] + b"A : 1\r\n\r\n",
        GET[:-2] + b"Host: b\r\n\r\n",
        with_length(b"")[:-2] + b"Content-Length: 0\r\n\r\n",
        UPLOAD + b"xyz\r\n",
    ],
    ids=["a bad field", "two Hosts", "two lengths", "a bad chunk in the same read"],
)
def test_of_a_request_that_is_refused_the_head_is_kept_for_the_answer(data: bytes) -> None:
    """Its Origin decides whether a script may read the answer."""
    client = reader()
    [fault] = feed(client, data)
    assert isinstance(fault, Fault)
    assert client.unfinished_head == data.partition(b"xyz")[0]


# Preflights


def test_a_preflight_is_read_once() -> None:
    memo = PreflightMemo()
    first, second = RequestReader(LIMITS, memo), RequestReader(LIMITS, memo)
    first.waiting = second.waiting = PREFLIGHT
    assert first.read_head() is second.read_head()


@pytest.mark.parametrize(
    "data",
    [
        PREFLIGHT.replace(b"HTTP/1.1", b"HTTP/1.0"),
        PREFLIGHT.replace(HOST, HOST + b"Connection: close\r\n"),
        PREFLIGHT.replace(HOST, HOST + b"Content-Length: 1\r\n"),
        PREFLIGHT.replace(b"Origin", b"X-Origin"),
        PREFLIGHT.replace(HOST, HOST + b"Authorization: Bearer secret\r\n"),
        PREFLIGHT.replace(HOST, HOST + b"cookie: sid=secret\r\n"),
        PREFLIGHT.replace(HOST, HOST + b"PROXY-AUTHORIZATION: Basic secret\r\n"),
    ],
    ids=[
        "HTTP/1.0",
        "the last of its connection",
        "with a body",
        "no preflight",
        "with a token",
        "with a cookie",
        "with a token for us",
    ],
)
def test_what_is_not_like_most_is_not_kept(data: bytes) -> None:
    memo = PreflightMemo()
    client = RequestReader(LIMITS, memo)
    client.waiting = data
    assert isinstance(client.read_head(), Request)
    assert memo.known == {}


def test_a_preflight_in_pieces_is_no_other_than_one_in_whole() -> None:
    memo = PreflightMemo()
    client = RequestReader(LIMITS, memo)
    client.waiting = b"GE"
    assert client.read_head() is None
    client.waiting = PREFLIGHT
    found = client.read_head()
    assert found == BAD_REQUEST.because("unknown method")
