"""No more clients than there are descriptors for: one who has none left cannot even refuse."""

import resource
from dataclasses import dataclass

import pytest

from corsproxy.config.compile import load_table
from corsproxy.config.table import Table
from corsproxy.ops import descriptors
from corsproxy.ops.descriptors import (
    fit_to_descriptors,
    most_connections,
    raise_descriptor_limit,
    warn_of_descriptors,
)
from tests.proxy.conftest import proxy, route
from tests.wire import answers, get, ok, upstream


@dataclass(frozen=True)
class Case:
    says: str
    descriptors: int
    connections: int


CASES = [
    Case("what shells often have", 1024, 496),
    Case("what a test takes", 256, 92),
    Case("enough for the default", 20_000, 10_484),
    Case("what systemd's unit has", 65_536, 34_450),
    Case("hardly any: one is served all the same", 32, 1),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_how_many_clients_leave_enough_for_the_rest(case: Case) -> None:
    assert most_connections(case.descriptors) == case.connections


def limited_to(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int = 1 << 20) -> list[tuple[int, int]]:
    """As if the process had this limit; what it is set to is noted in the list."""
    limits = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda _which: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _which, limit: limits.append(limit))
    return limits


def table(connections: int = 10_000) -> Table:
    text = f"limits: {{connections: {connections}}}\nroutes: [{{upstream: http://u.test, cors: off}}]"
    made, problems = load_table(text, "", {})
    assert made is not None, problems
    return made


LIMITS = [
    ("more than there is room for", 1024, 10_000, 496),
    ("as many as the file says", 65_536, 10_000, 10_000),
    ("few by the file's own will", 1024, 50, 50),
    ("no limit", resource.RLIM_INFINITY, 10_000, 10_000),
]


@pytest.mark.parametrize(
    ("soft", "wanted", "served"), [row[1:] for row in LIMITS], ids=[row[0] for row in LIMITS]
)
def test_the_table_is_fitted_and_that_is_said(
    soft: int, wanted: int, served: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    limited_to(monkeypatch, soft)
    before = table(wanted)
    after = fit_to_descriptors(before)
    assert after.limits.connections == served
    assert (after is before) is (served == wanted)
    warn_of_descriptors(before)
    says = [record.getMessage() for record in caplog.records]
    assert len(says) == (0 if served == wanted else 1)
    assert all(f"{soft} open files are enough for {served} connections" in line for line in says)


def test_what_may_be_had_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = limited_to(monkeypatch, 1024, 65_536)
    raise_descriptor_limit()
    assert limits[-1] == (65_536, 65_536)
    raise_descriptor_limit()
    assert len(limits) == 2


def test_what_cannot_be_had_is_no_reason_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_which: int, _limit: tuple[int, int]) -> None:
        raise ValueError("not allowed to raise maximum limit")

    limited_to(monkeypatch, 1024)
    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_descriptor_limit()


async def test_those_over_the_limit_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descriptors, "_most_now", lambda: 2)
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        statuses = []
        for _ in range(3):
            wire = await front.dial()
            await wire.send(get("/"))
            statuses.append((await wire.message()).status)
        assert statuses == [200, 200, 503]
        assert front.server.table.limits.connections == 10_000  # the file's own word stays
