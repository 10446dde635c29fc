"""What aiohttp's C parser refuses, ours refuses as well; what both take, they read alike.

Both are llhttp underneath, in versions of their own, with checks of their own on top. aiohttp's has been
attacked for years: where it becomes stricter, this says so. Ours may refuse more.
"""

import asyncio
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser
from httptools import HttpParserError

from corsproxy.http.faults import Fault
from corsproxy.http.fields import Fields
from corsproxy.proxy.chunks import ChunkedBody
from corsproxy.proxy.head import END, end_of_section, parse_head
from corsproxy.proxy.request import read_request
from tests.proxy.fuzzing import mutate
from tests.proxy.test_fuzz import CLIENT_SEEDS

INPUTS = 15_000  # of each kind: half a second
NO_LIMIT = 1 << 20
NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"


class Read(NamedTuple):
    """A head that is served."""

    method: bytes
    target: bytes
    is_http10: bool
    fields: Fields
    keep_alive: bool


Verdict = Read | str | None
"""What was read; why it is refused; None when it is no head yet."""


class Unpaused(BaseProtocol):
    """Takes whatever comes."""

    def pause_reading(self) -> None:
        """It is not paused."""

    def resume_reading(self, resume_parser: bool = True) -> None:
        """It was not paused."""


@pytest.fixture(scope="module")
def protocol() -> Iterator[BaseProtocol]:
    loop = asyncio.new_event_loop()
    yield Unpaused(loop)
    loop.close()


def second(protocol: BaseProtocol) -> Any:  # aiohttp's C parser has no type of its own
    return HttpRequestParser(
        protocol,
        protocol._loop,
        NO_LIMIT,
        max_line_size=NO_LIMIT,
        max_field_size=NO_LIMIT,
        max_headers=NO_LIMIT,
        auto_decompress=False,
    )


def theirs(protocol: BaseProtocol, raw: bytes) -> Verdict:
    """What aiohttp reads, where it is HTTP/1.0 or 1.1 with one space between the parts of the first line."""
    try:
        messages, _, _ = second(protocol).feed_data(raw)
    except HttpProcessingError as error:
        return error.message
    except IndexError:  # some targets in absolute-form trip its URL parser
        return "no URL"
    if not messages:
        return None
    head = messages[0][0]
    method = head.method.encode()
    target = head.path.encode("utf-8", "surrogateescape")
    minor = head.version.minor
    if head.version.major != 1 or minor > 1:
        return "version"
    if not raw.lstrip(b"\r\n").startswith(b"%b %b HTTP/1." % (method, target)):
        return "spaces"
    return checked(Read(method, target, minor == 0, list(head.raw_headers), not head.should_close))


def ours(raw: bytes) -> Verdict:
    """What the proxy reads."""
    head = parse_head(raw)
    if isinstance(head, Fault):
        return head.says
    if head is None:
        return None
    return checked(Read(head.method, head.target, head.is_http10, head.fields, head.keep_alive))


def checked(read: Read) -> Read | str:
    """A head that makes sense to `read_request`; the same for both, but aiohttp has refused more by then."""
    request = read_request(*read[:2], read.fields, is_http10=read.is_http10, keep_alive=read.keep_alive)
    return request.says if isinstance(request, Fault) else read


def first_head(data: bytes) -> bytes:
    end = end_of_section(data)
    return data[:end] if end >= 0 else data + END


def lines(*fields: bytes, first: bytes = b"GET / HTTP/1.1", host: bytes = b"Host: a") -> bytes:
    return b"\r\n".join([first, host, *fields, b"", b""])


# What only aiohttp's code objects to, not llhttp.
ONCE = (b"Content-Type: a/b", b"ETag: x", b"Server: a", b"Max-Forwards: 1", b"User-Agent: x")
SEEDS = [
    *map(first_head, CLIENT_SEEDS),
    *[
        lines(*ONCE, b"Content-Range: a", b"Content-Location: b"),
        lines(b"Connection: close", first=b"GET http://[::1]:80/a HTTP/1.1"),
        lines(b"Connection: keep-alive, close", b"Upgrade: x", first=b"GET http://a.b:8080/a?b HTTP/1.1"),
        lines(b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 3", b"Sec-WebSocket-Key1: x"),
        lines(b"Transfer-Encoding: chunked", b"X:  a \t ", b"Y:", first=b"POST / HTTP/1.1"),
        lines(b"Connection: keep-alive", first=b"GET / HTTP/1.0"),
    ]
    * 8,
]


def agree(protocol: BaseProtocol, raw: bytes) -> str:
    """What is wrong with how the two read a head; "" when they agree, or ours refuses."""
    found = ours(raw)
    if isinstance(found, str):
        return ""
    expected = theirs(protocol, raw)
    return "" if found == expected else f"{raw!r}: aiohttp says {expected!r}, ours {found!r}"


def test_it_is_the_one_in_c() -> None:
    """The one in Python accepts two lengths that differ, and turns `get` into GET: no opinion to ask for."""
    assert HttpRequestParser.__module__ == "aiohttp._http_parser"


@pytest.mark.parametrize("part", range(2))
def test_mutated_heads(protocol: BaseProtocol, part: int) -> None:
    rng = random.Random(part)
    inputs = [first_head(mutate(rng, SEEDS)) for _ in range(INPUTS)]
    assert [wrong for raw in inputs if (wrong := agree(protocol, raw))] == []
    assert sum(isinstance(ours(raw), Read) for raw in inputs) > INPUTS // 20, "hardly any head is read at all"


ORDINARY = lines(b"X-A: b c", b"Content-Length: 10", first=b"POST /a?b HTTP/1.1")


@pytest.mark.parametrize("how", ["instead", "before"])
def test_every_byte_at_every_place(protocol: BaseProtocol, how: str) -> None:
    skipped = how == "instead"
    inputs = (
        first_head(ORDINARY[:at] + bytes((byte,)) + ORDINARY[at + skipped :])
        for at in range(len(ORDINARY) - len(END))
        for byte in range(256)
    )
    assert [wrong for raw in inputs if (wrong := agree(protocol, raw))] == []


AUTHORITY = (
    *(b"a", b"b.c", b"[", b"]", b":", b"::", b"1", b"f", b"80", b"99999", b"65536", b"0", b".", b"..", b"-"),
    *(b"_", b"~", b"!", b"$", b"&", b"'", b"(", b")", b"*", b"+", b",", b";", b"=", b"@", b"%", b"%41"),
    *(b"xn--", b"127.0.0.1", b"?", b"#", b"/", b"//", b"\\", b"v1.a"),
)
TAILS = (b"", b"/", b"/x")
SCHEMES = (b"http://", b"https://", b"HTTP://", b"ws://", b"//", b"http:/", b"http:")


def test_targets_in_absolute_form(protocol: BaseProtocol) -> None:
    """aiohttp makes a URL of them, which objects to addresses and ports that are none."""
    rng = random.Random(0)
    targets = (
        rng.choice(SCHEMES) + b"".join(rng.choices(AUTHORITY, k=rng.randint(0, 5))) + rng.choice(TAILS)
        for _ in range(INPUTS)
    )
    inputs = (lines(first=b"GET " + target + b" HTTP/1.1") for target in targets)
    assert [wrong for raw in inputs if (wrong := agree(protocol, raw))] == []


# Chunked bodies

CHUNKED = lines(b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.1")
BODIES = [
    b"3\r\nabc\r\n0\r\n\r\n",
    b"3;a=b\r\nabc\r\n0;c\r\n\r\n",
    b'3;a="b c"\r\nabc\r\n0\r\nX-A: 1\r\nX-B: 2\r\n\r\n' + NEXT,
    b"A\r\n0123456789\r\n5\r\n\r\n\r\nx\r\n0\r\n\r\n" + NEXT,
    b"4\r\n\r\n\r\n\r\n4\r\n\r\n\r\n\r\n0\r\n\r\n" + NEXT,
    b"000\r\nA: b\r\n\r\n" + NEXT,
    b"0\r\nContent-Length: 5\r\n\r\n",
    b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
]


class Body(NamedTuple):
    data: bytes
    is_complete: bool
    behind: bytes


def their_body(protocol: BaseProtocol, body: bytes) -> Body | str:
    parser = second(protocol)
    [(_, payload)], _, _ = parser.feed_data(CHUNKED)
    at = 0
    try:
        while at < len(body) and not payload.is_eof():
            end = end_of_section(body, start=at)
            end = len(body) if end < 0 else end
            parser.feed_data(body[at:end])
            at = end
    except HttpProcessingError as error:
        return error.message
    return Body(payload.read_nowait(), payload.is_eof(), body[at:])


def our_body(*pieces: bytes) -> Body | str:
    chunks = ChunkedBody()
    data, behind = b"", b""
    try:
        for piece in pieces:
            if chunks.is_complete:
                behind += piece
            else:
                behind = chunks.feed(piece)
                data += chunks.take()
    except HttpParserError as error:
        return str(error)
    return Body(data, chunks.is_complete, behind)


def test_mutated_chunks(protocol: BaseProtocol) -> None:
    rng = random.Random(0)
    wrong = []
    for _ in range(INPUTS):
        body = mutate(rng, BODIES)[:400]
        found, expected = our_body(body), their_body(protocol, body)
        # Trailers end here, so one that stands twice is no more than one that stands once (RFC 9110 §6.5.1).
        harmless = isinstance(expected, str) and expected.startswith("Duplicate '")
        if found != expected and not isinstance(found, str) and not harmless:
            wrong.append(f"{body!r}: aiohttp says {expected!r}, ours {found!r}")
    assert wrong == []


def test_mutated_chunks_in_pieces() -> None:
    """Cut anywhere, they carry the same bytes, end at the same place, or are refused."""
    rng = random.Random(0)
    wrong = []
    for _ in range(INPUTS):
        body = mutate(rng, BODIES)[:400]
        first, then = sorted((rng.randrange(len(body) + 1), rng.randrange(len(body) + 1)))
        whole, cut = our_body(body), our_body(body[:first], body[first:then], body[then:])
        if whole != cut and not (isinstance(whole, str) and isinstance(cut, str)):
            wrong.append(f"{body!r} cut at {first} and {then}: {whole!r}, {cut!r}")
    assert wrong == []
