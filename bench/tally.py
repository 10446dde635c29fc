"""What a load generator counted.

Here:  the line of totals that every generator prints, as a value; what makes it worthless.
Never: CPU time, proxies.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.load import Load

__all__ = ["Tally", "parse_totals", "percentile", "totals_line"]


@dataclass(frozen=True, slots=True)
class Tally:
    """Units (requests, events, messages) are those that came back whole."""

    units: int
    received_bytes: int  # heads too, where the generator sees them
    seconds: float
    p50_us: int
    p99_us: int
    errors: dict[str, int]  # by kind
    lag_us: int = 0  # p99 of how late a request was sent that was due at a fixed time

    def faults(self, load: Load) -> list[str]:
        """Why this measurement does not count; empty when it does."""
        found = [f"{count} {kind} errors" for kind, count in self.errors.items() if count]
        if not self.units:
            found.append(f"no {load.unit} was answered")
        # wrk counts a 3xx or an empty 200 as fine; too few bytes tell.
        if load.generator == "wrk" and not load.is_preflight and self.received_bytes < self.units * load.gets:
            found.append("responses were shorter than the upstream's")
        return found


def totals_line(
    units: int, received_bytes: int, seconds: float, samples: Sequence[float], errors: Mapping[str, int]
) -> str:
    """As load.lua writes it. samples: latencies in seconds, in any order."""
    ordered = sorted(samples)
    counts = {
        "units": units,
        "bytes": received_bytes,
        "duration_us": round(seconds * 1e6),
        "p50_us": round(percentile(ordered, 0.50) * 1e6),
        "p99_us": round(percentile(ordered, 0.99) * 1e6),
        **errors,
    }
    return "totals " + " ".join(f"{name}={count}" for name, count in counts.items())


def percentile(ordered: Sequence[float], part: float) -> float:
    """The value that this part of them does not exceed; 0 of none."""
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)] if ordered else 0.0


def parse_totals(output: str) -> Tally:
    """Read the line of totals. Raises ValueError when there is none."""
    line = re.search(r"^totals (.+)$", output, re.MULTILINE)
    if line is None:
        raise ValueError(f"the load generator reported no totals: {output.strip()[-300:]}")
    counts = {name: int(value) for name, value in (pair.split("=") for pair in line[1].split())}
    return Tally(
        units=counts.pop("units"),
        received_bytes=counts.pop("bytes"),
        seconds=counts.pop("duration_us") / 1e6,
        p50_us=counts.pop("p50_us"),
        p99_us=counts.pop("p99_us"),
        lag_us=counts.pop("lag_us", 0),
        errors=counts,
    )
