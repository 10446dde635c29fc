"""What a connection makes of a response does not depend on how its bytes arrive."""

import asyncio
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corsproxy.http.faults import Fault
from corsproxy.http.fields import Fields
from corsproxy.upstream.connection import Connection
from tests.wire import PATIENCE, Upstream, Wire, get, ok, upstream


class Owner:
    """A pool that keeps nothing, and counts what it could have."""

    def __init__(self) -> None:
        self.kept = 0

    def made(self, connection: Connection) -> None: ...
    def forget(self, connection: Connection) -> None: ...
    def keep(self, connection: Connection) -> None:
        self.kept += 1

    def hold(self, connection: Connection) -> None: ...
    def hold_no_longer(self, connection: Connection) -> None: ...


class Receiver:
    """Takes everything at once."""

    def __init__(self) -> None:
        self.body = b""
        self.fault: Fault | None = None

    def on_response(self, connection: Connection) -> None:
        self.body += b"".join(connection.take_body())

    def on_upstream_lost(self, fault: Fault, *, at_end: bool) -> None:
        self.fault = fault

    def on_unsent(self, held: bytes) -> None: ...
    def on_interim(self, status: int, fields: Fields) -> None: ...
    def pause_upload(self) -> None: ...
    def resume_upload(self) -> None: ...


class Transport(asyncio.Transport):
    """A transport to nowhere; its socket is real."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__({"socket": sock})

    unsent = 0

    def write(self, data: object) -> None: ...
    def abort(self) -> None: ...
    def resume_reading(self) -> None: ...
    def get_write_buffer_size(self) -> int:
        return self.unsent

    def is_closing(self) -> bool:
        return False


@pytest.fixture(scope="module")
def transport() -> Iterator[Transport]:
    with socket.socket() as sock:
        yield Transport(sock)


@dataclass(frozen=True)
class Outcome:
    status: int
    body: bytes
    complete: bool
    reusable: bool
    is_fault: bool


def read(transport: Transport, pieces: Sequence[bytes]) -> tuple[Outcome, Connection]:
    connection, receiver = Connection(Owner()), Receiver()
    connection.connection_made(transport)
    connection.send(receiver, b"", is_whole=True, head_only=False, may_switch=False)
    for piece in pieces:
        connection.data_received(piece)
    return (
        Outcome(
            connection.status,
            receiver.body,
            connection.complete,
            connection.reusable,
            receiver.fault is not None,
        ),
        connection,
    )


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted({place % len(data) for place in places} - {0}), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 40\r\nETag: x\r\n\r\n" + bytes(range(40))
RESPONSES = {
    "with a length": LENGTH,
    "and it closes": LENGTH.replace(b"ETag: x", b"Connection: close"),
    "with a body that is not there in full": LENGTH[:-5],
    "of HTTP/1.0": LENGTH.replace(b"1.1", b"1.0"),
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n14\r\n" + b"x" * 20 + b"\r\n0\r\n\r\n",
    "without a length": b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 40,
    "without a body": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 40\r\n\r\n",
}


@pytest.mark.parametrize("response", RESPONSES.values(), ids=RESPONSES)
@given(places=st.lists(st.integers(min_value=0, max_value=200)))
def test_a_response_in_pieces_is_the_same_response(
    transport: Transport, response: bytes, places: list[int]
) -> None:
    assert read(transport, cut(response, places))[0] == read(transport, [response])[0]


@given(places=st.lists(st.integers(min_value=0, max_value=200)))
def test_what_follows_a_response_is_not_part_of_it_and_ends_the_connection(
    transport: Transport, places: list[int]
) -> None:
    outcome, _ = read(transport, cut(LENGTH + b"HTTP/1.1 200 OK\r\n\r\n", places))
    assert (outcome.body, outcome.complete, outcome.reusable) == (bytes(range(40)), True, False)


def test_after_a_long_body_the_connection_reads_the_next_response(transport: Transport) -> None:
    outcome, connection = read(transport, [LENGTH[:60], LENGTH[60:70], LENGTH[70:]])
    assert outcome.reusable
    second = Receiver()
    connection.send(second, b"", is_whole=True, head_only=False, may_switch=False)
    connection.data_received(LENGTH.replace(b"200", b"201"))
    assert (connection.status, second.body, connection.reusable) == (201, bytes(range(40)), True)


@pytest.mark.parametrize(("unsent", "kept"), [(0, 1), (1, 0)])
def test_a_connection_that_has_not_sent_all_of_a_request_is_not_kept(
    transport: Transport, monkeypatch: pytest.MonkeyPatch, unsent: int, kept: int
) -> None:
    """The next request would wait behind it, and its upload would be taken without bound."""
    monkeypatch.setattr(Transport, "unsent", unsent)
    owner = Owner()
    connection = Connection(owner)
    connection.connection_made(transport)
    connection.send(Receiver(), b"POST", is_whole=True, head_only=False, may_switch=False)
    connection.data_received(ok())
    connection.release(request_complete=True)
    assert owner.kept == kept


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="Linux")
@pytest.mark.parametrize(
    ("first", "is_acknowledged"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConte", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n" + b"x" * 5000, False),
    ],
    ids=["head", "half a head", "all", "much of it"],
)
async def test_a_response_that_comes_in_pieces_is_acknowledged_at_once(
    first: bytes, is_acknowledged: bool
) -> None:
    """Else a server that writes head and body apart keeps the body back for 40 ms (RFC 9293 §3.7.4)."""

    async def behave(_: Upstream, wire: Wire) -> None:
        await wire.head()
        await wire.send(ok())
        await wire.head()
        await wire.send(first)
        await wire.rest()

    async with upstream(behave) as legacy:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(Owner()), "127.0.0.1", legacy.port)
        for _ in range(2):  # from the second on, the kernel takes it for a dialogue, and waits for our turn
            told = Told()
            connection.send(told, get("/"), is_whole=True, head_only=False, may_switch=False)
            await told.heard(connection)
        sock = connection.transport.get_extra_info("socket")
        assert bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK)) is is_acknowledged
        connection.close()


class Told(Receiver):
    """Waits for the first bytes of a response."""

    async def heard(self, connection: Connection) -> None:
        async with asyncio.timeout(PATIENCE):
            while connection.untouched:  # noqa: ASYNC110 - half a head is told to nobody
                await asyncio.sleep(0)
