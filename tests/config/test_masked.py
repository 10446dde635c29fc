"""What a page may show of a configuration's text: everything but its secrets."""

from typing import NamedTuple

import pytest

from corsproxy.config.effective import MASK
from corsproxy.config.masked import masked
from tests.config.test_effective import SECRETS


class Case(NamedTuple):
    says: str
    before: str
    after: str


CASES = [
    Case(
        "the token of the admin listener",
        "admin: {address: 127.0.0.1:8081, token: abc} # mine",
        "admin: {address: 127.0.0.1:8081, token: ***} # mine",
    ),
    Case("in quotes", 'admin:\n  token: "abc"\n', "admin:\n  token: ***\n"),
    Case(
        "over several lines",
        "admin:\n  token: |\n    abc\n    abc\nlisten: x\n",
        "admin:\n  token: ***\nlisten: x\n",
    ),
    Case("behind letters of more than a byte", "# ü→𝄞\nadmin: {token: abc}", "# ü→𝄞\nadmin: {token: ***}"),
    Case("a reference is no secret", 'admin: {token: "${TOKEN}"}', 'admin: {token: "${TOKEN}"}'),
    Case(
        "fields by their names",
        "routes:\n- request_headers: {set: {Authorization: abc, X-Env: prod}}",
        "routes:\n- request_headers: {set: {Authorization: ***, X-Env: prod}}",
    ),
    Case(
        "fields that a route matches by",
        "routes: [{match: {headers: {x-api-key: abc}}}]",
        "routes: [{match: {headers: {x-api-key: ***}}}]",
    ),
    Case(
        "a query of a health check",
        "upstreams: {a: {health: {path: '/up?key=abc'}}}",
        "upstreams: {a: {health: {path: '/up?***'}}}",
    ),
    Case(
        "what only sounds like a secret",
        "policies: {web: {allow_credentials: true, allow_headers: [Authorization]}}",
        "policies: {web: {allow_credentials: true, allow_headers: [Authorization]}}",
    ),
    Case("no YAML", "admin: {token: abc, x: y\nlisten: 1", "admin: {token: ***\nlisten: 1"),
    Case("no YAML, by lines", "x: [\n  x-api-key: abc\r\n  b: 2", "x: [\n  x-api-key: ***\r\n  b: 2"),
    Case("nothing", "", ""),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_masked(case: Case) -> None:
    assert masked(case.before) == case.after


def test_it_hides_what_the_effective_configuration_hides() -> None:
    shown = masked(SECRETS)
    assert "abc" not in shown
    assert shown.count(MASK) == 5
    assert shown.splitlines()[0] == SECRETS.splitlines()[0]
