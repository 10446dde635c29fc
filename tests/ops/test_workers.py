"""Many processes behind one port: they serve alike, die alone, and stop together."""

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from itertools import chain
from pathlib import Path

import pytest
import trustme

from corsproxy.config.table import Address
from corsproxy.ops import shares
from corsproxy.ops import supervisor as supervisor_module
from corsproxy.ops.configuration import Source, load_source
from corsproxy.ops.server import StartError
from corsproxy.ops.snapshot import Readings
from corsproxy.ops.supervisor import Supervisor
from corsproxy.ops.writer import LineWriter
from tests.certificates import client_context, dial_tls, files_of
from tests.ops.planes import FakePlane, admin
from tests.ops.process import Process, holder, is_running, running, until
from tests.wire import Message, Upstream, Wire, answers, ask, dial, get, ok, upstream

APP = "Origin: https://app.example.com"

TEXT = """\
listen: {listen}
admin: 127.0.0.1:0
workers: {workers}
drain: {{timeout: {drain}}}
{more}
routes:
  - upstream: http://127.0.0.1:{port}
    response_headers: {{set: {{X-Version: {version}}}}}
    cors: {{allow_origins: [https://app.example.com], expose_headers: [X-{version}]}}
"""


class File:
    """The configuration file of a test."""

    def __init__(self, folder: Path, port: int) -> None:
        self.path = folder / "corsproxy.yaml"
        self._port = port
        self.write()

    def write(
        self,
        *,
        version: str = "one",
        workers: int | str = 2,
        listen: str = "127.0.0.1:0",
        more: str = "log: {access: false}",
        drain: str = "10s",
    ) -> None:
        text = TEXT.format(
            listen=listen, workers=workers, port=self._port, version=version, more=more, drain=drain
        )
        other = self.path.with_suffix(".new")
        other.write_text(text)
        other.rename(self.path)


class Held:
    """An upstream that answers /slow when it is told to, and everything else at once."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.slow = 0

    async def behave(self, server: Upstream, wire: Wire) -> None:
        while True:
            request = await server.request(wire)
            if "/slow" in request.first_line:
                self.slow += 1
                await self.release.wait()
            await wire.send(ok(b"done"))

    async def has(self, count: int) -> None:
        """Wait until so many are held."""
        await until(lambda: self.slow >= count, f"only {self.slow} of {count} requests came")


@contextlib.asynccontextmanager
async def workers(
    tmp_path: Path, *args: str, group: bool = False, **settings: str | int
) -> AsyncIterator[tuple[Process, File, Held]]:
    """Two workers in front of an upstream."""
    held = Held()
    async with upstream(held.behave) as legacy:
        file = File(tmp_path, legacy.port)
        file.write(**settings)  # type: ignore[arg-type]
        async with running(file.path, *args, group=group) as proxy:
            await proxy.started()
            try:
                yield proxy, file, held
            finally:
                held.release.set()


async def on_both(proxy: Process, count: int) -> dict[int, list[Wire]]:
    """Connections by the worker that has them; at least one for each."""
    found: dict[int, list[Wire]] = {pid: [] for pid in proxy.workers}
    for wire in await proxy.wires(count):
        await wire.send(get("/", APP))
        assert (await wire.message()).status == 200
        port = wire.writer.get_extra_info("sockname")[1]
        found[holder(proxy.address, port, list(found))].append(wire)
    assert len(found) == 2
    assert all(found.values())
    return found


async def outcome(wire: Wire) -> Message | None:
    """The response; None when the connection ended without one."""
    try:
        return await wire.message()
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


async def test_connections_are_spread_and_the_counters_are_of_all(tmp_path: Path) -> None:
    async with workers(tmp_path) as (proxy, _, _):
        found = await on_both(proxy, 32)
        samples = await proxy.metrics()
        assert samples["corsproxy_workers",] == 2
        assert samples["corsproxy_client_connections",] == 32
        assert samples["corsproxy_requests_total", "200", "GET", "route-1"] == 32
        assert samples["corsproxy_cors_decisions_total", "actual", "allowed", "allowed", "route-1"] == 32
        assert json.loads((await proxy.page("/-/ready")).body)["ready"] is True
        assert b"workers: 2" in (await proxy.page("/-/config")).body
        assert {len(each) for each in found.values()} != {0, 32}


# One that dies


async def test_with_a_worker_only_its_own_exchanges_are_lost(tmp_path: Path) -> None:
    async with workers(tmp_path) as (proxy, _, held):
        found = await on_both(proxy, 24)
        before = await proxy.total("corsproxy_requests_total")
        for wire in chain(*found.values()):
            await wire.send(get("/slow", APP))
        await held.has(24)
        victim, survivor = found
        os.kill(victim, signal.SIGKILL)
        # Half of these wait in the queue of the dead one for whoever comes after it.
        late = await proxy.wires(24)
        for wire in late:
            await wire.send(get("/", APP))
        says = await proxy.says("ended by")
        assert says.endswith(" ended by SIGKILL; another starts now")
        assert [await outcome(wire) for wire in found[victim]] == [None] * len(found[victim])
        for wire in late:
            answer = await wire.message()
            assert (answer.status, answer.body) == (200, b"done")
        assert await proxy.says("serves again") == says.split(" ended ")[0] + " serves again"
        held.release.set()
        for wire in found[survivor]:
            assert (await wire.message()).status == 200
        assert victim not in proxy.workers
        assert len(proxy.workers) == 2
        samples = await proxy.metrics()
        assert samples["corsproxy_worker_restarts_total",] == 1
        assert samples["corsproxy_workers",] == 2
        after = await proxy.total("corsproxy_requests_total")
        assert after == before + 24 + len(found[survivor])


async def test_each_failure_in_a_row_is_followed_by_a_longer_wait(tmp_path: Path) -> None:
    async with workers(tmp_path) as (proxy, _, _):
        number = ""
        for wait in ("now", "in 1s", "in 2s"):
            os.kill(proxy.workers[-1], signal.SIGKILL)  # the youngest: the one that was started last
            says = await proxy.says("ended by")
            number = number or says.split(" ")[1]
            assert says == f"worker {number} ended by SIGKILL; another starts {wait}"
            assert await proxy.says("serves again") == f"worker {number} serves again"
        assert await proxy.total("corsproxy_worker_restarts_total") == 3


async def test_workers_end_with_their_supervisor(tmp_path: Path) -> None:
    """Nobody would replace them, reload them or stop them."""
    async with workers(tmp_path) as (proxy, _, _):
        pids = proxy.workers
        proxy.send(signal.SIGKILL)
        assert await proxy.ends() == -signal.SIGKILL
        await until(lambda: not any(map(is_running, pids)), "workers outlive their supervisor")
        assert not await proxy.is_up()


async def test_a_signal_to_a_worker_is_not_for_it_to_follow(tmp_path: Path) -> None:
    async with workers(tmp_path) as (proxy, _, _):
        pids = proxy.workers
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            for pid in pids:
                os.kill(pid, number)
        await on_both(proxy, 32)
        assert proxy.workers == pids


# Reload


async def versions(proxy: Process, count: int = 16) -> set[tuple[str | None, str | None]]:
    """What answers say of the configuration that made them."""
    answered = await asyncio.gather(*(ask(proxy.address, get("/", APP)) for _ in range(count)))
    return {(each.one("X-Version"), each.one("Access-Control-Expose-Headers")) for each in answered}


@pytest.mark.parametrize("how", ["SIGHUP", "POST", "by itself"])
async def test_a_reload_reaches_all(tmp_path: Path, how: str) -> None:
    async with workers(tmp_path) as (proxy, file, _):
        open_ones = list(chain(*(await on_both(proxy, 16)).values()))
        file.write(version="two")
        if how == "SIGHUP":
            proxy.send(signal.SIGHUP)
        elif how == "POST":
            answer = await proxy.page("/-/reload", "POST")
            assert (answer.status, json.loads(answer.body)["ok"]) == (200, True)
        says = await proxy.says("serves now")
        assert says.endswith(f"serves now: 1 route from {file.path}")
        assert await versions(proxy) == {("two", "X-two")}
        for wire in open_ones:  # they are handed over with their next request
            await wire.send(get("/", APP))
            assert (await wire.message()).one("X-Version") == "two"
        assert (await proxy.metrics())["corsproxy_config_last_reload_successful",] == 1


async def test_a_bad_file_changes_nothing_anywhere(tmp_path: Path) -> None:
    async with workers(tmp_path) as (proxy, file, _):
        file.write(version="two", more="limitz: {}")
        answer = await proxy.page("/-/reload", "POST")
        assert answer.status == 422
        assert f"{file.path}:5:1: unknown key 'limitz'" in json.loads(answer.body)["problems"][0]
        assert "unknown key 'limitz'" in await proxy.says("limitz")
        assert await versions(proxy) == {("one", "X-one")}
        assert (await proxy.metrics())["corsproxy_config_last_reload_successful",] == 0


async def test_a_worker_that_comes_later_serves_what_the_others_serve(tmp_path: Path) -> None:
    async with workers(tmp_path) as (proxy, file, _):
        file.write(version="two")
        assert (await proxy.page("/-/reload", "POST")).status == 200
        os.kill(proxy.workers[0], signal.SIGKILL)
        await proxy.says("serves again")
        assert await versions(proxy) == {("two", "X-two")}


async def test_the_supervisor_logs_as_its_workers_do(tmp_path: Path) -> None:
    async with workers(tmp_path) as (proxy, file, _):
        file.write(version="two", more="log: {level: error, format: combined, access: true}")
        assert (await proxy.page("/-/reload", "POST")).status == 200
        await ask(proxy.address, get("/seen", APP))
        await until(lambda: any('"GET /seen HTTP/1.1" 200' in line for line in proxy.lines), "no line")
        os.kill(proxy.workers[0], signal.SIGKILL)
        await until(lambda: any("ended by SIGKILL" in line for line in proxy.lines), "it is not said")
        said = next(line for line in proxy.lines if "ended by SIGKILL" in line)
        assert not said.startswith("{")  # no JSON any more
        await until(lambda: len(proxy.workers) == 2, "nobody took its place")
        assert not any("serves now" in line for line in proxy.lines)  # on `info`


# TLS


async def test_they_all_show_the_certificate(tmp_path: Path) -> None:
    files = files_of(trustme.CA(key_type=trustme.KeyType.ECDSA), tmp_path)
    listen = f"{{address: '127.0.0.1:0', tls: {{cert: {files.cert}, key: {files.key}}}}}"
    async with workers(tmp_path, listen=listen) as (proxy, _, _):
        context = client_context(files)
        for _ in range(8):
            wire = await dial_tls(proxy.address, context)
            await wire.send(get("/", APP))
            assert (await wire.message()).status == 200
            await wire.close()


async def test_a_worker_that_comes_later_speaks_what_the_others_speak(tmp_path: Path) -> None:
    """That a listener speaks TLS takes a restart, and not only for those who are there already."""
    files = files_of(trustme.CA(key_type=trustme.KeyType.ECDSA), tmp_path)
    async with workers(tmp_path) as (proxy, file, _):
        file.write(listen=f"{{address: '127.0.0.1:0', tls: {{cert: {files.cert}, key: {files.key}}}}}")
        answer = await proxy.page("/-/reload", "POST")
        assert json.loads(answer.body)["needs_restart"] == ["listen.tls"]
        os.kill(proxy.workers[0], signal.SIGKILL)
        await proxy.says("serves again")
        assert await versions(proxy, 32) == {("one", "X-one")}


async def test_and_so_it_is_the_other_way_round(tmp_path: Path) -> None:
    files = files_of(trustme.CA(key_type=trustme.KeyType.ECDSA), tmp_path)
    listen = f"{{address: '127.0.0.1:0', tls: {{cert: {files.cert}, key: {files.key}}}}}"
    async with workers(tmp_path, listen=listen) as (proxy, file, _):
        file.write()
        assert (await proxy.page("/-/reload", "POST")).status == 200
        os.kill(proxy.workers[0], signal.SIGKILL)
        await proxy.says("serves again")
        context = client_context(files)
        for _ in range(32):
            wire = await dial_tls(proxy.address, context)
            await wire.close()
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError, ssl.SSLError)):
            await ask(proxy.address, get("/"))


# The end


@pytest.mark.parametrize("group", [False, True], ids=["to the supervisor", "to the whole group"])
async def test_a_signal_finishes_what_all_have_in_flight(tmp_path: Path, group: bool) -> None:
    """systemd and terminals send it to every process of the group."""
    async with workers(tmp_path, group=True) as (proxy, _, held):
        found = await on_both(proxy, 16)
        busy = [each.pop() for each in found.values()]
        for wire in busy:
            await wire.send(get("/slow", APP))
        await held.has(2)
        pids = proxy.workers
        if group:
            os.killpg(proxy.process.pid, signal.SIGTERM)
        else:
            proxy.send(signal.SIGTERM)
        assert await proxy.says("stopping") == "stopping: up to 10s for 16 connections"
        for wire in chain(*found.values()):
            assert await wire.ended()  # idle ones, at once
        # Nobody takes connections that nobody will serve.
        await until(lambda: not _accepts(proxy.address), "the port is still open")
        held.release.set()
        for wire in busy:
            answer = await wire.message()
            assert (answer.status, answer.one("Connection")) == (200, "close")
        assert await proxy.ends() == 0
        assert not any(map(is_running, pids))


def _accepts(address: Address) -> bool:
    try:
        socket.create_connection((address.host, address.port), 1).close()
    except ConnectionRefusedError:
        return False
    return True


async def test_a_second_signal_ends_all_at_once(tmp_path: Path) -> None:
    async with workers(tmp_path) as (proxy, _, held):
        for each in (await on_both(proxy, 16)).values():
            await each[0].send(get("/slow"))
        await held.has(2)
        pids = proxy.workers
        proxy.send(signal.SIGTERM)
        await proxy.says("stopping")
        proxy.send(signal.SIGTERM)
        assert await proxy.ends() == 0
        assert not any(map(is_running, pids))
        assert any("second signal" in line for line in proxy.lines)


async def test_a_worker_that_is_stopped_for_good_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async with workers(tmp_path, drain="100ms") as (proxy, _, _):
        os.kill(proxy.workers[0], signal.SIGSTOP)
        proxy.send(signal.SIGTERM)
        assert await proxy.ends() == 0
        assert any("did not end in time" in line for line in proxy.lines)


# Listeners


async def test_a_unix_socket_is_shared_and_removed(tmp_path: Path) -> None:
    place = f"unix:{tmp_path}/front.sock"
    async with workers(tmp_path, listen=place) as (proxy, _, _):
        assert str(proxy.address) == place
        assert await versions(proxy) == {("one", "X-one")}
        proxy.send(signal.SIGTERM)
        assert await proxy.ends() == 0
        assert not is_there(proxy.address.path)


def is_there(path: str) -> bool:
    return Path(path).exists()


@pytest.mark.parametrize("count", ["1", "2"], ids=["alone", "with workers"])
async def test_the_port_of_workers_is_taken(tmp_path: Path, count: str) -> None:
    async with workers(tmp_path) as (proxy, file, _):
        place = str(proxy.address)
        async with running(file.path, "--listen", place, "--workers", count) as second:
            assert await second.ends() == 1
            (line,) = second.lines
            assert json.loads(line)["message"] == f"cannot listen on {place}: address already in use"


async def test_workers_find_a_port_taken(tmp_path: Path) -> None:
    async with upstream(answers(ok())) as legacy:
        file = File(tmp_path, 9)
        async with running(file.path, "--listen", f"127.0.0.1:{legacy.port}") as proxy:
            assert await proxy.ends() == 1
            (line,) = proxy.lines
            assert "address already in use" in line


async def test_auto_is_one_for_each_core(tmp_path: Path) -> None:
    cores = len(os.sched_getaffinity(0))
    async with workers(tmp_path, workers="auto") as (proxy, _, _):
        assert len(proxy.workers) == (cores if cores > 1 else 0)
        assert (await proxy.metrics())["corsproxy_workers",] == cores


# The log


async def test_lines_of_two_processes_are_never_torn(tmp_path: Path) -> None:
    paths = [f"/{number}/" + '"' * 1800 for number in range(400)]
    async with workers(tmp_path, more="log: {format: json}") as (proxy, _, _):
        found = await proxy.wires(8)

        async def send(wire: Wire, mine: list[str]) -> None:
            for path in mine:
                await wire.send(get(path, APP))
                await wire.message()

        await asyncio.gather(*(send(wire, paths[at::8]) for at, wire in enumerate(found)))
        proxy.send(signal.SIGTERM)
        assert await proxy.ends() == 0
        entries = [json.loads(line) for line in proxy.lines]  # raises where a line is torn
        seen = {entry["path"].split("/")[1] for entry in entries if "path" in entry}
        assert seen == {str(number) for number in range(400)}
        assert max(map(len, proxy.lines)) > select.PIPE_BUF


WRITER = """
import sys
from corsproxy.ops.writer import LineWriter
out = LineWriter(sys.stderr, shared=True)
for number in range(200):
    out.write(sys.argv[1] * (20_000 if number % 3 else 20) + "\\n")
out._idle.wait(20)
out.close()
"""


async def test_nor_when_they_wait_for_a_reader_who_is_slow() -> None:
    """What is longer than PIPE_BUF a full pipe takes in pieces, between which others may write."""
    reading, writing = os.pipe()
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, letter, stderr=writing)
        for letter in "abc"
    ]
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        lines = await asyncio.to_thread(pipe.readlines)
    for process in processes:
        assert await process.wait() == 0
    assert len(lines) == 600
    assert {len(set(line.rstrip())) for line in lines} == {1}
    assert {len(line) for line in lines} == {21, 20_001}


# One that hangs, seen from inside the supervisor: to wait for half a minute would be too long for a test


@contextlib.asynccontextmanager
async def supervisor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Supervisor, File]]:
    short = {"_HUNG_SECONDS": 1.0, "_LOAD_SECONDS": 0.5, "_SILENT_SECONDS": 2.0, "_POLL_SECONDS": 0.1}
    for name, seconds in short.items():
        monkeypatch.setattr(supervisor_module, name, seconds)
    async with upstream(answers(ok())) as legacy:
        file = File(tmp_path, legacy.port)
        source = Source(str(file.path), os.environ)
        plane = Supervisor(source, load_source(source), LineWriter(sys.stderr))
        try:
            await plane.start()
            yield plane, file
        finally:
            plane.abort()
            await plane.stop()


def pids_of(plane: Supervisor) -> list[int]:
    return [worker.process.pid for worker in plane._workers if worker.process is not None]


async def answered(plane: Supervisor, count: int) -> set[str | None]:
    found = await asyncio.gather(*(ask(plane.addresses[0], get("/", APP)) for _ in range(count)))
    return {each.one("X-Version") for each in found}


async def test_a_worker_that_hangs_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with supervisor(tmp_path, monkeypatch) as (plane, _):
        hung, healthy = pids_of(plane)
        os.kill(hung, signal.SIGSTOP)
        await until(lambda: hung not in pids_of(plane), "nobody noticed")
        assert await answered(plane, 16) == {"one"}
        assert healthy in pids_of(plane)
        says = [record.getMessage() for record in caplog.records]
        assert "worker 1 gives no answer; it is ended" in says
        assert "worker 1 ended by SIGKILL; another starts now" in says


async def test_few_start_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "_STARTS_PER_CORE", 1)
    monkeypatch.setattr(supervisor_module, "_cores", lambda: 2)
    file = File(tmp_path, 9)
    file.write(workers=5)
    source = Source(str(file.path), os.environ)
    plane = Supervisor(source, load_source(source), LineWriter(sys.stderr))
    under_way, most, started = 0, 0, 0

    async def start(_worker: object) -> str:
        nonlocal under_way, most, started
        under_way += 1
        most = max(most, under_way)
        for _ in range(10):
            await asyncio.sleep(0)
        under_way -= 1
        started += 1
        return "as this test wants it" if started == 4 else ""

    monkeypatch.setattr(plane, "_try_to_start", start)
    with pytest.raises(StartError, match="worker 4 did not start: as this test wants it"):
        await plane.start()
    assert (most, started) == (2, 4)  # what has failed begins no more
    await plane.stop()


async def test_a_worker_that_is_killed_while_it_starts_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = supervisor_module._begin

    async def begin_and_kill(descriptors: list[int]) -> tuple[asyncio.subprocess.Process, socket.socket]:
        process, ours = await begin(descriptors)
        process.kill()
        return process, ours

    monkeypatch.setattr(supervisor_module, "_begin", begin_and_kill)
    with pytest.raises(StartError, match=r"worker \d did not start: it ended by SIGKILL"):
        async with supervisor(tmp_path, monkeypatch):
            pass


ENDS = [(3, "with exit code 3"), (-9, "by SIGKILL"), (-40, "by signal 40")]


@pytest.mark.parametrize(("code", "says"), ENDS, ids=[row[1] for row in ENDS])
def test_how_a_process_ended(code: int, says: str) -> None:
    assert supervisor_module._how(code) == says


async def test_a_worker_is_replaced_after_a_mistake_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with supervisor(tmp_path, monkeypatch) as (plane, _):
        with monkeypatch.context() as patch:
            patch.setattr(plane, "_retire", None)
            patch.setattr(plane, "_even_out", None)
            victim = pids_of(plane)[0]
            os.kill(victim, signal.SIGKILL)
            said = ("worker 1 is replaced", "workers are looked after all the same")
            await until(lambda: all(word in caplog.text for word in said), "nothing went wrong")
        await until(
            lambda: victim not in pids_of(plane) and plane._workers[0].channel is not None, "it is lost"
        )
        assert await answered(plane, 16) == {"one"}


async def test_a_worker_that_hangs_holds_no_configuration_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervisor(tmp_path, monkeypatch) as (plane, file):
        monkeypatch.setattr(supervisor_module, "_HUNG_SECONDS", 60.0)
        monkeypatch.setattr(supervisor_module, "_LOAD_SECONDS", 60.0)
        hung, healthy = pids_of(plane)
        os.kill(hung, signal.SIGSTOP)
        file.write(version="two")
        outcome = await plane.reload()
        assert (outcome.ok, outcome.problems) == (True, ())
        await until(lambda: hung not in pids_of(plane), "it may still load something else")
        assert await answered(plane, 16) == {"two"}
        assert healthy in pids_of(plane)


async def test_what_one_worker_cannot_load_in_time_none_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervisor(tmp_path, monkeypatch) as (plane, file):
        slow, healthy = pids_of(plane)
        channel = plane._workers[0].channel
        assert channel is not None
        asking = channel.ask

        async def wait_for_it(question: str, timeout: float | None = None, **details: object) -> Message:  # noqa: ASYNC109 - `ask`'s
            if question == "load":
                async with asyncio.timeout(timeout):
                    await asyncio.Event().wait()
            return await asking(question, timeout, **details)

        monkeypatch.setattr(channel, "ask", wait_for_it)
        file.write(version="two")
        outcome = await plane.reload()
        assert (outcome.ok, outcome.problems) == (False, ("worker 1 gave no answer",))
        assert plane.table.routes[0].rewriting is not None
        # The other one had it already, and is back; the one that gave no answer does not come back with it.
        assert await answered(plane, 16) == {"one"}
        assert healthy in pids_of(plane)
        await until(lambda: slow not in pids_of(plane), "it may still load what the others do not serve")
        assert (await plane.reload()).ok
        assert await answered(plane, 16) == {"two"}


async def test_a_worker_that_says_no_is_no_reason_to_end_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files may have changed since the supervisor looked at them."""
    async with supervisor(tmp_path, monkeypatch) as (plane, file):
        pids = pids_of(plane)
        channel = plane._workers[1].channel
        assert channel is not None
        asking = channel.ask

        async def refuse(question: str, timeout: float | None = None, **details: object) -> Message:  # noqa: ASYNC109 - `ask`'s
            if "X-two" in str(details.get("text")):
                return await asking(question, timeout, text="routes: []")
            return await asking(question, timeout, **details)

        monkeypatch.setattr(channel, "ask", refuse)
        file.write(version="two")
        outcome = await plane.reload()
        assert not outcome.ok
        assert "routes" in outcome.problems[-1]
        assert await answered(plane, 16) == {"one"}
        assert pids_of(plane) == pids


async def test_the_same_text_reaches_all_too_for_its_certificates_may_be_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervisor(tmp_path, monkeypatch) as (plane, _):
        loaded = []
        for worker in plane._workers:
            channel = worker.channel
            assert channel is not None

            async def note(
                question: str,
                timeout: float | None = None,  # noqa: ASYNC109 - that of `ask`
                *,
                ask: Callable[..., Awaitable[Message]] = channel.ask,
                number: int = worker.number,
                **details: object,
            ) -> Message:
                if question == "load":
                    loaded.append(number)
                return await ask(question, timeout, **details)

            monkeypatch.setattr(channel, "ask", note)
        assert (await plane.reload()).ok
        assert sorted(loaded) == [1, 2]


def connections_of(plane: Supervisor) -> list[int]:
    """How many each worker had when it was asked last."""
    return [worker.last.readings.connections for worker in plane._workers]


async def on_the_first(plane: Supervisor, count: int) -> list[Wire]:
    """So many connections, all of them the first worker's."""
    pids = pids_of(plane)
    found: list[Wire] = []
    while len(found) < count:
        wire = await dial(plane.addresses[0])
        await wire.send(get("/"))
        await wire.message()
        port = wire.writer.get_extra_info("sockname")[1]
        if holder(plane.addresses[0], port, pids) == pids[0]:
            found.append(wire)
        else:
            await wire.close()
    return found


class KeepAsking:
    """A client with keep-alive, which connects anew when it is told to."""

    def __init__(self, plane: Supervisor, wire: Wire) -> None:
        self.moves = 0
        self._plane = plane
        self.task = asyncio.create_task(self._ask(wire))

    async def _ask(self, wire: Wire) -> None:
        try:
            while True:
                await wire.send(get("/"))
                answer = await wire.message()
                assert answer.status == 200
                if answer.one("Connection") == "close":
                    self.moves += 1
                    await wire.close()
                    wire = await dial(self._plane.addresses[0])
        finally:
            await wire.close()


@contextlib.asynccontextmanager
async def asking_the_first(plane: Supervisor, count: int) -> AsyncIterator[list[KeepAsking]]:
    """So many clients, of whom none may see anything fail."""
    clients = [KeepAsking(plane, wire) for wire in await on_the_first(plane, count)]
    try:
        yield clients
    finally:
        for client in clients:
            client.task.cancel()
        ends = await asyncio.gather(*(client.task for client in clients), return_exceptions=True)
    assert {type(end) for end in ends} == {asyncio.CancelledError}


class Looks:
    """How often the supervisor has looked how busy its workers are."""

    def __init__(self, plane: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
        self._count = 0
        self._look = plane._even_out
        monkeypatch.setattr(plane, "_even_out", self._counted)

    async def _counted(self) -> None:
        await self._look()
        self._count += 1

    async def more(self, count: int) -> None:
        """Wait for so many that begin from now on."""
        wanted = self._count + 1 + count  # one may be under way
        await until(lambda: self._count >= wanted, "it does not look")


async def test_clients_of_a_worker_that_does_more_than_its_share_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervisor(tmp_path, monkeypatch) as (plane, _), asking_the_first(plane, 12):
        monkeypatch.setattr(supervisor_module, "_GOOD_SECONDS", 0.0)
        monkeypatch.setattr(shares, "_BUSY", 0.01)
        await until(lambda: min(connections_of(plane)) >= 4, "they stay where they were")
        assert (await plane.snapshot()).readings.rebalanced >= 4


async def test_they_stay_where_nobody_is_short_of_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervisor(tmp_path, monkeypatch) as (plane, _), asking_the_first(plane, 4) as clients:
        monkeypatch.setattr(supervisor_module, "_GOOD_SECONDS", 0.0)
        monkeypatch.setattr(shares, "_BUSY", 1.5)
        await Looks(plane, monkeypatch).more(3)
        assert connections_of(plane) == [4, 0]
        assert not any(client.moves for client in clients)


@pytest.mark.parametrize("trouble", ["one hangs", "one is new", "they drain"])
async def test_nobody_is_sent_to_one_that_may_not_serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    """The kernel deals connections to it all the same."""
    async with supervisor(tmp_path, monkeypatch) as (plane, _), asking_the_first(plane, 4):
        monkeypatch.setattr(supervisor_module, "_HUNG_SECONDS", 30.0)
        asked: list[float] = []
        for worker in plane._workers:
            assert worker.channel is not None
            monkeypatch.setattr(worker.channel, "tell", noting(asked, worker.channel.tell))
        looks = Looks(plane, monkeypatch)
        if trouble == "one hangs":
            os.kill(pids_of(plane)[1], signal.SIGSTOP)
        if trouble == "they drain":
            plane.drain()
        await looks.more(1)
        monkeypatch.setattr(supervisor_module, "_GOOD_SECONDS", 30.0 if trouble == "one is new" else 0.0)
        monkeypatch.setattr(shares, "_BUSY", 0.01)
        await looks.more(3)
        assert not asked


def noting(asked: list[float], tell: Callable[[Message], None]) -> Callable[[Message], None]:
    """`Channel.tell` that keeps which part of its work a worker is asked to give away."""

    def note(message: Message) -> None:
        if message.get("ask") == "ease":
            asked.append(message["part"])
        tell(message)

    return note


async def test_no_counter_falls_when_a_worker_dies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with supervisor(tmp_path, monkeypatch) as (plane, _):
        seen = 0
        for _ in range(3):
            await answered(plane, 10)
            victim = pids_of(plane)[0]
            counts = (await plane.snapshot()).counters["corsproxy_requests_total"]
            os.kill(victim, signal.SIGKILL)
            assert sum(counts.values()) == seen + 10
            seen = sum(counts.values())
            for _ in range(5):
                counts = (await plane.snapshot()).counters["corsproxy_requests_total"]
                assert sum(counts.values()) == seen
            await until(lambda gone=victim: gone not in pids_of(plane), "nobody noticed")  # type: ignore[misc]


async def test_lines_that_the_supervisor_lost_count_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervisor(tmp_path, monkeypatch) as (plane, _):
        plane._out.lost_lines = 5
        assert (await plane.snapshot()).readings.log_lines_lost == 5


async def test_while_nobody_serves_it_is_not_ready() -> None:
    plane = FakePlane()
    plane.readings = Readings(processes=0, restarts=7)
    async with admin(plane) as front:
        assert (await front.ask("/-/ready")).status == 503
        assert (await front.ask("/-/healthy")).status == 200
        plane.readings = Readings(processes=1, restarts=8)
        assert (await front.ask("/-/ready")).status == 200


async def test_one_that_comes_while_others_drain_drains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with supervisor(tmp_path, monkeypatch) as (plane, _):
        plane.drain()
        before = pids_of(plane)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        await until(
            lambda: not set(before) & set(pids_of(plane)) and all(each.channel for each in plane._workers),
            "nobody took their place",
        )
        for _ in range(8):
            assert (await ask(plane.addresses[0], get("/"))).one("Connection") == "close"
