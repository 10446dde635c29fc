"""Which origins are refused most: a short list, however many there are.

Here:  counting in bounded memory (space-saving: Metwally, Agrawal, El Abbadi 2005), and joining such lists.
Never: labels of metrics, which no client may fill; deciding.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from heapq import heappop, heappush, heapreplace

from corsproxy.config.table import Route
from corsproxy.cors.decide import Decision
from corsproxy.cors.fields import MAX_SHOWN, shown
from corsproxy.proxy.exchange import Exchange, outcome_of

__all__ = ["MOST_ORIGINS", "Denied", "DeniedOrigins", "merge_denied"]

MOST_ORIGINS = 64
_KEY_BYTES = MAX_SHOWN  # of an origin; what is longer is cut, and counted as one


@dataclass(frozen=True, slots=True)
class Denied:
    """One origin that was refused."""

    origin: str  # printable, cut
    count: int  # how often, at most: `uncertain` of them may have been another origin's
    uncertain: int
    last_seen: float  # unix seconds
    outcome: str  # of the last time: denied, or report-only
    reason: str
    detail: str  # what settled it: the origin, or a method or header name
    route: str


class _Entry:
    """What is known of one origin so far."""

    __slots__ = ("count", "decision", "ended", "route", "uncertain")

    def __init__(self, inherited: int, decision: Decision, route: Route) -> None:
        self.count = self.uncertain = inherited
        self.decision = decision  # the last one
        self.route = route
        self.ended = 0.0  # monotonic


class DeniedOrigins:
    """Counts refused origins; when there are too many, the rarest one makes way."""

    __slots__ = ("_entries", "_rarest")

    def __init__(self) -> None:
        self._entries: dict[bytes, _Entry] = {}
        # A heap of (count, origin), brought up to date when one is needed: counts only grow, so what stands
        # first and is true is the least of all.
        self._rarest: list[tuple[int, bytes]] = []

    def note(self, exchange: Exchange, ended: float) -> None:
        """Count one refused exchange. ended: seconds on the monotonic clock."""
        decision, route = exchange.decision, exchange.route
        if decision is None or route is None or exchange.origin is None:
            return
        origin = exchange.origin[:_KEY_BYTES]
        entry = self._entries.get(origin)
        if entry is None:
            entry = self._entries[origin] = _Entry(self._make_room(), decision, route)
            heappush(self._rarest, (entry.count, origin))
        entry.count += 1
        entry.ended = ended
        entry.decision = decision
        entry.route = route

    def _make_room(self) -> int:
        """The count that a new origin starts from: that of the rarest one, if it had to make way."""
        if len(self._entries) < MOST_ORIGINS:
            return 0
        while True:
            count, origin = self._rarest[0]
            now = self._entries[origin].count
            if count == now:
                heappop(self._rarest)
                del self._entries[origin]
                return count
            heapreplace(self._rarest, (now, origin))

    def listed(self, clock_offset: float) -> tuple[Denied, ...]:
        """Those that are refused most, first. clock_offset: unix time minus monotonic time, in seconds."""
        return _sorted(
            Denied(
                shown(origin),
                entry.count,
                entry.uncertain,
                round(entry.ended + clock_offset, 3),
                outcome_of(entry.decision),
                entry.decision.reason.value,
                entry.decision.detail,
                entry.route.name,
            )
            for origin, entry in self._entries.items()
        )


def merge_denied(lists: Iterable[Iterable[Denied]]) -> tuple[Denied, ...]:
    """One list of many, no longer than one of them may be; counts add up, the newest says the rest."""
    joined: dict[str, Denied] = {}
    for each in lists:
        for denied in each:
            known = joined.get(denied.origin)
            joined[denied.origin] = denied if known is None else _join(known, denied)
    return _sorted(joined.values())[:MOST_ORIGINS]


def _join(one: Denied, other: Denied) -> Denied:
    newest = max(one, other, key=lambda denied: denied.last_seen)
    return replace(newest, count=one.count + other.count, uncertain=one.uncertain + other.uncertain)


def _sorted(every: Iterable[Denied]) -> tuple[Denied, ...]:
    return tuple(sorted(every, key=lambda denied: (-denied.count, denied.origin)))
