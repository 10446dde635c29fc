"""What this process takes of the machine.

Here:  processor time, memory, descriptors and start, read from Linux's /proc when somebody asks.
Never: limits; other processes.
"""

import os
import resource
import time
from pathlib import Path

from corsproxy.ops.snapshot import Usage

__all__ = ["read_usage"]

_SELF = Path("/proc/self")


def read_usage() -> Usage | None:
    """The usage now; None where the system does not have /proc."""
    try:
        # What follows the name, which is in parentheses and may hold anything: proc(5).
        stat = (_SELF / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        open_fds = len(os.listdir(_SELF / "fd")) - 1  # noqa: PTH208 - a count is wanted; one reads the folder
    except OSError:
        return None
    ticks = os.sysconf("SC_CLK_TCK")
    age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(stat[19]) / ticks
    return Usage(
        started_at=round(time.time() - age, 2),
        cpu_ms=(int(stat[11]) + int(stat[12])) * 1000 // ticks,
        resident_bytes=int(stat[21]) * os.sysconf("SC_PAGE_SIZE"),
        open_fds=open_fds,
        max_fds=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    )
