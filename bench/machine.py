"""The machine: which cores the benchmark uses, and what a reader must know about the rest.

Here:  the choice of cores, and a description in words for the results.
Never: processes, measurements, other people's machines.
"""

import os
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["Cores", "choose_cores", "describe_machine", "usable_cores"]

QUIET = 0.5  # processes that run, on average, on a machine that is there for the benchmark
# What decides the speed of corsproxy beside its own code.
PACKAGES = ("aiohttp", "httptools", "uvloop")


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where. Both sets are equal when the machine has one usable core."""

    proxy: frozenset[int]
    load: frozenset[int]  # load generator and upstream

    @property
    def are_apart(self) -> bool:
        return self.proxy.isdisjoint(self.load)

    def __str__(self) -> str:
        if not self.are_apart:
            return "unpinned: only one core is usable, so load and proxy take it from each other"
        return f"proxy on core {join(self.proxy)}, load generator and upstream on {join(self.load)}"


def join(cores: Iterable[int]) -> str:
    return ", ".join(str(core) for core in sorted(cores))


def choose_cores(siblings: Mapping[int, frozenset[int]]) -> Cores:
    """One core for the proxy, the others for the load.

    siblings: for each usable core the hardware threads of the same physical core, itself among them. A
        sibling of the proxy's core stays idle when there is another core: it would take half the pipeline.
    """
    usable = frozenset(siblings)
    if len(usable) == 1:
        return Cores(usable, usable)
    proxy = max(usable)  # core 0 serves most interrupts
    others = usable - {proxy}
    return Cores(frozenset({proxy}), others - siblings[proxy] or others)


def usable_cores() -> dict[int, frozenset[int]]:
    """Each core this process may use, with its hardware siblings."""
    return {core: read_siblings(core) for core in sorted(os.sched_getaffinity(0))}


def read_siblings(core: int) -> frozenset[int]:
    """The kernel's list, such as "0,4" or "0-1"; the core alone where the kernel tells nothing."""
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    return parse_cpu_list(path.read_text()) if path.exists() else frozenset({core})


def parse_cpu_list(text: str) -> frozenset[int]:
    cores: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        cores.update(range(int(first), int(last or first) + 1))
    return frozenset(cores)


def describe_machine() -> dict[str, str]:
    """What the results say about the machine: a label and a value a line."""
    one, five, _ = os.getloadavg()
    company = "" if one < QUIET else ": somebody else is at work here"
    return {
        "CPU": f"{cpu_model()}, {len(os.sched_getaffinity(0))} usable cores",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": f"{platform.python_implementation()} {platform.python_version()}; {describe_packages()}",
        "load average at the start": f"{one:.2f} (1 min), {five:.2f} (5 min){company}",
    }


def cpu_model() -> str:
    """As x86 kernels name it; elsewhere /proc/cpuinfo has no such line, and the architecture must do."""
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def describe_packages() -> str:
    return ", ".join(f"{name} {package_version(name)}" for name in PACKAGES)


def package_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"
