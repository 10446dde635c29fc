"""A client that takes its response slowly gets all of it; one that takes nothing is cut, not waited for."""

import asyncio
import socket
from pathlib import Path

import pytest
import trustme

from corsproxy.config.table import Timeouts
from corsproxy.proxy import downstream
from corsproxy.proxy.downstream import Downstream
from corsproxy.upstream.delivery import Delivery
from tests.certificates import files_of
from tests.proxy.conftest import Proxy, proxy, route
from tests.proxy.test_easing import BIG, SOME, Legacy, bytes_waiting, dial_narrow
from tests.proxy.test_shutdown import turns
from tests.proxy.test_tunnel import HANDSHAKE, SWITCH
from tests.wire import PATIENCE, Upstream, Wire, get, ok, upstream

QUICK = 0.05


async def looked_at(front: Proxy) -> None:
    """Wait until a deadline is over, and the proxy has looked whether the client takes something."""
    assert front.server._clients is not None
    (client,) = front.server._clients._connections
    assert isinstance(client, Downstream)
    async with asyncio.timeout(PATIENCE):
        while client._delivery is None:  # noqa: ASYNC110 - nobody sends word
            await asyncio.sleep(0)


async def test_the_time_for_idle_connections_does_not_cut_a_response() -> None:
    timeouts = Timeouts(keepalive=QUICK, idle=PATIENCE)
    async with bytes_waiting(is_last=False, timeouts=timeouts) as (front, wire):
        await looked_at(front)
        assert (await wire.message()).body == SOME


async def test_nor_does_the_end_of_a_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downstream, "_LINGER_SECONDS", QUICK)
    async with bytes_waiting(timeouts=Timeouts(idle=QUICK * 4)) as (front, wire):
        await looked_at(front)
        assert (await wire.message()).body == SOME


async def test_nor_over_tls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(downstream, "_LINGER_SECONDS", QUICK)
    files = files_of(trustme.CA(key_type=trustme.KeyType.ECDSA), tmp_path)
    async with bytes_waiting(path="/big", files=files, timeouts=Timeouts(idle=QUICK * 4)) as (front, wire):
        await looked_at(front)
        assert (await wire.message()).body == BIG


@pytest.mark.parametrize("is_last", [True, False], ids=["the last response", "the connection is kept"])
async def test_who_takes_nothing_is_cut(is_last: bool) -> None:
    timeouts = Timeouts(keepalive=QUICK, idle=QUICK)
    async with bytes_waiting(is_last=is_last, timeouts=timeouts) as (front, wire):
        async with asyncio.timeout(PATIENCE):
            while front.server.connections:  # noqa: ASYNC110 - nobody sends word
                await asyncio.sleep(0)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await wire.message()


async def test_the_end_of_a_tunnel_is_taken_slowly_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downstream, "_LINGER_SECONDS", QUICK)
    big = b"x" * 4_000_000

    async def switch_and_end(_: Upstream, wire: Wire) -> None:
        await wire.head()
        await wire.send(SWITCH)
        wire.writer.write(big)
        wire.writer.close()

    async with upstream(switch_and_end) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/", *HANDSHAKE))
        await wire.head()
        assert len(await wire.rest()) == len(big)


async def test_a_client_of_http10_that_leaves_sees_that_its_response_is_cut() -> None:
    """The end of the connection is all that its body ends by (RFC 9112 §8)."""
    held = asyncio.Event()

    async def stream(_: Upstream, wire: Wire) -> None:
        await wire.head()
        await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await held.wait()

    async with upstream(stream) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/").replace(b"HTTP/1.1", b"HTTP/1.0"))
        await wire.head()
        assert await wire.reader.readexactly(5) == b"hello"
        wire.writer.write_eof()
        with pytest.raises(ConnectionResetError):
            await wire.rest()
        held.set()


class Looks:
    """How often a deadline was over, and it was asked whether the other side takes something."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        look = Delivery.look

        def counted(delivery: Delivery, transport: asyncio.Transport) -> tuple[bool, bool]:
            self.count += 1
            return look(delivery, transport)

        monkeypatch.setattr(Delivery, "look", counted)

    async def another(self) -> None:
        before = self.count
        async with asyncio.timeout(PATIENCE):
            while self.count == before:  # noqa: ASYNC110 - nobody sends word
                await asyncio.sleep(0)


async def test_a_response_that_a_client_takes_slowly_is_not_cut_in_the_middle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the kernel holds takes longer than `timeouts.idle`, but it moves."""
    looks = Looks(monkeypatch)
    timeouts = Timeouts(idle=QUICK * 2)
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    async with (
        upstream(Legacy().behave) as legacy,
        proxy(route(legacy.port, timeouts=timeouts), listener=listener, timeouts=timeouts) as front,
    ):
        wire = await dial_narrow(front, window=4096)
        await wire.send(get("/big"))
        head = await wire.head()
        for _ in range(3):
            await looks.another()
            head.body += await wire.reader.readexactly(10_000)
        rest = int(head.one("Content-Length") or 0) - len(head.body)
        assert head.body + await wire.reader.readexactly(rest) == BIG


async def test_a_tunnel_whose_upstream_is_gone_is_ended_with_the_process() -> None:
    """And in that, nobody else's exchange is cut short: each is waited for."""
    held = asyncio.Event()
    asked = asyncio.Event()

    async def switch_and_leave(server: Upstream, wire: Wire) -> None:
        request = await server.request(wire)
        if "/held" in request.first_line:
            asked.set()
            await held.wait()
            await wire.send(ok())
            return
        await wire.send(SWITCH)
        wire.writer.write_eof()
        await wire.rest()

    async with upstream(switch_and_leave) as legacy, proxy(route(legacy.port)) as front:
        wire, other = await front.dial(), await front.dial()
        await wire.send(get("/socket", *HANDSHAKE))
        await wire.head()
        assert await wire.reader.read() == b""  # half of it is closed
        await other.send(get("/held"))
        await asked.wait()
        stopping = asyncio.create_task(front.server.stop())
        await turns()
        assert not stopping.done()
        held.set()
        assert (await other.message()).status == 200
        async with asyncio.timeout(PATIENCE):
            await stopping
