"""Refusals that were not seen before, each said once with its remedy: nobody should have to search for them.

Here:  which refusals are news, the sentence for each, and how many of them a log is given.
Never: counting (denied), deciding, changing files.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from corsproxy.config.table import Route
from corsproxy.cors.browser import Call
from corsproxy.cors.decide import Decision, Kind, Reason
from corsproxy.cors.fields import MAX_SHOWN, shown
from corsproxy.cors.policy import CorsPolicy
from corsproxy.cors.remedy import Key, find_remedy, place_of
from corsproxy.proxy.exchange import Exchange
from corsproxy.proxy.explained import change_text, place_text

__all__ = ["MORE", "Bulletin", "Refusal", "Refusals", "say_refusal"]

_log = logging.getLogger(__name__)

MOST_KNOWN = 1024  # origins come from clients: a full memory starts anew
LINES_A_MINUTE = 10
_MINUTE = 60.0  # seconds

_News = Literal["new", "known", "too many", "hushed"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refusal in words."""

    key: tuple[str, ...]  # route, origin, reason, what settled it; () = it is about all that are left out
    says: str

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        """As JSON can hold it."""
        return {"key": self.key, "says": self.says}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Refusal":  # Any: JSON
        """Read what `as_json` made."""
        return Refusal(tuple(data["key"]), data["says"])


MORE = Refusal((), "more is refused than is named here: /-/origins of the admin listener counts by origin")


class Bulletin:
    """What was said already, and how much more may be said in this minute."""

    def __init__(self) -> None:
        self._known: set[tuple[str, ...]] = set()
        self._minute_ends = 0.0
        self._left = 0  # lines in this minute
        self._is_hushed = False

    def take(self, key: tuple[str, ...], now: float) -> _News:
        """Is it to be said? now: seconds on a monotonic clock.

        What comes when there is no line left counts as not seen: it is said in a later minute, when it comes
        again.
        """
        if key in self._known:
            return "known"
        if now >= self._minute_ends:
            self._minute_ends, self._left, self._is_hushed = now + _MINUTE, LINES_A_MINUTE, False
        if key and self._left:
            self._left -= 1
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known.add(key)
            return "new"
        if self._is_hushed:
            return "hushed"
        self._is_hushed = True
        return "too many"

    def forget(self) -> None:
        """Another configuration serves: what it refuses is news."""
        self._known.clear()


class Refusals:
    """Told of refused exchanges; passes on those that are news. In a worker, they are news to it alone."""

    def __init__(self, file: str, say: Callable[[Refusal], None]) -> None:
        """file: the configuration's, as it is named in remedies."""
        self._file = file
        self._say = say
        self._bulletin = Bulletin()
        # Decisions are remembered where they are made, so that the same refusal is the same value again: one
        # look here is nearly always all there is to do.
        self._heard: set[Decision] = set()

    def note(self, exchange: Exchange, ended: float) -> None:
        """Take one finished exchange that its decision does not allow. ended: seconds, monotonic."""
        route, decision, origin = exchange.route, exchange.decision, exchange.origin
        if decision in self._heard:
            return
        if route is None or route.policy is None or decision is None or origin is None:
            return
        key = (route.name, shown(origin), decision.reason.value, decision.detail)
        match self._bulletin.take(key, ended):
            case "new":
                self._remember(decision)
                self._say(Refusal(key, _sentence(exchange, route, route.policy, decision, self._file)))
            case "known":
                self._remember(decision)
            case "too many":
                self._say(MORE)
            case "hushed":
                pass

    def _remember(self, decision: Decision) -> None:
        if len(self._heard) >= MOST_KNOWN:
            self._heard.clear()
        self._heard.add(decision)

    def forget(self) -> None:
        """Another configuration serves."""
        self._bulletin.forget()
        self._heard.clear()


def say_refusal(refusal: Refusal) -> None:
    """Put it in the log of this process."""
    _log.warning("%s", refusal.says)


# Words

_KEY_OF: Mapping[str, Key] = {
    Reason.ORIGIN_NOT_ALLOWED: "allow_origins",
    Reason.NULL_NOT_ALLOWED: "allow_origins",
    Reason.METHOD_NOT_ALLOWED: "allow_methods",
    Reason.HEADER_NOT_ALLOWED: "allow_headers",
}


def _sentence(exchange: Exchange, route: Route, policy: CorsPolicy, decision: Decision, file: str) -> str:
    """Who is refused where and why, then what would let it through."""
    would = decision.reason is Reason.REPORT_ONLY
    reason = decision.detail if would else decision.reason.value
    origin = shown(exchange.origin or b"")
    about = "" if would or decision.detail in {"", origin} else f" {decision.detail}"
    line = place_of(policy.spec, _KEY_OF[reason])[1] if reason in _KEY_OF else policy.spec.line
    verb = "would be refused (report_only)" if would else "is refused"
    kind = "preflight" if decision.kind is Kind.PREFLIGHT else "request"
    name = "" if policy.name == f"route {route.name}" else f"policy {policy.name}, "
    return (
        f"route {route.name}: a {kind} from {origin} {verb}: {reason}{about}"
        f" ({name}{place_text(file, line)}). {_to_do(exchange, policy, decision, file)}"
    )


def _to_do(exchange: Exchange, policy: CorsPolicy, decision: Decision, file: str) -> str:
    """The smallest change of the file, or why there is none to recommend."""
    is_preflight = decision.kind is Kind.PREFLIGHT
    if decision.reason is Reason.REQUEST_HEADER_LIST_MALFORMED:
        return "No browser sends such a list: look at the tool that did"
    method = exchange.requested_method if is_preflight else exchange.method
    names = [decision.detail.encode()] if decision.reason is Reason.HEADER_NOT_ALLOWED else []
    call = Call((exchange.origin or b"")[:MAX_SHOWN], method or b"GET", tuple((name, None) for name in names))
    remedy = find_remedy(policy, call, preflight=is_preflight)
    changes = "; ".join(change_text(change, file) for change in remedy.changes)
    if changes:
        careful = f". Careful: {remedy.warning}" if remedy.warning else ""
        return f"If it is yours, let it through: {changes}{careful}"
    reasons = "; ".join(part for part in (remedy.warning, remedy.advice) if part)
    return f"No change of the file is recommended: {reasons}" if reasons else "corsproxy explain says more"
