"""How long from nothing to the first answer.

Here:  fresh starts of a proxy, timed until a GET comes back through it.
Never: what it costs from then on.
"""

import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.machine import Cores
from bench.peers import Peer
from bench.process import pinned
from bench.running import Running, running

__all__ = ["Start", "measure_start"]

WARM_STARTS, COLD_STARTS = 7, 3


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds of each start."""

    warm: tuple[float, ...]
    cold: tuple[float, ...] = ()  # without byte-code of Python modules, as the first start after an update

    @property
    def seconds(self) -> float:
        """The median of the warm ones."""
        return median(self.warm)


def measure_start(peer: Peer, scratch: Path, cores: Cores, upstream: Running) -> Start:
    """Raises MissingError or ProcessEndedError."""
    with pinned(cores.load):
        start_once(peer, scratch, cores, upstream)  # so that files are in the page cache for all alike
        warm = tuple(start_once(peer, scratch, cores, upstream) for _ in range(WARM_STARTS))
        cold = [
            start_cold(peer, scratch, cores, upstream) for _ in range(COLD_STARTS if is_python(peer) else 0)
        ]
    return Start(warm, tuple(cold))


def start_once(peer: Peer, scratch: Path, cores: Cores, upstream: Running) -> float:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(dir=scratch)))
        began = time.monotonic()
        stack.enter_context(running(peer, folder, cores.proxy, upstream_port=upstream.port, every=0.001))
        return time.monotonic() - began


def start_cold(peer: Peer, scratch: Path, cores: Cores, upstream: Running) -> float:
    """With an empty place for byte-code: every module is compiled."""
    with TemporaryDirectory(dir=scratch) as folder:
        environment = (*peer.environment, ("PYTHONPYCACHEPREFIX", folder))
        return start_once(replace(peer, environment=environment), scratch, cores, upstream)


def is_python(peer: Peer) -> bool:
    return peer.name == "corsproxy"
