"""WebSockets when the process stops: told 1001 at the edge of a frame, and ended in order on both sides."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

from corsproxy.config.table import Drain
from tests.proxy.conftest import Proxy, proxy, route
from tests.proxy.test_shutdown import turns
from tests.proxy.test_tunnel import HANDSHAKE, SWITCH
from tests.wire import PATIENCE, Upstream, Wire, get, upstream

GOING_AWAY = b"\x88\x02\x03\xe9"
ANSWER = b"\x88\x82\0\0\0\0\x03\xe9"  # as a client sends it: masked


class Server:
    """An upstream that switches, sends what it is told, and keeps what it hears."""

    def __init__(self) -> None:
        self.wire: Wire | None = None
        self.switched = asyncio.Event()
        self.heard = b""
        self.heard_close = asyncio.Event()

    async def behave(self, server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        await wire.send(SWITCH)
        self.wire = wire
        self.switched.set()
        while data := await wire.reader.read(65536):
            self.heard += data
            if self.heard.endswith(ANSWER):
                self.heard_close.set()
                await wire.send(GOING_AWAY)
                return  # a server closes first (RFC 6455 §7.1.1)

    async def send(self, data: bytes) -> None:
        assert self.wire is not None
        await self.wire.send(data)


@contextlib.asynccontextmanager
async def stopping(front: Proxy) -> AsyncIterator[None]:
    """Stop it, and see that it has ended by itself after what the test does."""
    task = asyncio.ensure_future(front.server.stop())
    await turns()
    try:
        yield
        async with asyncio.timeout(PATIENCE):
            await task
    finally:
        task.cancel()


async def opened(front: Proxy, server: Server) -> Wire:
    wire = await front.dial()
    await wire.send(get("/ws", *HANDSHAKE))
    assert (await wire.head()).status == 101
    await server.switched.wait()
    return wire


async def exactly(wire: Wire, data: bytes) -> None:
    async with asyncio.timeout(PATIENCE):
        assert await wire.reader.readexactly(len(data)) == data


async def test_between_frames_it_is_told_at_once_and_its_answer_ends_both_sides() -> None:
    server = Server()
    async with upstream(server.behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await opened(front, server)
        await server.send(b"\x81\x02hi")
        await exactly(wire, b"\x81\x02hi")
        async with stopping(front):
            await exactly(wire, GOING_AWAY)
            await wire.send(b"\x81\x82\0\0\0\0ok" + ANSWER)  # what it had to say, too
            async with asyncio.timeout(PATIENCE):
                await server.heard_close.wait()
            assert await wire.rest() == b""  # in order, and nothing after the Close
            await wire.close()
        assert server.heard == b"\x81\x82\0\0\0\0ok" + ANSWER
        assert (front.last.status, front.last.fault) == (101, None)


async def test_a_frame_under_way_is_finished_first() -> None:
    server = Server()
    async with upstream(server.behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await opened(front, server)
        await server.send(b"\x82\x7e\x01\x00" + b"a" * 100)
        await exactly(wire, b"\x82\x7e\x01\x00" + b"a" * 100)
        async with stopping(front):
            await server.send(b"a" * 100)
            await exactly(wire, b"a" * 100)
            await server.send(b"a" * 56 + b"\x81\x04late")
            await exactly(wire, b"a" * 56 + GOING_AWAY)
            await server.send(b"\x81\x04more")  # not heard any more
            await wire.send(ANSWER)
            assert await wire.rest() == b""
            await wire.close()
        assert front.last.fault is None


async def test_of_a_header_that_has_begun_the_rest_comes_too() -> None:
    server = Server()
    async with upstream(server.behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await opened(front, server)
        await server.send(b"\x81")
        await exactly(wire, b"\x81")
        async with stopping(front):
            await server.send(b"\x02hi\x81\x05later")
            await exactly(wire, b"\x02hi" + GOING_AWAY)
            await wire.send(ANSWER)
            assert await wire.rest() == b""
            await wire.close()


async def test_one_that_does_not_answer_is_cut_when_the_time_is_over() -> None:
    server = Server()
    async with (
        upstream(server.behave) as legacy,
        proxy(route(legacy.port), drain=Drain(timeout=0.3)) as front,
    ):
        wire = await opened(front, server)
        async with stopping(front):
            await exactly(wire, GOING_AWAY)
            assert await wire.ended()
            async with asyncio.timeout(PATIENCE):
                await legacy.gone.wait()
        assert len(front.recorder.exchanges) == 1


async def test_other_protocols_go_on_for_as_long_as_they_may() -> None:
    async def behave(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        await wire.send(b"HTTP/1.1 101 S\r\nUpgrade: telnet\r\nConnection: Upgrade\r\n\r\n")
        while data := await wire.reader.read(100):
            await wire.send(data)

    async with upstream(behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/", "Connection: Upgrade", "Upgrade: telnet"))
        assert (await wire.head()).status == 101
        async with stopping(front):
            for _ in range(3):
                await wire.send(b"still here")
                await exactly(wire, b"still here")
            await wire.close()


async def test_while_it_only_asks_clients_to_move_on_websockets_stay() -> None:
    server = Server()
    async with upstream(server.behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await opened(front, server)
        front.server.drain()
        await server.send(b"\x81\x02hi")
        await exactly(wire, b"\x81\x02hi")
        async with stopping(front):
            await exactly(wire, GOING_AWAY)
            await wire.send(ANSWER)
            assert await wire.rest() == b""
            await wire.close()


async def test_a_real_client_sees_1001_and_a_real_server_an_orderly_end() -> None:
    codes: list[int | None] = []
    closed = asyncio.Event()

    async def serve(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(message.data)
        codes.append(socket.close_code)
        closed.set()
        return socket

    app = web.Application()
    app.router.add_get("/ws", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    try:
        async with (
            proxy(route(port)) as front,
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://127.0.0.1:{front.address.port}/ws") as client,
        ):
            await client.send_str("hello")
            assert (await client.receive()).data == "hello"
            async with stopping(front):
                message = await client.receive(PATIENCE)
                assert (message.type, message.data) == (aiohttp.WSMsgType.CLOSE, 1001)
                async with asyncio.timeout(PATIENCE):
                    await closed.wait()
            assert codes == [1000]  # the client's own word: aiohttp's answers any Close with it
            assert front.last.fault is None
    finally:
        await runner.cleanup()
