"""The door itself: verbs, help, version, and the verbs that need no server."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from corsproxy import __version__
from corsproxy.cli.init import STARTER
from corsproxy.cli.main import cli, main

VERBS = ["run", "dev", "demo", "check", "explain", "init", "schema", "version", "healthcheck"]
HERE = ["check", "explain", "init", "schema", "version"]


def run(*args: str) -> Result:
    return CliRunner().invoke(cli, list(args), prog_name="corsproxy")


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_the_verbs(flag: str) -> None:
    result = run(flag)
    assert result.exit_code == 0
    assert [
        line.split()[0] for line in result.stdout.split("Verbs:\n")[1].splitlines()[: len(VERBS)]
    ] == VERBS


@pytest.mark.parametrize("flag", ["-h", "--help"])
@pytest.mark.parametrize("verb", HERE)
def test_each_verb_has_help(verb: str, flag: str) -> None:
    result = run(verb, flag)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: corsproxy {verb} [OPTIONS]")


def test_no_verb_is_a_usage_error_with_help() -> None:
    result = run()
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Verbs:" in result.stderr


@pytest.mark.parametrize(
    ("verb", "says"),
    [
        ("chekc", "did you mean 'check'?"),
        ("Check", "did you mean 'check'?"),
        ("zzz", "verbs: run, dev, demo, check"),
    ],
)
def test_a_wrong_verb(verb: str, says: str) -> None:
    result = run(verb)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"no such verb '{verb}'; {says}" in result.stderr


def test_version() -> None:
    assert run("--version").stdout == f"corsproxy {__version__}\n"
    lines = run("version").stdout.splitlines()
    assert lines[0] == f"corsproxy {__version__}"
    assert any(line.startswith("aiohttp 3.") for line in lines)


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize("args", [["check", "-"], ["schema"], ["--help"], ["version"]], ids=" ".join)
def test_output_that_nothing_takes_is_one_line(args: list[str], unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-m", "corsproxy", *args],
            input=STARTER,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        )
    assert (done.returncode, done.stderr) == (
        1,
        "corsproxy: cannot write the output: No space left on device\n",
    )


def test_another_failure_of_the_system_is_not_blamed_on_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**extra: object) -> None:
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    monkeypatch.setattr(cli, "main", fail)
    with pytest.raises(ConnectionResetError):
        main()


BAD_USE = [
    (f"run --workers {'9' * 5000}", "9…' is no number of processes: write a number from 1 to 1024, or auto"),
    ("run --workers 0", "'0' is no number of processes: write a number from 1 to 1024, or auto"),
    ("run --workers many", "'many' is no number of processes: write a number from 1 to 1024, or auto"),
    ("healthcheck --admin off", "'off' means that no admin listener answers: there is nobody to ask"),
    ("healthcheck --admin foo", "'foo' is no address: write HOST:PORT, [::1]:PORT or unix:/path"),
    ("healthcheck --admin ::1:8081", "'::1:8081' is no address: write HOST:PORT"),
    ("healthcheck --admin http://localhost:8081", "'http://localhost:8081' is no address: write HOST:PORT"),
    ("healthcheck --admin unix:run.sock", "'unix:run.sock' is no address"),
    ("healthcheck --admin 127.0.0.1:99999", "'99999' is no port: write a number from 1 to 65535"),
    ("healthcheck --admin 127.0.0.1:0", "'0' is no port: write a number from 1 to 65535"),
    ("healthcheck --timeout -1", "write seconds above 0, up to 3600"),
    ("healthcheck --timeout 0", "write seconds above 0, up to 3600"),
    ("healthcheck --timeout nan", "write seconds above 0, up to 3600"),
    ("healthcheck --timeout inf", "write seconds above 0, up to 3600"),
]


@pytest.mark.parametrize(("line", "says"), BAD_USE, ids=[line for line, _ in BAD_USE])
def test_bad_use_says_what_to_write(line: str, says: str) -> None:
    result = run(*line.split())
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr


@pytest.mark.parametrize("verb", ["run", "healthcheck"])
def test_help_names_the_variable_of_each_option(verb: str) -> None:
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    variables = [str(option.envvar) for option in command.params if option.envvar]
    shown = " ".join(run(verb, "--help").stdout.split())
    assert variables
    assert [f"env var: {name}" in shown for name in variables] == [True] * len(variables)
    assert "<=" not in shown  # a range of one number tells nobody anything


def test_schema_is_json() -> None:
    result = run("schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_door_imports_no_room() -> None:
    """`healthcheck` runs every few seconds in a container; the door must cost it nothing."""
    code = "import sys, corsproxy.cli.main; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"aiohttp", "pydantic", "yaml", "asyncio", "uvloop", "httptools"} & set(done.stdout.split())


def test_the_module_is_the_same_door() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "corsproxy", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"corsproxy {__version__}\n"


def test_init_writes_a_file_that_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("init")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "wrote corsproxy.yaml\n")
    assert Path("corsproxy.yaml").read_text() == STARTER
    assert run("check").stdout == "corsproxy.yaml: ok: 1 route, 1 policy, 2 origins\n"


def test_init_overwrites_only_when_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("precious")
    result = run("init", "mine.yaml")
    assert (result.exit_code, Path("mine.yaml").read_text()) == (1, "precious")
    assert "mine.yaml exists already" in result.stderr
    assert run("init", "mine.yaml", "--force").exit_code == 0
    assert Path("mine.yaml").read_text() == STARTER


def test_init_names_the_schema_only_when_it_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("init", "--with-schema").exit_code == 0
    first = Path("corsproxy.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=corsproxy.schema.json"
    assert json.loads(Path("corsproxy.schema.json").read_text())["title"] == "corsproxy.yaml"
    assert "yaml-language-server" not in STARTER


def test_init_writes_to_standard_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("init", "-").stdout == STARTER
    assert list(tmp_path.iterdir()) == []
    both = run("init", "-", "--with-schema")
    assert (both.exit_code, both.stdout) == (2, "")
    assert "--with-schema writes beside a file: name one" in both.stderr


def test_init_says_why_it_cannot_write() -> None:
    result = run("init", "/nowhere/at/all.yaml")
    assert (result.exit_code, result.stderr) == (
        1,
        "corsproxy: cannot write /nowhere/at/all.yaml: No such file or directory\n",
    )


def test_a_start_reads_the_authorities_of_the_system_for_nobody() -> None:
    code = """
import os, sys
os.environ["SSL_CERT_DIR"] = "/nowhere"
os.environ.pop("SSL_CERT_FILE", None)
from click.testing import CliRunner
from corsproxy.cli.main import cli
CliRunner().invoke(cli, ["run", "--help"])
import gc, ssl, aiohttp
contexts = [held for held in gc.get_objects() if isinstance(held, ssl.SSLContext)]
print(len(contexts), sum(context.cert_store_stats()["x509"] for context in contexts))
print(os.environ.get("SSL_CERT_FILE"), os.environ["SSL_CERT_DIR"], gc.isenabled())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    contexts, authorities = done.stdout.splitlines()[0].split()
    assert (int(contexts) > 0, int(authorities)) == (True, 0)
    assert done.stdout.splitlines()[1] == "None /nowhere True"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["corsproxy.yaml"], "the file is an option: -c corsproxy.yaml"),
        (["-c", "corsproxy.yaml", "other.yaml"], "unexpected argument 'other.yaml'"),
        (["--nope"], "No such option"),
    ],
    ids=["a file", "a second file", "an option"],
)
def test_wrong_usage_of_run(args: list[str], says: str) -> None:
    result = run("run", *args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr
