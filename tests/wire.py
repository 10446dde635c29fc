"""Both ends of the proxy on real sockets: a client that sends exact bytes, an upstream that misbehaves on
command.
"""

import asyncio
import contextlib
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from corsproxy.config.table import Address

PATIENCE = 5.0  # seconds a read may take before the test fails: far above anything that works


@dataclass
class Message:
    """One HTTP message off the wire, framing undone."""

    first_line: str
    fields: list[tuple[str, str]]  # as sent
    body: bytes = b""
    trailers: list[tuple[str, str]] = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(self.first_line.split(" ")[1])

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def one(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) < 2, f"{name} stands {len(values)} times"
        return values[0] if values else None


class Wire:
    """One end of a TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> Message:
        """The next head, with no body read."""
        raw = await _patiently(self.reader.readuntil(b"\r\n\r\n"))
        lines = raw[:-4].decode("latin-1").split("\r\n")
        fields = [
            (name, value.strip(" \t")) for name, _, value in (line.partition(":") for line in lines[1:])
        ]
        return Message(lines[0], fields)

    async def message(self, *, head_only: bool = False) -> Message:
        """The next message with its body, as its framing says; without a length, up to the end of the
        stream.
        """
        message = await self.head()
        await self.finish(message, head_only=head_only)
        return message

    async def finish(self, message: Message, *, head_only: bool = False) -> None:
        """Read the body that belongs to this head."""
        is_response = message.first_line.startswith("HTTP/")
        if head_only or (is_response and (message.status < 200 or message.status in {204, 304})):
            return
        if "chunked" in (message.one("Transfer-Encoding") or ""):
            await self._chunks(message)
        elif (length := message.one("Content-Length")) is not None:
            message.body = await _patiently(self.reader.readexactly(int(length)))
        elif is_response:
            message.body = await _patiently(self.reader.read())

    async def _chunks(self, message: Message) -> None:
        while size := int((await _patiently(self.reader.readuntil(b"\r\n")))[:-2].split(b";")[0], 16):
            message.body += await _patiently(self.reader.readexactly(size))
            assert await self.reader.readexactly(2) == b"\r\n"
        while (line := await _patiently(self.reader.readuntil(b"\r\n"))) != b"\r\n":
            name, _, value = line[:-2].decode("latin-1").partition(":")
            message.trailers.append((name, value.strip()))

    async def rest(self) -> bytes:
        """Everything up to the end of the stream; ConnectionResetError when it was cut."""
        return await _patiently(self.reader.read())

    async def ended(self) -> bool:
        """Wait for the other side to close, orderly or not; True when nothing more came before."""
        try:
            return await _patiently(self.reader.read()) == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    def abort(self) -> None:
        """Reset the connection."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


T = TypeVar("T")


async def _patiently(awaitable: Awaitable[T]) -> T:
    async with asyncio.timeout(PATIENCE):
        return await awaitable


Behaviour = Callable[["Upstream", Wire], Awaitable[None]]


class Upstream:
    """A server whose every connection runs one behaviour, and which remembers what it was asked."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.requests: list[Message] = []
        self.connections = 0
        self.closed = 0
        self.port = 0
        self.gone = asyncio.Event()  # set when a connection ends
        self.asked = asyncio.Event()  # set when a request was read
        self.errors: list[BaseException] = []

    async def request(self, wire: Wire) -> Message:
        message = await wire.message()
        self.requests.append(message)
        self.asked.set()
        return message

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        wire = Wire(reader, writer)
        try:
            await self.behaviour(self, wire)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass  # the proxy hung up, as it may, or the test is over
        except Exception as error:  # noqa: BLE001 - whatever it was, the test must hear of it
            self.errors.append(error)
        finally:
            self.closed += 1
            self.gone.set()
            await wire.close()


@contextlib.asynccontextmanager
async def upstream(behaviour: Behaviour, *, path: str | None = None) -> AsyncIterator[Upstream]:
    """Run an upstream on a free port, or on a Unix socket."""
    server = Upstream(behaviour)
    if path is None:
        listener = await asyncio.start_server(server._serve, "127.0.0.1", 0)
        server.port = listener.sockets[0].getsockname()[1]
    else:
        listener = await asyncio.start_unix_server(server._serve, path)
    try:
        yield server
    finally:
        listener.close()
    assert not server.errors, server.errors


def answers(response: bytes) -> Behaviour:
    """Answer every request of a connection with these bytes."""

    async def behave(server: Upstream, wire: Wire) -> None:
        while True:
            await server.request(wire)
            await wire.send(response)

    return behave


def ok(body: bytes = b"hello", *lines: str) -> bytes:
    """A 200 with a Content-Length."""
    head = "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *lines])
    return head.encode("latin-1") + b"\r\n\r\n" + body


async def dial(address: Address) -> Wire:
    """Connect to the proxy."""
    if address.path:
        return Wire(*await asyncio.open_unix_connection(address.path))
    return Wire(*await asyncio.open_connection(address.host, address.port))


async def ask(address: Address, request: bytes) -> Message:
    """One request on a connection of its own, and its response."""
    wire = await dial(address)
    try:
        await wire.send(request)
        return await wire.message(head_only=request.startswith(b"HEAD "))
    finally:
        await wire.close()


def get(path: str = "/", *lines: str, host: str = "proxy.test", method: str = "GET") -> bytes:
    """A request head; fields after Host as given."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode("latin-1")


def sent_lines(message: Message) -> list[str]:
    """The field lines of a message as text."""
    return [f"{name}: {value}" for name, value in message.fields]


def names_of(message: Message, pattern: str) -> list[str]:
    """The names of the fields that match, in order."""
    return [name for name, _ in message.fields if re.fullmatch(pattern, name, re.IGNORECASE)]
