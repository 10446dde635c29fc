"""Which endpoint is asked next, and which are left out for a while.

Here:  pure functions over how each endpoint has done lately. Time is an argument.
Never: connections, sockets, clocks, logs.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from corsproxy.config.table import Balance, HealthCheck
from corsproxy.http.faults import CONNECT_TIMEOUT, Fault, Side

__all__ = [
    "EJECT_AFTER",
    "Standing",
    "is_failure",
    "is_ready",
    "note_check",
    "note_failure",
    "note_success",
    "pick_endpoint",
]

EJECT_AFTER = 3
"""Failures in a row."""

_FIRST_SECONDS = 5.0
_LONGEST_SECONDS = 60.0


@dataclass(slots=True)
class Standing:
    """How one endpoint is doing. Times are seconds on one monotonic clock."""

    in_flight: int = 0  # exchanges
    failures: int = 0  # in a row
    ejections: int = 0  # since the last success; each lasts twice as long
    ejected_until: float = 0.0
    is_healthy: bool = True  # by active checks; True until they say otherwise
    checks: int = 0  # in a row that contradict is_healthy
    left_out_at: float = 0.0  # when it was last ejected, failed while ejected, or became unhealthy


def is_ready(standing: Standing, now: float) -> bool:
    """True when the endpoint is asked in its turn."""
    return standing.is_healthy and standing.ejected_until <= now


def pick_endpoint(
    standings: Sequence[Standing],
    balance: Balance,
    turn: int,
    now: float,
    passing_over: Collection[int] = (),
) -> int | None:
    """The index of the endpoint to ask; None when all are passed over.

    turn: the index whose turn it is; a tie goes to the first from there.
    When none is ready, the one that was left out longest ago is tried: it may have recovered, and an answer
    of 502 can always be made.
    """
    rotation = [at for at in _rotation(len(standings), turn) if at not in passing_over]
    ready = [at for at in rotation if is_ready(standings[at], now)]
    if not ready:
        return min(rotation, key=lambda at: standings[at].left_out_at, default=None)
    if balance == "least_in_flight":
        return min(ready, key=lambda at: standings[at].in_flight)
    return ready[0]


def _rotation(count: int, turn: int) -> Iterator[int]:
    return ((turn + step) % count for step in range(count))


def is_failure(fault: Fault) -> bool:
    """True for a fault that speaks against the endpoint: it was not there, or what it sent was no response.

    One that answers late may have been asked for something slow.
    """
    return fault.side is Side.UPSTREAM and (fault.status == 502 or fault.code == CONNECT_TIMEOUT.code)


def note_failure(standing: Standing, now: float) -> float:
    """Count a failure; the seconds that the endpoint is ejected for because of it, mostly 0."""
    standing.failures += 1
    if standing.failures < EJECT_AFTER:
        return 0.0
    standing.left_out_at = now
    if standing.ejected_until > now:  # exchanges under way when it was ejected, or all others are out too
        return 0.0
    seconds: float = min(_FIRST_SECONDS * 2 ** min(standing.ejections, 8), _LONGEST_SECONDS)
    standing.ejections += 1
    standing.ejected_until = now + seconds
    return seconds


def note_success(standing: Standing) -> bool:
    """A whole response is proof that the endpoint works; True when it had been ejected."""
    was_ejected = standing.ejections > 0
    standing.failures = standing.ejections = 0
    standing.ejected_until = 0.0
    return was_ejected


def note_check(standing: Standing, check: HealthCheck, now: float, *, good: bool) -> bool:
    """Count the outcome of an active check; True when it changes what the endpoint is taken for."""
    if good == standing.is_healthy:
        standing.checks = 0
        return False
    standing.checks += 1
    if standing.checks < (check.healthy_after if good else check.unhealthy_after):
        return False
    standing.checks = 0
    standing.is_healthy = good
    if not good:
        standing.left_out_at = now
    return True
