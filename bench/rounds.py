"""The run: edition by edition, start what is there, check it, warm it up, measure in rounds.

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

from bench.editions import Edition, issue_certificates
from bench.generate import Generators, Target, send_load
from bench.load import LOADS, Load
from bench.machine import Cores
from bench.measure import CpuWindow, Sample, measure
from bench.peers import STREAMS_UPSTREAM, UPSTREAM, Peer, peer_version
from bench.process import ProcessEndedError
from bench.programs import MissingError, find_program
from bench.running import Running, running
from bench.verify import faults_of_load, faults_of_policy

__all__ = ["TROUBLE", "Outcome", "Plan", "find_generators", "run", "say", "seconds_needed", "takes"]

WARM_UP_SECONDS = 1  # for each load
START_SECONDS = 2.0  # of a proxy, in all

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

    @property
    def editions(self) -> tuple[Edition, ...]:
        """Those that the loads need, in order."""
        return tuple(dict.fromkeys(load.edition for load in self.loads))


@dataclass(slots=True)
class Outcome:
    """What came of it, filled as the run goes on."""

    versions: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)  # not installed: named, no failure
    # Did not start, answered wrong, or died: "envoy, edition tls" or "envoy, websocket", and why.
    wrong: dict[str, str] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)

    @property
    def faults(self) -> list[str]:
        return [f"{sample.title}: {fault}" for sample in self.samples for fault in sample.faults]

    def is_out(self, peer: str, load: Load) -> bool:
        """Has this proxy failed this load, or any before it?"""
        return not {f"{peer}, {load.name}", f"{peer}, edition {load.edition.name}"}.isdisjoint(self.wrong)

    @property
    def is_valid(self) -> bool:
        return bool(self.samples) and not self.wrong and not self.faults


@dataclass(slots=True)
class Stage:
    """What the loads of one edition stand on: all that it starts ends with the stack."""

    stack: ExitStack
    scratch: Path
    generators: Generators
    upstream: Running
    edition: Edition
    plan: Plan
    outcome: Outcome
    rates: dict[str, float] = field(default_factory=dict)  # requests a second at which a load is paced


def say(text: str) -> None:
    """Talk goes to stderr; stdout is for the tables."""
    print(text, file=sys.stderr, flush=True)


def takes(peer: Peer, load: Load) -> bool:
    """Is this load one for this proxy? A development proxy is measured by what everybody uses it for."""
    return load.is_common or not peer.only_common


def seconds_needed(plan: Plan) -> float:
    """How long the plan takes, about."""
    loads = [load for peer in plan.peers for load in plan.loads if takes(peer, load)]
    starts = len(plan.peers) * len(plan.editions)
    each_round = sum(load.lasts * plan.seconds + 0.4 for load in loads)
    return plan.rounds * each_round + len(loads) * WARM_UP_SECONDS + starts * START_SECONDS


def find_generators(cores: Cores) -> Generators:
    """What sends the loads. Raises MissingError."""
    return Generators(find_program("wrk", "apt-get install wrk"), cores.load)


def run(plan: Plan, scratch: Path) -> Outcome:
    """The whole run; nothing it started outlives it.

    Raises MissingError or ProcessEndedError when there is no upstream or no load generator: no figure then
    means anything. Trouble with a peer is recorded in the outcome instead.
    """
    outcome = Outcome()
    generators = find_generators(plan.cores)
    issue_certificates(scratch)
    for edition in plan.editions:
        kind = STREAMS_UPSTREAM if edition.is_streams else UPSTREAM
        outcome.versions[kind.name] = f"{Path(kind.program).name} {peer_version(kind)}"
        with ExitStack() as stack:
            upstream = stack.enter_context(running(kind, scratch, plan.cores.load, edition=edition))
            run_edition(Stage(stack, scratch, generators, upstream, edition, plan, outcome))
    return outcome


def run_edition(here: Stage) -> None:
    say(f"edition {here.edition.name}")
    ready = {asked.name: prepare(here, asked) for asked in here.plan.peers if loads_of(here, asked)}
    for number in range(1, here.plan.rounds + 1):
        for load in loads_of(here):
            peers = [
                peer for asked in here.plan.peers if takes(asked, load) and (peer := ready.get(asked.name))
            ]
            for peer in rotated(peers, number - 1):
                if not here.outcome.is_out(peer.name, load):
                    take_sample(here, peer, load, number)


def loads_of(here: Stage, peer: Peer | None = None) -> list[Load]:
    """The loads of this edition, or those that a peer takes."""
    return [
        load
        for load in here.plan.loads
        if load.edition == here.edition and (peer is None or takes(peer, load))
    ]


def prepare(here: Stage, peer: Peer) -> Running | None:
    """The peer, ready to be measured; None when it is left out, which the outcome then explains."""
    if peer.name in here.outcome.missing:
        return None
    try:
        here.outcome.versions[peer.name] = peer_version(peer)
        ready = here.stack.enter_context(
            running(
                peer,
                here.scratch,
                here.plan.cores.proxy,
                edition=here.edition,
                upstream_port=here.upstream.port,
            )
        )
        faults = [] if here.edition.is_streams else faults_of_policy(ready.door, peer.promise)
        if not faults:
            warm(here, peer, ready)
    except MissingError as missing:
        here.outcome.missing[peer.name] = str(missing)
        say(f"SKIPPED {peer.name}: {missing}")
        return None
    except TROUBLE as trouble:
        faults = [str(trouble) or type(trouble).__name__]
    if faults:
        leave_out(here, f"{peer.name}, edition {here.edition.name}", "; ".join(faults))
        return None
    say(f"ready: {peer.name} {here.outcome.versions[peer.name]}")
    return ready


def warm(here: Stage, peer: Peer, ready: Running) -> None:
    """Each load once, for a moment; not one that is answered wrong."""
    for load in loads_of(here, peer):
        faults = faults_of_load(ready.door, load, peer.promise)
        if faults:
            leave_out(here, f"{peer.name}, {load.name}", "; ".join(faults))
            continue
        if load.generator == "paced":
            here.rates[peer.name] = half_of_saturation(here, ready)
        target = Target(ready.port, ready.door.prefix, here.rates.get(peer.name, 0.0))
        send_load(here.generators, load, target, WARM_UP_SECONDS)


def half_of_saturation(here: Stage, peer: Running) -> float:
    """Half the GETs a second that the whole core of the proxy would do."""
    window = CpuWindow(peer, here.upstream)
    tally = send_load(
        here.generators, LOADS["get"], Target(peer.port, peer.door.prefix), 2 * WARM_UP_SECONDS, window
    )
    return tally.units / window.spent / 2


def leave_out(here: Stage, name: str, why: str) -> None:
    here.outcome.wrong[name] = why
    say(f"LEFT OUT {name}: {why}")


def rotated(peers: Sequence[Running], by: int) -> list[Running]:
    """Another one begins in each round, so that nobody always follows the same neighbour."""
    by %= max(len(peers), 1)
    return [*peers[by:], *peers[:by]]


def take_sample(here: Stage, peer: Running, load: Load, number: int) -> None:
    """One more sample, or one proxy less. Raises ProcessEndedError when it is the upstream that ended."""
    rate = here.rates.get(peer.name, 0.0)
    try:
        seconds = load.lasts * here.plan.seconds
        sample = measure(here.generators, here.upstream, peer, load, seconds, number, rate)
    except TROUBLE as trouble:
        here.upstream.process.require_alive()
        leave_out(here, f"{peer.name}, {load.name}", f"round {number}: {trouble}")
        return
    here.outcome.samples.append(sample)
    say(
        f"{sample.title}: {sample.cpu_us:.2f} µs, {sample.rate:,.0f}/s, core {sample.busy:.0%}, "
        f"p99 {sample.p99_us / 1000:.2f} ms"
    )
    for fault in sample.faults:
        say(f"INVALID {sample.title}: {fault}")
