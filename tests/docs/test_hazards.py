"""The page of hazards: every code once, none that is gone, and each example does what it is there for."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from corsproxy import cors
from corsproxy.config.compile import load_table
from corsproxy.config.problems import Problem
from tests.docs.pages import code, page

PAGE = page("docs/hazards.md")
SECTIONS = dict(re.findall(r"^### `([^`]+)`\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL))
# The file's reader refuses a negative duration first.
IN_PYTHON_ONLY = {"max-age-negative"}
LONG = "a" * 1024

# Whoever makes a hazard gets its code as first argument; the finders of `entries` return it with the reason.
MAKERS = {"problem", "caution", "Hazard", "_no_token"}
FINDERS = re.compile(r"_find_\w*fault")


def codes_in_the_code() -> set[str]:
    found: set[str] = set()
    for file in Path(cors.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                found.update(codes_in(node))
    return found


def codes_in(function: ast.FunctionDef) -> Iterator[str]:
    for node in ast.walk(function):
        match node:
            case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in MAKERS:
                yield from spelled(first, function)
            case ast.Return(value=ast.Tuple(elts=[first, _])) if FINDERS.fullmatch(function.name):
                yield from spelled(first, function)


def spelled(expression: ast.expr, function: ast.FunctionDef) -> Iterator[str]:
    """The codes that an expression can be: itself, or with each word of the function's table filled in."""
    match expression:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr(values=[ast.Constant(value=str(start)), ast.FormattedValue()]):
            tables = [node for node in ast.walk(function) if isinstance(node, ast.Dict)]
            yield from (
                start + str(word.value)
                for table in tables
                for word in table.values
                if isinstance(word, ast.Constant)
            )


def found(block: str) -> list[Problem]:
    """What is found in a route with this policy."""
    indented = "".join(f"      {line}\n" for line in block.replace("LONG", LONG).splitlines())
    return load_table(f"routes:\n  - upstream: http://127.0.0.1:9000\n    cors:\n{indented}", "page", {})[1]


def test_the_page_has_the_codes_of_the_code() -> None:
    assert set(SECTIONS) == codes_in_the_code()


def test_no_code_stands_twice() -> None:
    assert len(SECTIONS) == len(re.findall(r"^### ", PAGE, re.MULTILINE))


@pytest.mark.parametrize("name", sorted(set(SECTIONS) - IN_PYTHON_ONLY))
def test_the_example_has_the_hazard(name: str) -> None:
    (example,) = code(SECTIONS[name], "yaml")
    bad, _, _ = example.partition("# instead\n")
    severity = {"**Error.**": "error", "**Warning.**": "warning"}[SECTIONS[name].split()[0]]
    assert [(problem.code, problem.severity) for problem in found(bad)] == [(name, severity)]


@pytest.mark.parametrize("name", sorted(set(SECTIONS) - IN_PYTHON_ONLY))
def test_what_stands_instead_is_fine(name: str) -> None:
    (example,) = code(SECTIONS[name], "yaml")
    _, _, good = example.partition("# instead\n")
    assert good
    assert found(good) == []


@pytest.mark.parametrize("name", sorted(IN_PYTHON_ONLY))
def test_what_no_file_can_have_needs_no_example(name: str) -> None:
    assert not code(SECTIONS[name], "yaml")
    assert SECTIONS[name].split()[0] == "**Error.**"
