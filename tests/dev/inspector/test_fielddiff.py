"""Fields before and after: what stayed, changed, went and came."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corsproxy.dev.inspector.fielddiff import compare

CASES = {
    "nothing changed": ([["A", "1"]], [["A", "1"]], [["same", "A", "1", "1"]]),
    "another value": ([["A", "1"]], [["A", "2"]], [["changed", "A", "1", "2"]]),
    "gone": ([["A", "1"]], [], [["removed", "A", "1", ""]]),
    "new": ([], [["A", "1"]], [["added", "A", "", "1"]]),
    "case and order of names make no difference": (
        [["A", "1"], ["B", "2"]],
        [["b", "2"], ["a", "1"]],
        [["same", "A", "1", "1"], ["same", "B", "2", "2"]],
    ),
    "of several lines each finds its like": (
        [["Via", "1"], ["Via", "2"], ["Via", "3"]],
        [["Via", "3"], ["Via", "1"]],
        [["same", "Via", "1", "1"], ["removed", "Via", "2", ""], ["same", "Via", "3", "3"]],
    ),
    "new lines stand last": (
        [["A", "1"]],
        [["B", "2"], ["A", "1"], ["A", "9"]],
        [["same", "A", "1", "1"], ["added", "B", "", "2"], ["added", "A", "", "9"]],
    ),
    "made here": (None, [["A", "1"]], [["added", "A", "", "1"]]),
    "went no further": ([["A", "1"]], None, [["same", "A", "1", "1"]]),
    "nothing at all": (None, None, []),
}


@pytest.mark.parametrize(("before", "after", "lines"), CASES.values(), ids=CASES)
def test_cases(before: list[list[str]] | None, after: list[list[str]] | None, lines: list[list[str]]) -> None:
    assert compare(before, after) == lines


PAIRS = st.lists(st.tuples(st.sampled_from("AaBbC"), st.sampled_from("123")).map(list), max_size=8)


@given(PAIRS, PAIRS)
def test_no_line_is_lost_or_made_up(before: list[list[str]], after: list[list[str]]) -> None:
    lines = compare(before, after)
    assert sorted(v for w, _, v, _ in lines if w != "added") == sorted(v for _, v in before)
    assert sorted(v for w, _, _, v in lines if w != "removed") == sorted(v for _, v in after)
    assert [n for w, n, _, _ in lines if w != "added"] == [n for n, _ in before]
