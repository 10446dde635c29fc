"""The tables of reasons and faults are those of the code, word for word."""

import pytest

from corsproxy.cors.decide import Reason
from corsproxy.http import faults
from corsproxy.http.faults import Fault
from tests.docs.pages import page, rows, section

CORS = page("docs/cors.md")
REASONS = rows(section(CORS, "Reasons"))
FAULTS = {row[0]: row for row in rows(section(CORS, "Faults"))}
KNOWN = [fault for fault in vars(faults).values() if isinstance(fault, Fault)]


def test_every_reason_stands_on_the_page_once_and_in_order() -> None:
    assert [word for word, _ in REASONS] == [reason.value for reason in Reason]


def test_every_reason_is_explained() -> None:
    assert all(when for _, when in REASONS)


def test_the_page_has_the_faults_of_the_code() -> None:
    assert set(FAULTS) == {fault.code for fault in KNOWN}


def test_no_fault_stands_twice() -> None:
    assert len(rows(section(CORS, "Faults"))) == len(KNOWN)


@pytest.mark.parametrize("fault", KNOWN, ids=lambda fault: fault.code)
def test_a_fault_is_as_the_page_says(fault: Fault) -> None:
    assert FAULTS[fault.code] == [fault.code, str(fault.status), fault.side, fault.error, fault.says]


def test_the_faults_to_try_again_later_are_those_with_503() -> None:
    assert {fault.status for fault in KNOWN if fault.retry_after} == {503}
    assert [fault.retry_after for fault in KNOWN if fault.status == 503] == [1, 1, 1]
