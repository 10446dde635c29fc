"""`corsproxy run` as a process of its own: its log, its signals, its workers, its admin listener."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families as parse_text

from corsproxy.config.table import Address
from tests.wire import Message, Wire, ask, dial, get

__all__ = ["PATIENCE", "Process", "children_of", "holder", "is_running", "running", "until"]

PATIENCE = 20.0  # seconds until something that should happen has not: starting takes some on a busy machine


async def until(is_so: Callable[[], bool], says: str) -> None:
    """Look again and again whether it is so; what to say when it never is."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not is_so():  # noqa: ASYNC110 - of what happens in other processes nobody sends word
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(says) from None


class Process:
    """A running proxy."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []  # of the log so far
        self._more = asyncio.Condition()
        self._read = 0  # lines that `says` has looked at
        self._is_over = False
        self._reader = asyncio.create_task(self._collect())
        self._wires: list[Wire] = []
        self.address = Address()
        self.admin = Address()

    async def _collect(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            async with self._more:
                self.lines.append(line.decode())
                self._more.notify_all()
        async with self._more:
            self._is_over = True
            self._more.notify_all()

    async def says(self, word: str) -> str:
        """The message of the next line of the log that holds this word."""
        async with asyncio.timeout(PATIENCE), self._more:
            while True:
                for at in range(self._read, len(self.lines)):
                    if word in self.lines[at]:
                        self._read = at + 1
                        return str(json.loads(self.lines[at])["message"])
                assert not self._is_over, f"the log ended without {word!r}: {self.lines}"
                await self._more.wait()

    async def started(self, *, admin: bool = True) -> None:
        """Wait until it serves; where."""
        self.address = _address((await self.says("listens on")).split(" listens on ")[1].split(" ")[0])
        if admin:
            self.admin = _address((await self.says("admin on")).removeprefix("admin on "))

    async def wires(self, count: int) -> list[Wire]:
        """Connections to it, closed when the test is over at the latest."""
        made = await asyncio.gather(*(dial(self.address) for _ in range(count)))
        self._wires += made
        return made

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ends(self) -> int:
        """Wait for the end; the exit code."""
        async with asyncio.timeout(PATIENCE):
            await self._reader
            code = await self.process.wait()
        for wire in self._wires:
            await wire.close()
        return code

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers."""
        return children_of(self.process.pid)

    async def page(self, path: str, method: str = "GET") -> Message:
        """What the admin listener answers."""
        return await ask(self.admin, get(path, host="localhost", method=method))

    async def metrics(self) -> dict[tuple[str, ...], float]:
        """The samples, by name and the labels' values in the order of their names."""
        text = (await self.page("/metrics")).body.decode()
        return {
            (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
            for family in parse_text(text)
            for sample in family.samples
        }

    async def total(self, family: str) -> float:
        """The sum over all labels."""
        return sum(value for (name, *_), value in (await self.metrics()).items() if name == family)

    async def is_up(self) -> bool:
        """True while it takes connections."""
        try:
            wire = await dial(self.address)
        except OSError:
            return False
        await wire.close()
        return True


def _address(text: str) -> Address:
    if text.startswith("unix:"):
        return Address(path=text.removeprefix("unix:"))
    host, _, port = text.rpartition(":")
    return Address(host, int(port))


@contextlib.asynccontextmanager
async def running(
    file: Path | str,
    *args: str,
    group: bool = False,
    stdin: int = asyncio.subprocess.DEVNULL,
    env: dict[str, str] | None = None,
) -> AsyncIterator[Process]:
    """Run it by this file; it is killed at the latest when the test is over. group: one of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "corsproxy",
        "run",
        "-c",
        str(file),
        *args,
        stdin=stdin,
        stderr=asyncio.subprocess.PIPE,
        limit=1 << 24,
        process_group=0 if group else None,
        env={**os.environ, **(env or {})},
    )
    proxy = Process(process)
    try:
        yield proxy
    finally:
        if process.returncode is None:
            process.kill()
        await proxy.ends()


def children_of(pid: int) -> list[int]:
    """The processes that this one started, in the order of their start."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def is_running(pid: int) -> bool:
    """False when it is gone, or only waits to be asked how it ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def holder(proxy: Address, client_port: int, pids: list[int]) -> int:
    """Which of these processes has the connection of a client from this port."""
    inode = _inode_of(proxy.port, client_port)
    return next(pid for pid in pids if inode in _sockets_of(pid))


def _inode_of(local: int, remote: int) -> str:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if (int(fields[1].split(":")[1], 16), int(fields[2].split(":")[1], 16)) == (local, remote):
            return fields[9]
    raise AssertionError("there is no such connection")


def _sockets_of(pid: int) -> set[str]:
    found = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            if match := re.fullmatch(r"socket:\[(\d+)\]", str(link.readlink())):
                found.add(match[1])
    return found
