"""The log never stops the proxy: not when nobody reads it, not when the disk is full."""

import errno
import io
import os
import threading
from pathlib import Path

from corsproxy.ops.writer import _LIMIT_BYTES, LineWriter


def test_lines_arrive_in_order() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as far, os.fdopen(writing, "w") as near:
        out = LineWriter(near)
        for number in range(100):
            out.write(f"line {number}\n")
        out.close()
        assert [far.readline() for _ in range(100)] == [b"line %d\n" % number for number in range(100)]


def test_a_pipe_that_nobody_reads_blocks_nobody_and_losses_are_counted() -> None:
    reading, writing = os.pipe()
    line = "x" * 1023 + "\n"
    with os.fdopen(reading, "rb") as far, os.fdopen(writing, "w") as near:
        out = LineWriter(near)
        sent = 4 * _LIMIT_BYTES // len(line)
        for _ in range(sent):
            out.write(line)  # would hang here
        received = 0
        lost = 0
        ended = threading.Event()

        def drain() -> None:
            nonlocal received, lost
            for got in far:
                if got.endswith(b"log lines were lost\n"):
                    lost += int(got.split(b" ")[0])
                    ended.set()
                elif got == b"last\n":
                    return
                else:
                    received += 1

        reader = threading.Thread(target=drain)
        reader.start()
        out._idle.wait(10)
        out.write("last\n")
        reader.join(10)
        assert ended.is_set()
        assert received + lost == sent
        assert received <= 2 * _LIMIT_BYTES // len(line) + 256  # queued, and in the thread's hands
        out.close()


def test_a_full_disk_is_survived() -> None:
    with Path("/dev/full").open("w") as full:
        out = LineWriter(full)
        out.write("nowhere\n")
        out.write("to go\n")
        out.close()


class Disk:
    """A stream that takes so many bytes, then none until it is given more room."""

    def __init__(self, out: LineWriter, room: int) -> None:
        self.content = b""
        self._room = room
        self._changed = threading.Condition()
        self._refused = 0
        out._raw = self._write

    def _write(self, data: bytes) -> int:
        with self._changed:
            if not self._room:
                self._refused += 1
                self._changed.notify_all()
                raise OSError(errno.ENOSPC, "No space left on device")
            taken = data[: self._room]
            self._room -= len(taken)
            self.content += taken
            return len(taken)

    def room(self, size: int) -> None:
        with self._changed:
            self._room = size

    def refuses(self, count: int) -> None:
        """Wait until it has refused so often."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._refused >= count, 10)


def test_a_line_that_was_torn_is_ended_and_every_lost_one_is_told_of_once() -> None:
    out = LineWriter(io.StringIO())
    disk = Disk(out, len("whole\n") + len("to"))
    out.write("whole\ntorn\n")
    disk.refuses(1)
    out.write("lost\n")
    disk.refuses(2)
    disk.room(len("\n2 log lines"))  # ends the torn line; the notice is torn in its turn
    out.write("lost too\n")
    disk.refuses(3)
    assert out.lost_lines == 3
    disk.room(1000)
    out.write("good\n")
    out.close()
    assert disk.content.decode().splitlines() == [
        "whole",
        "to",
        "2 log lines",
        "3 log lines were lost",
        "good",
    ]
    assert out.lost_lines == 3


def test_bytes_that_are_no_text_are_written_all_the_same() -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as far, os.fdopen(writing, "w") as near:
        out = LineWriter(near)
        out.write("caf\xe9 \udcff\n")
        out.close()
        assert far.readline() == b"caf\xc3\xa9 \\udcff\n"
