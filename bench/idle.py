"""What ten thousand clients cost that say nothing.

Here:  connections with one exchange behind them, kept open, and the resident memory before and after.
Never: load.
"""

import asyncio
import resource
from contextlib import ExitStack
from pathlib import Path

from bench.machine import Cores
from bench.measure import resident_bytes
from bench.peers import Peer
from bench.process import pinned
from bench.running import Running, running

__all__ = ["CONNECTIONS", "GET", "Wire", "measure_idle", "stay", "take_all_files"]

CONNECTIONS = 10_000
AT_ONCE = 100
PATIENCE_SECONDS = 60.0
GET = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def take_all_files() -> None:
    """Let this process, and what it starts, open as many files as it may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def measure_idle(peer: Peer, scratch: Path, cores: Cores, upstream: Running) -> float:
    """Bytes of resident memory for each. Raises what `running` raises, OSError, or TimeoutError."""
    folder = scratch / f"idle-{peer.name}"
    folder.mkdir()
    with ExitStack() as stack:
        proxy = stack.enter_context(running(peer, folder, cores.proxy, upstream_port=upstream.port))
        stack.enter_context(pinned(cores.load))
        return asyncio.run(open_and_weigh(proxy))


async def open_and_weigh(proxy: Running) -> float:
    wires: list[Wire] = []
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            wires += [
                await stay(proxy.port) for _ in range(AT_ONCE)
            ]  # what the first ones cost belongs to none
            before = weigh(proxy)
            for _ in range(CONNECTIONS // AT_ONCE):
                wires += await asyncio.gather(*(stay(proxy.port) for _ in range(AT_ONCE)))
            return (weigh(proxy) - before) / CONNECTIONS
    finally:
        for _, writer in wires:
            writer.transport.abort()


def weigh(proxy: Running) -> int:
    return sum(map(resident_bytes, proxy.process.members()))


async def stay(port: int) -> Wire:
    """A connection with one exchange behind it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(GET)
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise ConnectionError(f"got {head[:60]!r}")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.partition(b":")[2]))
    return reader, writer
