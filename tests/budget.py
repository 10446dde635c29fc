"""`python -m tests.budget`: how many bytecode instructions an exchange costs, beside what it may cost.

Here:  exchanges driven in memory through the real reader, handler, pool and parsers; the counts; the baseline
       in `budget.json`, a column for each minor version of Python.
Never: sockets, clocks, load: the count is the same on every machine, however busy it is. What C spends is not
       seen here; `python -m bench.instructions` counts that.

`--write` renews the column of the Python that runs it.
"""

import argparse
import asyncio
import json
import os
import socket
import sys
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import cast

from corsproxy.config.compile import load_table
from corsproxy.ops.loop import run_loop
from corsproxy.ops.serving import Serving
from corsproxy.ops.writer import LineWriter
from corsproxy.upstream.connection import Connection
from tests.budget_cases import CASES, Budgeted, Steps
from tests.counting import count_instructions

__all__ = ["BASELINE", "MARGIN", "VERSION", "count", "read_baseline", "verdict"]

BASELINE = Path(__file__).parent / "budget.json"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
MARGIN = 5  # percent of the baseline, either way
RENEW = "python -m tests.budget --write"

WARM_UPS = 3
COUNTS = 5  # the least of them counts: once a second an exchange makes a Date line

# As in `bench/peers/corsproxy.yaml`: everything a user gets by default is on, metrics too.
CONFIG = """\
listen: 127.0.0.1:0
admin: off
log: {{level: warning, format: json, access: {access}}}
routes:
  - upstream: http://127.0.0.1:9000
    cors:
      allow_origins: [https://app.example.com, https://*.preview.example.com]
      allow_credentials: true
      allow_methods: [GET, PUT, POST]
      allow_headers: [content-type, authorization]
      expose_headers: [X-Total-Count]
      max_age: 600
"""


class Wire(asyncio.Transport):
    """A transport that takes everything and sends it nowhere."""

    def __init__(self, sock: socket.socket | None = None) -> None:
        """sock: what the pool looks at before it uses a connection again."""
        super().__init__({"socket": sock, "peername": ("192.0.2.7", 50000)})
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written.append(cast(bytes, data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.written += cast(Iterable[bytes], list_of_data)

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        """There is nothing to hold back."""

    resume_reading = pause_reading

    def taken(self) -> bytes:
        """What was written since the last call."""
        data, self.written = b"".join(self.written), []
        return data


class Plane:
    """The data plane of a process, meter and log too, between one client and one upstream connection."""

    def __init__(self, case: Budgeted, out: LineWriter, silent: socket.socket) -> None:
        table, problems = load_table(
            CONFIG.format(access="true" if case.logged else "false"), "budget.yaml", {}
        )
        if table is None or problems:
            raise AssertionError(problems)
        self.serving = Serving(table, out, {})
        self.silent = silent

    async def start(self) -> None:
        """Everything but the sockets of the two sides."""
        server = self.serving.server
        await server.start()
        if server._clients is None:
            raise AssertionError("it serves nobody")
        self.server = server._clients
        (cluster,) = server._clusters.serving.values()
        (pool,) = cluster.pools
        self.upstream = Connection(pool)
        self.upstream.connection_made(Wire(self.silent))
        pool.keep(self.upstream)
        self.outboxes = (self.server.outbox, pool.outbox)

    async def stop(self) -> None:
        self.serving.server.abort()
        self.disconnect()
        await self.serving.stop()

    def connect(self) -> None:
        """A new client."""
        self.wire = Wire()
        self.client = self.server()
        self.client.connection_made(self.wire)

    def play(self, steps: Steps) -> None:
        """Each step is a turn of the event loop by itself, which is more work than if several shared one."""
        for who, data in steps:
            (self.client if who == "client" else self.upstream).data_received(data)
            for outbox in self.outboxes:
                outbox.flush()

    def play_on_new_connection(self, steps: Steps) -> None:
        self.connect()
        self.play(steps)
        self.disconnect()

    def disconnect(self) -> None:
        """The client is gone; once is enough."""
        self.client.connection_lost(None)


def count(case: Budgeted) -> list[int]:
    """How many instructions the exchange took, each time anew. Raises AssertionError when it went wrong."""
    ours, theirs = socket.socketpair()
    with ours, theirs, Path(os.devnull).open("w", encoding="ascii") as sink, closing(LineWriter(sink)) as out:
        return run_loop(_count(case, Plane(case, out, ours)))


async def _count(case: Budgeted, plane: Plane) -> list[int]:
    await plane.start()
    if case.on_new_connection:
        play = plane.play_on_new_connection
    else:
        play = plane.play
        plane.connect()
        play(case.before)
        plane.wire.taken()
    try:
        return [_count_once(case, plane, play) for _ in range(WARM_UPS + COUNTS)][WARM_UPS:]
    finally:
        await plane.stop()


def _count_once(case: Budgeted, plane: Plane, play: Callable[[Steps], None]) -> int:
    counted = count_instructions(lambda: play(case.counted))
    _check(case, plane)
    return counted


def _check(case: Budgeted, plane: Plane) -> None:
    """A wrong answer has no price."""
    got = plane.wire.taken()
    if not (got.startswith(case.answer) and got.endswith(case.ends)):
        raise AssertionError(f"{case.says}: {got[:200]!r}")
    sent = [data for who, data in case.counted if who == "client"]
    passed = cast(Wire, plane.upstream.transport).taken()
    if len(case.counted) > len(sent) > 0 and not passed.endswith(sent[-1][-2:]):
        raise AssertionError(f"{case.says}: the upstream got {passed[-200:]!r}")


def read_baseline() -> dict[str, dict[str, int]]:
    """For each minor version of Python: what each exchange may cost."""
    return cast(dict[str, dict[str, int]], json.loads(BASELINE.read_text()))


def verdict(counted: int, baseline: int) -> str:
    """What is wrong with a count; "" when it keeps to the baseline."""
    change = counted - baseline
    if abs(change) * 100 <= MARGIN * baseline:
        return ""
    way, advice = (
        ("more", "If it is worth that") if change > 0 else ("less", "Well done. So that it stays so")
    )
    return (
        f"{counted:,} instructions, {abs(change) / baseline:.1%} {way} than the baseline's {baseline:,}. "
        f"{advice}: {RENEW}"
    )


def main() -> int:
    """Print what each exchange costs, and what it may; exit code 1 when one of them is out of bounds."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.budget", description="Bytecode instructions of an exchange."
    )
    parser.add_argument("--write", action="store_true", help=f"renew the baseline of Python {VERSION}")
    asked = parser.parse_args()
    baseline = read_baseline()
    mine = baseline.get(VERSION, {})
    counts = {case.says: min(count(case)) for case in CASES}
    for says, counted in counts.items():
        objection = verdict(counted, mine[says]) if says in mine else "new"
        sys.stdout.write(f"{says:40} {counted:>6,} {objection}\n")
    if asked.write:
        renewed = {**baseline, VERSION: counts}
        BASELINE.write_text(json.dumps(dict(sorted(renewed.items(), key=_version_key)), indent=2) + "\n")
        return 0
    return 1 if any(verdict(counts[says], mine[says]) for says in mine.keys() & counts.keys()) else 0


def _version_key(column: tuple[str, object]) -> int:
    return int(column[0].partition(".")[2])


if __name__ == "__main__":
    sys.exit(main())
