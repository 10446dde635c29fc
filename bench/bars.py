"""The bars that corsproxy has set itself, and whether it gets there.

Here:  the bars as data, and a verdict on each.
Never: measuring; tables; a figure that is not worked out from the run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from bench.measure import Sample
from bench.singles import Singles
from bench.workers import Workers

__all__ = ["BARS", "Bar", "Standing", "by_peer", "round_ratios", "standings"]

OURS = "corsproxy"
KIB = 1024
LATE = 0.25  # of the p99

Value = Callable[[Sample], float]


def cpu(sample: Sample) -> float:
    return sample.cpu_us


def p99(sample: Sample) -> float:
    return float(sample.p99_us)


@dataclass(frozen=True, slots=True)
class Bar:
    """Ours divided by a peer's, in the same round, median: at most `limit`."""

    says: str
    load: str
    against: str
    limit: float
    value: Value = cpu
    is_aim: bool = False  # what is hoped for, where the bar itself is lower


BARS = (
    Bar("GET 1 KiB", "get", "envoy", 1.0),
    Bar("GET 1 KiB", "get", "nginx", 1.5, is_aim=True),
    Bar("preflight, always the same", "preflight", "envoy", 1.0),
    Bar("preflight, always the same", "preflight", "haproxy", 1.5, is_aim=True),
    Bar("preflights, 1,000 different", "preflights", "envoy", 1.0),
    Bar("preflights, 1,000 different", "preflights", "haproxy", 1.5, is_aim=True),
    Bar("POST 1 KiB", "post", "envoy", 1.0),
    Bar("64 KiB down", "down64k", "haproxy", 1.0),
    Bar("10 MiB down", "down10m", "haproxy", 1.0),
    Bar("10 MiB down", "down10m", "envoy", 1.0, is_aim=True),
    Bar("10 MiB up", "up10m", "haproxy", 1.0),
    Bar("10 MiB up", "up10m", "envoy", 1.0, is_aim=True),
    Bar("server-sent events", "events", "envoy", 1.0),
    Bar("WebSocket echo", "websocket", "envoy", 1.0),
    Bar("a new connection each", "connect", "envoy", 1.3),
    Bar("TLS to the client", "tls", "envoy", 1.3),
    Bar("TLS to the upstream", "secure", "envoy", 1.3),
    Bar("p99 at half of saturation", "latency", "nginx", 1.5, value=p99),
)


@dataclass(frozen=True, slots=True)
class Standing:
    """A bar and where we stand."""

    says: str
    bar: str
    figure: str
    verdict: str  # met, missed, or not measured

    @property
    def is_missed(self) -> bool:
        return self.verdict.startswith("missed")


def by_peer(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """In the order of the first round, which is that of the plan."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.peer, []).append(sample)
    return groups


def round_ratios(samples: Sequence[Sample], value: Value = cpu) -> dict[str, list[float]]:
    """For each other proxy, round by round: our figure divided by its own. Empty without us."""
    groups = by_peer(samples)
    ours = {sample.round: value(sample) for sample in groups.get(OURS, [])}
    return {
        name: [
            ours[sample.round] / value(sample) for sample in group if sample.round in ours and value(sample)
        ]
        for name, group in groups.items()
        if ours and name != OURS
    }


def standings(samples: Mapping[str, Sequence[Sample]], singles: Singles) -> list[Standing]:
    """All bars. samples: the valid ones of each load."""
    return [*(of_rounds(bar, samples.get(bar.load, ())) for bar in BARS), *of_singles(singles)]


def of_rounds(bar: Bar, samples: Sequence[Sample]) -> Standing:
    ratios = round_ratios(samples, bar.value).get(bar.against, [])
    wanted = f"{'aim: ' if bar.is_aim else ''}≤ {bar.limit:.1f} × {bar.against}"
    if not ratios:
        return Standing(bar.says, wanted, "-", "not measured")
    ratio = median(ratios)
    verdict = judged(ratio, bar.limit)
    if any(was_late(sample) for sample in samples if sample.peer in {OURS, bar.against}):
        verdict += ", but the sender was late"
    return Standing(bar.says, wanted, f"{ratio:.2f} ×", verdict)


def was_late(sample: Sample) -> bool:
    """True when a good part of a latency is that of the load generator."""
    return sample.lag_us > LATE * sample.p99_us


def judged(value: float, limit: float) -> str:
    """What the rounding in the table shows is what is judged."""
    return "met" if round(value, 2) <= limit else "missed"


def of_singles(singles: Singles) -> list[Standing]:
    idle, start, workers = singles.idle.get(OURS), singles.start.get(OURS), singles.workers
    worst = max((result.ratio for result in singles.rules), default=None)
    return [
        single("10,000 idle connections", "≤ 12 KiB each", None if idle is None else idle / KIB, 12, "KiB"),
        single("1,000 routes, 10,000 origins", "≤ 1.10 × one", worst, 1.10, "×"),
        single("start to first answer", "≤ 0.35 s", None if start is None else start.seconds, 0.35, "s"),
        of_workers(workers),
    ]


def single(says: str, bar: str, value: float | None, limit: float, unit: str) -> Standing:
    if value is None:
        return Standing(says, bar, "-", "not measured")
    return Standing(says, bar, f"{value:.2f} {unit}", judged(value, limit))


def of_workers(workers: Workers | None) -> Standing:
    """More is better here; and what is worked out is not yet shown."""
    says, bar = "two workers beside one", "≥ 1.8 × throughput"
    if workers is None:
        return Standing(says, bar, "-", "not measured")
    verdict = "met" if round(workers.speed_up, 2) >= 1.8 else "missed"
    if not workers.is_measured:
        verdict += ", worked out from CPU time"
    if workers.speed_up > 2.05:  # two cannot do more than twice the work of one
        verdict = "not believed: somebody else used the machine"
    return Standing(says, bar, f"{workers.speed_up:.2f} ×", verdict)
