"""The addresses of a name, asked of the system in a thread that nobody waits for at the end.

Here:  one question, one thread of its own.
Never: remembering answers, asking once for many (upstream.resolve).
"""

import asyncio
import contextlib
import errno
import os
import socket
import threading
from collections.abc import Callable
from functools import partial

from corsproxy.upstream.resolve import AddrInfo

__all__ = ["look_up"]


async def look_up(host: str, port: int) -> list[AddrInfo]:
    """What getaddrinfo(3) says. Raises OSError and UnicodeError.

    A name server that does not answer holds the call up for many seconds, and it cannot be ended. Event loops
    wait for theirs when they close; a process that has been told to stop must not.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[AddrInfo]] = loop.create_future()

    def ask() -> None:
        settle: Callable[[], None]
        try:
            settle = partial(_settle, answer, [*socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)])
        except Exception as error:  # noqa: BLE001 - whoever waits gets it, whatever it is
            settle = partial(_fail, answer, error)
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle)

    try:
        threading.Thread(target=ask, name="lookup", daemon=True).start()
    except RuntimeError as error:  # no more threads to be had
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
    return await answer


def _settle(answer: asyncio.Future[list[AddrInfo]], found: list[AddrInfo]) -> None:
    if not answer.done():
        answer.set_result(found)


def _fail(answer: asyncio.Future[list[AddrInfo]], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
