"""Who is asked next, and who is left out: tables of cases, and what holds for every history."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corsproxy.config.table import Balance, HealthCheck
from corsproxy.http import faults
from corsproxy.http.faults import Fault
from corsproxy.upstream.balance import (
    EJECT_AFTER,
    Standing,
    is_failure,
    is_ready,
    note_check,
    note_failure,
    note_success,
    pick_endpoint,
)

NOW = 100.0
CHECK = HealthCheck(b"/up", healthy_after=2, unhealthy_after=3)


def ejected(until: float = NOW + 1, since: float = NOW - 1, in_flight: int = 0) -> Standing:
    return Standing(in_flight=in_flight, ejected_until=until, left_out_at=since)


def unhealthy(since: float = NOW - 1) -> Standing:
    return Standing(is_healthy=False, left_out_at=since)


def busy(in_flight: int) -> Standing:
    return Standing(in_flight=in_flight)


@dataclass(frozen=True)
class Pick:
    says: str
    standings: tuple[Standing, ...]
    turn: int
    picked: int | None
    balance: Balance = "round_robin"
    passing_over: tuple[int, ...] = ()


FREE = Standing()
LEAST: Balance = "least_in_flight"
PICKS = [
    Pick("the one whose turn it is", (FREE, FREE, FREE), 1, 1),
    Pick("an ejected one is passed over", (FREE, ejected(), FREE), 1, 2),
    Pick("an unhealthy one is passed over", (unhealthy(), FREE), 0, 1),
    Pick("after the last comes the first", (FREE, FREE, ejected()), 2, 0),
    Pick("an ejection that is over is over", (ejected(until=NOW), FREE), 0, 0),
    Pick("round robin does not count requests", (busy(9), FREE), 0, 0),
    Pick("the fewest in flight", (busy(3), busy(1), busy(2)), 0, 1, LEAST),
    Pick("a tie goes to the one whose turn it is", (busy(1), busy(1), busy(1)), 2, 2, LEAST),
    Pick("an ejected one has the fewest, and is passed over", (ejected(), busy(5)), 0, 1, LEAST),
    Pick("all out: the one that has been out longest", (ejected(since=9), ejected(since=3)), 0, 1),
    Pick("all out, by whatever", (unhealthy(since=9), ejected(since=8), unhealthy(since=7)), 0, 2),
    Pick(
        "all out: requests in flight do not matter",
        (ejected(since=9), ejected(since=3, in_flight=7)),
        0,
        1,
        LEAST,
    ),
    Pick("one that was tried is not tried again", (FREE, FREE), 0, 1, passing_over=(0,)),
    Pick("the only one left is out", (FREE, ejected()), 0, 1, passing_over=(0,)),
    Pick("none is left", (FREE, FREE), 0, None, passing_over=(0, 1)),
    Pick("one alone", (FREE,), 0, 0),
    Pick("one alone, and ejected", (ejected(),), 0, 0),
]


@pytest.mark.parametrize("case", PICKS, ids=lambda case: case.says)
def test_pick(case: Pick) -> None:
    picked = pick_endpoint(case.standings, case.balance, case.turn, NOW, case.passing_over)
    assert picked == case.picked


def fail(standing: Standing, times: int, now: float = NOW) -> list[float]:
    return [note_failure(standing, now) for _ in range(times)]


def test_failures_in_a_row_eject() -> None:
    standing = Standing()
    assert fail(standing, EJECT_AFTER) == [0.0, 0.0, 5.0]
    assert not is_ready(standing, NOW + 4.9)
    assert is_ready(standing, NOW + 5.0)


def test_a_success_between_starts_the_count_anew() -> None:
    standing = Standing()
    fail(standing, EJECT_AFTER - 1)
    assert not note_success(standing)
    assert fail(standing, EJECT_AFTER - 1) == [0.0, 0.0]


def test_what_was_under_way_when_it_was_ejected_does_not_make_it_longer() -> None:
    standing = Standing()
    fail(standing, 50)
    assert standing.ejected_until == NOW + 5.0


def test_each_ejection_is_twice_as_long_up_to_a_minute() -> None:
    standing, now, lengths = Standing(), NOW, []
    fail(standing, EJECT_AFTER - 1)
    for _ in range(6):
        lengths += fail(standing, 1, now)
        now = standing.ejected_until
    assert lengths == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]


def test_a_success_ends_an_ejection_and_its_history() -> None:
    standing = Standing()
    fail(standing, EJECT_AFTER)
    assert note_success(standing)
    assert is_ready(standing, NOW)
    assert fail(standing, EJECT_AFTER) == [0.0, 0.0, 5.0]


def test_when_all_are_out_they_are_tried_by_turns() -> None:
    standings = [Standing(), Standing(), Standing()]
    for at, standing in enumerate(standings):
        fail(standing, EJECT_AFTER, NOW + at)
    asked = []
    for step in range(6):
        at = pick_endpoint(standings, "round_robin", 0, NOW + 4)
        assert at is not None
        asked.append(at)
        note_failure(standings[at], NOW + 4 + step / 100)
    assert asked == [0, 1, 2, 0, 1, 2]


FAILURES: list[tuple[Fault, bool]] = [
    (faults.UPSTREAM_REFUSED, True),
    (faults.UPSTREAM_UNREACHABLE, True),
    (faults.UPSTREAM_TLS, True),
    (faults.DNS_ERROR, True),
    (faults.CONNECT_TIMEOUT, True),
    (faults.UPSTREAM_BROKE_OFF, True),
    (faults.UPSTREAM_PROTOCOL, True),
    (faults.RESPONSE_TIMEOUT, False),
    (faults.UPSTREAM_STALLED, False),
    (faults.UPSTREAM_LIMIT, False),
    (faults.CLIENT_GONE, False),
    (faults.CLIENT_TIMEOUT, False),
    (faults.BODY_TOO_LARGE, False),
]


@pytest.mark.parametrize(("fault", "speaks"), FAILURES, ids=lambda value: getattr(value, "code", ""))
def test_which_faults_speak_against_an_endpoint(fault: Fault, speaks: bool) -> None:
    assert is_failure(fault.because("whatever")) is speaks


@dataclass(frozen=True)
class Checks:
    says: str
    outcomes: str  # "+" good, "-" bad
    changes: str  # what note_check returned: "!" for a change


CHECKS = [
    Checks("good ones change nothing", "++++", "...."),
    Checks("three bad ones in a row", "---", "..!"),
    Checks("a good one between starts anew", "--+--", "....."),
    Checks("further bad ones change nothing", "------", "..!..."),
    Checks("two good ones bring it back", "---++", "..!.!"),
    Checks("a bad one between starts anew", "---+-+", "..!..."),
    Checks("and again", "---++---", "..!.!..!"),
]


@pytest.mark.parametrize("case", CHECKS, ids=lambda case: case.says)
def test_checks(case: Checks) -> None:
    standing = Standing()
    changes = [note_check(standing, CHECK, NOW, good=outcome == "+") for outcome in case.outcomes]
    assert "".join("!" if change else "." for change in changes) == case.changes


@given(
    events=st.lists(st.tuples(st.integers(0, 2), st.sampled_from("fs+-"), st.floats(0, 10)), max_size=60),
    balance=st.sampled_from(["round_robin", "least_in_flight"]),
)
def test_whatever_happened_somebody_is_asked_and_a_ready_one_first(
    events: list[tuple[int, str, float]], balance: Balance
) -> None:
    standings, now = [Standing() for _ in range(3)], NOW
    for at, event, later in events:
        now += later
        if event == "f":
            assert note_failure(standings[at], now) <= 60.0
        elif event == "s":
            note_success(standings[at])
        else:
            note_check(standings[at], CHECK, now, good=event == "+")
        picked = pick_endpoint(standings, balance, at, now)
        assert picked is not None
        assert is_ready(standings[picked], now) or not any(is_ready(each, now) for each in standings)
