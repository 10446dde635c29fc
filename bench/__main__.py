"""`python -m bench`: the door of the benchmark.

Here:  arguments in, a plan to run, tables out, the exit code.
Never: figures.

Exit code 0: every measurement counts (a proxy may be missing); 1: something answered wrong or failed, or
nothing could be measured; 2: usage.
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
from bench.peers import PEERS, MissingError
from bench.process import ProcessEndedError, raise_on_signals
from bench.report import Report, write_results
from bench.rounds import Plan, run, say

Thing = TypeVar("Thing")


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="corsproxy beside its peers, measured."
    )
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="rounds (default 5)")
    parser.add_argument(
        "--seconds", type=positive, default=5, metavar="S", help="of each measurement (default 5)"
    )
    parser.add_argument(
        "--only", default=",".join(PEERS), metavar="NAMES", help="proxies (default %(default)s)"
    )
    parser.add_argument(
        "--load",
        default="get,preflight",
        metavar="NAMES",
        help=f"of {', '.join(LOADS)} (default %(default)s)",
    )
    parser.add_argument("--quick", action="store_true", help="one round of one second; no result files")
    asked = parser.parse_args(arguments)
    try:
        asked.peers = pick(asked.only, PEERS)
        asked.loads = pick(asked.load, LOADS)
    except ValueError as unknown:
        parser.error(str(unknown))
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


def main(arguments: Sequence[str]) -> int:
    asked = parse_arguments(arguments)
    raise_on_signals()
    machine = describe_machine()
    cores = choose_cores(usable_cores())
    rounds, seconds = (1, 1) if asked.quick else (asked.rounds, asked.seconds)
    plan = Plan(asked.peers, asked.loads, rounds, seconds, cores)
    say(f"cores: {cores}")
    try:
        with TemporaryDirectory(prefix="corsproxy-bench-") as scratch:
            outcome = run(plan, Path(scratch))
    except (MissingError, ProcessEndedError) as problem:
        say(f"cannot measure: {problem}")
        return 1
    report = Report(datetime.now(UTC).isoformat(timespec="seconds"), machine, plan, outcome)
    print(report.tables())
    if not asked.quick:
        write_results(report, Path(__file__).parent)
    return 0 if outcome.is_valid else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
