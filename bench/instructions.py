"""`python -m bench.instructions`: user-space instructions that corsproxy spends on a request.

Here:  `perf stat` around one load at a time. Instructions hardly depend on clock speed and neighbours, so two
       commits can be compared where microseconds drown in noise.
Never: peers, tables, result files. Most virtual machines hide the counter; then it says so and exits 0.
"""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.load import LOADS, Load, parse_totals, wrk_command
from bench.machine import choose_cores, usable_cores
from bench.measure import Bench, run_load
from bench.peers import PEERS, MissingError, Running, find_program, running
from bench.process import ProcessEndedError, pinned, raise_on_signals
from bench.rounds import WARM_UP_SECONDS, say, stage
from bench.verify import faults_of_policy

EVENT = "instructions:u"
SECONDS = 5


def count_command(perf: str, event: str, pids: list[int], output: Path) -> list[str]:
    """Count in these processes while the command that follows runs."""
    return [perf, "stat", "-x,", "-e", event, "-o", str(output), "-p", ",".join(map(str, pids)), "--"]


def parse_count(text: str) -> float | None:
    """The first field of perf's CSV; None when this machine does not count the event.

    perf-stat(1), CSV FORMAT; instead of a number it says `<not supported>` or `<not counted>`.
    """
    for line in text.splitlines():
        value = line.split(",")[0]
        if line and not line.startswith("#"):
            return float(value) if value.replace(".", "", 1).isdigit() else None
    return None


def is_supported(perf: str, event: str, scratch: Path) -> bool:
    """Try it on a program that does nothing."""
    output = scratch / "probe.csv"
    command = [perf, "stat", "-x,", "-e", event, "-o", str(output), "--", "true"]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.returncode == 0 and parse_count(output.read_text()) is not None


def count_load(perf: str, bench: Bench, peer: Running, load: Load, scratch: Path) -> str:
    """One line of text. Raises ValueError when the load or the counting failed."""
    output = scratch / f"{load.name}.csv"
    count = count_command(perf, EVENT, peer.process.members(), output)
    with pinned(bench.load_cores):
        command = [*count, *wrk_command(bench.wrk, load, peer.port, SECONDS)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS + 30)
    tally = parse_totals(done.stdout + done.stderr)
    total = parse_count(output.read_text())
    faults = tally.faults(load)
    if faults or total is None:
        raise ValueError(f"{load.name}: {'; '.join(faults) or 'perf counted nothing'}")
    return f"{load.name}: {total / tally.requests:,.0f} instructions per request ({tally.requests} requests)"


def run(perf: str, scratch: Path) -> None:
    """Print a line a load. Raises what `stage` and `running` raise, and ValueError."""
    cores = choose_cores(usable_cores())
    with ExitStack() as stack:
        bench = stage(stack, scratch, cores)
        peer = stack.enter_context(running(PEERS["corsproxy"], scratch, cores.proxy, bench.upstream.port))
        wrong = faults_of_policy(peer.port)
        if wrong:
            raise ValueError("; ".join(wrong))
        for load in (LOADS["get"], LOADS["preflight"]):
            run_load(bench, load, peer.port, WARM_UP_SECONDS)
            print(count_load(perf, bench, peer, load, scratch), flush=True)


def main() -> int:
    raise_on_signals()
    with TemporaryDirectory(prefix="corsproxy-bench-") as scratch:
        try:
            perf = find_program("perf", "apt-get install linux-perf")
            if not is_supported(perf, EVENT, Path(scratch)):
                print(f"not supported here: this machine does not count {EVENT}")
                return 0
            run(perf, Path(scratch))
        except (MissingError, ProcessEndedError, ValueError) as problem:
            say(f"cannot count: {problem}")
            return 1
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
