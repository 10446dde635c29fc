"""Messages that nobody would write: mutations of good and bad ones, and what must hold for all of them.

Here:  changes to bytes, drawn from a seeded generator; what two readers could take differently in a message.
Never: sockets, clocks, what the proxy should make of one message: the tables of cases say that.
"""

import random
import re
from collections.abc import Callable, Sequence

__all__ = ["mutate", "objection_to_first_head", "objection_to_request", "objection_to_responses"]

# What parsers stumble over, put where nobody expects it.
TOKENS = (
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\x00", b" ", b"\t", b":", b",", b";", b"\x7f", b"\xff", b"\x0b"),
    *(b"0\r\n\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n"),
    *(b"transfer-encoding: CHUNKED\r\n", b"Transfer-Encoding: gzip\r\n", b"Host: hidden.test\r\n"),
    *(b"Connection: close\r\n", b"Connection: keep-alive, X-A\r\n", b"Expect: 100-continue\r\n"),
    *(b"Upgrade: h2c\r\n", b"TE: trailers\r\n", b"Origin: https://app.example.com\r\n", b" folded\r\n"),
    *(b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HEAD ", b"OPTIONS * ", b"http://hidden.test/", b"%2e%2e/"),
    *(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n", b" 204 ", b" 304 "),
    *(b"ffffffffffffffff", b"-1", b"+1", b"0x", b"18446744073709551616", b"GET / HTTP/1.1\r\n\r\n"),
)
# Past anything that a head may hold, and then it is about limits, which have tests of their own.
LONGEST = 20_000


def _flip(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + bytes((data[at] ^ 1 << rng.randrange(8),)) + data[at + 1 :]


def _insert(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(TOKENS) + data[at:]


def _delete(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data))
    return data[:at] + data[at + rng.randint(1, 8) :]


def _repeat(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    start = rng.randrange(len(data))
    piece = data[start : start + rng.randint(1, 64)]
    return data[:start] + piece * rng.randint(2, 4) + data[start:]


def _cross(rng: random.Random, data: bytes, seeds: Sequence[bytes]) -> bytes:
    other = rng.choice(seeds)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _shuffle_lines(rng: random.Random, data: bytes, _: Sequence[bytes]) -> bytes:
    first, *lines = data.split(b"\r\n")
    rng.shuffle(lines)
    return b"\r\n".join([first, *lines])


_CHANGES: tuple[Callable[[random.Random, bytes, Sequence[bytes]], bytes], ...] = (
    *(_flip, _insert, _insert, _delete, _repeat, _cross, _shuffle_lines),
)


def mutate(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds after one to four changes; never empty."""
    data = rng.choice(seeds)
    for _ in range(rng.randint(1, 4)):
        data = rng.choice(_CHANGES)(rng, data, seeds)[:LONGEST] or b"\r\n"
    return data


_REQUEST_LINE = re.compile(rb"[A-Z-]+ [\x21-\x7e\x80-\xff]+ HTTP/1\.1")
_STATUS_LINE = re.compile(rb"HTTP/1\.1 [1-9]\d\d [\t\x20-\x7e\x80-\xff]*")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[\t\x20-\x7e\x80-\xff]*")
_CHUNK_SIZE = re.compile(rb"[0-9a-f]+")


def objection_to_request(head: bytes) -> str:
    """What is wrong with a head that reached an upstream, up to its empty line; "" = nothing."""
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    if _REQUEST_LINE.fullmatch(first) is None:
        return f"request line {first!r}"
    objection = _objection_to_lines(lines)
    if objection:
        return objection
    return "" if _count(lines, b"host") == 1 else "not exactly one Host"


def objection_to_first_head(data: bytes) -> str:
    """What is wrong with the first head that a client got, if it got one; "" = nothing."""
    head, end, _ = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    if not end:
        return "half a head" if data and _STATUS_LINE.match(data) is None else ""
    return f"status line {first!r}" if _STATUS_LINE.fullmatch(first) is None else _objection_to_lines(lines)


def objection_to_responses(data: bytes, *, head_only: bool) -> str:
    """What is wrong with all that a client got on one connection for one request; "" = nothing.

    A response may be cut anywhere: that it shows. It may not be followed by anything.
    """
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            return ""
        first, *lines = head.split(b"\r\n")
        if _STATUS_LINE.fullmatch(first) is None:
            return f"status line {first!r}"
        objection = _objection_to_lines(lines) or _objection_to_cors(lines)
        if objection:
            return objection
        status = int(first[9:12])
        if status >= 200:
            return "" if rest == b"" else _objection_to_body(status, lines, rest, head_only=head_only)
        data = rest
    return ""


def _objection_to_lines(lines: Sequence[bytes]) -> str:
    for line in lines:
        if _FIELD.fullmatch(line) is None:
            return f"field line {line!r}"
    lengths, codings = _count(lines, b"content-length"), _count(lines, b"transfer-encoding")
    return "more than one framing" if lengths + codings > 1 else ""


def _objection_to_cors(lines: Sequence[bytes]) -> str:
    """The seeds carry CORS fields for a foreign origin; the policy admits one other."""
    foreign = [line for line in lines if line.lower().startswith(b"access-control-") and b"evil" in line]
    return f"the upstream's own {foreign[0]!r}" if foreign else ""


def _objection_to_body(status: int, lines: Sequence[bytes], body: bytes, *, head_only: bool) -> str:
    if head_only or status in {204, 304}:
        return "a body where none may be"
    if _count(lines, b"transfer-encoding"):
        return _objection_to_chunks(body)
    length = _value(lines, b"content-length")
    if length is None:
        return "a body without framing"
    return "more than the length says" if len(body) > int(length) else ""


def _objection_to_chunks(body: bytes) -> str:
    while body:
        line, end, rest = body.partition(b"\r\n")
        if not end:
            return ""
        if _CHUNK_SIZE.fullmatch(line) is None:
            return f"chunk size {line!r}"
        size = int(line, 16)
        if size == 0:
            return _objection_to_trailers(rest)
        if len(rest) > size and not b"\r\n".startswith(rest[size : size + 2]):
            return "a chunk without its end"
        body = rest[size + 2 :]
    return ""


def _objection_to_trailers(section: bytes) -> str:
    section, end, rest = (b"\r\n" + section).partition(b"\r\n\r\n")
    lines = section.split(b"\r\n")[1:]
    if rest:
        return f"{rest!r} behind the last chunk"
    return (_objection_to_lines(lines) or _objection_to_cors(lines)) if end and lines != [b""] else ""


def _count(lines: Sequence[bytes], name: bytes) -> int:
    return sum(line.lower().startswith(name + b":") for line in lines)


def _value(lines: Sequence[bytes], name: bytes) -> bytes | None:
    found = [line.partition(b":")[2].strip() for line in lines if line.lower().startswith(name + b":")]
    return found[0] if found else None
