"""The run: start what is there, check it, warm it up, measure in rounds.

Here:  the order of things, and who is left out and why.
Never: how a figure is taken (`measure`) or shown (`report`); arguments of the command line.
"""

import http.client
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.load import Load
from bench.machine import Cores
from bench.measure import Bench, Sample, measure, run_load
from bench.peers import UPSTREAM, MissingError, Peer, Running, find_program, peer_version, running
from bench.process import ProcessEndedError
from bench.verify import faults_of_load, faults_of_policy

__all__ = ["WARM_UP_SECONDS", "Outcome", "Plan", "run", "say", "stage"]

WARM_UP_SECONDS = 1  # for each load

# What a proxy that does not work looks like from here: ended, silent, cut off, or slower than any patience.
TROUBLE = (ProcessEndedError, OSError, http.client.HTTPException, ValueError, subprocess.TimeoutExpired)


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for."""

    peers: tuple[Peer, ...]
    loads: tuple[Load, ...]
    rounds: int
    seconds: int
    cores: Cores


@dataclass(slots=True)
class Outcome:
    """What came of it, filled as the run goes on."""

    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)  # not installed: named, no failure
    wrong: dict[str, str] = field(default_factory=dict)  # did not start, answered wrong, or died
    samples: list[Sample] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        return [f"{sample.title}: {fault}" for sample in self.samples for fault in sample.faults]

    @property
    def is_valid(self) -> bool:
        return bool(self.samples) and not self.wrong and not self.faults


@dataclass(frozen=True, slots=True)
class Stage:
    """What a run stands on: all it starts ends with the stack."""

    stack: ExitStack
    scratch: Path
    bench: Bench
    plan: Plan
    outcome: Outcome


def say(text: str) -> None:
    """Talk goes to stderr; stdout is for the table."""
    print(text, file=sys.stderr, flush=True)


def stage(stack: ExitStack, scratch: Path, cores: Cores) -> Bench:
    """The upstream and the load generator. Raises MissingError or ProcessEndedError."""
    wrk = find_program("wrk", "apt-get install wrk")
    upstream = stack.enter_context(running(UPSTREAM, scratch, cores.load))
    return Bench(wrk, upstream, cores.load)


def run(plan: Plan, scratch: Path) -> Outcome:
    """The whole run; nothing it started outlives it.

    Raises MissingError or ProcessEndedError when there is no upstream or no load generator: no figure then
    means anything. Trouble with a peer is recorded in the outcome instead.
    """
    outcome = Outcome()
    with ExitStack() as stack:
        bench = stage(stack, scratch, plan.cores)
        outcome.versions["upstream"] = f"nginx {peer_version(UPSTREAM)}"
        here = Stage(stack, scratch, bench, plan, outcome)
        ready = [peer for asked in plan.peers if (peer := prepare(here, asked)) is not None]
        for number in range(1, plan.rounds + 1):
            run_round(here, rotated(ready, number - 1), number)
    return outcome


def prepare(here: Stage, peer: Peer) -> Running | None:
    """The peer, ready to be measured; None when it is left out, which the outcome then explains."""
    try:
        here.outcome.versions[peer.name] = peer_version(peer)
        ready = here.stack.enter_context(
            running(peer, here.scratch, here.plan.cores.proxy, here.bench.upstream.port)
        )
        faults = check_and_warm(here, ready)
    except MissingError as missing:
        here.outcome.missing[peer.name] = str(missing)
        say(f"SKIPPED {peer.name}: {missing}")
        return None
    except TROUBLE as trouble:
        faults = [str(trouble)]
    if faults:
        leave_out(here, peer.name, "; ".join(faults))
        return None
    say(f"ready: {peer.name} {here.outcome.versions[peer.name]}")
    return ready


def check_and_warm(here: Stage, peer: Running) -> list[str]:
    """What the peer does wrong. Only one without fault is warmed up."""
    faults = faults_of_policy(peer.port)
    for load in here.plan.loads:
        faults += [f"{load.name}: {fault}" for fault in faults_of_load(peer.port, load)]
    if not faults:
        for load in here.plan.loads:
            run_load(here.bench, load, peer.port, WARM_UP_SECONDS)
    return faults


def leave_out(here: Stage, name: str, why: str) -> None:
    here.outcome.wrong[name] = why
    say(f"LEFT OUT {name}: {why}")


def rotated(peers: Sequence[Running], by: int) -> list[Running]:
    """Another one begins in each round, so that nobody always follows the same neighbour."""
    by %= max(len(peers), 1)
    return [*peers[by:], *peers[:by]]


def run_round(here: Stage, peers: Sequence[Running], number: int) -> None:
    for load in here.plan.loads:
        for peer in peers:
            if peer.name not in here.outcome.wrong:
                take_sample(here, peer, load, number)


def take_sample(here: Stage, peer: Running, load: Load, number: int) -> None:
    """One more sample, or one proxy less. Raises ProcessEndedError when it is the upstream that ended."""
    try:
        sample = measure(here.bench, peer, load, here.plan.seconds, number)
    except TROUBLE as trouble:
        here.bench.upstream.process.require_alive()
        leave_out(here, peer.name, f"{load.name}, round {number}: {trouble}")
        return
    here.outcome.samples.append(sample)
    say(f"{sample.title}: {sample.cpu_us:.2f} µs, {sample.rate:,.0f}/s")
    for fault in sample.faults:
        say(f"INVALID {sample.title}: {fault}")
