"""Whether the other side takes what is sent, by the kernel's word: over TCP, and where that says less."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import cast

import pytest

from corsproxy.upstream.delivery import Delivery
from tests.wire import PATIENCE

MUCH = b"x" * 400_000


def pair(family: int) -> tuple[socket.socket, socket.socket]:
    """Two ends, with little room between them."""
    if family == socket.AF_UNIX:
        return socket.socketpair()
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        near = socket.create_connection(listener.getsockname())
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        return near, listener.accept()[0]


@contextlib.asynccontextmanager
async def sending(family: int) -> AsyncIterator[tuple[asyncio.Transport, socket.socket]]:
    near, far = pair(family)
    far.setblocking(False)
    loop = asyncio.get_running_loop()
    transport = cast(asyncio.Transport, (await loop.connect_accepted_socket(asyncio.Protocol, near))[0])
    transport.write(MUCH)
    try:
        yield transport, far
    finally:
        transport.abort()
        far.close()
        await asyncio.sleep(0)


async def take(far: socket.socket, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while count:
            with contextlib.suppress(BlockingIOError):
                count -= len(far.recv(min(count, 65536)))
            await asyncio.sleep(0)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX], ids=["tcp", "unix"])
async def test_it_is_known_whether_the_other_side_takes_some(family: int) -> None:
    async with sending(family) as (transport, far):
        delivery = Delivery()
        assert delivery.look(transport) == (True, True)  # the first look cannot know
        assert delivery.look(transport) == (True, False)
        await take(far, len(MUCH) // 2)
        assert delivery.look(transport) == (True, True)
        assert delivery.look(transport) == (True, False)
        await take(far, len(MUCH) - len(MUCH) // 2)
        async with asyncio.timeout(PATIENCE):
            while delivery.look(transport)[0]:  # noqa: ASYNC110 - the last acknowledgement sends no word
                await asyncio.sleep(0)
