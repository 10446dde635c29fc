"""Which workers do more than their share of the work, and how much of it they are to lose.

Here:  the processor time that each had since it was asked last; the arithmetic.
Never: asking them (supervisor), choosing connections (proxy.clients).
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

__all__ = ["Times", "parts_to_lose"]

_BUSY = 0.5  # of a core: below, nobody has to wait for long
_UNEVEN = 1.05  # times the average


@dataclass(frozen=True, slots=True)
class Times:
    """What the clocks of a process said at one moment, in seconds."""

    clock: float
    cpu: float  # of all its threads

    @staticmethod
    def now() -> "Times":
        """Those of this process."""
        return Times(time.monotonic(), time.process_time())

    def as_json(self) -> dict[str, float]:
        """As JSON can hold it."""
        return asdict(self)

    def load_since(self, before: "Times") -> float:
        """The part of a core that it took from then on."""
        return (self.cpu - before.cpu) / max(self.clock - before.clock, 1e-3)


def parts_to_lose(loads: Sequence[float]) -> list[float]:
    """For each worker the part of its work that others have more time for; 0.0 where it may keep all.

    loads: parts of a core. Their number of connections says little: one may sleep, or be a WebSocket.
    """
    average = sum(loads) / max(len(loads), 1)
    return [(load - average) / load if load >= _BUSY and load > average * _UNEVEN else 0.0 for load in loads]
