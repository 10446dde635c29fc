"""The two drawings of the results: CPU time, and latency.

Here:  which loads and proxies are in a panel, and what stands beside a bar.
Never: shapes and colours (`plot`), files.
"""

from collections.abc import Callable, Sequence
from statistics import median

from bench.bars import by_peer
from bench.load import Load
from bench.measure import Sample
from bench.peers import PEERS
from bench.plot import Panel, Row, draw

__all__ = ["cpu_drawing", "latency_drawing"]

Measured = tuple[Load, Sequence[Sample]]


def cpu_drawing(measured: Sequence[Measured], ours: str) -> str:
    """CPU a unit of every load; the development proxies in panels of their own, or the others were dots."""
    panels = [cpu_panel(load, samples, ours) for load, samples in measured]
    panels += [
        cpu_panel(load, samples, ours, all_of_them=True) for load, samples in measured if load.is_common
    ]
    return draw(
        "CPU time of a request, event or message",
        "microseconds on one core, all threads, user and system mode; median of the rounds",
        [panel for panel in panels if panel.rows],
    )


def cpu_panel(load: Load, samples: Sequence[Sample], ours: str, *, all_of_them: bool = False) -> Panel:
    groups = by_peer(samples)
    has_more = any(is_development(name) for name in groups)
    if all_of_them and not has_more:
        return Panel(load.says, ())
    rows = [
        Row(name, (cost,), f"{cost:,.1f} µs", name == ours)
        for name, group in groups.items()
        if all_of_them or not is_development(name)
        for cost in [median(sample.cpu_us for sample in group)]
    ]
    return Panel(load.says + ("; development proxies too" if all_of_them else ""), tuple(rows))


def latency_drawing(measured: Sequence[Measured], ours: str) -> str:
    """p50 and p99, where they mean something: at a fixed rate, and of events and messages."""
    panels = [latency_panel(load, samples, ours) for load, samples in measured if load.generator != "wrk"]
    return draw(
        "Latency",
        "milliseconds; p50 in full colour, p99 pale behind it; median of the rounds",
        [panel for panel in panels if panel.rows],
    )


def latency_panel(load: Load, samples: Sequence[Sample], ours: str) -> Panel:
    rows = []
    for name, group in by_peer(samples).items():
        p50, p99 = (median_ms(group, at) for at in (lambda s: s.p50_us, lambda s: s.p99_us))
        rows.append(Row(name, (p50, p99), f"{p50:.2f} / {p99:.2f} ms", name == ours))
    return Panel(load.says, tuple(rows))


def median_ms(group: Sequence[Sample], at: Callable[[Sample], int]) -> float:
    return median(at(sample) for sample in group) / 1000


def is_development(name: str) -> bool:
    return name in PEERS and PEERS[name].only_common
