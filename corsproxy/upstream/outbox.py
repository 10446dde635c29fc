"""What is sent at the end of a turn of the event loop, together.

Here:  a list of those who have something to send, and the moment when they do.
Never: bytes, sockets: each sender holds what is its own.

uvloop writes at once, and a write wakes the process that reads. By the time of the next write, a request
later, that one has read everything and sleeps again. Written back to back, most find it awake, which saves a
tenth of a GET. That is why requests and whole responses wait for the end of the turn.
"""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Outbox"]

T = TypeVar("T")


class Outbox(Generic[T]):
    """Senders of this turn, in the order of their first bytes."""

    __slots__ = ("_send", "_senders")

    def __init__(self, send: Callable[[list[T]], None]) -> None:
        """send: called at the end of each turn that has senders, with all of them."""
        self._send = send
        self._senders: list[T] = []

    def add(self, sender: T) -> None:
        """Let it send at the end of this turn."""
        if not self._senders:
            asyncio.get_running_loop().call_soon(self.flush)  # runs before the loop waits again
        self._senders.append(sender)

    def flush(self) -> None:
        """The turn is over."""
        senders = self._senders
        if senders:
            self._senders = []
            self._send(senders)
