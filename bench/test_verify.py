"""What counts as a right answer: tables of answers that are, and that are not."""

from dataclasses import dataclass, replace

import pytest

from bench.load import BODY, ORIGIN
from bench.peers import Promise
from bench.verify import (
    Answer,
    faults_of_actual,
    faults_of_events,
    faults_of_preflight,
    faults_of_refused,
    faults_of_switch,
)

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


def test_what_cannot_be_told_a_list_must_at_least_keep_its_word() -> None:
    """One that allows every origin sends `*`, one that knows a single origin sends that."""
    star = Answer(200, (("x-total-count", "4711"), ("access-control-allow-origin", "*")), BODY.encode())
    assert list(faults_of_actual(star, ORIGIN, Promise.ANY_ORIGIN)) == []
    assert list(faults_of_actual(GOOD, ORIGIN, Promise.ANY_ORIGIN)) != []
    bare = without(without(GOOD, "vary"), "access-control-expose-headers")
    assert list(faults_of_actual(bare, ORIGIN, Promise.ONE_ORIGIN)) == []
    assert list(faults_of_actual(star, ORIGIN, Promise.ONE_ORIGIN)) != []


def test_a_switch_that_is_none() -> None:
    switched = Answer(101, (("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),), b"")
    assert list(faults_of_switch(switched)) == []
    assert list(faults_of_switch(replace(switched, status=200))) == ["status is 200, expected 101"]
    assert list(faults_of_switch(replace(switched, fields=()))) == ["Sec-WebSocket-Accept is None"]


def test_a_stream_without_events() -> None:
    assert list(faults_of_events(replace(GOOD, body=b"id: 000000000001\ndata: "))) == []
    assert list(faults_of_events(replace(GOOD, body=b"<html>"))) == ["no event, but b'<html>'"]
