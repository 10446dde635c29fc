"""Lines to a stream that may be slow, full or closed, without ever making the event loop wait for it.

Here:  one thread that writes, fed by a bounded queue; what does not fit is counted, and said later.
Never: what the lines say.
"""

import contextlib
import fcntl
import os
import select
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import TextIO

__all__ = ["LineWriter"]

_LIMIT_BYTES = 4 * 1024 * 1024  # waiting to be written; beyond that lines are dropped, not memory filled
_CLOSE_SECONDS = 2.0


class LineWriter:
    """A stream for text in whole lines. `write` and `flush` are those of a file, and never block."""

    def __init__(self, stream: TextIO, *, shared: bool = False) -> None:
        """shared: other processes write to the same place."""
        self.lost_lines = 0  # since the start
        self.say_lost = _say_lost  # how to say that lines were lost, in the format of the log
        self._shared = shared
        self._is_terminal = stream.isatty()
        self._descriptor = _descriptor(stream)
        # Past Python's buffer: a thread that is stuck inside it would hold its lock when the process ends.
        self._raw: Callable[[bytes], int] = (
            partial(_write_text, stream)
            if self._descriptor is None
            else partial(_write_bytes, self._descriptor)
        )
        self._waiting: list[str] = []
        self._size = 0  # of what waits, in characters
        self._lost = 0  # of them, those that the log does not tell of yet
        self._is_torn = False  # the last line was written in part
        self._closing = False
        self._changed = threading.Condition()
        self._idle = threading.Event()
        self._idle.set()
        self._thread: threading.Thread | None = None

    def write(self, text: str) -> int:
        """Queue whole lines; they are dropped and counted when too much is waiting already."""
        with self._changed:
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="log", daemon=True)
                self._thread.start()
            if self._closing or self._size + len(text) > _LIMIT_BYTES:
                self._count_lost(text.count("\n"))
            else:
                self._waiting.append(text)
                self._size += len(text)
                self._idle.clear()
                self._changed.notify()
        return len(text)

    def flush(self) -> None:
        """Do nothing: the thread writes as soon as the stream lets it."""

    def isatty(self) -> bool:
        """True when a person is watching."""
        return self._is_terminal

    def close(self) -> None:
        """Wait a moment for what is queued, then give up on it."""
        self._idle.wait(_CLOSE_SECONDS)
        with self._changed:
            self._closing = True
            self._changed.notify()

    def _run(self) -> None:
        while (found := self._next()) is not None:
            self._send(*found)

    def _send(self, lost: int, text: str) -> None:
        """Write a text, after the end of a line that could not be finished, and word of those that were lost.

        A full disk, a closed pipe: the proxy goes on. What is not written whole is counted, once.
        """
        is_ready = not self._is_torn or not self._put(b"\n")
        if is_ready and lost and self._put(self.say_lost(lost).encode("utf-8", "backslashreplace")):
            is_ready = False
        data = text.encode("utf-8", "backslashreplace")
        left = self._put(data) if is_ready else data
        with self._changed:
            self._lost += 0 if is_ready else lost  # they are yet to be told of
            self._count_lost(left.count(b"\n"))

    def _count_lost(self, lines: int) -> None:
        self._lost += lines
        self.lost_lines += lines

    def _put(self, data: bytes) -> bytes:
        """Write, as far as the stream takes it; what is left."""
        with self._alone():
            while data:
                end = len(data)
                if self._shared and end > select.PIPE_BUF:  # so much stays in one piece even if we are killed
                    end = data.rfind(b"\n", 0, select.PIPE_BUF) + 1 or data.find(b"\n") + 1 or end
                try:
                    written = self._raw(data[:end])
                except (OSError, ValueError):
                    break
                self._is_torn = not data[:written].endswith(b"\n")
                data = data[written:]
        return data

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Let no other process write meanwhile: what is longer than PIPE_BUF may be mixed (POSIX, write()).

        The lock is the process's own, on what all of them write to; the system ends it with the process.
        """
        held = self._descriptor is not None and self._shared and _try_lock(self._descriptor)
        try:
            yield
        finally:
            if held and self._descriptor is not None:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def _next(self) -> tuple[int, str] | None:
        """How many lines were lost, and the text to write next, once there is some; None when it is over."""
        with self._changed:
            while not self._waiting:
                self._idle.set()
                if self._closing:
                    return None
                self._changed.wait()
            text = "".join(self._waiting)
            self._waiting.clear()
            self._size = 0
            lost, self._lost = self._lost, 0
        return lost, text


def _say_lost(lines: int) -> str:
    return f"{lines} log lines were lost\n"


def _descriptor(stream: TextIO) -> int | None:
    """What is behind a stream; None = it is in memory, and never blocks."""
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def _write_bytes(descriptor: int, data: bytes) -> int:
    while True:
        try:
            return os.write(descriptor, data)
        except BlockingIOError:  # somebody who has the same pipe wants it so; this thread may wait
            select.select((), (descriptor,), ())


def _try_lock(descriptor: int) -> bool:
    """Wait for the turn of this process; False where the system has no such lock."""
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX)
    except OSError:
        return False
    return True


def _write_text(stream: TextIO, data: bytes) -> int:
    stream.write(data.decode())
    return len(data)
