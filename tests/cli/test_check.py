"""`corsproxy check` from the outside: formats, exit codes, which stream, which file."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from corsproxy.cli.main import cli

GOOD = """\
policies:
  web: {allow_origins: [https://app.example.com, https://two.example.com]}
routes:
  - {match: {path: /a}, upstream: http://127.0.0.1:9000, cors: web}
  - {upstream: http://127.0.0.1:9000, cors: {allow_origins: [https://app.example.com]}}
"""
BAD = """\
routes:
  - upstreem: http://127.0.0.1:9000
    cors:
      allow_origins: "*"
      allow_credentials: true
policies:
  unused: {allow_origins: [https://app.example.com]}
"""


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CORSPROXY_CONFIG", raising=False)


def run(*args: str, text: str | bytes | None = None) -> Result:
    return CliRunner().invoke(cli, ["check", *args], input=text, prog_name="corsproxy")


def test_a_clean_file_is_one_line() -> None:
    Path("corsproxy.yaml").write_text(GOOD)
    result = run()
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "corsproxy.yaml: ok: 2 routes, 2 policies, 2 origins\n"


def test_warnings_alone_are_no_failure() -> None:
    result = run("-", text=GOOD + "upstreams: {spare: {endpoints: [http://127.0.0.1:9000]}}\n")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0] == "-:6:13: warning: upstreams.spare: no route uses this upstream"
    assert result.stdout.splitlines()[-1].endswith("2 origins; 1 warning")


def test_errors_are_data_and_exit_with_78() -> None:
    Path("other.yaml").write_text(BAD)
    result = run("other.yaml")
    assert (result.exit_code, result.stderr) == (78, "")
    first, remedy, second, *_ = result.stdout.splitlines()
    assert first == "other.yaml:2:5: routes[0]: unknown key 'upstreem'"
    assert remedy == "    did you mean 'upstream'?"
    assert second.startswith('other.yaml:4:22: routes[0].cors.allow_origins: "*" cannot be used')


def test_json_has_exactly_these_fields() -> None:
    result = run("-", "--format", "json", text=BAD)
    problems = json.loads(result.stdout)
    assert result.exit_code == 78
    assert problems[0] == {
        "severity": "error",
        "code": "unknown-key",
        "file": "-",
        "line": 2,
        "column": 5,
        "where": "routes[0]",
        "message": "unknown key 'upstreem'",
        "remedy": "did you mean 'upstream'?",
    }
    assert [list(problem) for problem in problems] == [list(problems[0])] * 3
    assert [problem["where"] for problem in problems] == [
        "routes[0]",
        "routes[0].cors.allow_origins",
        "policies.unused",
    ]


def test_json_of_a_clean_file_is_an_empty_list() -> None:
    result = run("-", "--format", "json", text=GOOD)
    assert (result.exit_code, json.loads(result.stdout)) == (0, [])


def test_github_annotations() -> None:
    Path("100%,a.yaml").write_text(BAD)
    result = run("100%,a.yaml", "--format", "github")
    assert result.exit_code == 78
    assert result.stdout.splitlines()[0] == (
        "::error file=100%25%2Ca.yaml,line=2,col=5,title=unknown-key::"
        "routes[0]: unknown key 'upstreem'%0Adid you mean 'upstream'?"
    )
    assert result.stdout.splitlines()[-1].startswith("::warning file=")


def test_the_variable_names_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("named.yaml").write_text(GOOD)
    monkeypatch.setenv("CORSPROXY_CONFIG", "named.yaml")
    assert run().stdout.startswith("named.yaml: ok")


def test_the_option_names_the_file() -> None:
    Path("named.yaml").write_text(GOOD)
    assert run("-c", "named.yaml").stdout.startswith("named.yaml: ok")


def test_variables_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API", "http://127.0.0.1:9000")
    assert run("-", text="routes: [{upstream: '${API}', cors: off}]").exit_code == 0


def test_a_missing_file_is_talk() -> None:
    result = run("nope.yaml")
    assert (result.exit_code, result.stdout) == (78, "")
    assert (
        result.stderr
        == "corsproxy: cannot read the configuration file nope.yaml: No such file or directory\n"
    )


def test_no_file_anywhere_is_talk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corsproxy.config.search.DEFAULT_FILES", ("corsproxy.yaml",))
    result = run()
    assert (result.exit_code, result.stdout) == (78, "")
    assert "`corsproxy init`" in result.stderr


def test_bytes_that_are_not_utf_8_are_a_located_problem() -> None:
    result = run("-", text=b"# caf\xe9\n")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (78, "-:1:6: byte 0xe9 is not UTF-8 text")


@pytest.mark.parametrize(
    "args",
    [["--format", "xml"], ["a", "b"], ["a", "-c", "b"], ["--nope"]],
    ids=["format", "two files", "both", "option"],
)
def test_usage(args: list[str]) -> None:
    result = run(*args)
    assert (result.exit_code, result.stdout) == (2, "")
