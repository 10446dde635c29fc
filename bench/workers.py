"""Two workers beside one: what a second core is worth.

Here:  the same load to one and to two processes, the CPU time of each, and the throughput that follows.
Never: more than is known: where load generator and proxy share cores, the figure is worked out, and says so.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.generate import Generators, Target, send_load
from bench.load import LOADS
from bench.machine import Cores
from bench.measure import CpuWindow, cpu_seconds
from bench.peers import PEERS
from bench.running import Running, running

__all__ = ["ROUNDS", "Workers", "measure_workers", "speed_up"]

ROUNDS = 3
LASTS = 5  # times as long as a round: it takes some seconds until each has its share of the connections


@dataclass(frozen=True, slots=True)
class Run:
    """One load to so many workers."""

    requests: int
    seconds: float
    cpu_seconds: tuple[float, ...]  # of each process

    @property
    def cpu_us(self) -> float:
        return sum(self.cpu_seconds) / self.requests * 1e6

    @property
    def busiest(self) -> float:
        """The part of the work that one process had."""
        return max(self.cpu_seconds) / sum(self.cpu_seconds)


@dataclass(frozen=True, slots=True)
class Workers:
    """What came of it. `speed_up`: throughput of two divided by that of one, median of the rounds."""

    speed_up: float
    is_measured: bool  # False: worked out from CPU time
    one_us: float  # CPU a request
    two_us: float
    busiest: float

    def __str__(self) -> str:
        how = "measured" if self.is_measured else "worked out: the load needs a core for itself"
        cost = f"CPU {self.one_us:.1f} µs a request with one, {self.two_us:.1f} µs with two"
        return f"{self.speed_up:.2f} × ({how}); {cost}, of which the busier did {self.busiest:.0%}"


def speed_up(one: Run, two: Run) -> float:
    """What two workers on cores of their own could do beside one: the busier of them is the limit."""
    return one.cpu_us / (two.cpu_us * two.busiest)


def measure_workers(
    generators: Generators,
    scratch: Path,
    usable: frozenset[int],
    cores: Cores,
    upstream: Running,
    seconds: int,
) -> Workers:
    """Raises ProcessEndedError where the proxy does not serve with two workers."""
    # Two for the proxy, one for the load, one for the upstream: with fewer, no throughput means anything.
    has_room = len(usable) >= 4
    pair = cores.proxy | {max(usable - cores.proxy)}
    apart = Generators(generators.wrk, usable - pair) if has_room else generators
    with ExitStack() as stack:
        proxies = [start(stack, scratch, pair, upstream, count) for count in (1, 2)]
        rounds = [[send(apart, proxy, upstream, LASTS * seconds) for proxy in proxies] for _ in range(ROUNDS)]
    ratios = [
        (two.requests / two.seconds) / (one.requests / one.seconds) if has_room else speed_up(one, two)
        for one, two in rounds
    ]
    return Workers(
        median(ratios),
        has_room,
        median(one.cpu_us for one, _ in rounds),
        median(two.cpu_us for _, two in rounds),
        median(two.busiest for _, two in rounds),
    )


def start(stack: ExitStack, scratch: Path, cores: frozenset[int], upstream: Running, count: int) -> Running:
    folder = scratch / f"workers-{count}"
    folder.mkdir()
    return stack.enter_context(
        running(PEERS["corsproxy"], folder, cores, upstream_port=upstream.port, workers=count)
    )


def send(generators: Generators, proxy: Running, upstream: Running, seconds: int) -> Run:
    window = PerProcess(proxy, upstream)
    tally = send_load(generators, LOADS["get"], Target(proxy.port), seconds, window)
    faults = tally.faults(LOADS["get"])
    if faults:
        raise ValueError("; ".join(faults))
    return Run(tally.units, tally.seconds, window.each)


class PerProcess(CpuWindow):
    """The CPU time of each process by itself."""

    each: tuple[float, ...] = ()

    def open(self) -> None:
        super().open()
        self.each = tuple(cpu_seconds([pid]) for pid in self.members)

    def close(self) -> None:
        super().close()
        self.each = tuple(
            cpu_seconds([pid]) - before for pid, before in zip(self.members, self.each, strict=True)
        )
