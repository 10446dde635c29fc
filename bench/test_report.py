"""From samples to verdicts, tables and drawings."""

from dataclasses import dataclass
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import pytest

from bench.bars import BARS, Bar, judged, of_rounds, of_workers, round_ratios, standings
from bench.drawings import cpu_drawing, latency_drawing
from bench.load import LOADS
from bench.machine import Cores
from bench.measure import Sample, faults_of_count
from bench.peers import PEERS
from bench.report import Report, load_table
from bench.rounds import Outcome, Plan, seconds_needed, takes
from bench.singles import Singles
from bench.start import Start
from bench.tables import markdown_table
from bench.tally import Tally, parse_totals, percentile, totals_line
from bench.workers import Run, Workers, speed_up

TOTALS = (
    "Requests/sec: 1\ntotals units=1000 bytes=1500000 duration_us=2000000 p50_us=640 p99_us=900"
    " connect=0 read=0 write=0 timeout=0 status=0\n"
)


def test_totals_are_read() -> None:
    tally = parse_totals(TOTALS)
    assert (tally.units, tally.seconds, tally.p50_us, tally.p99_us) == (1000, 2.0, 640, 900)
    assert tally.faults(LOADS["get"]) == []


def test_totals_of_our_own_clients_are_the_same() -> None:
    line = totals_line(3, 30, 1.5, [0.003, 0.001, 0.002], {"lag_us": 7, "closed": 1})
    assert parse_totals(line) == Tally(3, 30, 1.5, 2000, 3000, {"closed": 1}, 7)


def test_percentiles() -> None:
    assert percentile([float(each) for each in range(100)], 0.99) == 99.0
    assert percentile([], 0.5) == 0.0


def test_no_totals_is_an_error() -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        parse_totals("unable to connect to 127.0.0.1:1")


FAULTY = [
    ("one error status", TOTALS.replace("status=0", "status=1"), "1 status errors"),
    ("one cut connection", TOTALS.replace("read=0", "read=1"), "1 read errors"),
    ("bodies missing", TOTALS.replace("bytes=1500000", "bytes=900000"), "shorter"),
    ("silence", TOTALS.replace("units=1000", "units=0"), "no request was answered"),
]


@pytest.mark.parametrize(("totals", "fault"), [row[1:] for row in FAULTY], ids=[row[0] for row in FAULTY])
def test_a_measurement_that_does_not_count(totals: str, fault: str) -> None:
    tally: Tally = parse_totals(totals)
    assert [fault in found for found in tally.faults(LOADS["get"])] == [True]


def test_the_upstream_must_have_seen_it() -> None:
    assert faults_of_count(LOADS["get"], 10_000, 10_064) == []
    assert faults_of_count(LOADS["get"], 10_000, 5_000) == ["the upstream saw 5000 requests, expected 10000"]
    assert faults_of_count(LOADS["preflight"], 10_000, 1) == []
    assert faults_of_count(LOADS["preflight"], 10_000, 10_000) != []


def sample(peer: str, number: int, cpu_seconds: float, load: str = "get", p99: int = 0) -> Sample:
    return Sample(peer, load, number, 1000, 1.0, cpu_seconds, 0, 0, p99)


def test_a_large_download_counts_as_far_as_it_came() -> None:
    """Two whole ones and eight halves are six."""
    half = Sample("envoy", "down10m", 1, 2, 1.0, 0.6, 0, 0, 0, parts=6.0)
    assert half.cpu_us == pytest.approx(100_000)
    assert half.rate == pytest.approx(6.0)


def test_ratios_compare_within_a_round() -> None:
    """Both slow down in round 2, as on a shared machine: the ratio stays."""
    rounds = [("corsproxy", 1, 0.02), ("envoy", 1, 0.04), ("envoy", 2, 0.08), ("corsproxy", 2, 0.04)]
    assert round_ratios([sample(*row) for row in rounds]) == {"envoy": [0.5, 0.5]}


def test_no_ratio_without_us() -> None:
    assert round_ratios([sample("envoy", 1, 0.04), sample("nginx", 1, 0.04)]) == {}


@dataclass(frozen=True)
class Case:
    says: str
    ours: float
    verdict: str


VERDICTS = [
    Case("cheaper than the peer", 0.03, "met"),
    Case("as dear", 0.04, "met"),
    Case("what is judged is what the table shows", 0.0401, "met"),
    Case("a hundredth dearer", 0.0404, "missed"),
]


@pytest.mark.parametrize("case", VERDICTS, ids=lambda case: case.says)
def test_a_bar(case: Case) -> None:
    samples = [sample("corsproxy", 1, case.ours), sample("envoy", 1, 0.04)]
    assert of_rounds(Bar("GET", "get", "envoy", 1.0), samples).verdict == case.verdict


def test_a_bar_without_figures_is_not_met() -> None:
    none = standings({}, Singles())
    assert {each.verdict for each in none} == {"not measured"}
    assert len(none) == len(BARS) + 4


def test_every_bar_is_of_a_load_and_a_peer_that_exist() -> None:
    for bar in BARS:
        assert takes(PEERS[bar.against], LOADS[bar.load])


def test_latency_is_judged_by_its_p99() -> None:
    samples = [sample("corsproxy", 1, 9.0, "latency", 1500), sample("nginx", 1, 1.0, "latency", 1000)]
    bar = next(bar for bar in BARS if bar.load == "latency")
    assert of_rounds(bar, samples).figure == "1.50 ×"


def test_latency_that_is_the_senders_own_is_told() -> None:
    late = Sample("corsproxy", "latency", 1, 1, 1.0, 0.1, 0, 0, 1000, lag_us=300)
    bar = next(bar for bar in BARS if bar.load == "latency")
    assert of_rounds(bar, [late, sample("nginx", 1, 1.0, "latency", 1000)]).verdict.endswith("was late")


def test_two_workers_are_as_fast_as_the_busier_one() -> None:
    one = Run(1000, 1.0, (0.04,))
    assert speed_up(one, Run(1000, 1.0, (0.02, 0.02))) == pytest.approx(2.0)
    assert speed_up(one, Run(1000, 1.0, (0.03, 0.01))) == pytest.approx(4 / 3)


def test_what_is_worked_out_says_so() -> None:
    assert of_workers(Workers(1.9, False, 40.0, 42.0, 0.5)).verdict == "met, worked out from CPU time"
    assert of_workers(Workers(1.7, True, 40.0, 42.0, 0.5)).verdict == "missed"
    assert of_workers(Workers(2.3, False, 40.0, 35.0, 0.5)).verdict.startswith("not believed")
    assert judged(1.104, 1.10) == "met"


def test_columns_are_aligned() -> None:
    lines = markdown_table(["proxy", "CPU"], [["nginx", "1,000.0"], ["us", "2"]]).splitlines()
    assert {len(line) for line in lines} == {len(lines[0])}
    assert lines[3] == "| us    |       2 |"


def test_a_failed_round_takes_the_proxy_out_of_the_load() -> None:
    bad = Sample("envoy", "get", 2, 1, 1.0, 0.1, 0, 0, 0, faults=("cut",))
    report = report_of([sample("corsproxy", 1, 0.02), sample("envoy", 1, 0.04), bad])
    assert {each.peer for each in report.valid_samples(LOADS["get"])} == {"corsproxy"}
    assert "INVALID: envoy, get, round 2: cut" in report.remarks()
    assert "This run is not valid" in report.markdown()


def report_of(samples: list[Sample]) -> Report:
    outcome = Outcome(samples=samples)
    plan = Plan((PEERS["corsproxy"],), (LOADS["get"],), 1, 1, Cores(frozenset({0}), frozenset({1})))
    singles = Singles(start={"corsproxy": Start((0.2, 0.3, 0.4), (0.9,))}, idle={"corsproxy": 5120.0})
    return Report(datetime.now(UTC).isoformat(), {"CPU": "a & b"}, plan, outcome, singles)


def test_the_page_has_what_was_measured() -> None:
    page = report_of([sample("corsproxy", 1, 0.02), sample("envoy", 1, 0.04)]).markdown()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    assert ["GET 1 KiB", "≤ 1.0 × envoy", "0.50 ×", "met"] in rows
    assert ["GET 1 KiB", "aim: ≤ 1.5 × nginx", "-", "not measured"] in rows
    assert ["start to first answer", "≤ 0.35 s", "0.30 s", "met"] in rows
    assert ["10,000 idle connections", "≤ 12 KiB each", "5.00 KiB", "met"] in rows


def test_a_rate_below_saturation_is_a_lower_bound() -> None:
    assert "≥ 1,000" in load_table(LOADS["get"], [sample("envoy", 1, 0.5)])
    assert "≥" not in load_table(LOADS["get"], [sample("envoy", 1, 0.99)])


def test_drawings_are_xml_and_ours_stands_out() -> None:
    measured = [
        (LOADS["get"], [sample("corsproxy", 1, 0.02), sample("mitmproxy", 1, 1.0)]),
        (LOADS["latency"], [sample("corsproxy", 1, 0.02, "latency", 900)]),
    ]
    for drawing in (cpu_drawing(measured, "corsproxy"), latency_drawing(measured, "corsproxy")):
        root = ET.fromstring(drawing)
        assert root.tag.endswith("svg")
        assert 'class="ours"' in drawing
    assert cpu_drawing(measured, "corsproxy").count("mitmproxy") == 1


def test_the_time_it_takes_is_said() -> None:
    """Two loads of one edition for one proxy: rounds, warm-ups, one start."""
    plan = Plan((PEERS["envoy"],), (LOADS["get"], LOADS["post"]), 3, 4, Cores(frozenset({0}), frozenset({1})))
    assert seconds_needed(plan) == pytest.approx(2 * (3 * 4.4 + 1) + 2)
