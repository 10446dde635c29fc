"""WebSocket and other upgrades: who may open one, and that the bytes then pass as they are."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp import web

from corsproxy.config.table import Timeouts
from tests.proxy.conftest import APP, Proxy, policy, proxy, route
from tests.wire import Upstream, Wire, get, ok, upstream

HANDSHAKE = (
    "Connection: keep-alive, Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


async def switch_and_echo(server: Upstream, wire: Wire) -> None:
    """Switch, then send everything back until the client has ended."""
    await server.request(wire)
    await wire.send(SWITCH)
    while data := await wire.reader.read(65536):
        await wire.send(data)


async def opened(front: Proxy, *lines: str) -> Wire:
    wire = await front.dial()
    await wire.send(get("/ws", *HANDSHAKE, *lines))
    assert (await wire.head()).status == 101
    return wire


async def test_the_handshake_reaches_the_upstream_and_bytes_pass_both_ways() -> None:
    async with upstream(switch_and_echo) as legacy, proxy(route(legacy.port)) as front:
        wire = await opened(front, f"Origin: {APP}", "Sec-WebSocket-Extensions: permessage-deflate")
        seen = legacy.requests[0]
        assert (seen.one("Upgrade"), seen.one("Connection")) == ("websocket", "Upgrade")
        assert seen.one("Sec-WebSocket-Extensions") == "permessage-deflate"
        for data in (b"\x81\x02hi", bytes(range(256)) * 1000):
            await wire.send(data)
            assert await wire.reader.readexactly(len(data)) == data


async def test_bytes_that_come_with_the_handshake_are_not_lost() -> None:
    async def behave(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        await wire.send(SWITCH + b"first of the upstream")
        assert await wire.reader.readexactly(5) == b"early"
        await wire.rest()

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/ws", *HANDSHAKE) + b"early")
        assert (await wire.head()).status == 101
        assert await wire.reader.readexactly(21) == b"first of the upstream"


async def test_half_close_is_handed_on_in_both_directions() -> None:
    async def behave(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        await wire.send(SWITCH)
        assert await wire.reader.read() == b"all I have"
        await wire.send(b"and all I have")

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await opened(front)
        await wire.send(b"all I have")
        wire.writer.write_eof()
        assert await wire.rest() == b"and all I have"
        await asyncio.wait_for(front.recorder.recorded.wait(), 5)
        assert (front.last.status, front.last.fault) == (101, None)
        assert (front.last.received_bytes, front.last.sent_bytes) == (10, 14)


@pytest.mark.parametrize("side", ["client", "upstream"])
async def test_when_one_side_breaks_off_the_other_is_let_go(side: str) -> None:
    ending = asyncio.Event()

    async def behave(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        await wire.send(SWITCH)
        if side == "upstream":
            await ending.wait()
            wire.abort()
        await wire.rest()

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await opened(front)
        if side == "client":
            wire.abort()
        else:
            ending.set()
            assert await wire.ended()
        await asyncio.wait_for(legacy.gone.wait(), 5)
        await asyncio.wait_for(front.recorder.recorded.wait(), 5)


async def test_a_tunnel_in_which_nothing_moves_ends_after_the_idle_limit() -> None:
    timeouts = Timeouts(idle=0.2)
    async with upstream(switch_and_echo) as legacy, proxy(route(legacy.port, timeouts=timeouts)) as front:
        wire = await opened(front)
        assert await wire.ended()
        assert front.last.fault is not None
        assert front.last.fault.code == "tunnel-idle"


@dataclass(frozen=True)
class Gate:
    says: str
    lines: tuple[str, ...]
    status: int
    websocket: str = "same_policy"


GATES = [
    Gate("an allowed origin", (f"Origin: {APP}",), 101),
    Gate("no origin is no page", (), 101),
    Gate("trap 44: a foreign origin may not open one", ("Origin: https://evil.test",), 403),
    Gate("its own page may", ("Origin: http://proxy.test",), 101),
    Gate(
        "its own page may, by Sec-Fetch-Site", ("Origin: https://x.test", "Sec-Fetch-Site: same-origin"), 101
    ),
    Gate("any", ("Origin: https://evil.test",), 101, "any"),
    Gate("off serves it without the upgrade", (f"Origin: {APP}",), 200, "off"),
]


@pytest.mark.parametrize("case", GATES, ids=lambda case: case.says)
async def test_who_may_open_one(case: Gate) -> None:
    async def behave(server: Upstream, wire: Wire) -> None:
        request = await server.request(wire)
        await wire.send(SWITCH if request.one("Upgrade") else ok())
        await wire.rest()

    async with upstream(behave) as legacy, proxy(route(legacy.port, websocket=case.websocket)) as front:
        wire = await front.dial()
        await wire.send(get("/ws", *HANDSHAKE, *case.lines))
        answer = await wire.head()
        assert answer.status == case.status
        assert len(legacy.requests) == (0 if case.status == 403 else 1)
        if case.status == 403:
            assert b"origin-not-allowed" in await wire.reader.readexactly(
                int(answer.one("Content-Length") or 0)
            )


NO_SWITCH = [
    (
        "h2c is not handed on",
        ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
    ),
    ("h2c beside websocket", ("Connection: Upgrade", "Upgrade: websocket, h2c")),
    ("Upgrade that Connection does not name", ("Upgrade: websocket",)),
]


@pytest.mark.parametrize("lines", [lines for _, lines in NO_SWITCH], ids=[says for says, _ in NO_SWITCH])
async def test_what_is_no_switch_is_an_ordinary_request(lines: tuple[str, ...]) -> None:
    async def behave(server: Upstream, wire: Wire) -> None:
        while True:
            request = await server.request(wire)
            assert not request.all("Upgrade") + request.all("Connection") + request.all("HTTP2-Settings")
            await wire.send(ok())

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        for _ in range(2):
            await wire.send(get("/", *lines))
            assert (await wire.message()).status == 200


BAD_SWITCHES = [
    ("to something else", b"HTTP/1.1 101 S\r\nUpgrade: irc\r\nConnection: Upgrade\r\n\r\n", HANDSHAKE),
    ("without saying to what", b"HTTP/1.1 101 S\r\n\r\n", HANDSHAKE),
    ("unasked", SWITCH, ()),
]


@pytest.mark.parametrize(
    ("response", "lines"), [row[1:] for row in BAD_SWITCHES], ids=[row[0] for row in BAD_SWITCHES]
)
async def test_a_101_that_fits_no_request_is_a_fault(response: bytes, lines: tuple[str, ...]) -> None:
    async def behave(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        await wire.send(response)
        await wire.rest()

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/", *lines, f"Origin: {APP}"))
        answer = await wire.message()
        assert (answer.status, answer.one("Access-Control-Allow-Origin")) == (502, APP)


async def test_a_refused_handshake_reaches_the_client_with_its_body() -> None:
    async def behave(server: Upstream, wire: Wire) -> None:
        while True:
            await server.request(wire)
            await wire.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno")

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        for _ in range(2):
            await wire.send(get("/ws", *HANDSHAKE))
            answer = await wire.message()
            assert (answer.status, answer.body) == (401, b"no")


@contextlib.asynccontextmanager
async def websocket_server() -> AsyncIterator[int]:
    """A real WebSocket server that echoes, and closes with the code it is told."""

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=["chat"], max_msg_size=0)
        await socket.prepare(request)
        async for message in socket:
            if message.data == "close":
                await socket.close(code=4001, message=b"as told")
            elif message.type is aiohttp.WSMsgType.TEXT:
                await socket.send_str(message.data)
            else:
                await socket.send_bytes(message.data)
        return socket

    app = web.Application()
    app.router.add_get("/ws", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_a_real_client_and_server_talk_through_it() -> None:
    async with websocket_server() as port, proxy(route(port, policy=policy())) as front:
        url = f"http://127.0.0.1:{front.address.port}/ws"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(
                url, headers={"Origin": APP}, protocols=["chat"], compress=15, max_msg_size=0
            ) as socket,
        ):
            assert (socket.protocol, socket.compress) == ("chat", 15)
            await socket.send_str("caf\xe9")
            assert (await socket.receive()).data == "caf\xe9"
            big = b"x" * (4 << 20)
            await socket.send_bytes(big)
            assert (await socket.receive()).data == big
            await socket.send_str("close")
            assert (await socket.receive()).type is aiohttp.WSMsgType.CLOSE
            assert socket.close_code == 4001
