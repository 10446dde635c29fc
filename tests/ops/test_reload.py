"""Another configuration while it serves: nothing is lost, nothing is mixed, nothing is left behind."""

import asyncio
import contextlib
import gc
import io
import json
import logging
import os
import signal
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trustme

from corsproxy.config.table import Address, Route
from corsproxy.ops.configuration import Source, load_text
from corsproxy.ops.plane import Reload
from corsproxy.ops.single import SingleProcess
from corsproxy.ops.snapshot import Readings
from corsproxy.ops.writer import LineWriter
from corsproxy.proxy.exchange import Exchange
from tests.certificates import Files, client_context, dial_tls, files_of, issue, server_context, tls_upstream
from tests.ops.process import running
from tests.proxy.test_tunnel import HANDSHAKE, SWITCH
from tests.wire import PATIENCE, Message, Upstream, Wire, answers, ask, dial, get, ok, upstream

APP = "Origin: https://app.example.com"


class Served:
    """A proxy in this process."""

    def __init__(self, text: str) -> None:
        source = Source("", {})
        self.out = io.StringIO()
        self.writer = LineWriter(self.out)
        self.exchanges: list[Exchange] = []
        self.plane = SingleProcess(source, load_text(text, source), self.writer, observers=[self._record])
        self._wires: list[Wire] = []

    def _record(self, exchange: Exchange, _ended: float) -> None:
        self.exchanges.append(exchange)

    @property
    def address(self) -> Address:
        return self.plane.addresses[0]

    async def dial(self) -> Wire:
        wire = await dial(self.address)
        self._wires.append(wire)
        return wire

    async def apply(self, text: str) -> Reload:
        outcome = await self.plane.apply(text)
        assert outcome.ok, outcome.problems
        return outcome

    async def reads(self, is_so: Callable[[Readings], bool]) -> None:
        """Wait until its readings say so."""
        async with asyncio.timeout(PATIENCE):
            while not is_so((await self.plane.snapshot()).readings):  # noqa: ASYNC110 - nobody sends word
                await asyncio.sleep(0)

    async def stop(self) -> None:
        for wire in self._wires:
            await wire.close()
        self.plane.abort()
        await self.plane.stop()
        self.writer.close()


@contextlib.asynccontextmanager
async def served(text: str) -> AsyncIterator[Served]:
    front = Served(text)
    await front.plane.start()
    try:
        yield front
    finally:
        await front.stop()


def text_of(port: int, mark: str = "one", *, more: str = "", route: str = "", name: str = "all") -> str:
    """A configuration whose answers say which one it is. more: at the top. route: keys of the route."""
    return f"""
listen: 127.0.0.1:0
admin: off
log: {{access: false}}
{more}
upstreams: {{legacy: {{endpoints: ["http://127.0.0.1:{port}"]}}}}
routes:
  - name: {name}
    upstream: legacy
    response_headers: {{set: {{X-Mark: {mark}}}}}
    cors: {{allow_origins: [https://app.example.com], expose_headers: [X-{mark}]}}
    {route}
"""


def mark_of(answer: Message) -> str | None:
    assert answer.one("Access-Control-Expose-Headers") == f"X-{answer.one('X-Mark')}"
    return answer.one("X-Mark")


class Held:
    """An upstream that answers /held when it is told to, and everything else at once."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.asked = asyncio.Event()

    async def behave(self, server: Upstream, wire: Wire) -> None:
        while True:
            request = await server.request(wire)
            if "/held" in request.first_line:
                self.asked.set()
                await self.release.wait()
            await wire.send(ok(request.first_line.encode()))


# What is under way, and what comes next


async def test_an_exchange_ends_as_it_began_and_the_next_is_by_the_new_one() -> None:
    held = Held()
    async with upstream(held.behave) as legacy, served(text_of(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/held", APP))
        await held.asked.wait()
        await front.apply(text_of(legacy.port, "two"))
        held.release.set()
        assert mark_of(await wire.message()) == "one"
        await wire.send(get("/", APP))
        assert mark_of(await wire.message()) == "two"


async def test_pipelined_requests_are_handed_over_one_by_one() -> None:
    held = Held()
    async with upstream(held.behave) as legacy, served(text_of(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/held", APP) + get("/", APP))
        await held.asked.wait()
        await front.apply(text_of(legacy.port, "two"))
        held.release.set()
        assert [mark_of(await wire.message()) for _ in range(2)] == ["one", "two"]


async def test_streams_uploads_and_websockets_go_on() -> None:
    step = asyncio.Event()

    async def behave(server: Upstream, wire: Wire) -> None:
        head = await wire.head()
        server.requests.append(head)
        if "/ws" in head.first_line:
            await wire.send(SWITCH)
            while data := await wire.reader.read(100):
                await wire.send(data)
        elif "/stream" in head.first_line:
            await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
            await step.wait()
            await wire.send(b"3\r\ntwo\r\n0\r\n\r\n")
        else:
            await wire.send(ok(await wire.reader.readexactly(6)))

    async with upstream(behave) as legacy, served(text_of(legacy.port)) as front:
        socket, stream, upload = [await front.dial() for _ in range(3)]
        await socket.send(get("/ws", *HANDSHAKE, APP))
        assert (await socket.head()).status == 101
        await stream.send(get("/stream", APP))
        assert mark_of(await stream.head()) == "one"
        await upload.send(get("/upload", APP, "Content-Length: 6", method="POST") + b"one")
        for mark in ("two", "three"):
            await front.apply(text_of(legacy.port, mark))
            await socket.send(mark.encode())
            assert await socket.reader.readexactly(len(mark)) == mark.encode()
        step.set()
        assert await stream.reader.readexactly(21) == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
        await upload.send(b"two")
        answer = await upload.message()
        assert (mark_of(answer), answer.body) == ("one", b"onetwo")
        for wire in (stream, upload):
            await wire.send(get("/stream", APP))
            assert mark_of(await wire.message()) == "three"


# What the file says of connections holds for those that are open


@dataclass(frozen=True)
class Setting:
    says: str
    old: str
    new: str
    request: bytes
    statuses: tuple[int, int]
    old_route: str = ""
    new_route: str = ""


LONG = get("/", "X-Long: " + "x" * 3000)
MANY = get("/", *(f"X-{number}: x" for number in range(30)))
BODY = get("/", "Content-Length: 9", method="POST") + b"123456789"

SETTINGS = [
    Setting(
        "longer heads", "limits: {request_head: 2KiB}", "limits: {request_head: 16KiB}", LONG, (431, 200)
    ),
    Setting(
        "shorter heads", "limits: {request_head: 16KiB}", "limits: {request_head: 2KiB}", LONG, (200, 431)
    ),
    Setting("more fields", "limits: {request_fields: 9}", "limits: {request_fields: 99}", MANY, (431, 200)),
    Setting("fewer fields", "limits: {request_fields: 99}", "limits: {request_fields: 9}", MANY, (200, 431)),
    Setting("a limit on bodies", "", "limits: {request_body: 8B}", BODY, (200, 413)),
    Setting("no limit on bodies", "limits: {request_body: 8B}", "", BODY, (413, 200)),
    Setting("another route", "", "", get("/"), (200, 404), "", "match: {path: /other}"),
    Setting("another time for responses", "", "timeouts: {response: 50ms}", get("/late"), (200, 504)),
]


async def late(server: Upstream, wire: Wire) -> None:
    """Takes a while for /late, shorter than a test has patience."""
    while True:
        request = await server.request(wire)
        if "/late" in request.first_line:
            await asyncio.sleep(0.2)
        await wire.send(ok())


@pytest.mark.parametrize("case", SETTINGS, ids=lambda case: case.says)
async def test_open_connections_follow_with_their_next_request(case: Setting) -> None:
    before, after = case.statuses
    async with upstream(late) as legacy:
        first = text_of(legacy.port, more=case.old, route=case.old_route)
        async with served(first) as front:
            wire = await front.dial()
            used = await front.dial()
            await used.send(get("/") if before != 200 else case.request)
            assert (await used.message()).status == 200
            assert (await ask(front.address, case.request)).status == before
            await front.apply(text_of(legacy.port, more=case.new, route=case.new_route))
            for each in (wire, used):
                await each.send(case.request)
                assert (await each.message()).status == after


async def test_a_longer_head_may_follow_a_body_that_was_under_way() -> None:
    short, long = "limits: {request_head: 2KiB}", "limits: {request_head: 16KiB}"
    async with upstream(answers(ok())) as legacy, served(text_of(legacy.port, more=short)) as front:
        wire = await front.dial()
        await wire.send(BODY[:-4])
        await front.reads(lambda now: now.in_flight["all"] == 1)
        await front.apply(text_of(legacy.port, more=long))
        await wire.send(BODY[-4:])
        assert (await wire.message()).status == 200
        await wire.send(LONG)
        assert (await wire.message()).status == 200


async def test_a_head_that_has_begun_is_read_to_its_end() -> None:
    async with upstream(answers(ok())) as legacy, served(text_of(legacy.port)) as front:
        wire = await front.dial()
        await wire.send(get("/", APP)[:20])
        await front.reads(lambda now: now.connections == 1)
        await front.apply(text_of(legacy.port, "two", more="limits: {request_head: 1KiB}"))
        await wire.send(get("/", APP)[20:])
        assert mark_of(await wire.message()) == "two"


async def test_whom_to_trust_is_asked_anew() -> None:
    said = get("/", "X-Forwarded-For: 198.51.100.7", "X-Forwarded-Proto: https")
    async with upstream(answers(ok())) as legacy, served(text_of(legacy.port)) as front:
        wire = await front.dial()
        for trusted in ("[]", "[127.0.0.0/8]", "[]"):
            await front.apply(text_of(legacy.port, more=f"trusted_proxies: {trusted}"))
            await wire.send(said)
            await wire.message()
        seen = [request.one("X-Forwarded-For") for request in legacy.requests]
        assert seen == ["127.0.0.1", "198.51.100.7, 127.0.0.1", "127.0.0.1"]


async def test_what_is_in_flight_by_the_old_one_counts_for_the_new() -> None:
    held = Held()
    limited = "limits: {in_flight: 1}"
    async with upstream(held.behave) as legacy, served(text_of(legacy.port, route=limited)) as front:
        wire = await front.dial()
        await wire.send(get("/held", APP))
        await held.asked.wait()
        # Away for a while, too: what is in flight is still the load of the route of that name.
        for name in ("all", "other", "all"):
            await front.apply(text_of(legacy.port, "two", route=limited, name=name))
            assert (await ask(front.address, get("/", APP))).status == (200 if name == "other" else 503)
        held.release.set()
        assert mark_of(await wire.message()) == "one"
        assert mark_of(await ask(front.address, get("/", APP))) == "two"
        assert (await front.plane.snapshot()).readings.in_flight["all"] == 0


# Upstreams


async def test_an_upstream_that_stays_keeps_its_connections() -> None:
    async with upstream(answers(ok())) as legacy, served(text_of(legacy.port)) as front:
        for mark in ("two", "three", "four"):
            await ask(front.address, get("/", APP))
            await front.apply(text_of(legacy.port, mark))
        await ask(front.address, get("/", APP))
        assert (legacy.connections, legacy.closed) == (1, 0)


async def test_one_that_changed_gets_new_ones_and_one_that_is_gone_loses_its_own_in_order() -> None:
    held = Held()
    async with upstream(held.behave) as old, upstream(held.behave) as new, served(text_of(old.port)) as front:
        busy = await front.dial()
        await busy.send(get("/held", APP))
        await held.asked.wait()
        await front.apply(text_of(new.port, "two"))
        assert mark_of(await ask(front.address, get("/", APP))) == "two"
        assert (old.closed, new.connections) == (0, 1)
        held.release.set()
        assert mark_of(await busy.message()) == "one"
        async with asyncio.timeout(PATIENCE):
            await old.gone.wait()
        assert new.closed == 0


async def test_a_renewed_authority_is_trusted_without_a_restart(tmp_path: Path) -> None:
    first, second = (trustme.CA(key_type=trustme.KeyType.ECDSA) for _ in range(2))
    files = files_of(first, tmp_path)
    context = server_context(files)
    async with tls_upstream(answers(ok()), context) as legacy:

        def text() -> str:
            tls = f"tls: {{ca: {files.ca}}}"
            ends = f'["https://localhost:{legacy.port}"]'
            return (
                f"listen: 127.0.0.1:0\nadmin: off\nupstreams: {{legacy: {{endpoints: {ends}, {tls}}}}}\n"
                "routes: [{upstream: legacy, cors: off}]"
            )

        async with served(text()) as front:
            assert (await ask(front.address, get("/"))).status == 200
            issue(second, files)
            context.load_cert_chain(files.cert, files.key)
            legacy.gone.clear()
            assert (await ask(front.address, get("/"))).status == 200  # on the connection that is open
            await front.apply(text())
            async with asyncio.timeout(PATIENCE):
                await legacy.gone.wait()  # nobody is left who trusts the old one
            assert (await ask(front.address, get("/"))).status == 200
            assert legacy.connections == 2


# The listener's certificate


def tls_text(port: int, files: Files) -> str:
    listen = f"listen: {{address: '127.0.0.1:0', tls: {{cert: {files.cert}, key: {files.key}}}}}"
    return text_of(port).replace("listen: 127.0.0.1:0", listen)


async def test_other_files_show_another_certificate_to_new_connections(tmp_path: Path) -> None:
    one, two = (
        files_of(trustme.CA(key_type=trustme.KeyType.ECDSA), tmp_path, prefix=prefix)
        for prefix in ("1-", "2-")
    )
    async with upstream(answers(ok())) as legacy, served(tls_text(legacy.port, one)) as front:
        wire = await dial_tls(front.address, client_context(one))
        await front.apply(tls_text(legacy.port, two))
        other = await dial_tls(front.address, client_context(two))
        with pytest.raises(ssl.SSLCertVerificationError):
            await dial_tls(front.address, client_context(one))
        for each in (wire, other):
            await each.send(get("/", APP))
            assert (await each.message()).status == 200
            await each.close()


# The log


@pytest.fixture
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


async def test_the_log_follows(restored_logging: None) -> None:
    async with upstream(answers(ok())) as legacy, served(text_of(legacy.port)) as front:
        plain = text_of(legacy.port)

        async def said(settings: str) -> list[str]:
            await front.apply(plain.replace("{access: false}", settings))
            before = len(front.out.getvalue())
            await ask(front.address, get("/seen", APP))
            await front.apply(plain.replace("{access: false}", settings + " # again"))
            # What waits is written before another log takes over.
            await front.apply(plain.replace("access: false", "access: false, level: error"))
            front.writer._idle.wait(PATIENCE)
            return front.out.getvalue()[before:].splitlines()

        as_json = await said("{format: json, level: warning}")
        assert json.loads(as_json[0])["path"] == "/seen"
        assert len(as_json) == 1
        as_text = await said("{format: combined, level: info}")
        assert any('"GET /seen HTTP/1.1" 200 5' in line for line in as_text)
        assert any("serves now" in line for line in as_text)
        assert await said("{access: false, level: error}") == []


# As a process


async def test_sighup_and_post_and_the_file_itself(tmp_path: Path) -> None:
    async with upstream(answers(ok())) as legacy:
        file = tmp_path / "corsproxy.yaml"

        def write(mark: str, more: str = "") -> None:
            text = text_of(legacy.port, mark, more=more).replace("admin: off", "admin: 127.0.0.1:0")
            file.write_text(text)

        write("one")
        async with running(file) as proxy:
            await proxy.started()
            write("two")
            proxy.send(signal.SIGHUP)
            await proxy.says("serves now")
            assert mark_of(await ask(proxy.address, get("/", APP))) == "two"
            write("three")
            assert (await proxy.page("/-/reload", "POST")).status == 200
            assert mark_of(await ask(proxy.address, get("/", APP))) == "three"
            write("four")
            while mark_of(await ask(proxy.address, get("/", APP))) != "four":
                await proxy.says("serves now")
            write("five", "limitz: {}")
            assert "did you mean 'limits'?" in await proxy.says("limitz")
            assert "the new configuration is not used" in await proxy.says("goes on serving")
            assert mark_of(await ask(proxy.address, get("/", APP))) == "four"
            samples = await proxy.metrics()
            assert samples["corsproxy_config_last_reload_successful",] == 0
            version = json.loads((await proxy.page("/-/ready")).body)["config"]["version"]
            assert samples["corsproxy_config_info", version] == 1


@pytest.mark.parametrize("source", ["standard input", "a pipe"])
async def test_what_can_be_read_once_serves_on(tmp_path: Path, source: str) -> None:
    async with upstream(answers(ok())) as legacy:
        reading, writing = os.pipe()
        os.write(writing, text_of(legacy.port).encode())
        os.close(writing)
        name = "-" if source == "standard input" else "/dev/stdin"
        try:
            async with running(name, stdin=reading) as proxy:
                await proxy.started(admin=False)
                proxy.send(signal.SIGHUP)
                assert "no file to read again" in await proxy.says("no file")
                assert mark_of(await ask(proxy.address, get("/", APP))) == "one"
        finally:
            os.close(reading)


# Many times, under load

RELOADS = 500


def version_text(ports: tuple[int, int], version: int) -> str:
    """Everything that an answer shows of the file depends on the version."""
    return f"""
listen: 127.0.0.1:0
admin: off
log: {{access: false}}
routes:
  - name: route-of-{version}
    upstream: http://127.0.0.1:{ports[version % 2]}
    request_headers: {{set: {{X-Asked: "{version}"}}}}
    response_headers: {{set: {{X-Version: "{version}"}}}}
    cors:
      allow_origins: [https://app.example.com]
      allow_headers: [x-of-{version}]
      expose_headers: [X-Of-{version}]
      max_age: {version + 1}s
"""


@dataclass
class Load:
    """Clients who never stop asking, and check that each answer is of one piece."""

    address: Address
    is_over: bool = False
    answered: int = 0
    seen: set[int] = field(default_factory=set)
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    def check(self, answer: Message, servers: str = "01") -> None:
        """One version in policy, route, upstream and request."""
        version = int(answer.one("X-Version") or "-1")
        assert answer.status == 200
        assert answer.one("Access-Control-Expose-Headers") == f"X-Of-{version}"
        assert answer.body == f"{servers[version % 2]} asked {version}".encode()
        self._note(version)

    def check_preflight(self, answer: Message) -> None:
        version = int(answer.one("Access-Control-Max-Age") or "0") - 1
        assert (answer.status, answer.one("Access-Control-Allow-Headers")) == (204, f"x-of-{version}")
        self._note(version)

    def _note(self, version: int) -> None:
        self.answered += 1
        self.seen.add(version)
        self.begun.set()

    async def keep_asking(self) -> None:
        wire = await dial(self.address)
        while not self.is_over:
            await wire.send(get("/", APP))
            self.check(await wire.message())
        await wire.close()

    async def ask_anew(self) -> None:
        while not self.is_over:
            self.check(await ask(self.address, get("/", APP)))

    async def upload(self) -> None:
        wire = await dial(self.address)
        while not self.is_over:
            await wire.send(get("/", APP, "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n")
            await asyncio.sleep(0)
            await wire.send(b"3\r\ndef\r\n0\r\n\r\n")
            self.check(await wire.message())
        await wire.close()

    async def pipeline(self) -> None:
        wire = await dial(self.address)
        while not self.is_over:
            await wire.send(get("/", APP) * 5)
            for _ in range(5):
                self.check(await wire.message())
        await wire.close()

    async def preflight(self) -> None:
        wire = await dial(self.address)
        while not self.is_over:
            await wire.send(get("/", APP, "Access-Control-Request-Method: GET", method="OPTIONS"))
            self.check_preflight(await wire.message())
        await wire.close()

    async def listen(self) -> None:
        """To one stream from beginning to end, whatever happens meanwhile."""
        wire = await dial(self.address)
        await wire.send(get("/stream", APP))
        assert (await wire.head()).one("X-Version") == "0"
        events = 0
        while not self.is_over:
            assert await wire.reader.readexactly(8) == b"3\r\nev\n\r\n"
            events += 1
        assert events > 10
        self.answered += 1
        await wire.close()

    async def talk(self) -> None:
        """Over one WebSocket."""
        wire = await dial(self.address)
        await wire.send(get("/ws", *HANDSHAKE, APP))
        assert (await wire.head()).status == 101
        while not self.is_over:
            await wire.send(b"\x81\x02hi")
            assert await wire.reader.readexactly(4) == b"\x81\x02hi"
        self.answered += 1
        await wire.close()


class Numbered:
    """One of two upstreams."""

    def __init__(self, number: int) -> None:
        self._number = number

    async def behave(self, server: Upstream, wire: Wire) -> None:
        while True:
            request = await wire.message()
            if "/ws" in request.first_line:
                await wire.send(SWITCH)
                while data := await wire.reader.read(100):
                    await wire.send(data)
                return
            if "/stream" in request.first_line:
                await wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                while True:
                    await wire.send(b"3\r\nev\n\r\n")
                    await asyncio.sleep(0.005)
            if request.first_line.startswith("POST"):
                assert request.body == b"abcdef"
            await wire.send(ok(f"{self._number} asked {request.one('X-Asked')}".encode()))


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def routes_alive() -> int:
    """Each table has one; and it lives for as long as anything of its table does."""
    gc.collect()
    return sum(isinstance(each, Route) for each in gc.get_objects())


async def test_500_reloads_under_load_lose_nothing_and_leave_nothing() -> None:
    async with upstream(Numbered(0).behave) as zero, upstream(Numbered(1).behave) as one:
        ports = (zero.port, one.port)
        routes = routes_alive()
        async with served(version_text(ports, 0)) as front:
            load = Load(front.address)
            clients = [load.keep_asking() for _ in range(4)]
            clients += [load.ask_anew(), load.upload(), load.pipeline(), load.preflight()]
            clients += [load.listen(), load.talk()]
            async with asyncio.TaskGroup() as group:
                for client in clients:
                    group.create_task(client)
                await load.begun.wait()
                descriptors, tasks = [], []
                for version in range(1, RELOADS + 1):
                    if version % 10 == 0:
                        assert not (await front.plane.apply("routes: [{upstream: nowhere}]")).ok
                    await front.apply(version_text(ports, version))
                    if version % 50 == 0:
                        descriptors.append(open_descriptors())
                        tasks.append(len(asyncio.all_tasks()))
                load.is_over = True
            assert load.answered > RELOADS
            assert len(load.seen) > RELOADS // 4  # they did notice
            # Clients come and go; but one that stays behind in ten reloads would show.
            assert max(descriptors) - min(descriptors) < RELOADS // 10
            assert max(tasks) - min(tasks) < RELOADS // 10
            # The last to leave, a stream and a WebSocket, are gone when both sides have noticed.
            await front.reads(lambda readings: not any(readings.in_flight.values()))
            faults = [exchange for exchange in front.exchanges if exchange.fault is not None]
            assert [exchange.path for exchange in faults] == [b"/stream"]  # its client left in the end
            assert {exchange.status for exchange in front.exchanges} <= {200, 204, 101}
            front.exchanges.clear()
            # The one that serves, and at most one for each exchange that was under way at the last reloads.
            assert routes_alive() - routes <= 1 + len(clients)
            readings = (await front.plane.snapshot()).readings
            assert len(readings.in_flight) <= 1 + len(clients)
