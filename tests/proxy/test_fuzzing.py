"""What the fuzzer objects to: a judge that never says no would let everything pass."""

import random
from typing import NamedTuple

import pytest

from tests.proxy.fuzzing import mutate, objection_to_first_head, objection_to_request, objection_to_responses


class Case(NamedTuple):
    says: str
    data: bytes
    objects: bool
    head_only: bool = False


GET = b"GET / HTTP/1.1\r\nHost: a\r\n"
REQUESTS = [
    Case("a plain request", GET + b"\r\n", objects=False),
    Case("a bare CR in a value", GET + b"X: a\rb\r\n\r\n", objects=True),
    Case("a bare LF in a value", GET + b"X: a\nb: c\r\n\r\n", objects=True),
    Case(
        "a length and a coding",
        GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        objects=True,
    ),
    Case("two lengths", GET + b"Content-Length: 1\r\ncontent-length: 1\r\n\r\n", objects=True),
    Case("two Hosts", GET + b"host: b\r\n\r\n", objects=True),
    Case("no Host", b"GET / HTTP/1.1\r\nX: 1\r\n\r\n", objects=True),
    Case("another version", b"GET / HTTP/1.0\r\nHost: a\r\n\r\n", objects=True),
    Case("two spaces", b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", objects=True),
    Case("a name that is no token", GET + b"X A: 1\r\n\r\n", objects=True),
]
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
EVIL = b"Access-Control-Allow-Origin: https://evil.test\r\n"
RESPONSES = [
    Case("nothing", b"", objects=False),
    Case("half a head", OK + b"X-A", objects=False),
    Case("a body of its length", OK + b"Content-Length: 2\r\n\r\nok", objects=False),
    Case("a body that is cut", OK + b"Content-Length: 2\r\n\r\no", objects=False),
    Case(
        "more than the length says", OK + b"Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n", objects=True
    ),
    Case("chunks", CHUNKED + b"2\r\nok\r\n0\r\n\r\n", objects=False),
    Case("chunks that are cut", CHUNKED + b"2\r\no", objects=False),
    Case("chunks with a trailer", CHUNKED + b"2\r\nok\r\n0\r\nX-A: 1\r\n\r\n", objects=False),
    Case("a trailer for a foreign origin", CHUNKED + b"0\r\n" + EVIL + b"\r\n", objects=True),
    Case("a chunk longer than it says", CHUNKED + b"2\r\nokay\r\n", objects=True),
    Case("no chunk", CHUNKED + b"hello\r\n", objects=True),
    Case("something behind the last chunk", CHUNKED + b"0\r\n\r\nHTTP/1.1", objects=True),
    Case("a body without framing", OK + b"\r\nhello", objects=True),
    Case("a body of a 204", b"HTTP/1.1 204 No Content\r\n\r\nhello", objects=True),
    Case("a body for HEAD", OK + b"Content-Length: 2\r\n\r\nok", objects=True, head_only=True),
    Case("an interim response before it", b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK + b"\r\n", objects=False),
    Case("a foreign origin in an interim response", b"HTTP/1.1 103 x\r\n" + EVIL + b"\r\n", objects=True),
    Case("a foreign origin", OK + EVIL + b"\r\n", objects=True),
    Case("a status of two digits", b"HTTP/1.1 20 OK\r\n\r\n", objects=True),
]


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case.says)
def test_requests(case: Case) -> None:
    assert bool(objection_to_request(case.data)) is case.objects


@pytest.mark.parametrize("case", RESPONSES, ids=lambda case: case.says)
def test_responses(case: Case) -> None:
    assert bool(objection_to_responses(case.data, head_only=case.head_only)) is case.objects


def test_the_first_of_several_heads() -> None:
    assert not objection_to_first_head(OK + b"\r\nwhatever")
    assert not objection_to_first_head(b"")
    assert objection_to_first_head(b"hello")
    assert objection_to_first_head(b"HTTP/1.1 200 OK\r\nX A: 1\r\n\r\n")


def test_the_same_seed_makes_the_same_inputs() -> None:
    seeds = [GET + b"\r\n", OK + b"\r\n"]
    first, second = ([mutate(random.Random(7), seeds) for _ in range(3)] for _ in range(2))
    assert first == second
    rng = random.Random(7)
    inputs = [mutate(rng, seeds) for _ in range(500)]
    assert len(set(inputs)) > 400
    assert all(inputs)
