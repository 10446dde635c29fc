"""No exchange costs more than it did: instructions are counted, so no busy machine can change the outcome."""

from dataclasses import dataclass

import pytest

from tests.budget import MARGIN, VERSION, count, read_baseline, verdict
from tests.budget_cases import CASES, Budgeted

MINE = read_baseline().get(VERSION, {})


@pytest.mark.skipif(
    not MINE, reason=f"no baseline for Python {VERSION}: `python -m tests.budget --write` makes one"
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_an_exchange_costs_what_it_did(case: Budgeted) -> None:
    assert verdict(min(count(case)), MINE[case.says]) == ""


def test_an_exchange_costs_the_same_each_time() -> None:
    """All but those that happen to make a Date line."""
    counts = count(CASES[0])
    assert len(counts) - counts.count(min(counts)) <= 1


@pytest.mark.parametrize("version", read_baseline())
def test_every_baseline_has_every_exchange(version: str) -> None:
    assert list(read_baseline()[version]) == [case.says for case in CASES]


def test_a_wrong_answer_has_no_price() -> None:
    refused = Budgeted("refused", (("client", b"GET / HTTP/1.1\r\n\r\n"),), b"HTTP/1.1 200 ")
    with pytest.raises(AssertionError, match=r"refused: b'HTTP/1\.1 400 "):
        count(refused)


@dataclass(frozen=True)
class Case:
    says: str
    counted: int
    verdict: str  # its beginning


VERDICTS = [
    Case("as before", 1000, ""),
    Case("five percent are no reason to stop", 1050, ""),
    Case("more than that is", 1051, "1,051 instructions, 5.1% more than the baseline's 1,000. If"),
    Case("less is kept", 940, "940 instructions, 6.0% less than the baseline's 1,000. Well done"),
]


@pytest.mark.parametrize("case", VERDICTS, ids=lambda case: case.says)
def test_verdict(case: Case) -> None:
    said = verdict(case.counted, 1000)
    assert said.startswith(case.verdict)
    assert bool(said) == bool(case.verdict)
    assert said == "" or "python -m tests.budget --write" in said


def test_the_margin_is_five_percent() -> None:
    assert MARGIN == 5
