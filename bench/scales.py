"""A proxy on the scales: the upstream behind it, raw connections to it, and how its memory is read.

Here:  one corsproxy process with an upstream that takes its time, and the figures noted about it.
Never: which clients come and what is expected of them (`memory`).
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.measure import resident_bytes
from bench.process import ROOT, Process, free_port, started, wait_until
from bench.verify import Door, is_serving

__all__ = [
    "MIB",
    "PIECE",
    "RESPONSE_LIMIT",
    "Bench",
    "Figure",
    "bench_of",
    "drink",
    "head",
    "line_of",
    "pour",
]

KIB, MIB = 1 << 10, 1 << 20
PIECE = b"\xa5" * (64 * KIB)
RESPONSE_LIMIT = 1.0  # seconds
CONFIG = """\
listen: 127.0.0.1:{port}
admin: off
log: {{level: error, access: false}}
timeouts: {{response: 30s, idle: 60s, client_head: 60s}}
limits: {{connections: 12000}}
routes:
  - match: {{path: /late}}
    upstream: http://127.0.0.1:{upstream}
    cors: off
    timeouts: {{response: {limit}s}}
  - match: {{path: /nobody}}
    upstream: http://127.0.0.1:{nobody}
    cors: off
  - upstream: http://127.0.0.1:{upstream}
    cors: {{allow_origins: ["https://app.example.com"]}}
"""
Wire = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the results: `value` may be `bound` at most, both in `unit`."""

    what: str
    value: float
    bound: float
    unit: str

    @property
    def holds(self) -> bool:
        return self.value <= self.bound


def line_of(figure: Figure) -> str:
    verdict = "" if figure.holds else " (missed)"
    return f"| {figure.what} | {figure.value:.2f} {figure.unit} | {figure.bound:g} {figure.unit}{verdict} |"


class Bench:
    """The proxy under test, and how its memory is read."""

    def __init__(self, process: Process, port: int) -> None:
        self.pid = process.popen.pid
        self.port = port
        self.figures: list[Figure] = []

    def note(self, what: str, value: float, bound: float, unit: str) -> None:
        """Keep a figure, and say it at once."""
        figure = Figure(what, value, bound, unit)
        self.figures.append(figure)
        sys.stderr.write(line_of(figure) + "\n")

    def resident(self, line: str = "VmRSS") -> int:
        """Bytes: VmRSS now, or VmHWM, the highest since `forget_peak`."""
        return resident_bytes(self.pid, line)

    def forget_peak(self) -> int:
        """Let VmHWM start anew, and return what is resident now (proc_pid_clear_refs(5))."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")
        return self.resident()

    async def dial(self) -> Wire:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def get(self, path: str) -> bytes:
        """The whole response, on a connection of its own."""
        reader, writer = await self.dial()
        writer.write(head("GET", path, "Connection: close"))
        received = await reader.read(-1)
        writer.close()
        return received


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: p.test", *lines, "", ""]).encode("ascii")


async def pour(writer: asyncio.StreamWriter, size: int) -> None:
    """So many bytes."""
    for _ in range(size // len(PIECE)):
        writer.write(PIECE)
        await writer.drain()


async def drink(reader: asyncio.StreamReader, size: int) -> None:
    """So many bytes, slowly: after each sixteenth a rest in which the buffers on the way fill up."""
    for _ in range(16):
        await asyncio.sleep(0.1)
        rest = size // 16
        while rest:
            rest -= len(await reader.readexactly(min(rest, len(PIECE))))


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The upstream: bodies by size, tunnels that echo, and requests that are never answered."""
    with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
        while True:
            asked = await reader.readuntil(b"\r\n\r\n")
            method, path = asked.split(b" ")[:2]
            if path.startswith(b"/body/"):
                size = int(path.removeprefix(b"/body/"))
                if method == b"GET":
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
                    await pour(writer, size)
                    continue
                await drink(reader, size)
            elif path == b"/ws":
                writer.write(
                    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
                )
                while data := await reader.read(len(PIECE)):
                    writer.write(data)
                    await writer.drain()
                break
            elif path in {b"/late", b"/stuck"}:
                await reader.read()
                break
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    writer.close()


@asynccontextmanager
async def bench_of(folder: Path) -> AsyncIterator[Bench]:
    """A proxy and its upstream, both ended at the end."""
    upstream = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = free_port()
    words = {"port": port, "upstream": upstream.sockets[0].getsockname()[1], "nobody": free_port()}
    file = folder / "corsproxy.yaml"
    file.write_text(CONFIG.format(limit=RESPONSE_LIMIT, **words))
    with started(
        "corsproxy",
        [sys.executable, "-m", "corsproxy", "run", "-c", str(file)],
        cores=frozenset(os.sched_getaffinity(0)),
        folder=ROOT,
        environment={},
        output=folder / "output",
    ) as process:
        await asyncio.to_thread(wait_until, process, lambda: is_serving(Door(port)), 15.0)
        yield Bench(process, port)
        process.require_alive()
    upstream.close()
