"""What is measured once instead of in rounds: start, idle connections, large files, two workers.

Here:  which there are, and the order they run in; what could not be measured, and why.
Never: how each is measured (`start`, `idle`, `rules`, `workers`).
"""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.idle import measure_idle, take_all_files
from bench.machine import usable_cores
from bench.peers import UPSTREAM, Peer
from bench.programs import MissingError
from bench.rounds import TROUBLE, Plan, find_generators, say
from bench.rules import Result, measure_all
from bench.running import Running, running
from bench.start import Start, measure_start
from bench.workers import Workers, measure_workers

__all__ = ["SINGLES", "Singles", "measure_singles"]

SINGLES = {
    "start": "from nothing to the first answer",
    "idle": "memory of 10,000 idle keep-alive connections",
    "rules": "a decision with thousands of routes and origins in the file",
    "workers": "two workers beside one",
}
SECONDS_EACH = {"start": 60, "idle": 60, "rules": 40, "workers": 120}


@dataclass(slots=True)
class Singles:
    """What came of them, filled as they go on."""

    start: dict[str, Start] = field(default_factory=dict)
    idle: dict[str, float] = field(default_factory=dict)  # bytes each
    rules: list[Result] = field(default_factory=list)
    workers: Workers | None = None
    absent: dict[str, str] = field(default_factory=dict)  # "idle, envoy" or "workers": why there is no figure


def measure_singles(asked: tuple[str, ...], plan: Plan, scratch: Path) -> Singles:
    """Raises MissingError or ProcessEndedError when there is no upstream."""
    found = Singles()
    take_all_files()
    folder = scratch / "singles"
    folder.mkdir()
    peers = [peer for peer in plan.peers if not peer.only_common]
    with ExitStack() as stack:
        upstream = stack.enter_context(running(UPSTREAM, folder, plan.cores.load))
        for name in asked:
            say(f"single: {SINGLES[name]}")
            match name:
                case "start":
                    each_peer(found, name, peers, lambda peer: start(found, peer, folder, plan, upstream))
                case "idle":
                    each_peer(found, name, peers, lambda peer: idle(found, peer, folder, plan, upstream))
                case "rules":
                    found.rules = measure_all()
                case "workers":
                    attempt(found, name, lambda: workers(found, folder, plan, upstream))
    return found


def each_peer(found: Singles, name: str, peers: list[Peer], step: Callable[[Peer], None]) -> None:
    for peer in peers:
        attempt(found, f"{name}, {peer.name}", lambda: step(peer))  # noqa: B023 - called at once


def attempt(found: Singles, title: str, step: Callable[[], None]) -> None:
    """No figure is better than a run without the rest of them."""
    try:
        step()
    except (MissingError, *TROUBLE) as trouble:
        found.absent[title] = str(trouble) or type(trouble).__name__
        say(f"NO FIGURE for {title}: {found.absent[title]}")


def start(found: Singles, peer: Peer, scratch: Path, plan: Plan, upstream: Running) -> None:
    figure = measure_start(peer, scratch, plan.cores, upstream)
    found.start[peer.name] = figure
    say(f"start, {peer.name}: {figure.seconds:.3f} s")


def idle(found: Singles, peer: Peer, scratch: Path, plan: Plan, upstream: Running) -> None:
    figure = measure_idle(peer, scratch, plan.cores, upstream)
    found.idle[peer.name] = figure
    say(f"idle, {peer.name}: {figure / 1024:.2f} KiB each")


def workers(found: Singles, scratch: Path, plan: Plan, upstream: Running) -> None:
    usable = frozenset(usable_cores())
    generators = find_generators(plan.cores)
    found.workers = measure_workers(generators, scratch, usable, plan.cores, upstream, plan.seconds)
    say(f"workers: {found.workers}")
