"""Questions and answers between the supervisor and one of its workers.

Here:  JSON lines over a pair of connected sockets: a question has a number, its answer has the same one; news
       have none.
Never: what the questions are.
"""

import asyncio
import itertools
import json
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

__all__ = ["Channel", "ChannelClosedError", "Message", "WorkerError"]

_log = logging.getLogger(__name__)

Message = Mapping[str, Any]  # Any: JSON, of which both ends are the same version of the same program
Answerer = Callable[[Message], Awaitable[Message]]

_LONGEST_LINE = 64 * 1024 * 1024  # a configuration of its largest size, escaped, and a metric of each route


class ChannelClosedError(Exception):
    """The process at the other end is gone."""


class WorkerError(Exception):
    """The other end could not do what it was asked; the text is one line for a person."""


class Channel:
    """One end. Both may ask; a long answer holds up no other."""

    def __init__(self, answer: Answerer, hear: Callable[[Message], None]) -> None:
        """answer: to a question; what it raises as WorkerError is raised at the other end. hear: news."""
        self._answer = answer
        self._hear = hear
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self.closed = asyncio.Event()

    async def connect(self, sock: socket.socket) -> None:
        """Take hold of this end; then `run` serves it."""
        self._reader, self._writer = await asyncio.open_unix_connection(sock=sock, limit=_LONGEST_LINE)

    async def run(self) -> None:
        """Serve this end until the other one is gone."""
        if self._reader is None:
            raise RuntimeError("connect first")
        try:
            while line := await self._reader.readline():
                self._take(json.loads(line))
        except OSError:
            pass  # it died with something unread: the same as an end
        finally:
            for task in self._answering:
                task.cancel()
            self._close()

    def _take(self, message: Message) -> None:
        if "ask" in message:
            task = asyncio.create_task(self._reply(message))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        elif "id" not in message:
            self._hear(message)
        elif (waiting := self._waiting.pop(message["id"], None)) is not None and not waiting.done():
            if "error" in message:
                waiting.set_exception(WorkerError(message["error"]))
            else:
                waiting.set_result(message["answer"])

    async def _reply(self, question: Message) -> None:
        try:
            outcome: Message = {"answer": await self._answer(question)}
        except WorkerError as error:
            outcome = {"error": str(error)}
        except Exception as error:  # noqa: BLE001 - a mistake of ours must not leave the other end waiting
            _log.exception("internal error; a question is not answered: %s", question["ask"])
            outcome = {"error": f"internal error: {error!r}"}
        self.tell({"id": question["id"], **outcome})

    async def ask(self, question: str, timeout: float | None = None, **details: Any) -> Message:  # noqa: ASYNC109 - measured by asyncio.timeout. Any: JSON
        """Ask, and wait for the answer. Raises WorkerError, ChannelClosedError, TimeoutError."""
        if self.closed.is_set():
            raise ChannelClosedError
        number = next(self._numbers)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        self.tell({"id": number, "ask": question, **details})
        try:
            async with asyncio.timeout(timeout):
                return await answer
        finally:
            self._waiting.pop(number, None)

    def tell(self, message: Message) -> None:
        """Send without waiting; nothing happens when the other end is gone."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(json.dumps(message).encode() + b"\n")

    @property
    def is_behind(self) -> bool:
        """True when the other end does not keep up: news may be left out."""
        return self._writer is not None and self._writer.transport.get_write_buffer_size() > 0

    def _close(self) -> None:
        self.closed.set()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(ChannelClosedError())
        self._waiting.clear()
        if self._writer is not None:
            self._writer.close()
