"""Listening sockets: TCP ones on every address of a host, Unix ones where nobody else serves.

Here:  binding, the look before it and the clean-up after; what the system says of a failure.
Never: accepting.
"""

import errno
import os
import socket
import stat
import sys
from pathlib import Path

from corsproxy.config.table import Address

__all__ = ["BACKLOG", "address_of", "bind", "bind_shared", "inode_of", "reason_of", "remove_own_socket"]

BACKLOG = 4096


def bind(address: Address) -> list[socket.socket]:
    """Listen on the address: one socket for each address that its host has. Raises OSError."""
    if address.path:
        return [_bind_unix(address.path)]
    return _bind_tcp(address, reuse_port=False)


def bind_shared(address: Address, count: int) -> list[list[socket.socket]]:
    """Listen for so many processes, and give each its sockets. Raises OSError.

    Each has a queue of its own, among which the kernel deals connections by a hash (SO_REUSEPORT); where that
    is not to be had, they share one.
    """
    first = bind(address)
    if address.path or count == 1 or sys.platform != "linux":
        return [first] * count
    # That nobody else is there had to be seen without SO_REUSEPORT, with which two would share the port.
    bound = address_of(first[0])
    for sock in first:
        sock.close()
    fixed = Address(address.host, bound.port)
    return [_bind_tcp(fixed, reuse_port=True) for _ in range(count)]


def _bind_tcp(address: Address, *, reuse_port: bool) -> list[socket.socket]:
    """As asyncio binds: IPv6 apart from IPv4, an address that was in use a moment ago is free."""
    found = socket.getaddrinfo(
        address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    socks: list[socket.socket] = []
    port = address.port
    try:
        for family, place in dict.fromkeys((family, place) for family, _, _, _, place in found):
            sock = socket.socket(family, socket.SOCK_STREAM)
            socks.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Accepted connections inherit these two (tcp(7), socket(7)).
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if reuse_port:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((place[0], port, *place[2:]))
            port = port or sock.getsockname()[1]  # port 0: the same one on every address
            sock.listen(BACKLOG)
            sock.setblocking(False)
    except OSError:
        for sock in socks:
            sock.close()
        raise
    return socks


def _bind_unix(path: str) -> socket.socket:
    remove_stale_socket(Path(path))
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.bind(path)
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def address_of(sock: socket.socket) -> Address:
    """Where a socket listens."""
    name = sock.getsockname()
    return Address(path=name) if isinstance(name, str) else Address(host=name[0], port=name[1])


def reason_of(error: OSError) -> str:
    """What the system says, without what asyncio wraps around it."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    return (error.strerror or str(error)).lower()


def remove_own_socket(address: Address, inode: int) -> None:
    """Remove the socket that was made here; what stands in its place by now is another's."""
    if inode and inode_of(address) == inode:
        Path(address.path).unlink(missing_ok=True)


def inode_of(address: Address) -> int:
    """The number of the file at a Unix socket's path; 0 = there is none."""
    try:
        return Path(address.path).stat().st_ino if address.path else 0
    except OSError:
        return 0


def remove_stale_socket(path: Path) -> None:
    """Make way for a new socket where an earlier process left one; a live one stays (OSError), or a file."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:  # its owner lives, and has no room for one more: no waiting for that
            pass
    raise OSError(errno.EADDRINUSE, "")  # asyncio would take it from under its owner
