"""Names of endpoints into addresses, asked anew every few seconds.

Here:  a small cache over the system's resolver, so that many connects at once ask once, and an upstream that
       moved is found again soon. getaddrinfo does not tell a record's own time to live.
Never: connecting; choosing among the addresses.
"""

import asyncio
import contextlib
import ipaddress
import socket
import time
from collections.abc import Awaitable, Callable

__all__ = ["AddrInfo", "Lookup", "Resolver"]

_SECONDS = 5.0
_MOST = 256  # names remembered; a full cache starts anew

AddrInfo = tuple[
    int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]
]  # as the socket module gives it; the last form is for Pythons without IPv6
Lookup = Callable[[str, int], Awaitable[list[AddrInfo]]]


class Resolver:
    """Resolves for every pool of a server."""

    def __init__(self, lookup: Lookup | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """lookup: who is asked; None = the system's resolver."""
        self._lookup = _ask_system if lookup is None else lookup
        self._clock = clock
        self._known: dict[
            tuple[str, int], tuple[float, list[AddrInfo]]
        ] = {}  # with the time it is good until
        self._asking: dict[tuple[str, int], asyncio.Task[list[AddrInfo] | OSError]] = {}

    async def addresses(self, host: str, port: int) -> list[AddrInfo]:
        """The addresses of a host, in the system's order of preference (RFC 6724); never empty.

        Raises socket.gaierror, or what the lookup raises.
        """
        literal = _literal(host, port)
        if literal is not None:
            return [literal]
        key = (host, port)
        until, found = self._known.get(key, (0.0, []))
        if self._clock() < until:
            return found
        answer = await asyncio.shield(self._asking.get(key) or self._ask(key))
        if isinstance(answer, OSError):
            raise answer
        return answer

    def close(self) -> None:
        """Wait for no answer any more."""
        for task in self._asking.values():
            task.cancel()

    def _ask(self, key: tuple[str, int]) -> asyncio.Task[list[AddrInfo] | OSError]:
        """Ask once for all who wait; whoever gives up meanwhile does not end it for the others."""
        task = asyncio.get_running_loop().create_task(self._answer(key))
        self._asking[key] = task
        task.add_done_callback(lambda _: self._asking.pop(key))
        return task

    async def _answer(self, key: tuple[str, int]) -> list[AddrInfo] | OSError:
        """What the lookup says; a failure is a value, for there may be nobody left to raise it to."""
        try:
            found = await self._lookup(*key)
        except UnicodeError:
            return socket.gaierror(socket.EAI_NONAME, "the name cannot be encoded")
        except OSError as error:
            return error
        if not found:
            return socket.gaierror(socket.EAI_NONAME, "the name has no address")
        if len(self._known) >= _MOST:
            self._known.clear()
        self._known[key] = (self._clock() + _SECONDS, found)
        return found


def _literal(host: str, port: int) -> AddrInfo | None:
    """The address that is written as such; None for a name."""
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(host).version == 4:
            return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port))
        return (socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0))
    return None


async def _ask_system(host: str, port: int) -> list[AddrInfo]:
    loop = asyncio.get_running_loop()
    return [*await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
