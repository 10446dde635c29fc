"""Snapshots add up, whoever adds them, and survive the way to another process."""

import json

from hypothesis import given
from hypothesis import strategies as st

from corsproxy.ops.denied import MOST_ORIGINS, Denied
from corsproxy.ops.families import DURATION_BOUNDS
from corsproxy.ops.metrics import Meter
from corsproxy.ops.snapshot import Readings, Snapshot, Usage
from corsproxy.ops.usage import read_usage
from tests.ops.exchanges import EVIL, exchange

COUNT = st.integers(0, 2**53)
NAME = st.text(max_size=4)
LABELS = st.tuples(NAME, NAME)
DURATION = st.tuples(*[COUNT] * (len(DURATION_BOUNDS) + 2))
FAMILY = st.sampled_from(["corsproxy_requests_total", "corsproxy_faults_total"])
MOMENT = st.floats(0, 2e9)
READINGS = st.builds(
    Readings,
    COUNT,
    COUNT,
    COUNT,
    st.dictionaries(NAME, COUNT, max_size=3),
    st.dictionaries(NAME, COUNT, max_size=3),
    st.dictionaries(LABELS, st.tuples(COUNT, COUNT), max_size=3),
    COUNT,
    COUNT,
    st.none() | st.builds(Usage, MOMENT, COUNT, COUNT, COUNT, COUNT),
)
DENIED = st.builds(
    Denied,
    origin=st.sampled_from(["https://a.example", "https://b.example", "null"]),
    count=COUNT,
    uncertain=COUNT,
    last_seen=MOMENT,
    outcome=st.just("denied"),
    reason=NAME,
    detail=NAME,
    route=NAME,
)
SNAPSHOTS = st.builds(
    Snapshot,
    st.dictionaries(FAMILY, st.dictionaries(LABELS, COUNT, max_size=3), max_size=2),
    st.dictionaries(st.just("corsproxy_request_duration_seconds"), st.dictionaries(LABELS, DURATION)),
    READINGS,
    st.lists(DENIED, max_size=3, unique_by=lambda denied: denied.origin).map(
        lambda every: tuple(sorted(every, key=lambda denied: (-denied.count, denied.origin)))
    ),
)


@given(SNAPSHOTS)
def test_json_and_back(snapshot: Snapshot) -> None:
    assert Snapshot.from_json(json.loads(json.dumps(snapshot.as_json()))) == snapshot


@given(SNAPSHOTS, SNAPSHOTS, SNAPSHOTS)
def test_it_does_not_matter_who_is_added_first(a: Snapshot, b: Snapshot, c: Snapshot) -> None:
    at_once = Snapshot.merge([a, b, c])
    assert Snapshot.merge([Snapshot.merge([a, b]), c]) == at_once
    assert Snapshot.merge([a, Snapshot.merge([b, c])]) == at_once
    assert _without_the_last_word(Snapshot.merge([c, a, b])) == _without_the_last_word(at_once)


def _without_the_last_word(snapshot: Snapshot) -> object:
    """Of two refusals at the same moment either may be the last."""
    denied = [(each.origin, each.count, each.last_seen) for each in snapshot.denied]
    return snapshot.counters, snapshot.durations, snapshot.readings, denied


@given(SNAPSHOTS)
def test_the_empty_one_adds_nothing(snapshot: Snapshot) -> None:
    assert Snapshot.merge([Snapshot(), snapshot, Snapshot()]) == snapshot


@given(SNAPSHOTS, SNAPSHOTS)
def test_counters_add_up(a: Snapshot, b: Snapshot) -> None:
    total = Snapshot.merge([a, b]).counters
    assert _sum(total) == _sum(a.counters) + _sum(b.counters)


def _sum(counters: object) -> int:
    assert isinstance(counters, dict)
    return sum(count for each in counters.values() for count in each.values())


def test_the_list_of_origins_stays_short() -> None:
    lists = [
        tuple(
            Denied(f"https://{at}.{each}.example", at, 0, 0.0, "", "", "", "") for at in range(MOST_ORIGINS)
        )
        for each in range(3)
    ]
    merged = Snapshot.merge(Snapshot(denied=each) for each in lists).denied
    assert [denied.count for denied in merged[:4]] == [63, 63, 63, 62]
    assert len(merged) == MOST_ORIGINS


def test_of_a_process_that_ended_the_counters_stay_and_the_readings_go() -> None:
    meter = Meter()
    meter.record(exchange(EVIL), 100.0)
    full = meter.snapshot(Readings(1, 5, 3, {"api": 1}, {}, {}, 7, 2, Usage(1.0, 2, 3, 4, 5)))
    past = full.past()
    assert (past.counters, past.durations, past.denied) == (full.counters, full.durations, full.denied)
    assert past.readings == Readings(rebalanced=3, log_lines_lost=7, restarts=2, usage=Usage(1.0, 2, 0, 0, 5))


def test_what_this_very_process_takes() -> None:
    usage = read_usage()
    assert usage is not None
    assert usage.resident_bytes > 10_000_000
    assert 3 <= usage.open_fds <= usage.max_fds
    assert 1_700_000_000 < usage.started_at < 10_000_000_000
