"""How many files and connections the system lets this process have, and what that means for clients.

Here:  taking what may be had, and how many clients leave enough for everything else.
Never: counting connections (proxy.clients).
"""

import logging
import os
import resource
from dataclasses import replace

from corsproxy.config.table import Table

__all__ = [
    "fit_to_descriptors",
    "most_connections",
    "raise_descriptor_limit",
    "require_descriptors",
    "warn_of_descriptors",
]

_log = logging.getLogger(__name__)

# Listeners, log, event loop, clients of the admin listener, health checks, idle connections to upstreams.
_FOR_THE_REST = 80
# A descriptor for itself, and one for the upstream; some are always idle.
_PER_CLIENT = 1.9
_FOR_A_START = 16  # an event loop, a listener, the admin listener


def raise_descriptor_limit() -> None:
    """Take as many as the administrator allows: fewer are for programs that use select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:  # macOS promises more than it gives
            _log.debug("the limit of %d open files stays: %s", soft, error)


def require_descriptors() -> None:
    """Raises OSError where there are too few for a start: event loops do not fail in good order."""
    found: list[int] = []
    try:
        found += (os.open(os.devnull, os.O_RDONLY) for _ in range(_FOR_A_START))
    finally:
        for descriptor in found:
            os.close(descriptor)


def most_connections(descriptors: int) -> int:
    """How many clients may be connected, when most of them need a connection to an upstream as well."""
    return max(1, int((descriptors - _FOR_THE_REST) / _PER_CLIENT))


def fit_to_descriptors(table: Table) -> Table:
    """The table, with no more `limits.connections` than this process has descriptors for.

    One that has none left cannot even refuse: it closes whoever comes, and its own admin listener is deaf.
    """
    most = _most_now()
    if most is None or table.limits.connections <= most:
        return table
    return replace(table, limits=replace(table.limits, connections=most))


def warn_of_descriptors(table: Table) -> None:
    """Say that fewer clients are served than the file allows."""
    most = _most_now()
    if most is not None and table.limits.connections > most:
        _log.warning(
            "%d open files are enough for %d connections, and limits.connections is %d: "
            "raise the limit of open files (ulimit -n, LimitNOFILE=)",
            resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            most,
            table.limits.connections,
        )


def _most_now() -> int | None:
    """None = there is no limit."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if descriptors == resource.RLIM_INFINITY else most_connections(descriptors)
