"""Header edits: what they make of a list of lines, and what holds whatever they are."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corsproxy.http.edits import HeaderEdits, edit_lines


class Case(NamedTuple):
    says: str
    lines: list[bytes]
    edits: HeaderEdits
    after: list[bytes]


HEAD = [b"Accept: */*", b"X-Env: dev", b"Cookie: a=1", b"x-env: test", b"X-Debug: 1"]

CASES = [
    Case("no edits change nothing", HEAD, HeaderEdits(), HEAD),
    Case(
        "set replaces all lines of the name, at the place of the first",
        HEAD,
        HeaderEdits(set=((b"X-ENV", b"prod"),)),
        [b"Accept: */*", b"X-ENV: prod", b"Cookie: a=1", b"X-Debug: 1"],
    ),
    Case(
        "set adds what was not there, at the end",
        [b"A: 1"],
        HeaderEdits(set=((b"B", b"2"), (b"C", b"3"))),
        [b"A: 1", b"B: 2", b"C: 3"],
    ),
    Case("add leaves what is there", HEAD, HeaderEdits(add=((b"X-Env", b"3"),)), [*HEAD, b"X-Env: 3"]),
    Case(
        "set and add of one name make two lines",
        [b"X-A: 0"],
        HeaderEdits(set=((b"X-A", b"1"),), add=((b"X-A", b"2"),)),
        [b"X-A: 1", b"X-A: 2"],
    ),
    Case(
        "remove takes every line of the name, in any case",
        HEAD,
        HeaderEdits(remove=frozenset({b"x-env"})),
        [b"Accept: */*", b"Cookie: a=1", b"X-Debug: 1"],
    ),
    Case(
        "another spelling that a CGI takes for the same name goes with it",
        [b"X_Env: 1", b"X-env: 2"],
        HeaderEdits(set=((b"X-Env", b"prod"),)),
        [b"X-Env: prod"],
    ),
    Case("removing what is not there", [b"A: 1"], HeaderEdits(remove=frozenset({b"b"})), [b"A: 1"]),
    Case(
        "a name that begins like another is another",
        [b"X-Environment: 1", b"X: 2"],
        HeaderEdits(set=((b"X-Env", b"prod"),), remove=frozenset({b"x-e"})),
        [b"X-Environment: 1", b"X: 2", b"X-Env: prod"],
    ),
    Case("an empty value is a value", [b"A: 1"], HeaderEdits(set=((b"A", b""),)), [b"A: "]),
    Case(
        "a colon in a value ends no name",
        [b"A: b: c"],
        HeaderEdits(set=((b"b", b"2"),)),
        [b"A: b: c", b"b: 2"],
    ),
    Case(
        "raw bytes stay",
        [b"X-Latin: caf\xe9"],
        HeaderEdits(add=((b"X-Utf8", "é".encode()),)),
        [b"X-Latin: caf\xe9", b"X-Utf8: \xc3\xa9"],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_edits(case: Case) -> None:
    given_lines = list(case.lines)
    assert edit_lines(given_lines, case.edits) == case.after
    assert given_lines == case.lines, "the list that was given is not changed"


def test_the_same_edits_serve_again() -> None:
    edits = HeaderEdits(set=((b"X-Env", b"prod"),))
    assert edit_lines([], edits) == edit_lines([], edits) == [b"X-Env: prod"]


NAMES = st.sampled_from([b"a", b"A", b"b", b"C", b"x-a"])
PAIRS = st.lists(st.tuples(NAMES, st.sampled_from([b"", b"1", b"a: 1"])), max_size=4)


@given(
    lines=PAIRS,
    new=PAIRS.map(lambda pairs: tuple({name.lower(): (name, value) for name, value in pairs}.values())),
    more=PAIRS.map(tuple),
    gone=st.frozensets(NAMES.map(bytes.lower)),
)
def test_whatever_the_lines_are(
    lines: list[tuple[bytes, bytes]],
    new: tuple[tuple[bytes, bytes], ...],
    more: tuple[tuple[bytes, bytes], ...],
    gone: frozenset[bytes],
) -> None:
    touched = {name.lower() for name, _ in (*new, *more)}
    edits = HeaderEdits(new, more, gone - touched)
    after = [line.partition(b": ") for line in edit_lines([n + b": " + v for n, v in lines], edits)]
    names = [name.lower() for name, _, _ in after]
    assert not edits.remove & set(names)
    for name, value in new:
        added = [v for n, v in more if n.lower() == name.lower()]
        assert [v for n, _, v in after if n.lower() == name.lower()] == [value, *added]
    untouched = [(n, v) for n, v in lines if n.lower() not in gone | touched]
    assert [(n, v) for n, _, v in after if n.lower() not in touched] == untouched
