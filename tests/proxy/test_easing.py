"""A process that has too much to do lets connections go, so that a client notices nothing but a field."""

import asyncio
import contextlib
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from corsproxy.config.table import ListenTls, Timeouts
from corsproxy.proxy import clients, downstream
from tests.certificates import Files, client_context, files_of
from tests.proxy.conftest import APP, Proxy, proxy, route
from tests.proxy.test_shutdown import turns
from tests.proxy.test_tunnel import opened, switch_and_echo
from tests.wire import PATIENCE, Message, Upstream, Wire, get, ok, upstream

BIG = b"x" * 800_000  # more than a client takes unread, less than the kernel takes in all
SOME = b"x" * 60_000  # less than makes the proxy stop and wait for its client
BODIES = {"/big": BIG, "/some": SOME}


class Legacy:
    """An upstream that holds /slow and streams /long until it is told to go on."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.holds = asyncio.Semaphore(0)  # released for each that is held

    async def behave(self, server: Upstream, wire: Wire) -> None:
        while True:
            head = await server.request(wire)
            if "/slow" in head.first_line:
                self.holds.release()
                await self.go_on.wait()
            if "/long" in head.first_line:
                await wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\none")
                await self.go_on.wait()
                await wire.send(b"two")
                continue
            await wire.send(ok(BODIES.get(head.first_line.split()[1], b"hello")))


async def asked(front: Proxy, count: int, path: str = "/") -> list[Wire]:
    """Connections that have had a response to this."""
    wires = [await front.dial() for _ in range(count)]
    for wire in wires:
        await wire.send(get(path))
        await wire.message()
    return wires


async def waiting(front: Proxy, held: Legacy) -> Wire:
    """A connection whose request is with the upstream, which holds it."""
    wire = await front.dial()
    await wire.send(get("/slow"))
    await held.holds.acquire()
    return wire


async def told(wires: list[Wire]) -> Counter[str | None]:
    """What the next responses say of their connections; those that end have ended by then."""
    found: Counter[str | None] = Counter()
    for wire in wires:
        await wire.send(get("/"))
        answer = await wire.message()
        assert (answer.status, answer.body) == (200, b"hello")
        found[answer.one("Connection")] += 1
        if answer.one("Connection") == "close":
            assert await wire.ended()
    return found


@pytest.mark.parametrize(
    ("count", "part", "leave"),
    [(8, 0.25, 2), (8, 0.3, 2), (3, (0.9 - 0.6) / 0.9, 1), (2, 0.5, 1), (1, 0.7, 0), (80, 0.5, 32)],
    ids=["a part", "a part and a bit", "a third", "one of two", "never the only one", "not too many at once"],
)
async def test_a_part_is_told_with_the_next_response(count: int, part: float, leave: int) -> None:
    async with upstream(Legacy().behave) as legacy, proxy(route(legacy.port)) as front:
        wires = await asked(front, count)
        front.server.ease(part)
        assert front.server.connections == count  # nobody is cut
        assert await told(wires) == Counter({None: count - leave, "close": leave})


async def test_who_was_told_already_is_not_counted_again() -> None:
    async with upstream(Legacy().behave) as legacy, proxy(route(legacy.port)) as front:
        wires = await asked(front, 8)
        front.server.ease(0.5)
        front.server.ease(0.5)
        assert await told(wires) == {None: 2, "close": 6}


async def test_those_that_sleep_are_not_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are no work, and would be gone from the count, but not from here, until they wake."""
    async with upstream(Legacy().behave) as legacy, proxy(route(legacy.port)) as front:
        idle = await asked(front, 4)
        monkeypatch.setattr(clients, "_IN_USE_SECONDS", -1e-9)  # that is: not in this very moment
        front.server.ease(1.0)
        assert await told(idle) == {None: 4}


@pytest.mark.parametrize("keepalive", [1.0, 1000.0])
async def test_that_they_sleep_is_known_after_a_reload(
    monkeypatch: pytest.MonkeyPatch, keepalive: float
) -> None:
    """With another timeout, by which their deadlines move."""
    async with upstream(Legacy().behave) as legacy, proxy(route(legacy.port)) as front:
        wires = await asked(front, 4)
        front.server.swap(replace(front.server.table, timeouts=Timeouts(keepalive=keepalive)))
        with monkeypatch.context() as patch:
            patch.setattr(clients, "_IN_USE_SECONDS", -1e-9)
            front.server.ease(1.0)
        assert await told(wires[:2]) == {None: 2}
        front.server.ease(1.0)
        assert await told(wires[2:]) == {"close": 2}


async def test_one_that_waits_for_its_response_is_in_use() -> None:
    held = Legacy()
    async with upstream(held.behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await waiting(front, held)
        front.server.ease(1.0)
        held.go_on.set()
        answer = await wire.message()
        assert (answer.status, answer.one("Connection")) == (200, "close")
        assert await wire.ended()


async def test_those_that_wait_go_last() -> None:
    held = Legacy()
    async with upstream(held.behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await waiting(front, held)
        others = await asked(front, 3)
        front.server.ease(0.75)
        held.go_on.set()
        assert (await wire.message()).one("Connection") is None
        assert await told(others) == {"close": 3}


async def test_a_response_that_has_begun_without_saying_so_does_not_end_the_connection() -> None:
    """The next request may be on its way by then, and would be lost."""
    held = Legacy()
    async with upstream(held.behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/long"))
        head = await wire.head()
        front.server.ease(1.0)
        held.go_on.set()
        await wire.finish(head)
        assert (head.one("Connection"), head.body) == (None, b"onetwo")
        assert await told([wire]) == {None: 1}
        front.server.ease(1.0)
        assert await told([wire]) == {"close": 1}


async def test_websockets_stay() -> None:
    async with upstream(switch_and_echo) as legacy, proxy(route(legacy.port)) as front:
        wire = await opened(front)
        front.server.ease(1.0)
        await wire.send(b"still here")
        assert await wire.reader.readexactly(10) == b"still here"


@pytest.mark.parametrize(
    ("lines", "method", "status"),
    [
        (f"Origin: {APP}", "HEAD", 200),
        (f"Origin: {APP}\r\nAccess-Control-Request-Method: GET", "OPTIONS", 204),
        ("Origin: https://evil.example\r\nAccess-Control-Request-Method: GET", "OPTIONS", 403),
        ("Max-Forwards: 0", "OPTIONS", 200),
    ],
    ids=["HEAD", "preflight", "refused preflight", "answer of the proxy"],
)
async def test_every_kind_of_answer_says_so(lines: str, method: str, status: int) -> None:
    async with upstream(Legacy().behave) as legacy, proxy(route(legacy.port)) as front:
        (wire,) = await asked(front, 1)
        front.server.ease(1.0)
        await wire.send(get("/", lines, method=method))
        answer = await wire.message(head_only=method == "HEAD")
        assert (answer.status, answer.one("Connection")) == (status, "close")
        assert await wire.ended()


async def last_response_begun(front: Proxy, files: Files | None = None) -> tuple[Wire, Message]:
    """A connection whose last response is complete, but for its client, who has read the head."""
    wire = await dial_narrow(front, None if files is None else client_context(files))
    front.server.ease(1.0)
    await wire.send(get("/big"))
    head = await wire.head()
    assert head.one("Connection") == "close"
    await until_recorded(front, 2)
    await turns()  # by now the proxy has done what it does at the end
    return wire, head


async def test_a_request_that_comes_after_the_last_response_does_not_cost_it() -> None:
    """Closing at once would reset the connection, and what the kernel still has be lost (RFC 9112 §9.6)."""
    async with upstream(Legacy().behave) as legacy, proxy(route(legacy.port)) as front:
        wire, head = await last_response_begun(front)
        await wire.send(get("/"))
        await wire.finish(head)
        assert len(head.body) == len(BIG)
        assert await wire.ended()


async def test_nor_over_tls(tmp_path: Path) -> None:
    """There the end is agreed on: what comes until the client's own goodbye is read."""
    files = files_of(trustme.CA(key_type=trustme.KeyType.ECDSA), tmp_path)
    tls = ListenTls(files.cert, files.key)
    async with upstream(Legacy().behave) as legacy, proxy(route(legacy.port), tls=tls) as front:
        wire, head = await last_response_begun(front, files)
        await wire.send(get("/"))
        await wire.finish(head)
        assert len(head.body) == len(BIG)


def unsent(front: Proxy) -> int:
    """Bytes for clients that still wait in this process."""
    assert front.server._clients is not None
    return sum(each.get_write_buffer_size() for each in front.server._clients._connections.values())


@contextlib.asynccontextmanager
async def bytes_waiting(
    *, path: str = "/some", is_last: bool = True, files: Files | None = None, **settings: object
) -> AsyncIterator[tuple[Proxy, Wire]]:
    """A response, most of which the kernel does not take from the proxy as long as nobody reads."""
    if files is not None:
        settings["tls"] = ListenTls(files.cert, files.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        async with (
            upstream(Legacy().behave) as legacy,
            proxy(route(legacy.port), listener=listener, **settings) as front,
        ):
            tls = None if files is None else client_context(files)
            wire = await dial_narrow(front, tls, window=4096)
            if is_last:
                front.server.ease(1.0)
            await wire.send(get(path))
            await until_recorded(front, 2)
            await turns()
            assert files or unsent(front) > 0  # TLS: it waits where nobody can see it
            yield front, wire


async def test_nor_what_still_waits_in_the_proxy() -> None:
    async with bytes_waiting() as (_, wire):
        await wire.send(get("/"))
        assert (await wire.message()).body == SOME
        assert await wire.ended()


async def test_a_client_that_does_not_take_the_last_response_is_not_waited_for_forever() -> None:
    async with bytes_waiting(timeouts=Timeouts(idle=0.2)) as (front, wire):
        async with asyncio.timeout(PATIENCE):
            while front.server.connections:  # noqa: ASYNC110 - nobody sends word
                await asyncio.sleep(0)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await wire.message()


@pytest.mark.parametrize("how", ["stop", "abort"])
async def test_nor_does_the_end_of_the_process(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downstream, "_LINGER_SECONDS", 1000.0)  # and nobody waits for that
    async with upstream(Legacy().behave) as legacy, proxy(route(legacy.port)) as front:
        wire, head = await last_response_begun(front)
        assert front.server.connections == 1  # it lingers
        if how == "abort":
            front.server.abort()
        async with asyncio.timeout(PATIENCE):
            await front.server.stop()
        await wire.finish(head)
        assert len(head.body) == len(BIG)


async def test_at_the_end_of_the_process_a_client_that_does_not_close_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(downstream, "_LINGER_SECONDS", 1000.0)
    held = Legacy()
    async with upstream(held.behave) as legacy, proxy(route(legacy.port)) as front:
        wire = await waiting(front, held)
        stopping = asyncio.create_task(front.server.stop())
        await turns()
        held.go_on.set()
        assert (await wire.message()).one("Connection") == "close"
        async with asyncio.timeout(PATIENCE):
            await stopping


async def dial_narrow(front: Proxy, tls: ssl.SSLContext | None = None, window: int = 16384) -> Wire:
    """A connection whose client takes little before it reads, and that has had a response."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (front.address.host, front.address.port))
    name = None if tls is None else "localhost"
    wire = Wire(*await asyncio.open_connection(sock=sock, limit=1024, ssl=tls, server_hostname=name))
    front.adopt(wire)
    await wire.send(get("/"))
    await wire.message()
    return wire


async def until_recorded(front: Proxy, count: int) -> None:
    while len(front.recorder.exchanges) < count:
        front.recorder.recorded.clear()
        await front.recorder.recorded.wait()
