"""Which file is read, and what is said when there is none."""

import errno
import io
from pathlib import Path

import pytest

from corsproxy.config import search
from corsproxy.config.search import ConfigUnreadableError, find_config, read_config
from corsproxy.config.yaml import MAX_BYTES


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(search, "DEFAULT_FILES", ("corsproxy.yaml", str(tmp_path / "etc.yaml")))
    return tmp_path


def test_the_option_wins(tmp_path: Path) -> None:
    for name in ("option.yaml", "env.yaml", "corsproxy.yaml", "etc.yaml"):
        (tmp_path / name).write_text(name)
    env = {"CORSPROXY_CONFIG": "env.yaml"}
    assert read_config("option.yaml", env) == ("option.yaml", "option.yaml")
    assert read_config(None, env) == ("env.yaml", "env.yaml")
    assert read_config(None, {}) == ("corsproxy.yaml", "corsproxy.yaml")
    (tmp_path / "corsproxy.yaml").unlink()
    assert read_config(None, {}) == (str(tmp_path / "etc.yaml"), "etc.yaml")


def test_an_empty_variable_names_no_file(tmp_path: Path) -> None:
    (tmp_path / "corsproxy.yaml").write_text("here")
    assert read_config(None, {"CORSPROXY_CONFIG": ""}) == ("corsproxy.yaml", "here")


def test_a_usual_place_that_may_not_be_looked_at_is_named_by_who_reads_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Not passed over, as if nobody had put a file there; and root, who runs tests, may look everywhere."""

    def refuse(self: Path, **_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "stat", refuse)
    assert find_config(None, {}) == "corsproxy.yaml"


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9\r\n")))
    assert read_config("-", {}) == ("-", "caf\udce9\n")


def test_standard_input_may_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)  # what Python makes of a closed descriptor 0
    with pytest.raises(ConfigUnreadableError) as caught:
        read_config("-", {})
    assert str(caught.value) == "cannot read the configuration file -: standard input is closed"


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    name, text = read_config("/dev/zero", {})
    assert (name, len(text) <= MAX_BYTES + 4) == ("/dev/zero", True)


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (None, "no configuration file: there is no corsproxy.yaml or"),
        ("nope.yaml", "cannot read the configuration file nope.yaml: No such file or directory"),
        (".", "cannot read the configuration file .: Is a directory"),
        ("a\0b", "cannot read the configuration file a\\x00b: embedded null byte"),
    ],
    ids=["nothing anywhere", "no such file", "a folder", "a name that no file has"],
)
def test_one_line_says_why(option: str | None, says: str) -> None:
    with pytest.raises(ConfigUnreadableError) as caught:
        read_config(option, {})
    assert str(caught.value).startswith(says)
    assert "\n" not in str(caught.value)
