"""A decision is flat in the size of the file: counted, where `python -m bench.rules` measures."""

import pytest

from bench.rules import SUBJECTS, Subject, loaded
from corsproxy.http.faults import Fault
from tests.counting import count_instructions


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.says)
def test_a_large_file_costs_no_more_instructions(subject: Subject) -> None:
    one, many = (subject.prepare(loaded(subject.text(count)), count) for count in (1, subject.many))
    assert not isinstance(
        many(), Fault
    )  # the first is what the file lists, or a stranger, not a mistake of ours
    one()
    # A dictionary with thousands of entries has colliding hashes now and then, which C settles: not counted.
    assert [count_instructions(many) for _ in range(20)] == [count_instructions(one) for _ in range(20)]
