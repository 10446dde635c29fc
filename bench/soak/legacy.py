"""The upstream of the endurance test: what it serves is easy to check, and it falls over when it is told to.

Here:  items, uploads, events, echoes; stalls, resets, nonsense; falling and rising again on the same port.
Never: when (chaos).
"""

import asyncio
import contextlib
import hashlib
import random

from tests.wire import Message, Wire, ok

__all__ = ["EVENT", "Legacy", "item"]

EVENT = b"id: %06d\n\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
_OWN_CORS = "Access-Control-Allow-Origin: *"  # legacy APIs say this, and it must not get through


def item(number: int, size: int) -> bytes:
    """The bytes of /item/NUMBER/SIZE."""
    return random.Random(number).randbytes(64) * (size // 64)


class Legacy:
    """One upstream server."""

    def __init__(self) -> None:
        self.port = 0
        self.uploads: set[str] = set()  # digests of those that came whole
        self._server: asyncio.Server | None = None
        self._wires: set[Wire] = set()

    async def rise(self) -> None:
        """Listen; on the port that it had before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def fall(self) -> None:
        """As if it were killed: whatever is open is reset."""
        if self._server is not None:
            self._server.close()
        for wire in list(self._wires):
            wire.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer)
        self._wires.add(wire)
        try:
            while await self._answer(wire):
                pass
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, TimeoutError):
            pass  # the proxy hung up or keeps it idle for long, or it fell
        finally:
            self._wires.discard(wire)
            with contextlib.suppress(asyncio.CancelledError):
                await wire.close()

    async def _answer(self, wire: Wire) -> bool:
        """One request; False when the connection is over."""
        request = await wire.message()
        verb, *rest = request.first_line.split(" ")[1].strip("/").split("/")
        match verb:
            case "item":
                await self._item(wire, int(rest[0]), int(rest[1]), chunked=rest[2] == "chunked")
            case "upload":
                await self._upload(wire, request)
            case "events":
                await self._events(wire, int(rest[0]))
            case "echo":
                await self._echo(wire)
                return False
            case "stall":
                await wire.reader.read()
                return False
            case "reset":
                await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n" + b"x" * 5000)
                wire.abort()
                return False
            case "nonsense":
                await wire.send(b"SMTP/4.2 hello\r\n\r\n")
                return False
            case _:
                await wire.send(ok(b"", _OWN_CORS))
        return True

    async def _item(self, wire: Wire, number: int, size: int, *, chunked: bool) -> None:
        body = item(number, size)
        if not chunked:
            await wire.send(ok(body, _OWN_CORS))
            return
        await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(body), 5000):
            piece = body[at : at + 5000]
            await wire.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await wire.send(b"0\r\n\r\n")

    async def _upload(self, wire: Wire, request: Message) -> None:
        digest = hashlib.sha256(request.body).hexdigest()
        self.uploads.add(digest)
        await wire.send(ok(digest.encode(), _OWN_CORS))

    async def _events(self, wire: Wire, count: int) -> None:
        await wire.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for number in range(count):
            event = EVENT % number
            await wire.send(b"%x\r\n%b\r\n" % (len(event), event))
            await asyncio.sleep(0.02)
        await wire.send(b"0\r\n\r\n")

    async def _echo(self, wire: Wire) -> None:
        await wire.send(SWITCH)
        while data := await wire.reader.read(65536):
            await wire.send(data)
