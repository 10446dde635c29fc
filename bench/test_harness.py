"""Tests of the harness: what it believes, what it refuses, how it counts. `pytest bench` runs them.

Here:  tables of cases over the pure parts, and one real process.
Never: proxies, load, figures.
"""

import os
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bench.instructions import parse_count
from bench.load import BODY, LOADS, ORIGIN, Tally, parse_totals
from bench.machine import Cores, choose_cores, parse_cpu_list
from bench.measure import Sample, cpu_seconds, faults_of_count
from bench.peers import ALL_PEERS, TEMPLATES, UPSTREAM, Peer, fill
from bench.process import ProcessEndedError, session_of, started, wait_until
from bench.report import markdown_table, round_ratios
from bench.verify import Answer, faults_of_actual, faults_of_preflight, faults_of_refused

GOOD = Answer(
    200,
    (
        ("x-total-count", "4711"),
        ("access-control-allow-origin", ORIGIN),
        ("access-control-allow-credentials", "true"),
        ("access-control-expose-headers", "X-Total-Count"),
        ("vary", "Accept-Encoding, Origin"),
    ),
    BODY.encode(),
)
PREFLIGHT = Answer(
    204,
    (
        ("access-control-allow-origin", ORIGIN),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET, PUT, POST"),
        ("access-control-allow-headers", "Content-Type, Authorization"),
        ("access-control-max-age", "600"),
    ),
    b"",
)


def without(answer: Answer, name: str) -> Answer:
    return replace(answer, fields=tuple(field for field in answer.fields if field[0] != name))


def with_field(answer: Answer, name: str, value: str) -> Answer:
    return replace(answer, fields=(*answer.fields, (name, value)))


@dataclass(frozen=True)
class Case:
    says: str
    answer: Answer
    fault: str  # a part of the only fault; "" = none


ACTUAL = [
    Case("a right response has no fault", GOOD, ""),
    Case("an error status", replace(GOOD, status=502), "status is 502"),
    Case(
        "a body of the right length with other bytes",
        replace(GOOD, body=b"x" * len(BODY)),
        "not the upstream's",
    ),
    Case("a truncated body", replace(GOOD, body=GOOD.body[:-1]), "1023 bytes"),
    Case("no allowed origin", without(GOOD, "access-control-allow-origin"), "Allow-Origin is None"),
    Case(
        "the allowed origin on two lines fails in a browser",
        with_field(GOOD, "access-control-allow-origin", ORIGIN),
        f"Allow-Origin is {ORIGIN}, {ORIGIN}",
    ),
    Case("no credentials", without(GOOD, "access-control-allow-credentials"), "Allow-Credentials is None"),
    Case("nothing exposed", without(GOOD, "access-control-expose-headers"), "Expose-Headers lacks"),
    Case("no Vary", without(GOOD, "vary"), "Vary lacks Origin"),
    Case("the upstream's field is lost", without(GOOD, "x-total-count"), "X-Total-Count did not come"),
]


@pytest.mark.parametrize("case", ACTUAL, ids=lambda case: case.says)
def test_actual_response(case: Case) -> None:
    faults = list(faults_of_actual(case.answer, ORIGIN))
    assert len(faults) == bool(case.fault)
    assert case.fault in "".join(faults)


PREFLIGHTS = [
    Case("a right answer has no fault", PREFLIGHT, ""),
    Case("200 is as good as 204", replace(PREFLIGHT, status=200), ""),
    Case("a redirect", replace(PREFLIGHT, status=301), "status is 301"),
    Case("a body", replace(PREFLIGHT, body=b"ok"), "2 bytes"),
    Case("no methods", without(PREFLIGHT, "access-control-allow-methods"), "Allow-Methods is None"),
    Case("no headers", without(PREFLIGHT, "access-control-allow-headers"), "Allow-Headers is None"),
    Case("another max-age", with_field(PREFLIGHT, "access-control-max-age", "5"), "Max-Age is 600, 5"),
]


@pytest.mark.parametrize("case", PREFLIGHTS, ids=lambda case: case.says)
def test_preflight(case: Case) -> None:
    faults = list(faults_of_preflight(case.answer, ORIGIN))
    assert len(faults) == bool(case.fault)
    assert case.fault in "".join(faults)


def test_an_unlisted_origin_must_not_be_let_in() -> None:
    assert list(faults_of_refused(without(GOOD, "access-control-allow-origin"))) == []
    assert list(faults_of_refused(GOOD)) == [f"Access-Control-Allow-Origin is {ORIGIN}, expected none"]


CORES = [
    ("one core is shared", {3: {3}}, Cores(frozenset({3}), frozenset({3}))),
    ("two cores: one each", {0: {0}, 1: {1}}, Cores(frozenset({1}), frozenset({0}))),
    (
        "two threads of one core are better than one",
        {0: {0, 1}, 1: {0, 1}},
        Cores(frozenset({1}), frozenset({0})),
    ),
    (
        "the sibling of the proxy's core stays idle",
        {0: {0, 2}, 1: {1, 3}, 2: {0, 2}, 3: {1, 3}},
        Cores(frozenset({3}), frozenset({0, 2})),
    ),
]


@pytest.mark.parametrize(("siblings", "expected"), [row[1:] for row in CORES], ids=[row[0] for row in CORES])
def test_cores(siblings: dict[int, set[int]], expected: Cores) -> None:
    assert choose_cores({core: frozenset(threads) for core, threads in siblings.items()}) == expected


def test_cpu_list() -> None:
    assert parse_cpu_list("0,4-6\n") == {0, 4, 5, 6}


TOTALS = (
    "Requests/sec: 1\ntotals requests=1000 bytes=1500000 duration_us=2000000 p50_us=640 p99_us=900"
    " connect=0 read=0 write=0 timeout=0 status=0\n"
)


def test_totals_are_read() -> None:
    tally = parse_totals(TOTALS)
    assert (tally.requests, tally.seconds, tally.p50_us, tally.p99_us) == (1000, 2.0, 640, 900)
    assert tally.faults(LOADS["get"]) == []


def test_no_totals_is_an_error() -> None:
    with pytest.raises(ValueError, match="unable to connect"):
        parse_totals("unable to connect to 127.0.0.1:1")


FAULTY = [
    ("one error status", TOTALS.replace("status=0", "status=1"), "1 status errors"),
    ("one cut connection", TOTALS.replace("read=0", "read=1"), "1 read errors"),
    ("bodies missing", TOTALS.replace("bytes=1500000", "bytes=900000"), "shorter"),
    ("silence", TOTALS.replace("requests=1000", "requests=0"), "no request was answered"),
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


def sample(peer: str, number: int, cpu_seconds: float) -> Sample:
    return Sample(peer, "get", number, 1000, 1.0, cpu_seconds, 0, 0, 0)


def test_ratios_compare_within_a_round() -> None:
    """Both slow down in round 2, as on a shared machine: the ratio stays."""
    rounds = [("corsproxy", 1, 0.02), ("envoy", 1, 0.04), ("envoy", 2, 0.08), ("corsproxy", 2, 0.04)]
    assert round_ratios([sample(*row) for row in rounds]) == {"envoy": [0.5, 0.5]}


def test_no_ratio_without_us() -> None:
    assert round_ratios([sample("envoy", 1, 0.04), sample("nginx", 1, 0.04)]) == {}


def test_columns_are_aligned() -> None:
    lines = markdown_table(["proxy", "CPU"], [["nginx", "1,000.0"], ["us", "2"]]).splitlines()
    assert {len(line) for line in lines} == {len(lines[0])}
    assert lines[3] == "| us    |       2 |"


@pytest.mark.parametrize("peer", [UPSTREAM, *ALL_PEERS], ids=lambda peer: peer.name)
def test_every_template_is_there_and_filled(peer: Peer) -> None:
    words = dict.fromkeys(("program", "dir", "listen", "admin", "upstream", "body"), "WORD")
    for name in peer.templates:
        assert "WORD" in fill((TEMPLATES / name).read_text(), words)


def test_an_unknown_placeholder_is_refused() -> None:
    with pytest.raises(KeyError):
        fill("listen @prot@;", {"port": "1"})


def test_the_body_is_one_kibibyte_that_nginx_can_quote() -> None:
    assert len(BODY.encode()) == 1024
    assert not {"'", "$", "\\"} & set(BODY)


def test_a_count_that_the_machine_does_not_have() -> None:
    assert parse_count("# started on\n\n<not supported>,,instructions:u,0,100.00,,\n") is None
    assert parse_count("# started on\n\n123456,,instructions:u,5,100.00,,\n") == 123456


def test_a_process_and_its_children_end_with_the_block(tmp_path: Path) -> None:
    """The child ignores SIGTERM, as a stuck worker would."""
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    child = f"{ignore}; print('up', flush=True); time.sleep(60)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    output = tmp_path / "output.txt"
    cores = frozenset(os.sched_getaffinity(0))
    with started(
        "parent", [sys.executable, "-c", parent], cores=cores, folder=tmp_path, environment={}, output=output
    ) as process:
        wait_until(process, lambda: "up" in output.read_text(), 10)
        members = process.members()
        assert len(members) == 2
        assert cpu_seconds(members) > 0
    assert [session_of(pid) for pid in members] == [None, None]


def test_a_process_that_ends_early_is_quoted(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('no such key: upstreem')"]
    with (
        started(
            "proxy",
            command,
            cores=frozenset(os.sched_getaffinity(0)),
            folder=tmp_path,
            environment={},
            output=tmp_path / "output.txt",
        ) as process,
        pytest.raises(ProcessEndedError, match="proxy ended with status 1: no such key: upstreem"),
    ):
        wait_until(process, lambda: False, 10)
