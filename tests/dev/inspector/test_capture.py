"""The fields on both wires: on the record where somebody looks, and nowhere else."""

import asyncio

import pytest

from corsproxy.config.table import Address, Table
from corsproxy.dev.inspector.entry import detail_of
from corsproxy.ops.server import Server
from corsproxy.proxy.exchange import Exchange
from tests.proxy.conftest import WEB, route
from tests.wire import answers, ask, get, ok, upstream

APP = "Origin: https://app.example.com"
STRANGER = "Origin: https://x.test"
PREFLIGHT = "Access-Control-Request-Method: PUT"
GONE = 1  # a port at which nobody answers


async def exchanged(request: bytes, *, captures: bool, to_nobody: bool = False) -> Exchange:
    """What the record holds of one exchange."""
    records: list[Exchange] = []
    recorded = asyncio.Event()

    def record(exchange: Exchange, _: float) -> None:
        records.append(exchange)
        recorded.set()

    async with upstream(answers(ok(b"hello", "X-Up: 1"))) as server:
        table = Table((route(GONE if to_nobody else server.port),), (WEB,), listen=LISTEN)
        proxy = Server(table, [record], captures=captures)
        await proxy.start()
        try:
            await ask(proxy.addresses[0], request)
            await recorded.wait()
        finally:
            proxy.abort()
            await proxy.stop()
    [found] = records
    return found


LISTEN = Address("127.0.0.1", 0)
REQUESTS = {
    "a call": get("/", APP),
    "a preflight": get("/", APP, PREFLIGHT, method="OPTIONS"),
    "a refused preflight": get("/", STRANGER, PREFLIGHT, method="OPTIONS"),
    "an ambiguous path": get("/a/../b", APP),
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_nothing_is_captured_where_nobody_looks(request_: bytes) -> None:
    found = await exchanged(request_, captures=False)
    assert found.capture is None
    assert detail_of(found) is None


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_what_the_client_sent_and_got_is_always_there(request_: bytes) -> None:
    capture = (await exchanged(request_, captures=True)).capture
    assert capture is not None
    assert (b"Host", b"proxy.test") in capture.request.raw_fields
    assert capture.answer.startswith(b"HTTP/1.1 ")
    assert capture.answer.endswith(b"\r\n\r\n")


async def test_a_call_has_both_sides() -> None:
    capture = (await exchanged(get("/a?b=c", APP), captures=True)).capture
    assert capture is not None
    assert capture.sent.startswith(b"GET /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:")
    assert capture.response is not None
    assert (b"X-Up", b"1") in capture.response
    assert b"\r\nX-Up: 1\r\n" in capture.answer
    assert b"\r\nAccess-Control-Allow-Origin: https://app.example.com\r\n" in capture.answer


async def test_an_answer_of_our_own_has_no_other_side() -> None:
    capture = (await exchanged(REQUESTS["a preflight"], captures=True)).capture
    assert capture is not None
    assert (capture.sent, capture.response) == (b"", None)


async def test_what_was_made_ready_for_nobody_is_not_shown_as_sent() -> None:
    found = await exchanged(get("/", APP), captures=True, to_nobody=True)
    detail = detail_of(found)
    assert detail is not None
    assert detail["request"]["after"] is None  # type: ignore[index] # Json
    assert detail["response"]["before"] is None  # type: ignore[index] # Json
    assert detail["fault"]["code"] == "connection-refused"  # type: ignore[index] # Json
