"""The proxy under test: a process with few descriptors, a log that is not always read, and a look inside.

Here:  its file and the versions of it, starting and stopping, its metrics, what each of its processes takes.
Never: load; what is to be made of the figures.
"""

import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from prometheus_client.parser import text_string_to_metric_families as parse_text

from bench.process import ROOT, free_port
from corsproxy.config.table import Address
from tests.ops.process import children_of, is_running

__all__ = ["Front", "Log", "Reading", "front"]

DESCRIPTORS = 256
_PATIENCE = 20.0

_TEXT = """\
listen: 127.0.0.1:{listen}
admin: 127.0.0.1:{admin}
workers: {workers}
log: {{format: json}}
drain: {{timeout: 10s}}
timeouts: {{connect: 1s, response: 1s, idle: 3s, client_head: 2s, keepalive: 3s}}
upstreams:
  legacy:
    endpoints: [http://127.0.0.1:{upstream}]
    retries: {retries}
routes:
  - name: api
    upstream: legacy
    request_headers: {{set: {{X-Version: "{version}"}}}}
    response_headers: {{set: {{X-Version: "{version}"}}}}
    cors:
      allow_origins: [https://app.example.com]
      allow_methods: [PUT]
      allow_headers: [content-type]
      allow_credentials: true
      expose_headers: [X-Of-{version}]
"""


@dataclass(frozen=True)
class Reading:
    """What the processes take; of several the one that takes most."""

    resident_mib: float
    descriptors: int
    objects: dict[str, int]


class Log:
    """What becomes of the log: a pipe that is read, or not for a while; or a disk that is full."""

    def __init__(self) -> None:
        self.lines = 0
        self.exchanges = 0
        self.torn: list[str] = []
        self.mistakes: list[str] = []  # what only a bug says
        self.may_read = asyncio.Event()
        self.may_read.set()

    async def read(self, stream: asyncio.StreamReader) -> None:
        while True:
            await self.may_read.wait()
            line = await stream.readline()
            if not line:
                return
            self._take(line)

    def _take(self, line: bytes) -> None:
        self.lines += 1
        try:
            entry = json.loads(line)
        except ValueError:
            self.torn.append(line[:80].decode("utf-8", "replace"))
            return
        self.exchanges += "status" in entry
        if "exception" in entry or "internal error" in entry.get("message", ""):
            self.mistakes.append(str(entry.get("exception") or entry["message"])[-300:])


class Front:
    """A running proxy."""

    def __init__(self, folder: Path, upstream: int, workers: int) -> None:
        self.address = Address("127.0.0.1", free_port())
        self.log = Log()
        self._admin = free_port()
        self._folder = folder
        self._upstream = upstream
        self._workers = workers
        self._version = 0
        self._process: asyncio.subprocess.Process | None = None
        self._retries = 1
        self.write()

    def write(self, *, bad: bool = False, other_upstream: bool = False) -> None:
        """Another version of the file. bad: one with a mistake. other_upstream: no connection is kept."""
        self._version += 1
        self._retries = 3 - self._retries if other_upstream else self._retries
        text = _TEXT.format(
            listen=self.address.port,
            admin=self._admin,
            workers=self._workers,
            upstream=self._upstream,
            version=self._version,
            retries=self._retries,
        )
        new = self._folder / "new.yaml"
        new.write_text(text.replace("routes:", "rootes:") if bad else text)
        new.rename(self._file)

    @property
    def _file(self) -> Path:
        return self._folder / "corsproxy.yaml"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def serving(self) -> list[int]:
        """The processes that serve requests."""
        return children_of(self.pid) or [self.pid]

    async def start(self, *, full_disk: bool) -> None:
        """Start it, and wait until it is ready."""
        inside = ROOT / "bench" / "soak" / "inside"
        log: IO[bytes] | int = asyncio.subprocess.PIPE
        with contextlib.ExitStack() as stack:
            if full_disk:
                log = stack.enter_context(Path("/dev/full").open("wb"))  # noqa: ASYNC230 - it does not block
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "corsproxy",
                "run",
                "-c",
                str(self._file),
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(inside), "SOAK_INSIDE": str(self._folder)},
                stderr=log,
                stdin=asyncio.subprocess.DEVNULL,
                preexec_fn=_limit_descriptors,
                limit=1 << 24,
            )
        async with asyncio.timeout(_PATIENCE):
            while not await self.is_ready():  # noqa: ASYNC110 - another process sends no word
                await asyncio.sleep(0.05)

    async def is_ready(self) -> bool:
        try:
            return b'"ready": true' in await self.page("/-/ready")
        except OSError:
            return False

    async def page(self, path: str, method: str = "GET") -> bytes:
        """What the admin listener says; a refusal is an answer, too."""

        def ask() -> bytes:
            request = urllib.request.Request(f"http://127.0.0.1:{self._admin}{path}", method=method)
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    return bytes(answer.read())
            except urllib.error.HTTPError as error:
                return error.read()

        return await asyncio.to_thread(ask)

    async def metrics(self) -> dict[tuple[str, ...], float]:
        """The samples, by name and the labels' values in the order of their names."""
        text = (await self.page("/metrics")).decode()
        return {
            (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
            for family in parse_text(text)
            for sample in family.samples
        }

    async def is_idle(self) -> bool:
        """True when no client is connected and nothing is under way."""
        found = await self.metrics()
        return not any(
            found[key]
            for key in found
            if key[0] in {"corsproxy_client_connections", "corsproxy_inflight_requests"}
        )

    async def reading(self) -> Reading:
        """What it takes now."""
        found = [await _read_process(pid, self._folder) for pid in self.serving]
        most: dict[str, int] = {}
        for each in found:
            for name, count in each.objects.items():
                most[name] = max(most.get(name, 0), count)
        return Reading(
            max(each.resident_mib for each in found), max(each.descriptors for each in found), most
        )

    async def stop(self) -> int:
        """Ask it to end; the exit code, and -1 when it did not end in time."""
        assert self._process is not None
        self.log.may_read.set()
        workers = children_of(self.pid)
        self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_PATIENCE):
                code = await self._process.wait()
        except TimeoutError:
            self._process.kill()
            return -1
        return -1 if any(map(is_running, workers)) else code

    def kill(self) -> None:
        """In case that the test itself fails."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()

    @property
    def stderr(self) -> asyncio.StreamReader | None:
        return None if self._process is None else self._process.stderr


@contextlib.asynccontextmanager
async def front(folder: Path, upstream: int, workers: int, *, full_disk: bool) -> AsyncIterator[Front]:
    """Run a proxy. full_disk: that is where its log goes."""
    proxy = Front(folder, upstream, workers)
    await proxy.start(full_disk=full_disk)
    stream = proxy.stderr
    reading = None if stream is None else asyncio.create_task(proxy.log.read(stream))
    try:
        yield proxy
    finally:
        proxy.kill()
        if reading is not None:
            await reading


def _limit_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


async def _read_process(pid: int, folder: Path) -> Reading:
    reader, writer = await asyncio.open_unix_connection(str(folder / str(pid)))
    objects = json.loads(await reader.read())
    writer.close()
    return Reading(*_taken_by(pid), objects)


def _taken_by(pid: int) -> tuple[float, int]:
    """Resident MiB, and descriptors."""
    process = Path(f"/proc/{pid}")
    pages = int((process / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20), sum(1 for _ in (process / "fd").iterdir())
