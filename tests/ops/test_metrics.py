"""The meter: what each exchange adds to which counter, and that no client can add a counter."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corsproxy.cors.decide import NO_POLICY, Decision, Preflight, decide_no_route, decide_preflight
from corsproxy.http import faults
from corsproxy.ops import metrics
from corsproxy.ops.families import DURATION_BOUNDS, ERROR_KINDS, FAMILIES, METHODS, OTHER
from corsproxy.ops.metrics import Meter
from corsproxy.proxy.exchange import Exchange
from tests.ops.exchanges import APP, EVIL, ROUTE, exchange, route

REQUESTS, DECISIONS = "corsproxy_requests_total", "corsproxy_cors_decisions_total"
FAULTS, ERRORS = "corsproxy_faults_total", "corsproxy_upstream_errors_total"
DURATIONS, WAITS = "corsproxy_request_duration_seconds", "corsproxy_upstream_duration_seconds"


def preflight(headers: bytes | None = None) -> Decision:
    assert ROUTE.policy is not None
    return decide_preflight(ROUTE.policy, Preflight(APP, b"GET", headers))


@dataclass(frozen=True)
class Case:
    says: str
    given: Exchange
    adds: dict[tuple[str, ...], int] = field(default_factory=dict)


CASES = [
    Case(
        "an allowed origin",
        exchange(),
        {(REQUESTS, "api", "GET", "200"): 1, (DECISIONS, "api", "actual", "allowed", "allowed"): 1},
    ),
    Case(
        "a refused origin",
        exchange(EVIL),
        {(DECISIONS, "api", "actual", "denied", "origin-not-allowed"): 1},
    ),
    Case("no origin", exchange(None), {(DECISIONS, "api", "not-cors", "-", "not-cors"): 1}),
    Case(
        "report_only says so, whatever it would have been",
        exchange(EVIL, route("api", "report_only")),
        {(DECISIONS, "api", "actual", "report-only", "report-only"): 1},
    ),
    Case(
        "a refused preflight",
        exchange(decision=preflight(b"x-id"), method=b"OPTIONS", status=403),
        {
            (REQUESTS, "api", "OPTIONS", "403"): 1,
            (DECISIONS, "api", "preflight", "denied", "header-not-allowed"): 1,
        },
    ),
    Case("cors: off", exchange(decision=NO_POLICY), {(DECISIONS, "api", "not-cors", "-", "no-policy"): 1}),
    Case(
        "no route",
        exchange(at=None, status=404, decision=decide_no_route([], APP), fault=faults.NO_ROUTE),
        {
            (REQUESTS, "", "GET", "404"): 1,
            (DECISIONS, "", "actual", "-", "no-route"): 1,
            (FAULTS, "", "proxy", "no-route"): 1,
        },
    ),
    Case(
        "a head that could not be read has no method and no decision",
        exchange(at=None, method=b"", status=400, fault=faults.BAD_REQUEST),
        {(REQUESTS, "", OTHER, "400"): 1, (FAULTS, "", "client", "bad-request"): 1},
    ),
    Case("a method outside the list", exchange(method=b"PROPFIND"), {(REQUESTS, "api", OTHER, "200"): 1}),
    Case("a status outside HTTP", exchange(status=799), {(REQUESTS, "api", "GET", OTHER): 1}),
    Case(
        "the upstream's fault",
        exchange(status=502, fault=faults.UPSTREAM_REFUSED.because("for a reason")),
        {(FAULTS, "api", "upstream", "connection-refused"): 1, (ERRORS, "api", "connect"): 1},
    ),
    Case(
        "the client's fault is none of the upstream's",
        exchange(status=499, fault=faults.CLIENT_GONE),
        {(FAULTS, "api", "client", "client-gone"): 1, (ERRORS, "api", "connect"): 0},
    ),
    Case(
        "stripped fields, retries and bodies",
        exchange(stripped=2, retries=1, received_bytes=10, sent_bytes=20),
        {
            ("corsproxy_upstream_header_overrides_total", "api"): 2,
            ("corsproxy_upstream_retries_total", "api"): 1,
            ("corsproxy_request_body_bytes_total", "api"): 10,
            ("corsproxy_response_body_bytes_total", "api"): 20,
        },
    ),
    Case(
        "what has not happened is there already, as zero",
        exchange(),
        {(ERRORS, "api", kind): 0 for kind in ERROR_KINDS.values()}
        | {("corsproxy_upstream_header_overrides_total", "api"): 0},
    ),
]


def counts(meter: Meter) -> dict[tuple[str, ...], int]:
    found = meter.snapshot().counters
    return {(name, *labels): count for name, each in found.items() for labels, count in each.items()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_counts(case: Case) -> None:
    meter = Meter()
    meter.record(case.given, 100.0)
    found = counts(meter)
    assert {key: found.get(key) for key in case.adds} == case.adds


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.0, 0), (0.005, 0), (0.00501, 1), (0.0999, 5), (10.0, 13), (10.01, 14)],
    ids=[
        "at once",
        "a bound belongs to its bucket",
        "just beyond",
        "in the middle",
        "the last",
        "beyond all",
    ],
)
def test_durations(seconds: float, bucket: int) -> None:
    meter = Meter()
    meter.record(exchange(started=0.0, responded=seconds, status=204), seconds)
    durations = meter.snapshot().durations
    expected = [0] * (len(DURATION_BOUNDS) + 1)
    expected[bucket] = 1
    assert durations[DURATIONS]["api", "2xx"] == (*expected, round(seconds * 1e6))
    waited = (*expected, round(seconds * 1e6)) if seconds else (*[0] * len(expected), 0)  # 0.0 = no response
    assert durations[WAITS]["api",] == waited


def test_every_fault_of_the_upstream_has_a_kind() -> None:
    of_upstream = {
        fault.code
        for fault in vars(faults).values()
        if isinstance(fault, faults.Fault) and fault.side is faults.Side.UPSTREAM
    }
    assert of_upstream == set(ERROR_KINDS)


def test_counting_goes_on_across_snapshots_and_reloads() -> None:
    meter = Meter()
    for _ in range(3):
        meter.record(exchange(at=route("api")), 100.0)  # another table each time, the same name
        meter.snapshot()
    assert counts(meter)[REQUESTS, "api", "GET", "200"] == 3


def test_tables_that_no_longer_serve_are_let_go() -> None:
    meter = Meter()
    meter.record(exchange(), 100.0)
    assert meter._cells
    meter.snapshot()
    assert not meter._cells


ORIGINS = st.binary(max_size=300)
METHOD_BYTES = st.sampled_from([*METHODS, b"", b"PROPFIND"]) | st.binary(max_size=20)
SENT = st.tuples(ORIGINS, METHOD_BYTES, st.integers(0, 999))


@given(st.lists(SENT, max_size=60))
def test_whatever_clients_send_the_labels_are_from_a_list(sent: list[tuple[bytes, bytes, int]]) -> None:
    meter = Meter()
    for origin, method, status in sent:
        meter.record(exchange(origin, method=method, status=status), 100.0)
    snapshot = meter.snapshot()
    codes = {str(code) for code in range(100, 600)} | {OTHER}
    for name, method, code in snapshot.counters.get(REQUESTS, {}):
        assert (name, method in {*METHODS.values(), OTHER}, code in codes) == ("api", True, True)
    assert len(snapshot.counters.get(DECISIONS, {})) <= 4
    assert sum(snapshot.counters.get(REQUESTS, {}).values()) == len(sent)
    assert len(snapshot.denied) <= 64


@given(st.lists(SENT, max_size=60))
def test_a_full_table_of_cells_loses_nothing(sent: list[tuple[bytes, bytes, int]]) -> None:
    roomy, tight = Meter(), Meter()
    with pytest.MonkeyPatch.context() as patch:
        for at, meter in ((1024, roomy), (2, tight)):
            patch.setattr(metrics, "_MOST_CELLS", at)
            for origin, method, status in sent:
                meter.record(exchange(origin, method=method, status=status), 100.0)
                assert len(meter._cells) <= at
    assert counts(roomy) == counts(tight)
    assert roomy.snapshot().durations == tight.snapshot().durations


def test_every_counter_is_in_the_table_of_families() -> None:
    meter = Meter()
    for case in CASES:
        meter.record(case.given, 101.0)
    snapshot = meter.snapshot()
    for name, each in {**snapshot.counters, **snapshot.durations}.items():
        for labels in each:
            assert len(labels) == len(FAMILIES[name].labels)
