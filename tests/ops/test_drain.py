"""Stopping: not ready at once, everybody asked to move on, nobody cut short, an end on time."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from corsproxy.config.table import Address
from tests.ops.process import PATIENCE, Process, running, until
from tests.proxy.conftest import proxy, route
from tests.proxy.test_tunnel import HANDSHAKE, SWITCH
from tests.wire import Upstream, Wire, answers, dial, get, ok, upstream

APP = "Origin: https://app.example.com"
GOING_AWAY = b"\x88\x02\x03\xe9"
ANSWER = b"\x88\x82\0\0\0\0\x03\xe9"

TEXT = """\
listen: {listen}
admin: {admin}
drain: {drain}
log: {{access: false, format: json}}
routes:
  - upstream: http://127.0.0.1:{port}
    cors: {{allow_origins: [https://app.example.com], allow_methods: [PUT]}}
"""


class Legacy:
    """An upstream with something slow, something endless, and WebSockets."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.asked = asyncio.Event()
        self.heard = b""

    async def behave(self, server: Upstream, wire: Wire) -> None:
        while True:
            head = await wire.head()
            if "/ws" in head.first_line:
                await self._talk(wire)
                return
            body = await wire.reader.readexactly(int(head.one("Content-Length") or 0))
            if "/slow" in head.first_line:
                self.asked.set()
                await self.release.wait()
            if "/endless" in head.first_line:
                await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
                await wire.rest()
                return
            await wire.send(ok(body or b"done"))

    async def _talk(self, wire: Wire) -> None:
        await wire.send(SWITCH)
        while not self.heard.endswith(ANSWER):
            self.heard += await wire.reader.read(100)
        await wire.send(GOING_AWAY)


@contextlib.asynccontextmanager
async def draining(
    tmp_path: Path, drain: str = "{delay: 0s, timeout: 10s}", *args: str
) -> AsyncIterator[tuple[Process, Legacy]]:
    legacy = Legacy()
    async with upstream(legacy.behave) as server:
        file = tmp_path / "corsproxy.yaml"
        text = TEXT.format(listen="127.0.0.1:0", admin="127.0.0.1:0", drain=drain, port=server.port)
        write(file, text)
        async with running(file, *args) as proxy:
            await proxy.started()
            try:
                yield proxy, legacy
            finally:
                legacy.release.set()


def write(file: Path, text: str) -> None:
    file.write_text(text)


both = pytest.mark.parametrize("workers", ["1", "2"], ids=["one process", "workers"])


@both
async def test_in_the_delay_everybody_is_served_and_asked_to_move_on(tmp_path: Path, workers: str) -> None:
    async with draining(tmp_path, "{delay: 2s, timeout: 10s}", "--workers", workers) as (proxy, _):
        (kept,) = await proxy.wires(1)
        await kept.send(get("/", APP))
        assert (await kept.message()).one("Connection") is None
        assert (await proxy.page("/-/ready")).status == 200
        proxy.send(signal.SIGTERM)
        await proxy.says("stopping")
        assert (await proxy.page("/-/ready")).status == 503
        assert (await proxy.page("/-/healthy")).status == 200
        assert (await proxy.metrics())["corsproxy_draining",] == 1
        (new,) = await proxy.wires(1)  # a balancer that has not noticed yet
        preflight = get("/", APP, "Access-Control-Request-Method: PUT", method="OPTIONS")
        for wire, request, status in ((kept, get("/", APP), 200), (new, preflight, 204)):
            await wire.send(request)
            answer = await wire.message()
            assert (answer.status, answer.one("Connection")) == (status, "close")
            assert await wire.ended()
        answer = await proxy.page("/-/reload", "POST")
        assert answer.status == 422
        assert b"on its way out" in answer.body
        assert await proxy.ends() == 0


@both
async def test_what_is_in_flight_is_finished_and_the_port_is_free_meanwhile(
    tmp_path: Path, workers: str
) -> None:
    async with draining(tmp_path, "{timeout: 20s}", "--workers", workers) as (proxy, legacy):
        (slow, upload) = await proxy.wires(2)
        await upload.send(get("/", APP, "Content-Length: 6", method="PUT") + b"one")
        await slow.send(get("/slow", APP))
        await legacy.asked.wait()
        proxy.send(signal.SIGTERM)
        await proxy.says("stopping")
        await until(lambda: can_be_bound(proxy.address), "somebody still holds the port")
        await upload.send(b"two")
        legacy.release.set()
        for wire, body in ((upload, b"onetwo"), (slow, b"done")):
            answer = await wire.message()
            assert (answer.status, answer.body, answer.one("Connection")) == (200, body, "close")
        started = time.monotonic()
        assert await proxy.ends() == 0
        assert time.monotonic() - started < 10


def can_be_bound(address: Address) -> bool:
    try:
        socket.create_server((address.host, address.port)).close()
    except OSError:
        return False
    return True


@both
async def test_a_websocket_is_told_1001_and_ended_in_order(tmp_path: Path, workers: str) -> None:
    async with draining(tmp_path, "{delay: 0s, timeout: 10s}", "--workers", workers) as (proxy, legacy):
        (wire,) = await proxy.wires(1)
        await wire.send(get("/ws", *HANDSHAKE, APP))
        assert (await wire.head()).status == 101
        proxy.send(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE):
            assert await wire.reader.readexactly(4) == GOING_AWAY
        await wire.send(ANSWER)
        assert await wire.rest() == b""
        await wire.close()
        assert await proxy.ends() == 0
        assert legacy.heard == ANSWER


@both
async def test_what_never_ends_is_cut_when_the_time_is_over(tmp_path: Path, workers: str) -> None:
    async with draining(tmp_path, "{timeout: 500ms}", "--workers", workers) as (proxy, _):
        (wire,) = await proxy.wires(1)
        await wire.send(get("/endless", APP))
        await wire.head()
        started = time.monotonic()
        proxy.send(signal.SIGTERM)
        assert await proxy.ends() == 0
        assert 0.4 < time.monotonic() - started < 5
        with pytest.raises(ConnectionResetError):  # it must not look whole
            await wire.rest()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@both
async def test_a_second_signal_in_the_delay_ends_it_at_once(
    tmp_path: Path, workers: str, number: signal.Signals
) -> None:
    async with draining(tmp_path, "{delay: 60s, timeout: 60s}", "--workers", workers) as (proxy, _):
        proxy.send(signal.SIGTERM)
        await proxy.says("stopping")
        proxy.send(number)
        assert await proxy.ends() == 0


# Who comes at the last moment


async def test_a_request_that_is_there_when_it_stops_is_served() -> None:
    """On a connection that was idle until now: the event loop has not seen it yet."""
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/", APP))
        await wire.message()
        sock = wire.writer.get_extra_info("socket")
        os.write(sock.fileno(), get("/", APP))
        await front.server.stop()
        assert (await wire.message()).status == 200


# One of two replicas after the other, behind a real balancer

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")

BALANCER = """\
global
    log stderr format raw local0
defaults
    mode http
    log global
    timeout connect 2s
    timeout client 20s
    timeout server 20s
    option redispatch
frontend front
    bind 127.0.0.1:{port}
    default_backend replicas
backend replicas
    balance roundrobin
    option httpchk GET /-/ready HTTP/1.1
    http-check send hdr Host localhost
    default-server check inter 100ms fall 2 rise 2
    server one 127.0.0.1:{one} port {one_admin}
    server two 127.0.0.1:{two} port {two_admin}
"""


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago: the balancer has to know them before anybody listens."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


@contextlib.asynccontextmanager
async def balancer(file: Path, text: str) -> AsyncIterator[list[str]]:
    """HAProxy; its log."""
    write(file, text)
    assert HAPROXY is not None
    process = await asyncio.create_subprocess_exec(
        HAPROXY, "-db", "-f", str(file), stderr=asyncio.subprocess.PIPE
    )
    lines: list[str] = []

    async def collect() -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            lines.append(line.decode())  # noqa: PERF401 - each is wanted as it comes

    collecting = asyncio.create_task(collect())
    try:
        yield lines
    finally:
        process.kill()
        await process.wait()
        await collecting


@dataclass
class Clients:
    """Requests without a pause, on connections that are kept and on new ones."""

    address: Address
    is_over: bool = False
    answered: int = 0
    failures: list[str] = field(default_factory=list)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(self._keep_asking())
                group.create_task(self._ask_anew())

    async def _keep_asking(self) -> None:
        while not self.is_over:
            wire = await dial(self.address)
            try:
                while not self.is_over:
                    await self._once(wire)
            finally:
                await wire.close()

    async def _ask_anew(self) -> None:
        while not self.is_over:
            wire = await dial(self.address)
            try:
                await self._once(wire)
            finally:
                await wire.close()

    async def _once(self, wire: Wire) -> None:
        try:
            await wire.send(get("/", APP, "Content-Length: 5", method="PUT") + b"hello")
            answer = await wire.message()
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            self.failures.append(repr(error))
            return
        self.answered += 1
        if (answer.status, answer.body) != (200, b"hello"):
            self.failures.append(answer.first_line)


@pytest.mark.skipif(HAPROXY is None, reason="needs haproxy")
async def test_replicas_are_rolled_behind_haproxy_without_a_failed_request(tmp_path: Path) -> None:
    legacy = Legacy()
    async with upstream(legacy.behave) as server, contextlib.AsyncExitStack() as stack:
        port, one, one_admin, two, two_admin = free_ports(5)

        async def replica(name: str, listen: int, admin: int) -> Process:
            file = tmp_path / f"{name}.yaml"
            drain = "{delay: 1s, timeout: 10s}"  # the delay is five times what the balancer takes to notice
            text = TEXT.format(
                listen=f"127.0.0.1:{listen}", admin=f"127.0.0.1:{admin}", drain=drain, port=server.port
            )
            write(file, text)
            started = await stack.enter_async_context(running(file))
            await started.started()
            return started

        places = {"one": (one, one_admin), "two": (two, two_admin)}
        replicas = {name: await replica(name, *place) for name, place in places.items()}
        text = BALANCER.format(port=port, one=one, one_admin=one_admin, two=two, two_admin=two_admin)
        lines = await stack.enter_async_context(balancer(tmp_path / "haproxy.cfg", text))
        await until(lambda: not can_be_bound(Address("127.0.0.1", port)), "haproxy does not listen")
        clients = Clients(Address("127.0.0.1", port))
        load = asyncio.create_task(clients.run())
        for name in ("one", "two"):
            before = clients.answered
            replicas[name].send(signal.SIGTERM)
            assert await replicas[name].ends() == 0
            await until(lambda name=name: f"Server replicas/{name} is DOWN" in "".join(lines), "not noticed")  # type: ignore[misc]
            assert clients.answered > before
            replicas[name] = await replica(name, *places[name])
            await until(lambda name=name: f"Server replicas/{name} is UP" in "".join(lines), "not noticed")  # type: ignore[misc]
        clients.is_over = True
        await load
        assert clients.failures == []
        assert clients.answered > 200
