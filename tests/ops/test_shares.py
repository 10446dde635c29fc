"""Who does more than its share, and how much of it."""

import time

import pytest

from corsproxy.ops.shares import Times, parts_to_lose


@pytest.mark.parametrize(
    ("loads", "parts"),
    [
        ([], []),
        ([0.0, 0.0], [0.0, 0.0]),
        ([0.4, 0.0], [0.0, 0.0]),  # it has time enough
        ([0.9, 0.3], [pytest.approx(1 / 3), 0.0]),
        ([0.62, 0.6], [0.0, 0.0]),  # hardly more than the other
        ([1.0, 1.0], [0.0, 0.0]),  # no other has time for it
        ([0.8, 0.2, 0.2], [pytest.approx(1 / 2), 0.0, 0.0]),
        ([0.9, 0.9, 0.0], [pytest.approx(1 / 3), pytest.approx(1 / 3), 0.0]),
    ],
)
def test_the_part_is_what_makes_it_average(loads: list[float], parts: list[float]) -> None:
    assert parts_to_lose(loads) == parts


def test_a_load_is_processor_time_by_time() -> None:
    assert Times(13.0, 3.5).load_since(Times(11.0, 2.5)) == 0.5
    assert Times(11.0, 2.5).load_since(Times(11.0, 2.5)) == 0.0


def test_a_process_can_say_its_own() -> None:
    before = Times.now()
    until = time.process_time() + 0.02
    while time.process_time() < until:
        pass
    after = Times(**Times.now().as_json())
    assert after.cpu - before.cpu >= 0.02
    assert 0 < after.load_since(before) < 2
