"""Bodies of any size pass through a process that stays as small as it is (requirements 52 and 54).

The reader stops three times on the way, each time until nothing moves any more: what the sender got rid of by
then lies in the kernel's buffers, and the process may not have grown by more than a few of its own.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.cli.test_run import config, running

MIB = 1 << 20
SIZE = 64 * MIB
PIECE = b"\xa5" * 65536
STOPS = 3
GROWTH = 10 * MIB
PATIENCE = 20.0


class Slow:
    """A sender and a reader that stops; either is the client, and the upstream the other."""

    def __init__(self) -> None:
        self.sent = 0

    async def send(self, writer: asyncio.StreamWriter, size: int) -> None:
        """So many bytes, as fast as they are taken."""
        while self.sent < size:
            writer.write(PIECE)
            await writer.drain()
            self.sent += len(PIECE)

    async def read(self, reader: asyncio.StreamReader, size: int) -> None:
        """So many bytes, with stops at equal distances, each as long as anything still moves."""
        for _ in range(STOPS):
            await self._until_stuck()
            assert self.sent < size, "nothing holds the sender back"
            await self._take(reader, size // (2 * STOPS))
        await self._take(reader, size - STOPS * (size // (2 * STOPS)))

    async def _until_stuck(self) -> None:
        before = -1
        while before != self.sent or not self.sent:
            before = self.sent
            await asyncio.sleep(0.1)  # long for a loop-back that moves a hundred pieces in that time

    async def _take(self, reader: asyncio.StreamReader, size: int) -> None:
        while size:
            piece = await reader.read(min(size, 65536))
            assert piece, "cut"
            assert piece == PIECE[: len(piece)]
            size -= len(piece)


@asynccontextmanager
async def legacy(slow: Slow) -> AsyncIterator[int]:
    """An upstream that sends what GET asks for, and takes what PUT brings; yields its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(head.split(b"/", 1)[1].split(b" ")[0])
            if head.startswith(b"GET"):
                writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % size)
                await slow.send(writer, size)
            else:
                await slow.read(reader, size)
                writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def exchange(port: int, method: str, size: int, slow: Slow) -> None:
    """One body of this size, down with GET and up with PUT."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    length = f"Content-Length: {size}\r\n" if method == "PUT" else ""
    writer.write(f"{method} /{size} HTTP/1.1\r\nHost: p.test\r\n{length}Connection: close\r\n\r\n".encode())
    if method == "PUT":
        await slow.send(writer, size)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 20"), head
    if method == "GET":
        await slow.read(reader, size)
    writer.close()


def resident(pid: int, line: str) -> int:
    """VmRSS or VmHWM, the highest that VmRSS ever was, in bytes."""
    found = re.search(rf"^{line}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.parametrize("method", ["GET", "PUT"], ids=["down", "up"])
def test_54_a_large_body_through_slow_peers_costs_no_memory(tmp_path: Path, method: str) -> None:
    async def measured() -> int:
        slow = Slow()
        async with legacy(slow) as upstream_port:
            file = config(tmp_path, f"http://127.0.0.1:{upstream_port}")
            with running("-c", file) as proxy:
                port = await asyncio.to_thread(proxy.port)
                before = resident(proxy.process.pid, "VmRSS")
                async with asyncio.timeout(PATIENCE):
                    await exchange(port, method, SIZE, slow)
                assert slow.sent == SIZE
                return resident(proxy.process.pid, "VmHWM") - before

    grown = asyncio.run(measured())
    assert grown <= GROWTH, f"{grown / MIB:.1f} MiB"
