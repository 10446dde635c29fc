"""What the page on traces lists is what spans have, and what switches them."""

from collections.abc import Callable

import pytest

from corsproxy.http.faults import UPSTREAM_BROKE_OFF
from corsproxy.ops import tracing
from corsproxy.ops.spans import SpanFacts, client_facts, server_facts
from tests.docs.pages import page, rows, section
from tests.ops.exchanges import EVIL, exchange

PAGE = page("docs/tracing.md")
EVERYTHING = {
    "method": b"PWN",
    "user_agent": b"curl/8",
    "host": b"api.test",
    "scheme": b"http",
    "request_id": b"r-1",
    "received_bytes": 1,
    "sent_bytes": 1,
    "responded": 100.5,
    "retries": 1,
    "fault": UPSTREAM_BROKE_OFF,
}
MADE = (
    exchange(EVIL, endpoint="http://u.test", address="192.0.2.9:80", **EVERYTHING),
    exchange(EVIL, endpoint="http+unix:///run/api.sock", **EVERYTHING),
)


def of(facts: Callable[..., SpanFacts | None]) -> set[str]:
    found = [facts(made) for made in MADE]
    return {name for each in found if each is not None for name in each.attributes}


def test_every_attribute_is_on_the_page_and_on_the_span_that_it_names() -> None:
    listed = [
        (name.strip(" `"), where)
        for names, where, _ in rows(section(PAGE, "What they say"))
        for name in names.split(",")
    ]
    assert {name for name, where in listed if where in {"both", "SERVER"}} == of(server_facts)
    assert {name for name, where in listed if where in {"both", "CLIENT"}} == of(client_facts)


ASKED_FOR = (*tracing.ENDPOINTS, tracing.PROTOCOLS[-1], tracing.EXPORTER, tracing.DISABLED)


@pytest.mark.parametrize("variable", ASKED_FOR)
def test_every_variable_that_is_looked_at_is_on_the_page(variable: str) -> None:
    assert variable in {row[0] for row in rows(section(PAGE, "Variables"))}
