"""How much of what was sent has reached the client: asked when a connection would end otherwise.

Here:  the kernel's word on one socket.
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
    fcntl = termios = None  # type: ignore[assignment]

__all__ = ["look_at_delivery"]

_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)
_BYTES_ACKED = struct.Struct("=120xQ")  # tcpi_bytes_acked of Linux' struct tcp_info, from 4.1 on
_COUNT = struct.Struct("=i")


def look_at_delivery(transport: asyncio.Transport) -> tuple[bool, int]:
    """Is something still on its way, and how far has the client come? That grows as it takes what is sent.

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
