"""One measurement: a load against one proxy, and what the kernel says it cost.

Here:  CPU time and memory of a process with all it forked, the upstream's count, a Sample.
Never: which proxies or loads there are, averages, tables.

CPU time is read from each process's CPU-time clock (clock_getcpuclockid(3)): nanoseconds the scheduler
charged to all its threads, ended ones too, in user and system mode. It is the exact form of utime + stime in
/proc/PID/stat, which are rounded to ticks of 10 ms.
"""

import ctypes
import http.client
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from bench.load import CONNECTIONS, Load, Tally, parse_totals, wrk_command
from bench.peers import Running
from bench.process import Process, ProcessEndedError, pinned
from bench.verify import faults_of_load

__all__ = ["Bench", "Sample", "measure", "run_load"]

LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Bench:
    """What stands around the proxies: the same for each of them."""

    wrk: str
    upstream: Running
    load_cores: frozenset[int]


@dataclass(frozen=True, slots=True)
class Sample:
    """One load against one proxy in one round."""

    peer: str
    load: str
    round: int
    requests: int
    seconds: float
    cpu_seconds: float
    rss_bytes: int
    p50_us: int
    p99_us: int
    faults: tuple[str, ...] = ()  # why it does not count

    @property
    def title(self) -> str:
        return f"{self.peer}, {self.load}, round {self.round}"

    @property
    def cpu_us(self) -> float:
        """CPU microseconds a request; no request, no figure (such a sample has faults)."""
        return self.cpu_seconds / self.requests * 1e6 if self.requests else float("nan")

    @property
    def rate(self) -> float:
        return self.requests / self.seconds

    @property
    def busy(self) -> float:
        """The part of its core that the proxy used: at 1 it could do no more."""
        return self.cpu_seconds / self.seconds


def measure(bench: Bench, peer: Running, load: Load, seconds: int, number: int) -> Sample:
    """One sample of one round.

    Raises ProcessEndedError when the proxy does not survive it, OSError or HTTPException when it stops
    answering, ValueError or TimeoutExpired when the load generator reports nothing.
    """
    members = peer.process.members()
    seen = count_seen(bench.upstream.port)
    before = cpu_seconds(members)
    tally = run_load(bench, load, peer.port, seconds)
    peer.process.require_alive()
    spent = cpu_seconds(members) - before
    seen = count_seen(bench.upstream.port) - seen
    faults = [
        *tally.faults(load),
        *faults_of_count(load, tally.requests, seen),
        *faults_of_members(members, peer.process),
        *faults_of_load(peer.port, load),
    ]
    return Sample(
        peer=peer.name,
        load=load.name,
        round=number,
        requests=tally.requests,
        seconds=tally.seconds,
        cpu_seconds=spent,
        rss_bytes=sum(map(resident_bytes, peer.process.members())),
        p50_us=tally.p50_us,
        p99_us=tally.p99_us,
        faults=tuple(faults),
    )


def run_load(bench: Bench, load: Load, port: int, seconds: int) -> Tally:
    """Send a load for so many seconds. Raises ValueError when the generator reports nothing."""
    with pinned(bench.load_cores):
        done = subprocess.run(
            wrk_command(bench.wrk, load, port, seconds),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + 30,
        )
    return parse_totals(done.stdout + done.stderr)


def cpu_seconds(pids: list[int]) -> float:
    return sum(time.clock_gettime_ns(cpu_clock(pid)) for pid in pids) / 1e9


def cpu_clock(pid: int) -> int:
    """The id of a process's CPU-time clock. Raises ProcessEndedError."""
    clock = ctypes.c_int()
    failed = LIBC.clock_getcpuclockid(pid, ctypes.byref(clock))
    if failed:
        raise ProcessEndedError(f"process {pid} ended while it was measured")
    return clock.value


def resident_bytes(pid: int) -> int:
    """VmRSS of proc_pid_status(5). Pages that processes share count in each."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def count_seen(upstream_port: int) -> int:
    """How many requests the upstream has had, this one too: the third figure of nginx's stub_status."""
    connection = http.client.HTTPConnection("127.0.0.1", upstream_port, timeout=5)
    try:
        connection.request("GET", "/seen")
        page = connection.getresponse().read().decode()
    finally:
        connection.close()
    return int(page.splitlines()[2].split()[2])


def faults_of_count(load: Load, requests: int, seen: int) -> list[str]:
    """Did the upstream see what it must have seen: every request, or, of preflights, none?

    Some are in flight when the load ends, and those of the warm-up when it begins.
    """
    expected = 0 if load.is_preflight else requests
    if abs(seen - expected) <= 2 * CONNECTIONS:
        return []
    return [f"the upstream saw {seen} requests, expected {expected}"]


def faults_of_members(before: list[int], process: Process) -> list[str]:
    """CPU time of a process that came or went in between would be missing."""
    return [] if process.members() == before else ["its processes changed during the measurement"]
