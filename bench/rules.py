"""`python -m bench.rules`: does a decision cost the same in a file of thousands of origins and routes?

Here:  files with one and with many of each, what one decision costs in both, how long the large ones load.
Never: sockets, other proxies (`python -m bench`).

Nothing is remembered from one decision to the next: what a server remembers is passed by, or overflows.

Exit code 0: the large file costs at most a tenth more per decision and loads in time; 1: it does not.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from corsproxy.config.compile import load_table
from corsproxy.config.table import Route, Table
from corsproxy.cors.decide import Decision, decide_actual
from corsproxy.http.faults import Fault
from corsproxy.proxy.routing import Router

__all__ = ["SUBJECTS", "Result", "Subject", "loaded", "measure_all"]

ROUNDS = 25
CALLS = 4_000  # in a round
ASKED = 64  # different origins or routes, of all there are
FORGOTTEN = 5_000  # different requests after which a router has forgotten the first: its memo holds 4,096
MOST_RATIO = 1.10
MOST_SECONDS = 2.0

HEAD = "listen: 127.0.0.1:8080\nadmin: off\n"
UPSTREAM = "upstream: http://127.0.0.1:9000"


# From a table that holds so many of something: a call that makes one decision.
Prepare = Callable[[Table, int], Callable[[], object]]


@dataclass(frozen=True, slots=True)
class Subject:
    """Something that a file may hold many of."""

    says: str
    many: int
    text: Callable[[int], str]  # the file with so many of it
    prepare: Prepare


def origins(entries: Sequence[str]) -> str:
    listed = "".join(f'        - "{entry}"\n' for entry in entries)
    return f"{HEAD}routes:\n  - {UPSTREAM}\n    cors:\n      allow_origins:\n{listed}"


def routes(matches: Sequence[str]) -> str:
    listed = "".join(f"  - {{{UPSTREAM}, match: {{{match}}}, cors: web}}\n" for match in matches)
    return f"{HEAD}policies:\n  web: {{allow_origins: [https://app.example.com]}}\nroutes:\n{listed}"


def spread(count: int) -> Iterator[int]:
    """Numbers of entries from all over the file, the first and the last among them, without end."""
    return cycle([at * (count - 1) // (ASKED - 1) for at in range(ASKED)])


def decide(shape: str) -> Prepare:
    """Decide about requests of origins. shape: the origin, with the number of an entry left open."""

    def prepare(table: Table, count: int) -> Callable[[], Decision]:
        policy = table.policies[0]
        # With one byte too many: cutting it off makes a value whose hash nobody knows yet, as from a socket.
        asked = cycle([(shape % number).encode() + b"/" for number in islice(spread(count), ASKED)])
        return lambda: decide_actual(policy, next(asked)[:-1])

    return prepare


def match(host: str, path: str) -> Prepare:
    """Find the routes of requests. host, path: "#" is the number of a route."""

    def prepare(table: Table, count: int) -> Callable[[], Route | Fault]:
        router = Router(table.routes)
        asked = cycle(
            [
                (
                    host.replace("#", f"{number:05}").encode(),
                    f"{path}/{at:05}".replace("#", f"{number:05}").encode(),
                )
                for at, number in enumerate(islice(spread(count), FORGOTTEN))
            ]
        )
        return lambda: router.match(b"GET", *next(asked), ())

    return prepare


SUBJECTS = (
    Subject(
        "exact origins",
        10_000,
        lambda count: origins([f"https://app{number:05}.example.com" for number in range(count)]),
        decide("https://app%05d.example.com"),
    ),
    Subject(
        "exact origins, asked by a stranger",
        10_000,
        lambda count: origins([f"https://app{number:05}.example.com" for number in range(count)]),
        decide("https://stranger%05d.example.com"),
    ),
    Subject(
        "patterns",
        1_000,
        lambda count: origins([f"https://*.shop{number:05}.example.com" for number in range(count)]),
        decide("https://www.shop%05d.example.com"),
    ),
    Subject(
        "patterns, asked by a stranger",
        1_000,
        lambda count: origins([f"https://*.shop{number:05}.example.com" for number in range(count)]),
        decide("https://www.stranger%05d.example.com"),
    ),
    Subject(
        "routes by path",
        1_000,
        lambda count: routes([f"path: /service{number:05}" for number in range(count)]),
        match("api.example.com", "/service#"),
    ),
    Subject(
        "routes by host",
        1_000,
        lambda count: routes([f"hosts: [tenant{number:05}.example.com]" for number in range(count)]),
        match("tenant#.example.com", ""),
    ),
)


def loaded(text: str) -> Table:
    table, problems = load_table(text, "bench.yaml", {})
    if table is None or problems:
        raise AssertionError(problems)
    return table


@dataclass(frozen=True, slots=True)
class Result:
    says: str
    many: int
    load_seconds: float
    one_ns: float
    many_ns: float

    @property
    def ratio(self) -> float:
        return self.many_ns / self.one_ns

    @property
    def is_flat(self) -> bool:
        return self.ratio <= MOST_RATIO and self.load_seconds <= MOST_SECONDS

    def __str__(self) -> str:
        mark = "" if self.is_flat else "  <- too much"
        return (
            f"{self.says:36} {self.many:>6}   load {self.load_seconds:5.2f} s   "
            f"{self.one_ns:6.0f} ns with one   {self.many_ns:6.0f} ns with all   "
            f"ratio {self.ratio:4.2f}{mark}"
        )


def measure(subject: Subject) -> Result:
    """The best of many rounds, in turns: neighbours on the machine only ever make a round slower."""
    one = subject.prepare(loaded(subject.text(1)), 1)
    began = time.process_time()
    table = loaded(subject.text(subject.many))
    load_seconds = time.process_time() - began
    many = subject.prepare(table, subject.many)
    rounds = [(seconds_of(one), seconds_of(many)) for _ in range(ROUNDS)]
    return Result(
        subject.says,
        subject.many,
        load_seconds,
        min(first for first, _ in rounds) / CALLS * 1e9,
        min(second for _, second in rounds) / CALLS * 1e9,
    )


def seconds_of(decide: Callable[[], object]) -> float:
    calls = range(CALLS)
    began = time.process_time()
    for _ in calls:
        decide()
    return time.process_time() - began


def measure_all() -> list[Result]:
    """Every subject, one after the other, each said at once."""
    loaded(SUBJECTS[0].text(1))  # what is read once for the whole process belongs to no file
    results = []
    for subject in SUBJECTS:
        results.append(measure(subject))
        print(results[-1], file=sys.stderr, flush=True)
    return results


def main() -> int:
    return 0 if all(result.is_flat for result in measure_all()) else 1


if __name__ == "__main__":
    sys.exit(main())
