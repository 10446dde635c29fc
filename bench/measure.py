"""One measurement: a load against one proxy, and what the kernel says it cost.

Here:  CPU time and memory of a process with all it forked, the upstream's count, a Sample.
Never: which proxies or loads there are, averages, tables.

CPU time is read from each process's CPU-time clock (clock_getcpuclockid(3)): nanoseconds the scheduler
charged to all its threads, ended ones too, in user and system mode. It is the exact form of utime + stime in
/proc/PID/stat, which are rounded to ticks of 10 ms.
"""

import ctypes
import re
import time
from dataclasses import dataclass
from pathlib import Path

from bench.generate import Generators, Target, send_load
from bench.load import MIB, Load
from bench.process import Process, ProcessEndedError
from bench.running import Running
from bench.verify import Door, exchange, faults_of_load

__all__ = ["CpuWindow", "Sample", "cpu_seconds", "measure", "resident_bytes"]

LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Sample:
    """One load against one proxy in one round."""

    peer: str
    load: str
    round: int
    units: int  # requests, events, messages: as the load says
    seconds: float
    cpu_seconds: float
    rss_bytes: int
    p50_us: int
    p99_us: int
    lag_us: int = 0  # of the generator, where the load is paced
    faults: tuple[str, ...] = ()  # why it does not count
    parts: float = 0.0  # of large downloads: units with those that were not complete, in proportion

    @property
    def title(self) -> str:
        return f"{self.peer}, {self.load}, round {self.round}"

    @property
    def cpu_us(self) -> float:
        """CPU microseconds a unit; no unit, no figure (such a sample has faults)."""
        return self.cpu_seconds / (self.parts or self.units) * 1e6 if self.units else float("nan")

    @property
    def rate(self) -> float:
        """Units a second."""
        return (self.parts or self.units) / self.seconds

    @property
    def busy(self) -> float:
        """The part of its core that the proxy used: at 1 it could do no more."""
        return self.cpu_seconds / self.seconds


class CpuWindow:
    """The CPU time of a proxy, and what its upstream saw, between two moments."""

    def __init__(self, peer: Running, upstream: Running) -> None:
        self.peer = peer
        self.upstream = upstream
        self.members = peer.process.members()
        self.spent = 0.0
        self.seen = 0

    def open(self) -> None:
        self.seen = count_seen(self.upstream.door)
        self.spent = cpu_seconds(self.members)

    def close(self) -> None:
        """Raises ProcessEndedError when the proxy has not survived it."""
        self.peer.process.require_alive()
        self.spent = cpu_seconds(self.members) - self.spent
        self.seen = count_seen(self.upstream.door) - self.seen


def measure(
    generators: Generators,
    upstream: Running,
    peer: Running,
    load: Load,
    seconds: int,
    number: int,
    rate: float,
) -> Sample:
    """One sample of one round. rate: requests a second, where the load is paced.

    Raises ProcessEndedError when the proxy does not survive it, OSError or HTTPException when it stops
    answering, ValueError or TimeoutExpired when the load generator reports nothing.
    """
    window = CpuWindow(peer, upstream)
    tally = send_load(generators, load, Target(peer.port, peer.door.prefix, rate), seconds, window)
    faults = [
        *tally.faults(load),
        *faults_of_count(load, tally.units, window.seen),
        *faults_of_members(window.members, peer.process),
        *faults_of_load(peer.door, load, peer.promise),
    ]
    return Sample(
        peer=peer.name,
        load=load.name,
        round=number,
        units=tally.units,
        seconds=tally.seconds,
        cpu_seconds=window.spent,
        rss_bytes=sum(map(resident_bytes, peer.process.members())),
        p50_us=tally.p50_us,
        p99_us=tally.p99_us,
        lag_us=tally.lag_us,
        faults=tuple(faults),
        parts=tally.received_bytes / load.gets if load.gets >= MIB else 0.0,
    )


def cpu_seconds(pids: list[int]) -> float:
    return sum(time.clock_gettime_ns(cpu_clock(pid)) for pid in pids) / 1e9


def cpu_clock(pid: int) -> int:
    """The id of a process's CPU-time clock. Raises ProcessEndedError."""
    clock = ctypes.c_int()
    failed = LIBC.clock_getcpuclockid(pid, ctypes.byref(clock))
    if failed:
        raise ProcessEndedError(f"process {pid} ended while it was measured")
    return clock.value


def resident_bytes(pid: int, line: str = "VmRSS") -> int:
    """VmRSS of proc_pid_status(5), or another line. Pages that processes share count in each."""
    found = re.search(rf"^{line}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def count_seen(upstream: Door) -> int:
    """How many requests the upstream has had, this one too: the third figure of nginx's stub_status."""
    page = exchange(upstream, "GET", {}, path="/seen").body.decode()
    return int(page.splitlines()[2].split()[2])


def faults_of_count(load: Load, units: int, seen: int) -> list[str]:
    """Did the upstream see what it must have seen: every request, or, of preflights, none?

    Some are on their way when the load begins and when it ends.
    """
    expected = 0 if load.is_preflight else units
    if abs(seen - expected) <= 3 * load.connections:
        return []
    return [f"the upstream saw {seen} {load.unit}s, expected {expected}"]


def faults_of_members(before: list[int], process: Process) -> list[str]:
    """CPU time of a process that came or went in between would be missing."""
    return [] if process.members() == before else ["its processes changed during the measurement"]
