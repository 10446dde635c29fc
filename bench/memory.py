"""What connections and bodies cost in memory, and whether those who wait hold up others.

Here:  one corsproxy, one upstream, and clients that are slow, idle, stuck or many; figures beside targets.
Never: speed (`python -m bench`), other proxies.

Run as `python -m bench.memory` from the root of the repository, on Linux; it writes `results/memory.md`.
"""

import asyncio
import statistics
import tempfile
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from bench.idle import Wire, stay, take_all_files
from bench.machine import describe_machine
from bench.process import raise_on_signals
from bench.scales import MIB, PIECE, RESPONSE_LIMIT, Bench, Figure, bench_of, drink, head, line_of, pour

__all__ = ["main"]

RESULTS = Path(__file__).parent / "results" / "memory.md"
GIB = 1 << 30
IDLE_CLIENTS = 10_000
# One request at a time over each of these, and requests of a good client meanwhile.
KEEP_ALIVE, TUNNELS, SLOW_HEADS, STUCK = 500, 200, 300, 150
GOOD_REQUESTS = 2000


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
        for _, writer in await asyncio.gather(*(stay(bench.port) for _ in range(100))):
            stack.callback(writer.close)
    each = (bench.resident() - before) / IDLE_CLIENTS / 1024
    bench.note(f"{IDLE_CLIENTS:,} idle connections, each", each, 12, "KiB")


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
    wires = [await stay(bench.port) for _ in range(KEEP_ALIVE)]
    for _, writer in wires:
        stack.callback(writer.close)
    busy = [asyncio.ensure_future(keep_asking(wire)) for wire in wires]
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


def report(figures: list[Figure]) -> str:
    machine = "\n".join(f"- {label}: {value}" for label, value in describe_machine().items())
    lines = "\n".join(map(line_of, figures))
    return (
        "# Memory and crowds\n\n"
        "Written by `make bench-memory`. Resident memory of one worker; “more” is its peak over what "
        f"was resident before.\n\n{machine}\n\n| What | Measured | At most |\n|---|---|---|\n{lines}\n"
    )


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
    take_all_files()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(Path(folder)))
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(report(figures), encoding="utf-8")
    return 0 if all(figure.holds for figure in figures) else 1


if __name__ == "__main__":
    raise SystemExit(main())
