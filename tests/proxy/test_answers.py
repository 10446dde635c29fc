"""Answers of the proxy's own, as bytes: what every Python must say alike, and what a script may read."""

import pytest

from corsproxy.config.compile import load_table
from corsproxy.cors.decide import decide_actual
from corsproxy.http import faults
from corsproxy.http.faults import Fault
from corsproxy.proxy.answers import fault_answer, status_line

APP = b"https://app.example.com"
EVERY_FAULT = [fault for name in faults.__all__ if isinstance(fault := getattr(faults, name), Fault)]


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (413, b"HTTP/1.1 413 Content Too Large\r\n"),
        (414, b"HTTP/1.1 414 URI Too Long\r\n"),
        (499, b"HTTP/1.1 499 Client Closed Request\r\n"),
    ],
    ids=["named anew by RFC 9110 15.5.14", "named anew by RFC 9110 15.5.15", "no standard names it"],
)
def test_the_phrase_does_not_depend_on_the_python(status: int, line: bytes) -> None:
    assert status_line(status) == line


@pytest.mark.parametrize("fault", EVERY_FAULT, ids=lambda fault: fault.code)
def test_what_is_exposed_is_there(fault: Fault) -> None:
    table, _ = load_table(
        f"routes: [{{upstream: http://u.test, cors: {{allow_origins: ['{APP.decode()}']}}}}]", "", {}
    )
    assert table is not None
    head, _ = fault_answer(fault, decide_actual(table.policies[0], APP))
    fields = dict(line.split(b": ", 1) for line in head.splitlines()[1:])
    exposed = fields.get(b"Access-Control-Expose-Headers", b"").split(b", ")
    assert (b"Retry-After" in exposed) == (b"Retry-After" in fields) == bool(fault.retry_after)
    assert (b"Proxy-Status" in exposed) == (b"Proxy-Status" in fields)
