"""`python -m bench`: the door of the benchmark.

Here:  arguments in, a plan to run, tables out, the exit code.
Never: figures.

Exit code 0: every measurement counts (a proxy may be missing); 1: something answered wrong or failed, or
nothing could be measured; 2: usage. A missed bar is a result, not a failure.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from bench.load import LOADS
from bench.machine import choose_cores, describe_machine, usable_cores
from bench.peers import PEERS
from bench.process import ProcessEndedError, raise_on_signals
from bench.programs import MissingError
from bench.report import Report, write_results
from bench.rounds import Outcome, Plan, run, say, seconds_needed
from bench.singles import SECONDS_EACH, SINGLES, Singles, measure_singles

Thing = TypeVar("Thing")
RESULTS = Path(__file__).parent / "results"
DEFAULT_LOADS = ",".join([*(name for name, load in LOADS.items() if load.is_default), *SINGLES])


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="corsproxy beside its peers, measured."
    )
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="rounds (default 5)")
    parser.add_argument(
        "--seconds", type=positive, default=4, metavar="S", help="of each measurement (default 4)"
    )
    parser.add_argument(
        "--only", default=",".join(PEERS), metavar="NAMES", help="proxies (default %(default)s)"
    )
    parser.add_argument(
        "--load",
        default=DEFAULT_LOADS,
        metavar="NAMES",
        help=f"of {', '.join([*LOADS, *SINGLES])} (default: all but browser)",
    )
    parser.add_argument("--quick", action="store_true", help="one round of one second; no result files")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, metavar="FOLDER", help="where to write (default %(default)s)"
    )
    asked = parser.parse_args(arguments)
    try:
        asked.peers = pick(asked.only, PEERS)
        chosen = pick(asked.load, {name: name for name in [*LOADS, *SINGLES]})
    except ValueError as unknown:
        parser.error(str(unknown))
    asked.loads = tuple(LOADS[name] for name in chosen if name in LOADS)
    asked.singles = tuple(name for name in chosen if name in SINGLES)
    return asked


def positive(text: str) -> int:
    """argparse turns the ValueError into a usage message."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def pick(names: str, things: Mapping[str, Thing]) -> tuple[Thing, ...]:
    """The named things, in the order of the table. Raises ValueError for an unknown name."""
    asked = {name.strip() for name in names.split(",")}
    unknown = asked - things.keys()
    if unknown:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(things)}")
    return tuple(thing for name, thing in things.items() if name in asked)


def measure(plan: Plan, singles: tuple[str, ...]) -> tuple[Outcome, Singles]:
    """Everything. Raises MissingError or ProcessEndedError when nothing can be measured."""
    with TemporaryDirectory(prefix="corsproxy-bench-") as scratch:
        return run(plan, Path(scratch)), measure_singles(singles, plan, Path(scratch))


def main(arguments: Sequence[str]) -> int:
    asked = parse_arguments(arguments)
    raise_on_signals()
    machine = describe_machine()
    rounds, seconds = (1, 1) if asked.quick else (asked.rounds, asked.seconds)
    plan = Plan(asked.peers, asked.loads, rounds, seconds, choose_cores(usable_cores()))
    needed = seconds_needed(plan) + sum(SECONDS_EACH[name] for name in asked.singles)
    say(f"cores: {plan.cores}\nthis takes about {needed / 60:.0f} minutes")
    try:
        outcome, singles = measure(plan, asked.singles)
    except (MissingError, ProcessEndedError) as problem:
        say(f"cannot measure: {problem}")
        return 1
    report = Report(datetime.now(UTC).isoformat(timespec="seconds"), machine, plan, outcome, singles)
    print(report.tables())
    if not asked.quick:
        write_results(report, asked.results)
    return 0 if outcome.is_valid or not plan.loads else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
