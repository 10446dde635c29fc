"""Every part of aiohttp's inside that the data plane leans on: an upgrade that moves one fails here, loudly.

What is said of the parser is what `proxy.reader` counts on; what is said of the server and its connections is
what `proxy.downstream` counts on.
"""

import asyncio
import inspect
import os
import subprocess
import sys
from typing import Any

import aiohttp
import pytest
from aiohttp import http_exceptions, web, web_protocol
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.tcp_helpers import tcp_keepalive
from aiohttp.web_protocol import RequestHandler

from corsproxy.config.table import Limits, Timeouts
from corsproxy.http.faults import BAD_REQUEST, Fault
from corsproxy.http.forwarded import forwarded_lines
from corsproxy.proxy import reader
from corsproxy.proxy.downstream import ClientServer, Downstream
from tests.proxy.conftest import APP, proxy, route
from tests.wire import answers, ask, get, ok, upstream

HEAD = b"Host: a\r\n"


class Unpaused(BaseProtocol):
    """A protocol whose reading is never paused, as `Downstream` is."""

    def pause_reading(self) -> None:
        raise AssertionError("the stream is full")

    def resume_reading(self, resume_parser: bool = True) -> None:
        """Nothing was paused."""


@pytest.fixture
async def parser() -> Any:  # aiohttp's C parser has no type of its own
    loop = asyncio.get_running_loop()
    return HttpRequestParser(
        Unpaused(loop),
        loop,
        1 << 30,
        max_line_size=8190,
        max_field_size=8190,
        max_headers=8190,
        payload_exception=web.RequestPayloadError,
        auto_decompress=False,
        max_msg_queue_size=web_protocol.MAX_MSG_QUEUE_SIZE,
    )


# The parser


def test_it_is_the_one_in_c() -> None:
    """The one in Python accepts two lengths that differ, and turns `get` into GET."""
    assert HttpRequestParser is not HttpRequestParserPy
    assert HttpRequestParser.__module__ == "aiohttp._http_parser"
    assert web_protocol.HttpRequestParser is HttpRequestParser


def test_without_the_c_extensions_it_refuses_to_start() -> None:
    start = (
        "import asyncio\n"
        "from corsproxy.config.table import Address, Table\n"
        "from corsproxy.ops.server import Server\n"
        "asyncio.run(Server(Table((), (), listen=Address('127.0.0.1', 0))).start())\n"
    )
    environment = os.environ | {"AIOHTTP_NO_EXTENSIONS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", start],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode != 0
    assert "extension" in done.stderr


def test_the_version_is_one_that_these_tests_were_run_with() -> None:
    assert aiohttp.__version__.split(".")[:2] == ["3", "14"]


async def test_a_head_is_one_message_with_bytes_as_sent(parser: Any) -> None:
    messages, upgrading, rest = parser.feed_data(
        b"PATCH /a%2F?b HTTP/1.1\r\n" + HEAD + b"x-B:  \xff \r\n\r\n"
    )
    [(head, payload)] = messages
    assert (head.method, (head.version.major, head.version.minor)) == ("PATCH", (1, 1))
    assert head.path.encode("utf-8", "surrogateescape") == b"/a%2F?b"
    assert list(head.raw_headers) == [(b"Host", b"a"), (b"x-B", b"\xff")]
    assert head.should_close is False
    assert payload is EMPTY_PAYLOAD
    assert (upgrading, rest) == (False, b"")


async def test_half_a_head_is_no_message_and_the_rest_completes_it(parser: Any) -> None:
    assert list(parser.feed_data(b"GET / HTTP/1.1\r\nHos")[0]) == []
    assert len(parser.feed_data(b"t: a\r\n\r\n")[0]) == 1


@pytest.mark.parametrize(
    ("version", "line", "closes"),
    [
        ("1.1", "", False),
        ("1.1", "Connection: close\r\n", True),
        ("1.0", "", True),
        ("1.0", "Connection: keep-alive\r\n", False),
    ],
)
async def test_it_knows_who_wants_to_go_on(parser: Any, version: str, line: str, closes: bool) -> None:
    [(head, _)], _, _ = parser.feed_data(f"GET / HTTP/{version}\r\nHost: a\r\n{line}\r\n".encode())
    assert head.should_close is closes


async def test_a_body_with_a_length_comes_as_a_stream_that_is_read_at_once(parser: Any) -> None:
    [(_, payload)], _, _ = parser.feed_data(b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 6\r\n\r\n")
    assert type(payload) is StreamReader
    assert payload.read_nowait() == b""
    parser.feed_data(b"abc")
    assert (payload.read_nowait(), payload.is_eof()) == (b"abc", False)
    parser.feed_data(b"def")
    assert (payload.is_eof(), payload.read_nowait()) == (True, b"def")


async def test_a_chunked_body_comes_with_its_coding_undone(parser: Any) -> None:
    [(_, payload)], _, _ = parser.feed_data(
        b"POST / HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    )
    parser.feed_data(b"3\r\nabc\r\n2;x\r\nde\r\n")
    assert (payload.read_nowait(), payload.is_eof()) == (b"abcde", False)
    parser.feed_data(b"0\r\n\r\n")
    assert payload.is_eof()


async def test_content_codings_are_left_alone(parser: Any) -> None:
    fields = b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n"
    [(_, payload)], _, _ = parser.feed_data(b"POST / HTTP/1.1\r\n" + HEAD + fields)
    parser.feed_data(b"raw")
    assert payload.read_nowait() == b"raw"


async def test_a_bad_chunk_is_raised_or_fails_the_stream(parser: Any) -> None:
    [(_, payload)], _, _ = parser.feed_data(
        b"POST / HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    )
    with pytest.raises(HttpProcessingError):
        parser.feed_data(b"xyz\r\n")
    assert not payload.is_eof()


async def test_an_upgrade_stops_it_until_told_otherwise(parser: Any) -> None:
    asks = b"GET / HTTP/1.1\r\n" + HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    messages, upgrading, _ = parser.feed_data(asks)
    assert (len(messages), upgrading) == (1, True)
    parser.set_upgraded(False)
    assert len(parser.feed_data(b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n")[0]) == 1


async def test_it_stops_behind_messages_that_nobody_took(parser: Any) -> None:
    """Hence `message_consumed` for each; `proxy.reader` feeds one at a time and takes it."""
    one = b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n"
    limit = web_protocol.MAX_MSG_QUEUE_SIZE
    for _ in range(limit * 3):
        assert len(parser.feed_data(one)[0]) == 1
        parser.message_consumed()
    assert len(parser.feed_data(one * limit * 2)[0]) <= limit


async def test_it_carries_the_last_trailer_over_to_the_next_message(parser: Any) -> None:
    """A defect of aiohttp that `proxy.reader` works around. When this fails, it is mended."""
    upload = b"POST / HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX-Late: 1\r\n\r\n"
    parser.feed_data(upload)
    parser.message_consumed()
    [(head, _)], _, _ = parser.feed_data(b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n")
    assert (b"X-Late", b"1") in head.raw_headers


@pytest.mark.parametrize("name", sorted(reader._OBJECTIONS))
def test_its_objections_are_known_by_name(name: str) -> None:
    assert issubclass(getattr(http_exceptions, name), HttpProcessingError)


@pytest.mark.parametrize(
    ("request_bytes", "objection"),
    [
        (b"CHICKEN / HTTP/1.1\r\n\r\n", "unknown method"),
        (b"GET / HTTQ/1.1\r\n\r\n", "malformed request line"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX A: 1\r\n\r\n", "malformed field"),
    ],
)
async def test_an_objection_quotes_nothing_of_the_request(
    parser: Any, request_bytes: bytes, objection: str
) -> None:
    with pytest.raises(HttpProcessingError) as caught:
        parser.feed_data(request_bytes)
    text = reader._objection(caught.value)
    assert "\n" not in text
    assert not {"CHICKEN", "HTTQ", "X A"} & {word for word in ("CHICKEN", "HTTQ", "X A") if word in text}
    assert text, objection


# The server and its connections


@pytest.mark.parametrize(
    "name",
    ["access_log", "max_line_size", "max_field_size", "max_headers", "read_bufsize", "auto_decompress"],
)
def test_a_connection_is_made_with_these_settings(name: str) -> None:
    assert name in inspect.signature(RequestHandler.__init__).parameters


class Silent:
    """A service that is never asked."""

    def handle(self, client: Downstream, request: object) -> None:
        raise AssertionError

    def refuse(self, client: Downstream, fault: Fault, head: bytes) -> None:
        raise AssertionError

    def settings(self) -> Any:
        from corsproxy.proxy.roles import Settings

        known = {"limits": Limits(), "timeouts": Timeouts(), "shortest": 1.0}
        wanted = inspect.signature(Settings).parameters
        return Settings(**{name: known.get(name, ()) for name in wanted})


@pytest.mark.parametrize(
    "name",
    [
        "_loop",
        "_paused",
        "_parser",
        "_close",
        "_manager",
        "_request_factory",
        "_request_handler",
        "transport",
    ],
)
async def test_a_connection_has_what_is_read_and_set_on_it(name: str) -> None:
    loop = asyncio.get_running_loop()
    connection = RequestHandler(web.Server(lambda _: None), loop=loop)  # type: ignore[arg-type] # never called
    assert hasattr(connection, name)
    assert hasattr(ClientServer(Silent(), loop=loop)(), name)


async def test_the_server_makes_our_connections_and_keeps_them_by_identity() -> None:
    server = ClientServer(Silent(), loop=asyncio.get_running_loop())
    assert type(server()) is Downstream
    assert server._connections == {}
    assert server.open_count == 0


async def test_the_server_ends_its_connections_by_close_and_shutdown(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, float | None]] = []

    async def shutdown(self: Downstream, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 - aiohttp's own
        asked.append(("shutdown", timeout))

    monkeypatch.setattr(Downstream, "shutdown", shutdown)
    monkeypatch.setattr(Downstream, "close", lambda _: asked.append(("close", None)))
    server = ClientServer(Silent(), loop=asyncio.get_running_loop())
    server._connections[server()] = asyncio.Transport()
    server.pre_shutdown()
    await server.shutdown(3.0)
    assert asked == [("close", None), ("shutdown", 3.0)]


async def test_a_connection_costs_no_task() -> None:
    """aiohttp's own `connection_made` would start one; ours calls only the one above it."""
    asks = get("/", f"Origin: {APP}", "Access-Control-Request-Method: PUT", method="OPTIONS")
    async with proxy(route(1)) as front:
        before = asyncio.all_tasks()
        wires = [await front.dial() for _ in range(10)]
        for wire in wires:
            await wire.send(asks)
            assert (await wire.message()).status == 204
        assert front.server.connections == 10
        assert asyncio.all_tasks() == before


async def test_a_forwarded_request_costs_no_task_once_the_connection_is_open() -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        for _ in range(2):
            await wire.send(get("/"))
            await wire.message()
        before = asyncio.all_tasks()
        await wire.send(get("/"))
        await wire.message()
        assert asyncio.all_tasks() == before


async def test_a_connection_that_is_closed_is_let_go() -> None:
    async with proxy(route(1)) as front:
        for _ in range(3):
            await ask(front.address, get("/"))
        async with asyncio.timeout(5):
            while front.server.connections:  # noqa: ASYNC110 - there is no event for this
                await asyncio.sleep(0)


async def test_keepalive_probes_and_addresses_come_from_the_transport() -> None:
    assert callable(tcp_keepalive)
    async with proxy(route(1)) as front:
        await ask(front.address, get("/"))
        assert front.last.peer == "127.0.0.1"
    assert forwarded_lines("127.0.0.1", tls=False).startswith(b"X-Forwarded-For: 127.0.0.1\r\n")


def test_a_fault_of_the_parser_is_a_bad_request() -> None:
    assert BAD_REQUEST.status == http_exceptions.BadHttpMessage("x").code == 400
