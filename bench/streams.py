"""`python -m bench.streams events|socket PORT PATH CONNECTIONS SECONDS`: a client of many open streams.

Here:  connections that read events, or that send a WebSocket message when the last one is back; each event
       and each message is checked by its number.
Never: CPU time: whoever starts it reads that between `ready` and the totals.

It says `ready` when all is open and has been answered, waits for a line, counts for so many seconds, prints
the totals, and hangs up when its standard input ends.
"""

import asyncio
import re
import sys
import time
from collections.abc import Callable

import uvloop

from bench.load import FRAME_BYTES, ORIGIN
from bench.tally import totals_line
from bench.websocket import SERVER_FRAME_BYTES, client_frame, handshake

__all__ = ["main"]

PATIENCE_SECONDS = 20.0
EVENT = re.compile(rb"id: (\d{12})\ndata: (\d{20}) ")


class Count:
    """What all connections count."""

    def __init__(self) -> None:
        self.units = 0
        self.bytes = 0
        self.waits: list[float] = []  # seconds
        self.errors = {"order": 0, "closed": 0, "refused": 0}
        self.is_over = False


class Stream(asyncio.Protocol):
    """A connection that is answered, then carries units."""

    def __init__(self, count: Count, request: bytes, status: bytes) -> None:
        self.count = count
        self.request = request
        self.status = status
        self.answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiting = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment] # a TCP client gets nothing else
        self.transport.write(self.request)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.count.errors["closed"] += not self.count.is_over
        if not self.answered.done():
            self.answered.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self.answered.done():
            self.count.bytes += len(data)
            self.take(data)
            return
        self.waiting += data
        if b"\r\n\r\n" in self.waiting:
            head, _, rest = self.waiting.partition(b"\r\n\r\n")
            self.waiting = b""
            self.count.errors["refused"] += head.split(b" ")[1] != self.status
            self.answered.set_result(None)
            self.take(rest)

    def take(self, data: bytes) -> None:
        raise NotImplementedError  # each kind of stream says what its bytes mean

    def begin(self) -> None:
        """The measurement starts."""


class EventStream(Stream):
    """Reads events; none may be missing."""

    number = 0  # of the last event

    def take(self, data: bytes) -> None:
        self.waiting += data
        last = 0
        for found in EVENT.finditer(self.waiting):
            number = int(found[1])
            self.count.errors["order"] += self.number not in {0, number - 1}
            self.number = number
            self.count.waits.append((time.monotonic_ns() - int(found[2])) / 1e9)
            self.count.units += 1
            last = found.end()
        self.waiting = self.waiting[last:][-128:]  # perhaps the beginning of the next


class Socket(Stream):
    """Sends a number, waits for it, sends the next."""

    number = 0
    sent = 0.0

    def begin(self) -> None:
        self.send()

    def send(self) -> None:
        self.number += 1
        self.sent = time.monotonic()
        self.transport.write(client_frame(self.number))

    def take(self, data: bytes) -> None:
        self.waiting += data
        if len(self.waiting) < SERVER_FRAME_BYTES:
            return
        payload = self.waiting[SERVER_FRAME_BYTES - FRAME_BYTES :]
        self.count.errors["order"] += int.from_bytes(payload) != self.number
        self.waiting = b""
        self.count.waits.append(time.monotonic() - self.sent)
        self.count.units += 1
        if not self.count.is_over:
            self.send()


def get(path: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", f"Origin: {ORIGIN}", "Accept: text/event-stream"]
    return "\r\n".join([*lines, "", ""]).encode()


def maker(kind: str, path: str, count: Count) -> Callable[[], Stream]:
    """What makes the protocol of a connection."""
    if kind == "events":
        return lambda: EventStream(count, get(path), b"200")
    return lambda: Socket(count, handshake(path), b"101")


async def run(kind: str, port: int, path: str, connections: int, seconds: float) -> None:
    loop = asyncio.get_running_loop()
    count = Count()
    make = maker(kind, path, count)
    streams: list[Stream] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        for _ in range(connections):
            _, stream = await loop.create_connection(make, "127.0.0.1", port)
            streams.append(stream)
        await asyncio.gather(*(stream.answered for stream in streams))
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    count.units = count.bytes = 0
    count.waits.clear()
    began = time.monotonic()
    for stream in streams:
        stream.begin()
    await asyncio.sleep(seconds)
    line = totals_line(count.units, count.bytes, time.monotonic() - began, count.waits, count.errors)
    print(line, flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    count.is_over = True
    for stream in streams:
        stream.transport.abort()


def main(arguments: list[str]) -> None:
    kind, port, path, connections, seconds = arguments
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(kind, int(port), path, int(connections), float(seconds)))


if __name__ == "__main__":
    main(sys.argv[1:])
