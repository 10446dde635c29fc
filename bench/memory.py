"""What connections and bodies cost in memory, and whether those who wait hold up others.

Here:  one corsproxy, one upstream, and clients that are slow, idle, stuck or many; figures beside targets.
Never: speed (`python -m bench`), other proxies.

Run as `python -m bench.memory` from the root of the repository, on Linux; it writes `memory.md` here.
"""

import asyncio
import os
import re
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.machine import describe_machine
from bench.process import Process, free_port, raise_on_signals, started, wait_until
from bench.verify import is_serving

__all__ = ["main"]

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "memory.md"
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
PIECE = b"\xa5" * (64 * KIB)
IDLE_CLIENTS = 10_000
# One request at a time over each of these, and requests of a good client meanwhile.
KEEP_ALIVE, TUNNELS, SLOW_HEADS, STUCK = 500, 200, 300, 150
GOOD_REQUESTS = 2000
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
        found = re.search(
            rf"^{line}:\s+(\d+) kB$", Path(f"/proc/{self.pid}/status").read_text(), re.MULTILINE
        )
        if found is None:
            raise RuntimeError(f"no {line} in /proc")
        return int(found[1]) * KIB

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


# What is measured


async def bodies(bench: Bench) -> None:
    """1 GiB each way through a slow reader."""
    before = bench.forget_peak()
    reader, writer = await bench.dial()
    writer.write(head("GET", f"/body/{GIB}"))
    await reader.readuntil(b"\r\n\r\n")
    await drink(reader, GIB)
    bench.note("1 GiB down through a slow client", (bench.resident("VmHWM") - before) / MIB, 10, "MiB more")
    before = bench.forget_peak()
    writer.write(head("PUT", f"/body/{GIB}", f"Content-Length: {GIB}"))
    await pour(writer, GIB)
    await reader.readuntil(b"\r\n\r\nok")
    bench.note("1 GiB up through a slow upstream", (bench.resident("VmHWM") - before) / MIB, 10, "MiB more")
    for method, what in (("GET", "100 MiB down"), ("PUT", "100 MiB up")):
        before = bench.forget_peak()
        size = 100 * MIB // len(PIECE) * len(PIECE)
        if method == "GET":
            writer.write(head(method, f"/body/{size}"))
            await reader.readuntil(b"\r\n\r\n")
            await drink(reader, size)
        else:
            writer.write(head(method, f"/body/{size}", f"Content-Length: {size}"))
            await pour(writer, size)
            await reader.readuntil(b"\r\n\r\nok")
        bench.note(what, (bench.resident("VmHWM") - before) / MIB, 4, "MiB more")
    writer.close()


async def endless(bench: Bench) -> None:
    """A request line, and a head, that do not end."""
    for what, start, piece in (
        ("a request line without end", b"GET /", PIECE),
        ("a head without end", b"GET / HTTP/1.1\r\n", b"X-A: " + b"a" * 1000 + b"\r\n"),
    ):
        before = bench.forget_peak()
        reader, writer = await bench.dial()
        writer.write(start)
        with suppress(ConnectionError):
            for _ in range(64 * MIB // len(piece)):
                writer.write(piece)
                await writer.drain()
                if reader.at_eof():
                    break
        writer.close()
        bench.note(what, (bench.resident("VmHWM") - before) / MIB, 2, "MiB more")


async def open_tunnel(bench: Bench) -> Wire:
    reader, writer = await bench.dial()
    lines = ("Connection: Upgrade", "Upgrade: websocket", "Origin: https://app.example.com")
    writer.write(head("GET", "/ws", *lines))
    if not (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 "):
        raise RuntimeError("no tunnel")
    return reader, writer


async def message(bench: Bench) -> None:
    """16 MiB there and back through a tunnel."""
    before = bench.forget_peak()
    reader, writer = await open_tunnel(bench)
    _, received = await asyncio.gather(pour(writer, 16 * MIB), reader.readexactly(16 * MIB))
    if received.count(b"\xa5") != 16 * MIB:
        raise RuntimeError("the message came back changed")
    writer.close()
    bench.note("a WebSocket message of 16 MiB", (bench.resident("VmHWM") - before) / MIB, 4, "MiB more")


async def limits(bench: Bench) -> None:
    """How late 502 and 504 are."""
    for path, status, expected in (("/late", b"504", RESPONSE_LIMIT), ("/nobody", b"502", 0.0)):
        since = time.monotonic()
        received = await bench.get(path)
        if received[9:12] != status:
            raise RuntimeError(f"{path} got {received[:40]!r}")
        late = time.monotonic() - since - expected
        bench.note(f"{status.decode()} beyond its limit", late, 0.5, "s")


async def idle(bench: Bench, stack: AsyncExitStack) -> None:
    """Connections that have had one response and wait."""
    before = bench.resident()
    for _ in range(IDLE_CLIENTS // 100):
        await asyncio.gather(*(stay(bench, stack) for _ in range(100)))
    each = (bench.resident() - before) / IDLE_CLIENTS / KIB
    bench.note(f"{IDLE_CLIENTS:,} idle connections, each", each, 12, "KiB")


async def stay(bench: Bench, stack: AsyncExitStack) -> Wire:
    """A connection with one exchange behind it, open until the stack is."""
    reader, writer = await bench.dial()
    stack.callback(writer.close)
    writer.write(head("GET", "/"))
    await reader.readuntil(b"\r\n\r\nok")
    return reader, writer


async def crowd(bench: Bench, stack: AsyncExitStack) -> None:
    """All kinds of clients at once, and a good one among them."""
    for _ in range(SLOW_HEADS):
        _, writer = await bench.dial()
        stack.callback(writer.close)
        writer.write(b"GET / HTTP/1.1\r\nHost: p.t")
    for _ in range(STUCK):
        _, writer = await bench.dial()
        stack.callback(writer.close)
        writer.write(head("GET", "/stuck"))
    tunnels = [await open_tunnel(bench) for _ in range(TUNNELS)]
    for _, writer in tunnels:
        stack.callback(writer.close)
    busy = [asyncio.ensure_future(keep_asking(await stay(bench, stack))) for _ in range(KEEP_ALIVE)]
    times = []
    for _ in range(GOOD_REQUESTS):
        since = time.monotonic()
        if not (await bench.get("/")).endswith(b"ok"):
            raise RuntimeError("a good client was not answered")
        times.append(time.monotonic() - since)
    if any(task.done() for task in busy):
        raise RuntimeError("a busy client was not answered")
    for task in busy:
        task.cancel()
    await asyncio.gather(*busy, return_exceptions=True)
    crowded = f"{KEEP_ALIVE} busy, {TUNNELS} WebSockets, {SLOW_HEADS} slow heads, {STUCK} stuck"
    bench.note(f"a good client among {crowded}: median", statistics.median(times) * 1000, 500, "ms")
    bench.note("its slowest answer", max(times) * 1000, 1000, "ms")


async def keep_asking(wire: Wire) -> None:
    """One request after the other, ten a second."""
    reader, writer = wire
    while True:
        writer.write(head("GET", "/"))
        await reader.readuntil(b"\r\n\r\nok")
        await asyncio.sleep(0.1)


# The run


def line_of(figure: Figure) -> str:
    verdict = "" if figure.holds else " (missed)"
    return f"| {figure.what} | {figure.value:.2f} {figure.unit} | {figure.bound:g} {figure.unit}{verdict} |"


def report(figures: list[Figure]) -> str:
    machine = "\n".join(f"- {label}: {value}" for label, value in describe_machine().items())
    lines = "\n".join(map(line_of, figures))
    return (
        "# Memory and crowds\n\n"
        "Written by `make bench-memory`. Resident memory of one worker; “more” is its peak over what "
        f"was resident before.\n\n{machine}\n\n| What | Measured | At most |\n|---|---|---|\n{lines}\n"
    )


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
        await asyncio.to_thread(wait_until, process, lambda: is_serving(port), 15.0)
        yield Bench(process, port)
        process.require_alive()
    upstream.close()


async def measure(folder: Path) -> list[Figure]:
    """All of it, one after the other."""
    async with bench_of(folder) as bench, AsyncExitStack() as stack:
        for step in (bodies, endless, message, limits):
            await step(bench)
        await crowd(bench, stack)
        await idle(bench, stack)
        return bench.figures


def main() -> int:
    """Measure, write the page, and say whether every figure holds."""
    raise_on_signals()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(Path(folder)))
    RESULTS.write_text(report(figures), encoding="utf-8")
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    raise SystemExit(main())
