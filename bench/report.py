"""The results: from samples to tables, for the terminal, results.md and results.json.

Here:  medians, ratios a round, Markdown, JSON. Only `write_results` touches a file.
Never: measuring, or a figure from a measurement that was not valid.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from bench.load import CONNECTIONS
from bench.measure import Sample
from bench.rounds import Outcome, Plan

__all__ = ["Report", "round_ratios", "write_results"]

OURS = "corsproxy"
SATURATED = 0.95  # of its core; below, the load or a stranger was the limit, not the proxy

METHOD = f"""\
Each proxy has one core and the same CORS policy: one exact origin and a pattern, credentials, three
methods, two request headers, one exposed header, max-age 600, `Vary: Origin`; access log off. Real
exchanges check that before it is measured and after each measurement. wrk keeps {CONNECTIONS} connections
busy; the upstream is an nginx that returns a fixed JSON of 1 KiB. Every round measures all proxies, one
after the other. CPU is the time the kernel charged to the proxy's processes (their CPU-time clocks: all
threads, user and system mode), divided by the answered requests. A measurement with any error, or whose
requests the upstream did not see, counts for nothing. README.md in this folder says how to read the
figures and how to run it."""

LEGEND = """\
CPU µs: per request, median of the rounds, then the lowest and highest of them. Ratio: corsproxy's CPU
divided by this proxy's in the same round, median; below 1 corsproxy is cheaper. `≥`: the proxy used less
than 95 % of its core, because the load or somebody else was the limit; it could serve more. Core: the
part of it that the proxy used. RSS: resident memory after the load, highest round."""

INVALID = "**This run is not valid: see the remarks below the figures.**"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything there is to show."""

    date: str  # ISO 8601, UTC
    machine: dict[str, str]
    plan: Plan
    outcome: Outcome

    def tables(self) -> str:
        """What the terminal shows: a table for each load, then what is missing or wrong."""
        tables = [load_table(load.says, self.valid_samples(load.name)) for load in self.plan.loads]
        return "\n\n".join([*tables, LEGEND, *self.remarks()])

    def valid_samples(self, load: str) -> list[Sample]:
        """Samples of a load, without the proxies that failed it, or anything, in any round."""
        failed = {s.peer for s in self.outcome.samples if s.load == load and s.faults}
        failed |= set(self.outcome.wrong)
        return [s for s in self.outcome.samples if s.load == load and s.peer not in failed]

    def remarks(self) -> list[str]:
        lines = [f"Not measured: {name}: {why}" for name, why in self.outcome.missing.items()]
        lines += [f"WRONG, left out: {name}: {why}" for name, why in self.outcome.wrong.items()]
        lines += [f"INVALID: {fault}" for fault in self.outcome.faults]
        return lines

    def markdown(self) -> str:
        """results.md."""
        ratios = [ratio_table(load.says, self.valid_samples(load.name)) for load in self.plan.loads]
        parts = [
            "# Benchmark results",
            "Written by `python -m bench`; the raw rounds are in results.json.",
            "" if self.outcome.is_valid else INVALID,
            "\n".join(f"- {label}: {value}" for label, value in self.facts().items()),
            f"## Method\n\n{METHOD}",
            f"## Figures\n\n{self.tables()}",
            "## Ratio corsproxy / peer, CPU per request, by round" if any(ratios) else "",
            *ratios,
        ]
        return "\n\n".join(filter(None, parts))

    def facts(self) -> dict[str, str]:
        return {
            "date": self.date,
            **self.machine,
            "cores": str(self.plan.cores),
            "versions": self.versions(),
            "rounds": f"{self.plan.rounds}, of {self.plan.seconds} s for each proxy and load",
        }

    def versions(self) -> str:
        return ", ".join(f"{name} {version}" for name, version in self.outcome.versions.items())

    def json(self) -> str:
        """results.json: every round as it was measured, the ones that do not count too."""
        raw = {
            "date": self.date,
            "valid": self.outcome.is_valid,
            "machine": self.machine,
            "cores": str(self.plan.cores),
            "versions": self.outcome.versions,
            "rounds": self.plan.rounds,
            "seconds": self.plan.seconds,
            "connections": CONNECTIONS,
            "missing": self.outcome.missing,
            "wrong": self.outcome.wrong,
            "samples": [raw_sample(sample) for sample in self.outcome.samples],
            "ratios": {load.name: raw_ratios(self.valid_samples(load.name)) for load in self.plan.loads},
        }
        return json.dumps(raw, indent=1)


def raw_sample(sample: Sample) -> dict[str, object]:
    """As measured, and what follows from it; JSON has no figure for "no request was answered"."""
    return {**asdict(sample), "cpu_us": round(sample.cpu_us, 3) if sample.requests else None}


def raw_ratios(samples: Sequence[Sample]) -> dict[str, dict[str, object]]:
    """For each other proxy the ratio of each round, and their median."""
    return {
        name: {"rounds": [round(ratio, 4) for ratio in ratios], "median": round(median(ratios), 4)}
        for name, ratios in round_ratios(samples).items()
    }


def by_peer(samples: Sequence[Sample]) -> dict[str, list[Sample]]:
    """In the order of the first round, which is that of the plan."""
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.peer, []).append(sample)
    return groups


def round_ratios(samples: Sequence[Sample]) -> dict[str, list[float]]:
    """For each other proxy, round by round: our CPU per request divided by its own. Empty without us."""
    groups = by_peer(samples)
    ours = {sample.round: sample.cpu_us for sample in groups.get(OURS, [])}
    return {
        name: [ours[sample.round] / sample.cpu_us for sample in group if sample.round in ours]
        for name, group in groups.items()
        if ours and name != OURS
    }


def load_table(says: str, samples: Sequence[Sample]) -> str:
    head = ["proxy", "CPU µs", "lowest-highest", "ratio", "requests/s", "p50 ms", "p99 ms", "core", "RSS MiB"]
    ratios = round_ratios(samples)
    rows = [load_row(name, group, ratios.get(name, [])) for name, group in by_peer(samples).items()]
    return f"### {says}\n\n{markdown_table(head, rows)}"


def load_row(name: str, group: Sequence[Sample], ratios: Sequence[float]) -> list[str]:
    costs = [sample.cpu_us for sample in group]
    busy = median(sample.busy for sample in group)
    return [
        name,
        f"{median(costs):.1f}",
        f"{min(costs):.1f}-{max(costs):.1f}",
        f"{median(ratios):.2f}" if ratios else "-",
        f"{'≥ ' if busy < SATURATED else ''}{median(sample.rate for sample in group):,.0f}",
        f"{median(sample.p50_us for sample in group) / 1000:.2f}",
        f"{median(sample.p99_us for sample in group) / 1000:.2f}",
        f"{busy:.0%}",
        f"{max(sample.rss_bytes for sample in group) / 2**20:.0f}",
    ]


def ratio_table(says: str, samples: Sequence[Sample]) -> str:
    """Empty when there is nothing to compare."""
    ratios = round_ratios(samples)
    if not ratios:
        return ""
    count = max(map(len, ratios.values()))
    head = ["against", *(f"round {number}" for number in range(1, count + 1)), "median"]
    rows = [[name, *(f"{r:.2f}" for r in values), f"{median(values):.2f}"] for name, values in ratios.items()]
    return f"### {says}\n\n{markdown_table(head, rows)}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the first to the left, figures to the right."""
    widths = [max(len(line[column]) for line in [head, *rows]) for column in range(len(head))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(table_line(cells, widths) for cells in [head, rule, *rows])


def table_line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = (
        cell.rjust(width) if column else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return f"| {' | '.join([first, *rest])} |"


def write_results(report: Report, folder: Path) -> None:
    (folder / "results.md").write_text(report.markdown() + "\n")
    (folder / "results.json").write_text(report.json() + "\n")
