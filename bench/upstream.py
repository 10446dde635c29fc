"""`python -m bench.upstream PORT`: the upstream for uploads, server-sent events and WebSockets.

Here:  an HTTP/1.1 server on uvloop that reads a body to its end before it answers, sends an event to all of
       its streams ten times a second, and echoes WebSocket messages.
Never: what nginx does better: the small fixed answers come from there.

It runs on the cores of the load generator, so what it costs is in no figure.
"""

import asyncio
import re
import sys
import time

import uvloop

from bench.load import BODY, EVENT_RATE
from bench.websocket import CLIENT_FRAME_BYTES, accept_for, server_frame

__all__ = ["main"]

OK = b"HTTP/1.1 200 OK\r\nX-Total-Count: 4711\r\nX-Powered-By: Legacy/2.1\r\n"
JSON = OK + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY.encode()
EVENTS = (
    OK + b"Content-Type: text/event-stream\r\nCache-Control: no-store\r\nTransfer-Encoding: chunked\r\n\r\n"
)


class Upstream:
    """What all connections share."""

    def __init__(self) -> None:
        self.streams: set[asyncio.Transport] = set()
        self.seen = 0  # requests answered, events sent, messages echoed
        self.number = 0

    async def broadcast(self) -> None:
        """The same event to every stream, on time."""
        due = time.monotonic()
        while True:
            due += 1 / EVENT_RATE
            await asyncio.sleep(max(due - time.monotonic(), 0))
            self.number += 1
            event = b"id: %012d\ndata: %020d %s\n\n" % (self.number, time.monotonic_ns(), b"x" * 64)
            chunk = b"%x\r\n%b\r\n" % (len(event), event)
            for transport in list(self.streams):
                transport.write(chunk)
            self.seen += len(self.streams)


class Connection(asyncio.Protocol):
    """One connection of a proxy."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.waiting = b""
        self.missing = 0  # bytes of a body that are still to come
        self.is_socket = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment] # a TCP server gets nothing else

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.upstream.streams.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        if self.is_socket:
            self.echo(data)
        elif self.missing:
            self.take_body(data)
        else:
            self.waiting += data
            while b"\r\n\r\n" in self.waiting and not self.missing:
                head, _, self.waiting = self.waiting.partition(b"\r\n\r\n")
                self.serve(head.decode("latin-1"))

    def serve(self, head: str) -> None:
        path = head.split(" ", 2)[1]
        if path == "/events":
            self.transport.write(EVENTS)
            self.upstream.streams.add(self.transport)
        elif path == "/socket":
            self.switch(head)
        elif path == "/seen":
            page = f"as stub_status of nginx\nserver accepts handled requests\n 0 0 {self.upstream.seen} \n"
            self.transport.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(page)}\r\n\r\n{page}".encode())
        else:
            length = re.search(r"^content-length: *(\d+)", head, re.IGNORECASE | re.MULTILINE)
            self.missing = int(length[1]) if length else 0
            early, self.waiting = self.waiting, b""
            self.take_body(early)

    def take_body(self, data: bytes) -> None:
        """The answer goes out when the body is here to its last byte."""
        self.missing -= len(data)
        if self.missing <= 0:
            self.upstream.seen += 1
            self.transport.write(JSON)

    def switch(self, head: str) -> None:
        key = re.search(r"^sec-websocket-key: *(\S+)", head, re.IGNORECASE | re.MULTILINE)
        accept = accept_for(key[1] if key else "")
        lines = ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket"]
        self.transport.write("\r\n".join([*lines, f"Sec-WebSocket-Accept: {accept}", "", ""]).encode())
        self.is_socket = True
        early, self.waiting = self.waiting, b""
        self.echo(early)

    def echo(self, data: bytes) -> None:
        self.waiting += data
        while len(self.waiting) >= CLIENT_FRAME_BYTES:
            frame, self.waiting = self.waiting[:CLIENT_FRAME_BYTES], self.waiting[CLIENT_FRAME_BYTES:]
            self.upstream.seen += 1
            self.transport.write(server_frame(frame[6:]))


async def serve(port: int) -> None:
    upstream = Upstream()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(upstream), "127.0.0.1", port, backlog=4096
    )
    async with server:
        await upstream.broadcast()


def main(arguments: list[str]) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(arguments[0])))


if __name__ == "__main__":
    main(sys.argv[1:])
