"""How much of what was sent has reached the other side: asked when a connection would end otherwise.

Here:  the kernel's word on one socket, and whether it says more than the last time.
Never: deadlines, closing. Not for each request: it takes two system calls.
"""

import asyncio
import contextlib
import socket
import struct

try:
    import fcntl
    import termios
except ImportError:  # Windows
    fcntl = termios = None  # type: ignore[assignment] # typeshed has them as modules, or not at all

__all__ = ["Delivery"]

_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)
_BYTES_ACKED = struct.Struct("=120xQ")  # tcpi_bytes_acked of Linux' struct tcp_info, from 4.1 on
_COUNT = struct.Struct("=i")


class Delivery:
    """Towards one side: does it take what is sent, however slowly?"""

    __slots__ = ("_taken",)

    def __init__(self) -> None:
        self._taken: int | None = None  # how far it had come at the last look; None = there was none

    def look(self, transport: asyncio.Transport) -> tuple[bool, bool]:
        """Is something still on its way, and did it take some of it since the last look? The first look
        cannot know, and says yes.
        """
        is_on_its_way, taken = _look(transport)
        before, self._taken = self._taken, taken
        return is_on_its_way, is_on_its_way and (before is None or taken > before)


def _look(transport: asyncio.Transport) -> tuple[bool, int]:
    """Is something still on its way, and how far has the other side come? That grows as it takes more.

    What waits in this process waits for the kernel, whose queue is full then; over TLS that is the only sign.
    """
    sock: socket.socket | None = transport.get_extra_info("socket")
    waiting = transport.get_write_buffer_size()
    if sock is None:
        return waiting > 0, -waiting
    with contextlib.suppress(OSError, ValueError):  # it is closed by now
        waiting += _unacknowledged(sock)
    with contextlib.suppress(OSError, ValueError, struct.error):  # a Unix socket, or an old kernel
        if _TCP_INFO is not None:
            return waiting > 0, *_BYTES_ACKED.unpack(
                sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _BYTES_ACKED.size)
            )
    return waiting > 0, -waiting


def _unacknowledged(sock: socket.socket) -> int:
    if fcntl is None:
        return 0
    (count,) = _COUNT.unpack(fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(_COUNT.size)))
    return int(count)
