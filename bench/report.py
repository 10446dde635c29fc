"""The results: from samples to tables, for the terminal and for `results/`.

Here:  medians, ratios a round, Markdown, JSON. Only `write_results` touches files.
Never: measuring, or a figure from a measurement that was not valid.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from bench.bars import OURS, by_peer, round_ratios, standings
from bench.drawings import cpu_drawing, latency_drawing
from bench.load import CONNECTIONS, Load
from bench.measure import Sample
from bench.rounds import Outcome, Plan
from bench.singles import Singles
from bench.start import Start
from bench.tables import markdown_table

__all__ = ["Report", "write_results"]

SATURATED = 0.95  # of its core; below, the load or a stranger was the limit, not the proxy

METHOD = f"""\
Each proxy has one core and the same CORS policy: one exact origin and a pattern, credentials, three
methods, two request headers, one exposed header, max-age 600, `Vary: Origin`; access log off, except
where the load says otherwise. Real exchanges check that before it is measured and after each measurement.
wrk keeps {CONNECTIONS} connections busy, unless the load says otherwise. Every round measures all proxies,
one after the other. CPU is the time the kernel charged to the proxy's processes (their CPU-time clocks: all
threads, user and system mode), divided by the answered requests, events or messages. A measurement with
any error, or whose requests the upstream did not see, counts for nothing. [README.md](../README.md) says
how to read the figures and how to run it."""

LEGEND = """\
CPU µs: per request (or event, message, transfer), median of the rounds, then the lowest and highest of
them. Ratio: corsproxy's CPU divided by this proxy's in the same round, median; below 1 corsproxy is cheaper.
`≥`: the proxy used less than 95 % of its core, because the load or somebody else was the limit; it could
serve more. Core: the part of it that the proxy used. RSS: resident memory after the load, highest round.
Late: how far behind its schedule the sender was, p99 (at a fixed rate only); it is part of the latencies."""

INVALID = "**This run is not valid: see the remarks below the figures.**"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything there is to show."""

    date: str  # ISO 8601, UTC
    machine: dict[str, str]
    plan: Plan
    outcome: Outcome
    singles: Singles

    def valid_samples(self, load: Load) -> list[Sample]:
        """Samples of a load, without the proxies that failed it in any round."""
        mine = [sample for sample in self.outcome.samples if sample.load == load.name]
        failed = {sample.peer for sample in mine if sample.faults or self.outcome.is_out(sample.peer, load)}
        return [sample for sample in mine if sample.peer not in failed]

    def bars_table(self) -> str:
        """Each bar and where we stand."""
        samples = {load.name: self.valid_samples(load) for load in self.plan.loads}
        rows = [[each.says, each.bar, each.figure, each.verdict] for each in standings(samples, self.singles)]
        return markdown_table(["what", "bar", "here", "verdict"], rows)

    def tables(self) -> str:
        """What the terminal shows: the bars, a table for each load, then what is missing or wrong."""
        loads = [load_table(load, self.valid_samples(load)) for load in self.plan.loads]
        singles = singles_tables(self.singles)
        return "\n\n".join([self.bars_table(), *loads, *singles, LEGEND, *self.remarks()])

    def remarks(self) -> list[str]:
        lines = [f"Not measured: {name}: {why}" for name, why in self.outcome.missing.items()]
        lines += [f"Not measured: {title}: {why}" for title, why in self.singles.absent.items()]
        lines += [f"WRONG, left out: {title}: {why}" for title, why in self.outcome.wrong.items()]
        lines += [f"INVALID: {fault}" for fault in self.outcome.faults]
        return lines

    def markdown(self) -> str:
        """results.md."""
        ratios = [ratio_table(load.says, self.valid_samples(load)) for load in self.plan.loads]
        parts = [
            "# Benchmark results",
            "Written by `make bench`; the raw rounds are in results.json.",
            "" if self.outcome.is_valid else INVALID,
            "\n".join(f"- {label}: {value}" for label, value in self.facts().items()),
            f"## The bars\n\nCPU time per request, event or message, or as it says.\n\n{self.bars_table()}",
            "![CPU time per request](cpu.svg)\n\n![latency](latency.svg)",
            f"## Method\n\n{METHOD}",
            "## Figures",
            *(load_table(load, self.valid_samples(load)) for load in self.plan.loads),
            LEGEND,
            *singles_tables(self.singles),
            "\n".join(f"- {remark}" for remark in self.remarks()),
            "## Ratio corsproxy / peer, CPU, by round" if any(ratios) else "",
            *ratios,
        ]
        return "\n\n".join(filter(None, parts))

    def facts(self) -> dict[str, str]:
        versions = ", ".join(f"{name} {version}" for name, version in self.outcome.versions.items())
        return {
            "date": self.date,
            **self.machine,
            "cores": str(self.plan.cores),
            "versions": versions,
            "rounds": f"{self.plan.rounds}, of {self.plan.seconds} s for each proxy and load",
        }

    def json(self) -> str:
        """results.json: every round as it was measured, the ones that do not count too."""
        samples = {load.name: self.valid_samples(load) for load in self.plan.loads}
        raw = {
            "date": self.date,
            "valid": self.outcome.is_valid,
            "machine": self.machine,
            "cores": str(self.plan.cores),
            "versions": self.outcome.versions,
            "rounds": self.plan.rounds,
            "seconds": self.plan.seconds,
            "missing": self.outcome.missing,
            "wrong": self.outcome.wrong,
            "bars": [asdict(each) for each in standings(samples, self.singles)],
            "samples": [raw_sample(sample) for sample in self.outcome.samples],
            "ratios": {name: raw_ratios(mine) for name, mine in samples.items()},
            "singles": asdict(self.singles),
        }
        return json.dumps(raw, indent=1)


def raw_sample(sample: Sample) -> dict[str, object]:
    """As measured, and what follows from it; JSON has no figure for "no request was answered"."""
    return {**asdict(sample), "cpu_us": round(sample.cpu_us, 3) if sample.units else None}


def raw_ratios(samples: Sequence[Sample]) -> dict[str, dict[str, object]]:
    """For each other proxy the ratio of each round, and their median."""
    return {
        name: {"rounds": [round(ratio, 4) for ratio in ratios], "median": round(median(ratios), 4)}
        for name, ratios in round_ratios(samples).items()
    }


def load_table(load: Load, samples: Sequence[Sample]) -> str:
    head = [
        "proxy",
        "CPU µs",
        "lowest-highest",
        "ratio",
        f"{load.unit}s/s",
        "p50 ms",
        "p99 ms",
        "core",
        "RSS MiB",
    ]
    paced = load.generator == "paced"
    ratios = round_ratios(samples)
    rows = [load_row(name, group, ratios.get(name, []), paced) for name, group in by_peer(samples).items()]
    return f"### {load.says}\n\n{markdown_table([*head, 'late ms'] if paced else head, rows)}"


def load_row(name: str, group: Sequence[Sample], ratios: Sequence[float], paced: bool) -> list[str]:
    costs = [sample.cpu_us for sample in group]
    busy = median(sample.busy for sample in group)
    open_end = "" if paced or busy >= SATURATED else "≥ "
    row = [
        name,
        f"{median(costs):,.1f}",
        f"{min(costs):,.1f}-{max(costs):,.1f}",
        f"{median(ratios):.2f}" if ratios else "-",
        f"{open_end}{median(sample.rate for sample in group):,.0f}",
        f"{median(sample.p50_us for sample in group) / 1000:.2f}",
        f"{median(sample.p99_us for sample in group) / 1000:.2f}",
        f"{busy:.0%}",
        f"{max(sample.rss_bytes for sample in group) / 2**20:.0f}",
    ]
    return [*row, f"{median(sample.lag_us for sample in group) / 1000:.2f}"] if paced else row


def ratio_table(says: str, samples: Sequence[Sample]) -> str:
    """Empty when there is nothing to compare."""
    ratios = round_ratios(samples)
    if not ratios:
        return ""
    count = max(map(len, ratios.values()))
    head = ["against", *(f"round {number}" for number in range(1, count + 1)), "median"]
    rows = [
        [name, *(f"{ratio:.2f}" for ratio in each), *("-",) * (count - len(each)), f"{median(each):.2f}"]
        for name, each in ratios.items()
    ]
    return f"### {says}\n\n{markdown_table(head, rows)}"


def singles_tables(singles: Singles) -> list[str]:
    """What was measured once."""
    parts = []
    if singles.start:
        rows = [start_row(name, figure) for name, figure in singles.start.items()]
        parts.append(f"### Start to first answer, seconds\n\n{markdown_table(START_HEAD, rows)}")
    if singles.idle:
        rows = [[name, f"{each / 1024:.2f}"] for name, each in singles.idle.items()]
        table = markdown_table(["proxy", "KiB each"], rows)
        parts.append(f"### 10,000 idle keep-alive connections\n\n{table}")
    if singles.rules:
        rows = [
            [
                r.says,
                f"{r.many:,}",
                f"{r.one_ns:.0f}",
                f"{r.many_ns:.0f}",
                f"{r.ratio:.2f}",
                f"{r.load_seconds:.2f}",
            ]
            for r in singles.rules
        ]
        head = [
            "a decision, nothing remembered",
            "in the file",
            "ns with one",
            "ns with all",
            "ratio",
            "loads in s",
        ]
        parts.append(f"### Large files\n\n{markdown_table(head, rows)}")
    if singles.workers:
        parts.append(f"### Two workers\n\n{singles.workers}")
    return parts


START_HEAD = ["proxy", "median", "lowest", "highest", "without byte-code"]


def start_row(name: str, start: Start) -> list[str]:
    cold = f"{median(start.cold):.2f}" if start.cold else "-"
    return [name, f"{start.seconds:.3f}", f"{min(start.warm):.3f}", f"{max(start.warm):.3f}", cold]


def write_results(report: Report, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "results.md").write_text(report.markdown() + "\n")
    (folder / "results.json").write_text(report.json() + "\n")
    samples = [(load, report.valid_samples(load)) for load in report.plan.loads]
    for name, drawing in (("cpu", cpu_drawing(samples, OURS)), ("latency", latency_drawing(samples, OURS))):
        (folder / f"{name}.svg").write_text(drawing)
