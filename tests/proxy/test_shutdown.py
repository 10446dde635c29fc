"""The listener from start to graceful end."""

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from corsproxy.config.table import Address, Drain, Endpoint, Table
from corsproxy.ops.server import ListenError, Server
from tests.proxy.conftest import APP, proxy, route, upstream_at
from tests.wire import PATIENCE, Upstream, Wire, answers, ask, dial, get, ok, upstream


class Held:
    """An upstream that answers when told to."""

    def __init__(self) -> None:
        self.release = asyncio.Event()

    async def behave(self, server: Upstream, wire: Wire) -> None:
        while True:
            await server.request(wire)
            await self.release.wait()
            await wire.send(ok(b"in full"))


async def never(server: Upstream, wire: Wire) -> None:
    """Take a request and say nothing, until the proxy hangs up."""
    await server.request(wire)
    await wire.rest()


async def turns(count: int = 20) -> None:
    """Let the event loop go round; nothing is waited for."""
    for _ in range(count):
        await asyncio.sleep(0)


def is_there(path: str) -> bool:
    return Path(path).exists()


def table(port: int, listen: Address, drain: float = 25.0) -> Table:
    return Table((route(port),), (), listen=listen, drain=Drain(timeout=drain))


async def test_what_is_in_flight_is_finished_and_says_that_it_was_the_last() -> None:
    held = Held()
    async with upstream(held.behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/", f"Origin: {APP}"))
        await legacy.asked.wait()
        stopping = asyncio.ensure_future(front.server.stop())
        await turns()
        assert not stopping.done()
        held.release.set()
        answer = await wire.message()
        assert (answer.status, answer.body, answer.one("Connection")) == (200, b"in full", "close")
        assert await wire.ended()
        async with asyncio.timeout(PATIENCE):
            await stopping


async def test_new_connections_are_refused_while_others_finish() -> None:
    held = Held()
    async with upstream(held.behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/"))
        await legacy.asked.wait()
        stopping = asyncio.ensure_future(front.server.stop())
        await turns()
        with pytest.raises(ConnectionRefusedError):
            await dial(front.address)
        held.release.set()
        await wire.message()
        await stopping


async def test_idle_connections_are_closed_at_once_on_both_sides() -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        fresh, used = await front.dial(), await front.dial()
        await used.send(get("/"))
        await used.message()
        async with asyncio.timeout(PATIENCE):
            await front.server.stop()
            assert await fresh.ended()
            assert await used.ended()
            await legacy.gone.wait()
        assert front.server.connections == 0


async def test_a_request_that_waits_behind_the_last_one_is_not_served() -> None:
    """RFC 9112 §9.6: after "close" nothing more is processed; the client sends it again elsewhere."""
    held = Held()
    async with upstream(held.behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/1") + get("/2", method="DELETE"))
        await legacy.asked.wait()
        stopping = asyncio.ensure_future(front.server.stop())
        await turns()
        held.release.set()
        assert (await wire.message()).one("Connection") == "close"
        assert await wire.ended()
        await stopping
        assert len(legacy.requests) == 1


async def test_it_gives_up_when_the_time_is_over() -> None:
    async with upstream(never) as legacy, proxy(route(legacy.port), drain=Drain(timeout=0.2)) as front:
        wire = await front.dial()
        await wire.send(get("/"))
        await legacy.asked.wait()
        async with asyncio.timeout(PATIENCE):
            await front.server.stop()
            assert await wire.ended()
            await legacy.gone.wait()
        assert len(front.recorder.exchanges) == 1  # cut, but on record


async def test_abort_ends_everything_now() -> None:
    async with upstream(never) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/"))
        await legacy.asked.wait()
        front.server.abort()
        assert await wire.ended()
        async with asyncio.timeout(PATIENCE):
            await legacy.gone.wait()


async def test_stopping_twice_does_no_harm() -> None:
    async with proxy(route(1)) as front:
        await front.server.stop()
        await front.server.stop()


async def test_stopping_what_never_started_does_no_harm() -> None:
    await Server(table(1, Address("127.0.0.1", 0))).stop()


# Listeners


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "front.sock")
    async with (
        upstream(answers(ok())) as legacy,
        proxy(route(legacy.port), listen=Address(path=path)) as front,
    ):
        assert str(front.address) == f"unix:{path}"
        answer = await ask(front.address, get("/", f"Origin: {APP}"))
        assert answer.one("Access-Control-Allow-Origin") == APP
        assert legacy.requests[0].one("X-Forwarded-For") is None  # there is no address to tell
        assert front.last.peer == ""
    assert not is_there(path)


async def test_a_socket_that_an_earlier_process_left_makes_way(tmp_path: Path) -> None:
    path = tmp_path / "stale.sock"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    async with proxy(route(1), listen=Address(path=str(path))) as front:
        assert (await ask(front.address, get("/"))).status == 502


async def test_a_socket_that_another_process_serves_stays(tmp_path: Path) -> None:
    path = tmp_path / "live.sock"
    async with upstream(answers(ok(b"mine")), path=str(path)):
        server = Server(table(1, Address(path=str(path))))
        try:
            with pytest.raises(ListenError, match="cannot listen on unix:"):
                await server.start()
        finally:
            await server.stop()
        assert (await ask(Address(path=str(path)), get("/"))).body == b"mine"


async def test_a_file_that_is_no_socket_stays(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine", encoding="utf-8")
    server = Server(table(1, Address(path=str(path))))
    with pytest.raises(ListenError):
        await server.start()
    await server.stop()
    assert path.read_text(encoding="utf-8") == "mine"


async def test_a_port_in_use_is_named_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError) as caught:
            await Server(table(1, Address("127.0.0.1", port))).start()
        text = str(caught.value)
        assert text.startswith(f"cannot listen on 127.0.0.1:{port}: ")
        assert "in use" in text
        assert "\n" not in text


@pytest.mark.parametrize(
    "listen",
    [
        Address("192.0.2.1", 8080),
        Address("no-such-host.invalid", 8080),
        Address(path="/no/such/folder/x.sock"),
    ],
    ids=["an address of another machine", "a name that does not resolve", "a folder that is not there"],
)
async def test_an_address_that_cannot_be_listened_on(listen: Address) -> None:
    with pytest.raises(ListenError) as caught:
        await Server(table(1, listen)).start()
    assert str(listen) in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_an_upstream_on_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "legacy.sock")
    here = replace(upstream_at(1), endpoints=(Endpoint("http", "", 0, path),))
    async with upstream(answers(ok()), path=path) as legacy, proxy(route(1, upstream=here)) as front:
        assert (await ask(front.address, get("/"))).status == 200
        assert legacy.requests[0].one("Host") == "localhost"


def blocking_clients(address: Address, count: int) -> list[socket.socket]:
    """Connections that the event loop has not heard of."""
    return [socket.create_connection((address.host, address.port), PATIENCE) for _ in range(count)]


async def test_who_waits_in_the_queue_when_it_stops_is_served() -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        clients = blocking_clients(front.address, 100)
        for client in clients:
            client.sendall(get("/", f"Origin: {APP}"))
        await front.server.stop()
        for client in clients:
            with client:
                assert client.recv(65536).startswith(b"HTTP/1.1 200 ")


async def test_a_turn_of_the_loop_is_shared_by_several_new_connections() -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        clients = blocking_clients(front.address, 32)
        await turns(8)
        assert front.server.connections == 32
        for client in clients:
            client.close()


async def test_the_unix_socket_of_a_successor_stays(tmp_path: Path) -> None:
    """The path is free as soon as nobody is accepted there any more, and from then on another's."""
    address, held = Address(path=str(tmp_path / "proxy.sock")), Held()
    async with upstream(held.behave) as legacy:
        first, second = (Server(table(legacy.port, address)) for _ in range(2))
        await first.start()
        wire = await dial(address)
        await wire.send(get("/", f"Origin: {APP}"))
        await legacy.asked.wait()
        stopping = asyncio.ensure_future(first.stop())
        await turns()
        assert not is_there(address.path)
        await second.start()
        held.release.set()
        assert (await wire.message()).body == b"in full"
        await wire.close()
        await stopping
        assert (await ask(address, get("/", f"Origin: {APP}"))).body == b"in full"
        await second.stop()
        assert not is_there(address.path)
