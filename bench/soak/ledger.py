"""What clients saw, counted; and what of it must not be.

Here:  outcomes by kind of client, the list of what was wrong, turbulence: when a connection may be lost.
Never: sockets.
"""

import time
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["Ledger", "Outcome"]

_LISTED = 20


class Outcome(StrEnum):
    """How an exchange ended, as its client sees it."""

    SERVED = "served"  # whole, and right in every byte that was looked at
    REFUSED = "refused"  # by the proxy: a proper status, with CORS fields and Proxy-Status
    CUT = "cut"  # in the middle of a response, and seen to be
    LEFT = "left"  # by the client itself
    UNANSWERED = "unanswered"  # the connection ended without a byte, or was not to be had


@dataclass
class Ledger:
    """The book of one leg."""

    outcomes: Counter[tuple[str, Outcome]] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)  # the first of them, in words
    wrongs: int = 0
    answers: int = 0  # whole heads of final responses that came from the proxy
    asked: int = 0  # requests that went out in full or in part
    preflights: int = 0  # of the answers
    uploads: int = 0  # acknowledged ones
    versions: set[int] = field(default_factory=set)  # of the configuration, as answers name it
    may_be_lost: int = (
        0  # of the answers: those that a worker had counted, but not told yet when it was killed
    )
    _by_second: Counter[int] = field(default_factory=Counter)  # answers
    _calm_from: float = 0.0

    def note_answer(self, status: int) -> None:
        """The head of a final response came, or a 101."""
        self.answers += 1
        self.statuses[status] += 1
        self._by_second[int(time.monotonic())] += 1

    def note_kill(self, seconds: int) -> None:
        """A worker is killed now, that told its counts up to this many seconds ago."""
        now = int(time.monotonic())
        self.may_be_lost += sum(self._by_second[now - ago] for ago in range(seconds + 1))

    def note(self, kind: str, outcome: Outcome) -> None:
        self.outcomes[kind, outcome] += 1
        if outcome is Outcome.UNANSWERED and not self.is_turbulent():
            self.accuse(kind, "no answer, and nothing that would explain it")

    def accuse(self, kind: str, says: str) -> None:
        """Something happened that must not."""
        self.wrongs += 1
        if len(self.wrong) < _LISTED:
            self.wrong.append(f"{kind}: {says}")

    def stir(self, seconds: float) -> None:
        """Connections may be lost from now on, for this long."""
        self._calm_from = max(self._calm_from, time.monotonic() + seconds)

    def is_turbulent(self) -> bool:
        return time.monotonic() < self._calm_from

    def total(self, outcome: Outcome) -> int:
        return sum(count for (_, each), count in self.outcomes.items() if each is outcome)
