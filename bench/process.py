"""Processes: started on given cores, waited for, and ended in every way out.

Here:  one context manager a process, its session (itself and all it forks), free ports.
Never: what a proxy is or how it is configured; HTTP; figures.
"""

import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "ROOT",
    "Process",
    "ProcessEndedError",
    "end_with_parent",
    "free_port",
    "pinned",
    "raise_on_signals",
    "started",
    "wait_until",
]

ROOT = Path(__file__).parent.parent  # so that `-m corsproxy` and `-m bench` are those of this checkout

PATIENCE_SECONDS = 3.0  # between asking a process to end and ending it
SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of prctl(2)

LIBC = ctypes.CDLL(None, use_errno=True)


class ProcessEndedError(Exception):
    """A process ended, or never served, although it was needed. The text says which, and its last words."""


@dataclass(frozen=True, slots=True)
class Process:
    """A started program. It leads its own session, so whatever it forks can be found and ended."""

    name: str
    popen: subprocess.Popen[bytes]
    output: Path  # what it said, stdout and stderr together

    def members(self) -> list[int]:
        """The ids of the program and of all it forked, in order."""
        return sorted(pid for pid in all_pids() if session_of(pid) == self.popen.pid)

    def last_words(self, lines: int = 3) -> str:
        said = self.output.read_text(errors="replace").strip().splitlines()
        return " | ".join(said[-lines:]) or "it said nothing"

    def require_alive(self) -> None:
        """Raise ProcessEndedError when the program has ended."""
        status = self.popen.poll()
        if status is not None:
            raise ProcessEndedError(f"{self.name} ended with status {status}: {self.last_words()}")


def all_pids() -> Iterator[int]:
    return (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())


def session_of(pid: int) -> int | None:
    """None when the process has ended meanwhile, or only its exit status is left."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name, field 2, may hold spaces and parentheses, so count from its end (proc_pid_stat(5)).
    state, _, _, session = stat.rpartition(")")[2].split()[:4]
    return None if state == "Z" else int(session)


@contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """What starts inside inherits these cores; we go back to our own afterwards."""
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)


@contextmanager
def started(
    name: str,
    command: Sequence[str],
    *,
    cores: frozenset[int],
    folder: Path,
    environment: Mapping[str, str],
    output: Path,
) -> Iterator[Process]:
    """Run a program in `folder` until the block is left, by whatever way."""
    with output.open("wb") as sink, pinned(cores):
        popen = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # also keeps the terminal's Ctrl-C from it: we end it, in order
            preexec_fn=end_with_parent,  # noqa: PLW1509 - unsafe with threads only, and we have none
        )
    process = Process(name, popen, output)
    try:
        yield process
    finally:
        end(process)


def end_with_parent() -> None:
    """Ask the kernel for SIGTERM when the benchmark dies: a SIGKILL runs no `finally`."""
    LIBC.prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def end(process: Process) -> None:
    """Ask, wait, then insist; at the end no member of the session is left."""
    process.popen.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.popen.wait(PATIENCE_SECONDS)
    while members := process.members():  # a killed process is seen a moment longer
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    process.popen.wait()


def free_port() -> int:
    """A port nobody listens on now. It may be taken before we use it; then the proxy says so and ends."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def raise_on_signals() -> None:
    """Let SIGTERM and SIGHUP leave through every `finally`, as Ctrl-C does by itself."""

    def leave(number: int, _frame: object) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)


def wait_until(process: Process, is_ready: Callable[[], bool], seconds: float, every: float = 0.05) -> None:
    """Raise ProcessEndedError when the program ends first, or the time is over."""
    deadline = time.monotonic() + seconds
    while not is_ready():
        process.require_alive()
        if time.monotonic() > deadline:
            raise ProcessEndedError(
                f"{process.name} did not serve within {seconds:.0f} s: {process.last_words()}"
            )
        time.sleep(every)  # another process sends no word
