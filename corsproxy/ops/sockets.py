"""Unix sockets at a path: made where nobody else serves, removed by whom they belong to.

Here:  the look before listening and the clean-up after; what the system says of a failure.
Never: listening itself.
"""

import errno
import os
import socket
import stat
from pathlib import Path

from corsproxy.config.table import Address

__all__ = ["inode_of", "reason_of", "remove_own_socket", "remove_stale_socket"]


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
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(errno.EADDRINUSE, "")  # asyncio would take it from under its owner
