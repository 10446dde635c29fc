"""Lines to a stream that may be slow, full or closed, without ever making the event loop wait for it.

Here:  one thread that writes, fed by a bounded queue; what does not fit is counted, and said later.
Never: what the lines say.
"""

import os
import threading
from collections.abc import Callable
from functools import partial
from typing import TextIO

__all__ = ["LineWriter"]

_LIMIT_BYTES = 4 * 1024 * 1024  # waiting to be written; beyond that lines are dropped, not memory filled
_CLOSE_SECONDS = 2.0


class LineWriter:
    """A stream for text in whole lines. `write` and `flush` are those of a file, and never block."""

    def __init__(self, stream: TextIO) -> None:
        self._is_terminal = stream.isatty()
        self._raw = _raw(stream)
        self._waiting: list[str] = []
        self._size = 0  # of what waits, in characters
        self._lost = 0  # lines dropped since the last one that was written
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
                self._lost += text.count("\n")
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
        while (text := self._next()) is not None:
            try:
                self._write(text.encode("utf-8", "backslashreplace"))
            except (OSError, ValueError):  # a full disk, a closed pipe: the proxy goes on
                with self._changed:
                    self._lost += text.count("\n")

    def _write(self, data: bytes) -> None:
        while data:
            data = data[self._raw(data) :]

    def _next(self) -> str | None:
        """The text to write next, once there is some; None when it is over."""
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
        return f"{lost} log lines were lost\n{text}" if lost else text


def _raw(stream: TextIO) -> Callable[[bytes], int]:
    """How to write bytes to what is behind a stream, past Python's buffer.

    A thread that is stuck inside that buffer would hold its lock when the process ends.
    """
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):  # a stream in memory, which never blocks
        return partial(_write_text, stream)
    return partial(os.write, descriptor)


def _write_text(stream: TextIO, data: bytes) -> int:
    stream.write(data.decode())
    return len(data)
