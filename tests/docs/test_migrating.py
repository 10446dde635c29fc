"""The page for those who come from elsewhere: what it says to write loads, what it calls refused is."""

import re
import shlex
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from corsproxy.cli.main import cli
from corsproxy.config import model
from corsproxy.config.compile import load_table
from corsproxy.config.shape import keys_of
from corsproxy.config.table import Route
from corsproxy.http.faults import NO_ROUTE
from corsproxy.proxy.outgoing import path_at_upstream
from corsproxy.proxy.routing import Router
from tests.docs.pages import code, page, rows

PAGE = page("docs/migrating.md")
FILES = code(PAGE, "yaml")
PROSE = re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
# "Refused: `{keys}` ([`code`](hazards.md#code))", and the same with "Warned of".
JUDGED = re.findall(r"([Rr]efused|Warned of):\s+`(\{.+?\})` \(\[?`([a-z-]+)`", PROSE)
COMMANDS = [line for block in code(PAGE, "sh") for line in block.splitlines()]
COMMANDS += re.findall(r"`(corsproxy dev [^`]+)`", PROSE)
PATHS = rows(PROSE.split("**Paths.**")[1].split("\n- ")[0])
POLICY = {"allow_origins": ["https://app.example.com"]}


def to_be_written() -> set[str]:
    """The keys that the page says to write; the first cell of a table has what people have."""
    lines = [line.split(" | ", 1)[-1] if line.startswith("| ") else line for line in PROSE.splitlines()]
    return {span for line in lines for span in re.findall(r"`([^`]+)`", line) if re.match(r"[a-z_]+: ", span)}


def file_of(written: dict[str, Any]) -> str:
    """The smallest file that has these keys, be they of a policy, a route or an upstream."""
    policy, route, upstream = (
        {key: value for key, value in written.items() if key in keys_of(block)}
        for block in (model.Policy, model.Route, model.Upstream)
    )
    assert {*policy, *route, *upstream} == set(written)
    if "allow_origin_regex" not in policy:
        policy = {**POLICY, **policy}
    upstreams = {"api": {"endpoints": ["http://127.0.0.1:9000"], **upstream}}
    return yaml.safe_dump(
        {"upstreams": upstreams, "routes": [{"upstream": "api", "cors": policy, **route}]}, sort_keys=False
    )


def found_in(text: str) -> list[tuple[str, str]]:
    return [(problem.code, problem.severity) for problem in load_table(text, "page", {})[1]]


@pytest.mark.parametrize("text", FILES)
def test_every_file_loads_without_a_word(text: str) -> None:
    assert found_in(text) == []


@pytest.mark.parametrize("span", sorted(to_be_written()))
def test_every_key_that_is_to_be_written_loads(span: str) -> None:
    assert found_in(file_of(yaml.safe_load(span))) == []


@pytest.mark.parametrize(("says", "written", "name"), sorted(set(JUDGED)))
def test_what_is_refused_or_warned_of(says: str, written: str, name: str) -> None:
    severity = "error" if says.lower() == "refused" else "warning"
    assert found_in(file_of(yaml.safe_load(written))) == [(name, severity)]


def test_all_of_that_is_looked_at() -> None:
    assert len(JUDGED) == len(re.findall(r"(?:efused|Warned of):\s", PROSE)) >= 20
    assert len(to_be_written()) >= 35


def test_the_shorter_path_first_is_refused() -> None:
    (text,) = [text for text in FILES if "/api/admin" in text]
    head, longer, shorter = text.splitlines()
    assert found_in(f"{head}\n{shorter}\n{longer}") == [("unreachable-route", "error")]


@pytest.mark.parametrize("row", PATHS, ids=lambda row: f"{row[1]} {row[2]}")
def test_paths(row: list[str]) -> None:
    _, written, asked, _, expected = row
    table, problems = load_table(file_of(yaml.safe_load(written)), "page", {})
    assert table is not None, problems
    route = Router(table.routes).match(b"GET", b"h", asked.encode(), ())
    if expected.startswith("–"):
        assert route is NO_ROUTE
    else:
        assert isinstance(route, Route)
        assert path_at_upstream(asked.encode(), route).decode() == expected


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_makes_a_configuration(command: str) -> None:
    args = shlex.split(command)[1:]
    result = CliRunner().invoke(cli, [*args, "--print-config"])
    assert result.exit_code == 0, result.output
    table, problems = load_table(result.output, "dev", {})
    assert table is not None, problems
