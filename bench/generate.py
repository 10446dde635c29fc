"""Sending a load: the programs that do it, and the moment at which they really begin and end.

Here:  command lines, the talk with a generator that has to get ready first, its totals.
Never: what is measured meanwhile: `around` brings that.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol as Shape

from bench.load import Load
from bench.process import ROOT, end_with_parent, pinned
from bench.tally import Tally, parse_totals

__all__ = ["Generators", "Target", "Window", "send_load"]

HERE = Path(__file__).parent
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Generators:
    """What sends the loads, and where it may run."""

    wrk: str
    cores: frozenset[int]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a load goes."""

    port: int
    prefix: str = ""  # before the path, for a proxy that finds its upstream in it
    rate: float = 0.0  # requests a second, where the load is paced


class Window(Shape):
    """What is read when a load really begins, and when it is over."""

    def open(self) -> None: ...

    def close(self) -> None: ...


class NoWindow:
    """Nothing is read: a warm-up."""

    def open(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def wrk_command(wrk: str, load: Load, target: Target, seconds: int) -> list[str]:
    """One thread: with two cores it shares one with the upstream, and more would only add switches."""
    fields = [part for name, value in load.fields.items() for part in ("-H", f"{name}: {value}")]
    scheme = "https" if load.edition.is_tls else "http"
    sizes = ["-t", "1", "-c", str(load.connections), "-d", f"{seconds}s", "--timeout", "10s"]
    url = f"{scheme}://127.0.0.1:{target.port}{target.prefix}{load.path}"
    arguments = [load.method, "varied" if load.varies else "fixed", str(load.sends)]
    return [wrk, *sizes, "-s", str(HERE / "load.lua"), *fields, url, "--", *arguments]


def client_command(load: Load, target: Target, seconds: int) -> list[str]:
    """One of our own clients; they talk before and after."""
    path = target.prefix + load.path
    sizes = [str(load.connections), str(seconds)]
    if load.generator == "paced":
        return [sys.executable, "-m", "bench.paced", str(target.port), path, f"{target.rate:.1f}", *sizes]
    return [sys.executable, "-m", "bench.streams", load.generator, str(target.port), path, *sizes]


def send_load(
    generators: Generators, load: Load, target: Target, seconds: int, window: Window | None = None
) -> Tally:
    """Send a load for so many seconds. Raises ValueError when the generator reports nothing."""
    read = window or NoWindow()
    with pinned(generators.cores):
        if load.generator == "wrk":
            return send_by_wrk(wrk_command(generators.wrk, load, target, seconds), seconds, read)
        return send_by_client(client_command(load, target, seconds), read)


def send_by_wrk(command: list[str], seconds: int, window: Window) -> Tally:
    window.open()
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=seconds + PATIENCE_SECONDS
    )
    window.close()
    return parse_totals(done.stdout + done.stderr)


def send_by_client(command: list[str], window: Window) -> Tally:
    """Let it connect, then measure, then let it hang up."""
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=end_with_parent,  # noqa: PLW1509 - unsafe with threads only, and we have none
    ) as client:
        try:
            return talk(client, window)
        finally:
            client.kill()


def talk(client: "subprocess.Popen[str]", window: Window) -> Tally:
    if client.stdin is None or client.stdout is None or client.stderr is None:
        raise AssertionError("all three are pipes")
    if client.stdout.readline() != "ready\n":
        raise ValueError(f"the load generator did not get ready: {client.stderr.read()[-300:]}")
    window.open()
    client.stdin.write("go\n")
    client.stdin.flush()
    line = client.stdout.readline()
    window.close()
    client.stdin.close()
    client.wait(PATIENCE_SECONDS)
    return parse_totals(line or client.stderr.read())
