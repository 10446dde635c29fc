"""The outcome that a log line names: whether a policy of a route let the script read the response."""

import json
from dataclasses import dataclass

import pytest

from corsproxy.config.compile import load_table
from corsproxy.config.table import Table
from corsproxy.cors.decide import NO_POLICY, Decision, decide_actual, decide_no_route
from corsproxy.ops.log import json_line, pretty_line
from corsproxy.proxy.exchange import Exchange

APP, EVIL = b"https://app.example.com", b"https://evil.example"


def table(mode: str = "enforce") -> Table:
    cors = f"{{allow_origins: ['{APP.decode()}'], mode: {mode}}}"
    made, _ = load_table(f"routes: [{{upstream: http://u.test, cors: {cors}}}]", "", {})
    assert made is not None
    return made


POLICIES = table().policies
REPORTING = table("report_only").policies[0]


@dataclass(frozen=True)
class Case:
    says: str
    decision: Decision
    outcome: str
    mark: str


CASES = [
    Case("a listed origin", decide_actual(POLICIES[0], APP), "allowed", "✓"),
    Case("another origin", decide_actual(POLICIES[0], EVIL), "denied", "✗"),
    Case("no origin", decide_actual(POLICIES[0], None), "-", "·"),
    Case("cors: off", NO_POLICY, "-", "·"),
    Case("report_only", decide_actual(REPORTING, EVIL), "report-only", "·"),
    Case("no route, but some policy lets the script read the 404", decide_no_route(POLICIES, APP), "-", "·"),
    Case("no route, and no policy for the origin", decide_no_route(POLICIES, EVIL), "-", "·"),
    Case("a preflight without a route", decide_no_route(POLICIES, APP, preflight=True), "-", "·"),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_outcome(case: Case) -> None:
    exchange = Exchange(1.0, "127.0.0.1")
    exchange.decision = case.decision
    exchange.status = 200
    assert json.loads(json_line(exchange, 2.0, 0.0))["cors"] == case.outcome
    assert f"{case.mark} 200" in pretty_line(exchange, 2.0, 0.0)
