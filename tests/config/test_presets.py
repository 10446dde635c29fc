"""Presets in header lists: what they stand for, and how they sit beside names."""

from typing import NamedTuple

import pytest

from corsproxy.config.compile import load_table
from corsproxy.config.presets import PRESETS
from corsproxy.cors.browser import is_forbidden_request_header
from corsproxy.cors.fields import FORBIDDEN_RESPONSE_HEADERS, SAFELISTED_RESPONSE_HEADERS, is_token
from corsproxy.cors.policy import CorsPolicy
from tests.docs.pages import page, rows, section

FILE = """
routes:
  - upstream: http://127.0.0.1:9000
    cors:
      allow_origins: [https://app.example.com]
      allow_headers: {allow}
      expose_headers: {expose}
"""


def policy(allow: str = "[]", expose: str = "[]") -> CorsPolicy:
    table, problems = load_table(FILE.format(allow=allow, expose=expose), "f", {})
    assert table is not None
    assert problems == []
    return table.policies[0]


class Case(NamedTuple):
    says: str
    allow: str
    expose: str
    headers: bytes
    exposed: bytes


CASES = [
    Case("a preset is its names, in order", '["@pagination"]', '["@tracing"]', b"range",
         b"traceresponse, X-Request-Id, X-Correlation-Id"),
    Case("names stand beside it", '[x-first, "@pagination", x-last]', "[]", b"x-first,range,x-last", b""),
    Case("a name that is listed as well is there once", '[Range, "@pagination"]', "[]", b"range", b""),
    Case("so it is behind the preset", '["@pagination", Range]', "[]", b"range", b""),
    Case("two presets share a name", '["@pagination", "@download"]', "[]", b"range,if-range,if-none-match",
         b""),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_what_it_comes_to(case: Case) -> None:
    found = policy(case.allow, case.expose)
    assert found.headers == frozenset(case.headers.split(b","))
    assert found.expose_value == case.exposed


def test_a_preset_in_a_policy_that_another_copies_stands_where_it_is_written() -> None:
    table, problems = load_table(
        "policies:\n"
        "  base: {allow_origins: [https://a.test], allow_headers: ['@mcp']}\n"
        "  web: {extends: base}\n"
        "routes: [{upstream: http://127.0.0.1:9000, cors: web}]\n",
        "f",
        {},
    )
    assert (problems, table and b"mcp-session-id" in table.policies[1].headers) == ([], True)
    assert table is not None
    assert {(entry.where, entry.line) for entry in table.policies[1].spec.allow_headers} == {
        (("policies", "base", "allow_headers", 0), 2)
    }


@pytest.mark.parametrize("name", PRESETS)
def test_its_names_are_of_use(name: str) -> None:
    preset = PRESETS[name]
    allow, expose = ([each.lower().encode() for each in names] for names in (preset.allow, preset.expose))
    assert allow or expose
    assert all(map(is_token, allow + expose))
    assert not any(map(is_forbidden_request_header, allow))
    assert not set(expose) & (FORBIDDEN_RESPONSE_HEADERS | SAFELISTED_RESPONSE_HEADERS)
    assert len(set(allow)) == len(allow)
    assert len(set(expose)) == len(expose)


def test_the_page_has_the_presets_of_the_code() -> None:
    told = {row[0]: row[1:] for row in rows(section(page("docs/cors.md"), "Presets"))}
    assert list(told) == [f"@{name}" for name in PRESETS]
    for name, preset in PRESETS.items():
        about, allow, expose = told[f"@{name}"]
        assert about == preset.about
        assert (allow, expose) == (", ".join(preset.allow) or "–", ", ".join(preset.expose) or "–")
