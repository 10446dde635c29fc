"""Every kind of problem as a person sees it: an input, a line of dashes, and what `check` prints.

`python tests/config/test_golden.py` writes the outputs anew; read the difference before committing it.
"""

from pathlib import Path

import pytest

from corsproxy.cli.check import summary
from corsproxy.config import yaml as reader
from corsproxy.config.compile import load_table

GOLDEN = Path(__file__).with_name("golden")
FILES = sorted(GOLDEN.glob("*.txt"))
RULER = "-" * 40 + "\n"
ENV = {"HOST": "127.0.0.1", "HOME": "/root"}


def checked(text: str) -> str:
    table, problems = load_table(text, "corsproxy.yaml", ENV)
    return "\n".join(
        [*(problem.as_text() for problem in problems), summary("corsproxy.yaml", table, problems), ""]
    )


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_check_prints(file: Path) -> None:
    text, _, expected = file.read_text(encoding="utf-8").partition(RULER)
    assert checked(text) == expected


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_pure_yaml_reader_says_the_same(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "_LOADER", reader.yaml.SafeLoader)
    text, _, expected = file.read_text(encoding="utf-8").partition(RULER)
    assert checked(text) == expected


def test_there_are_many_kinds() -> None:
    codes = set()
    for file in FILES:
        text, _, _ = file.read_text(encoding="utf-8").partition(RULER)
        codes |= {problem.code for problem in load_table(text, "corsproxy.yaml", ENV)[1]}
    assert len(codes) >= 50


if __name__ == "__main__":
    for each in FILES:
        source, _, _ = each.read_text(encoding="utf-8").partition(RULER)
        each.write_text(source + RULER + checked(source), encoding="utf-8")
