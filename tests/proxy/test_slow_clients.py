"""A client that takes its response slowly gets all of it; one that takes nothing is cut, not waited for."""

import asyncio
import sys
from pathlib import Path

import pytest
import trustme

from corsproxy.config.table import Timeouts
from corsproxy.proxy import downstream
from corsproxy.proxy.downstream import Downstream
from tests.certificates import files_of
from tests.proxy.conftest import Proxy, proxy, route
from tests.proxy.test_easing import BIG, SOME, bytes_waiting
from tests.proxy.test_tunnel import HANDSHAKE, SWITCH
from tests.wire import PATIENCE, Upstream, Wire, get, upstream

QUICK = 0.05


async def looked_at(front: Proxy) -> None:
    """Wait until a deadline is over, and the proxy has looked whether the client takes something."""
    assert front.server._clients is not None
    (client,) = front.server._clients._connections
    assert isinstance(client, Downstream)
    async with asyncio.timeout(PATIENCE):
        while client._taken == -sys.maxsize:  # noqa: ASYNC110 - nobody sends word
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
