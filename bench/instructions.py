"""`python -m bench.instructions`: processor instructions that a proxy spends on a request, in user mode.

Here:  one connection, a fixed number of requests after a warm-up, and the counters of callgrind (a part of
       valgrind) around them. The count repeats to a thousandth, however busy the machine is: two commits can
       be compared where microseconds drown in noise.
Never: time; what the kernel does for a proxy, which is about half of what a fast one costs.

Go and Node programs do not run under valgrind. Exit code 0: all that is installed was counted; 1: not.
"""

import argparse
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.editions import issue_certificates
from bench.load import LOADS, Load
from bench.machine import choose_cores, describe_machine, usable_cores
from bench.peers import PEERS, UPSTREAM, Peer, peer_version
from bench.process import raise_on_signals
from bench.programs import MissingError, find_program
from bench.rounds import TROUBLE, say
from bench.running import Running, running
from bench.tables import markdown_table
from bench.verify import faults_of_load

__all__ = ["instructions_of", "main"]

NAMES = ("corsproxy", "nginx", "haproxy", "envoy")
LOAD_NAMES = ("get", "browser", "preflight", "post", "down64k")
WARM_UPS, REQUESTS = 300, 1000
START_SECONDS = 120.0  # a program runs fifty times slower under callgrind
RESULTS = Path(__file__).parent / "results" / "instructions.md"


@dataclass(frozen=True, slots=True)
class Valgrind:
    """The two programs of valgrind that are needed. Raises MissingError when made without them."""

    program: str
    control: str

    def wrapper(self, folder: Path) -> tuple[str, ...]:
        """What stands before a command so that it is counted, with all it forks."""
        files = f"--callgrind-out-file={folder}/counts.%p"
        return (self.program, "--quiet", "--tool=callgrind", "--trace-children=yes", files)

    def dump(self, pids: Sequence[int]) -> None:
        """Let each process write its counters down and begin again at nought."""
        for pid in pids:
            subprocess.run([self.control, "-d", str(pid)], check=True, capture_output=True, timeout=60)


def find_valgrind() -> Valgrind:
    return Valgrind(
        *(find_program(name, "apt-get install valgrind") for name in ("valgrind", "callgrind_control"))
    )


def instructions_of(texts: Sequence[str]) -> int:
    """The sum of what dumps say they have counted. Raises ValueError for one that says nothing."""
    found = [re.search(r"^(?:summary|totals): (\d+)", text, re.MULTILINE) for text in texts]
    if None in found or not found:
        raise ValueError("callgrind wrote no counts")
    return sum(int(each[1]) for each in found if each is not None)


def send(port: int, load: Load, count: int) -> None:
    """So many requests, one after the other, over one connection. Raises ValueError for a wrong status."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        for _ in range(count):
            connection.request(load.method, load.path, load.body or None, load.fields)
            response = connection.getresponse()
            response.read()
            if response.status >= 300:
                raise ValueError(f"{load.name}: status {response.status}")
    finally:
        connection.close()


def count_load(valgrind: Valgrind, proxy: Running, load: Load, folder: Path) -> int:
    """Instructions a request."""
    faults = faults_of_load(proxy.door, load)
    if faults:
        raise ValueError("; ".join(faults))
    send(proxy.port, load, WARM_UPS)
    members = proxy.process.members()
    valgrind.dump(members)
    for old in folder.glob("counts.*.*"):
        old.unlink()
    send(proxy.port, load, REQUESTS)
    valgrind.dump(members)
    return instructions_of([dump.read_text() for dump in folder.glob("counts.*.*")]) // REQUESTS


def count_peer(valgrind: Valgrind, peer: Peer, loads: Sequence[Load], scratch: Path) -> list[int]:
    """Raises MissingError, ProcessEndedError, ValueError, OSError or TimeoutExpired."""
    folder = scratch / f"counted-{peer.name}"
    folder.mkdir()
    cores = choose_cores(usable_cores())
    with ExitStack() as stack:
        upstream = stack.enter_context(running(UPSTREAM, folder, cores.load))
        proxy = stack.enter_context(
            running(
                peer,
                folder,
                cores.proxy,
                upstream_port=upstream.port,
                wrapper=valgrind.wrapper(folder),
                patience=START_SECONDS,
            )
        )
        counts = []
        for load in loads:
            counts.append(count_load(valgrind, proxy, load, folder))
            say(f"{peer.name}, {load.name}: {counts[-1]:,} instructions a request")
        return counts


def report(loads: Sequence[Load], counted: dict[str, list[int]], versions: dict[str, str]) -> str:
    """The page."""
    facts = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        **describe_machine(),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()),
    }
    rows = [[name, *(f"{count:,}" for count in counts)] for name, counts in counted.items()]
    lines = "\n".join(f"- {label}: {value}" for label, value in facts.items())
    table = markdown_table(["proxy", *(load.name for load in loads)], rows)
    return (
        "# Instructions of a request\n\n"
        "Written by `make bench-instructions`: processor instructions in user mode, counted by callgrind, of "
        f"{REQUESTS:,} requests on one connection.\n\n{lines}\n\n{table}\n"
    )


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description="Count, not time.")
    parser.add_argument("--only", default=",".join(NAMES), help="proxies (default %(default)s)")
    parser.add_argument("--load", default=",".join(LOAD_NAMES), help="loads (default %(default)s)")
    asked = parser.parse_args(arguments)
    peers = [PEERS[name] for name in asked.only.split(",")]
    loads = [LOADS[name] for name in asked.load.split(",")]
    raise_on_signals()
    counted: dict[str, list[int]] = {}
    versions: dict[str, str] = {}
    failed = False
    with TemporaryDirectory(prefix="corsproxy-bench-") as scratch:
        issue_certificates(Path(scratch))
        for peer in peers:
            try:
                versions[peer.name] = peer_version(peer)
                counted[peer.name] = count_peer(find_valgrind(), peer, loads, Path(scratch))
            except MissingError as missing:
                say(f"SKIPPED {peer.name}: {missing}")
            except (*TROUBLE, subprocess.CalledProcessError) as trouble:
                failed = True
                say(f"FAILED {peer.name}: {trouble}")
    page = report(loads, counted, versions)
    print(page)
    if asked.only == ",".join(NAMES) and asked.load == ",".join(LOAD_NAMES) and counted:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(page)
    return 1 if failed or not counted else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
