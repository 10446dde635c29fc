"""Which preflight belongs to which call: a browser sends both, and says nowhere that they belong together.

Here:  the last preflight for each (origin, path, asked method), and how long a browser may rely on it.
Never: certainty. A browser keeps preflights by full URL and by credentials mode, which are not seen here.
"""

from collections import OrderedDict
from dataclasses import dataclass

from corsproxy.cors.decide import Kind
from corsproxy.proxy.exchange import Exchange

__all__ = ["Pairs", "Preceding"]

_MOST = 512
_TOGETHER_SECONDS = 10.0  # a browser sends the call as soon as its preflight is answered
_DEFAULT_MAX_AGE = 5.0  # Fetch, #http-access-control-max-age: without the field

Key = tuple[bytes, bytes, bytes]


@dataclass(frozen=True, slots=True)
class Preceding:
    """The preflight that a call most likely relies on."""

    id: int
    cached: bool  # it was sent for an earlier call, and is still good


@dataclass(frozen=True, slots=True)
class _Seen:
    id: int
    at: float  # monotonic seconds
    max_age: float
    used: bool = False


class Pairs:
    """What was asked lately; bounded, the oldest leave first."""

    def __init__(self) -> None:
        self._seen: OrderedDict[Key, _Seen] = OrderedDict()

    def note(self, number: int, exchange: Exchange, ended: float) -> Preceding | None:
        """Take note of an exchange; the preflight before it, if it is a call with one."""
        if exchange.origin is None or exchange.decision is None:
            return None
        if exchange.decision.kind is Kind.PREFLIGHT:
            if exchange.decision.allowed:
                self._remember(number, exchange, ended)
            return None
        return self._find(exchange)

    def _remember(self, number: int, exchange: Exchange, ended: float) -> None:
        key = (exchange.origin or b"", exchange.path, exchange.requested_method or b"")
        self._seen.pop(key, None)
        self._seen[key] = _Seen(number, ended, max_age_of(exchange))
        if len(self._seen) > _MOST:
            self._seen.popitem(last=False)

    def _find(self, exchange: Exchange) -> Preceding | None:
        key = (exchange.origin or b"", exchange.path, exchange.method)
        seen = self._seen.get(key)
        if seen is None:
            return None
        waited = exchange.started - seen.at
        if not seen.used and waited <= _TOGETHER_SECONDS:
            self._seen[key] = _Seen(seen.id, seen.at, seen.max_age, used=True)
            return Preceding(seen.id, cached=False)
        return Preceding(seen.id, cached=True) if waited <= seen.max_age else None


def max_age_of(exchange: Exchange) -> float:
    """For how many seconds a browser need not ask again, by this answer; browsers have caps of their own."""
    decision = exchange.decision
    for name, value in () if decision is None else decision.fields:
        if name.lower() == b"access-control-max-age" and value.isdigit():
            return float(value)
    return _DEFAULT_MAX_AGE
