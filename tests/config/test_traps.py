"""Text that is no configuration file at all: bytes, sizes, characters. There is never a traceback."""

from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from corsproxy.config import yaml as reader
from corsproxy.config.compile import load_table
from corsproxy.config.problems import has_errors

EXAMPLE = (Path(__file__).parents[2] / "config.example.yaml").read_text(encoding="utf-8")
GOOD = "routes:\n  - {upstream: http://127.0.0.1:9000, cors: off}\n"


class Trap(NamedTuple):
    says: str
    text: str
    code: str
    at: tuple[int, int]


TRAPS = [
    Trap("a byte order mark is a warning", "\ufeff" + GOOD, "yaml-byte-order-mark", (1, 1)),
    Trap(
        "Latin-1 bytes are named",
        b"listen: x\n# caf\xe9\n".decode("utf-8", "surrogateescape"),
        "yaml-not-utf-8",
        (2, 6),
    ),
    Trap(
        "UTF-16 is not UTF-8",
        GOOD.encode("utf-16").decode("utf-8", "surrogateescape"),
        "yaml-not-utf-8",
        (1, 1),
    ),
    Trap("a zero byte", GOOD + "#\0", "yaml-control-character", (3, 2)),
    Trap("an escape character", "listen: \x1b[31m\n", "yaml-control-character", (1, 9)),
    Trap("more than a mebibyte", "# " + "x" * reader.MAX_BYTES, "file-too-big", (1, 1)),
    Trap("a mebibyte of letters outside ASCII", "# " + "é" * (reader.MAX_BYTES // 2), "file-too-big", (1, 1)),
    Trap("many brackets", "[" * 900, "yaml-too-deep", (1, 34)),
    Trap("nothing at all", "", "yaml-empty", (1, 1)),
    Trap("a lone dash line", "---\n", "yaml-empty", (1, 1)),
    Trap("a long number is text", "limits: {in_flight: " + "9" * 5000 + "}\n" + GOOD, "wrong-type", (1, 21)),
    Trap("an endless duration", "timeouts: {idle: 999999999999d}\n" + GOOD, "out-of-range", (1, 18)),
    Trap("a bad escape in quotes", 'listen: "\\UFFFFFFFF"\n' + GOOD, "yaml-syntax", (1, 12)),
]


@pytest.mark.parametrize("trap", TRAPS, ids=lambda trap: trap.says)
def test_trap(trap: Trap) -> None:
    _, problems = load_table(trap.text, "f", {})
    assert (problems[0].code, (problems[0].line, problems[0].column)) == (trap.code, trap.at)


def test_lines_that_end_as_on_windows_count_the_same() -> None:
    _, problems = load_table("listen: 127.0.0.1:8080\r\nfoo: 1\r\n", "f", {})
    assert [(problem.code, problem.line) for problem in problems] == [("missing-key", 1), ("unknown-key", 2)]


def test_twenty_repairs_are_enough_and_the_rest_is_syntax() -> None:
    text = "routes:\n" + "  - *\n" * 30
    _, problems = load_table(text, "f", {})
    assert {problem.code for problem in problems} == {"yaml-unquoted", "yaml-syntax"}


def assert_total(text: str) -> None:
    """A table exactly when there is no error, and problems that can be shown."""
    table, problems = load_table(text, "f", {"A": "1", "B": ""})
    assert (table is None) == has_errors(problems)
    assert all(problem.line >= 1 and problem.column >= 1 and problem.message for problem in problems)
    assert all(problem.as_text().isprintable() or problem.remedy for problem in problems)
    assert [problem.line for problem in problems] == sorted(problem.line for problem in problems)


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    assert_total(text)


@given(st.binary())
def test_any_bytes_are_answered(data: bytes) -> None:
    assert_total(data.decode("utf-8", "surrogateescape"))


@given(st.lists(st.sampled_from(list("[]{}*&!|>'\"%@`#-?:, \t\na0$~<\\.")), max_size=40).map("".join))
def test_any_punctuation_is_answered(text: str) -> None:
    assert_total(text)


@given(
    start=st.integers(0, len(EXAMPLE)),
    length=st.integers(0, 60),
    text=st.one_of(
        st.text(max_size=12),
        st.sampled_from(
            ["*", "&a", "*a", "!!x", "\t", "{", "]", "${A}", "${", "null", "-1", "010", '"', "<<: 1"]
        ),
    ),
)
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_change_to_the_example_is_answered(start: int, length: int, text: str) -> None:
    assert_total(EXAMPLE[:start] + text + EXAMPLE[start + length :])


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=6),
        st.sampled_from(["*", "off", "@x", "http://h"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)
LINES = [line.split("#", 1)[0] for line in EXAMPLE.splitlines()]
KEYS = [at for at, line in enumerate(LINES) if line.rstrip() and ":" in line]


@given(at=st.sampled_from(KEYS), value=VALUES)
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_any_value_of_any_key_is_answered(at: int, value: object) -> None:
    """A value of another type in the place of each value: no key takes the loader by surprise."""
    key = LINES[at].split(":", 1)[0]
    changed = (
        reader.yaml.safe_dump(value, default_flow_style=True, allow_unicode=True).split("\n...")[0].strip()
    )
    assert_total("\n".join([*LINES[:at], f"{key}: {changed}", *LINES[at + 1 :]]))


@pytest.mark.parametrize("level", ["[", "- "])
def test_levels_without_end(level: str) -> None:
    """Where reading stops is for libyaml to say: from PyYAML 6.0.4 on it has a limit of its own."""
    _, problems = load_table(level * 100_000, "f", {})
    assert (problems[0].code, problems[0].line) == ("yaml-too-deep", 1)
