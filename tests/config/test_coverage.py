"""One declaration, many readers: model, example, reference page, schema and starter hold the same keys."""

import math
import re
from pathlib import Path
from typing import Any

import pytest

from corsproxy.cli.init import STARTER
from corsproxy.config.compile import load_table
from corsproxy.config.findings import Findings
from corsproxy.config.reference import reference_page
from corsproxy.config.schema import json_schema
from corsproxy.config.shape import ANY, block_at, keys_of, walk
from corsproxy.config.yaml import Value, read_yaml

ROOT = Path(__file__).parents[2]
EXAMPLE = (ROOT / "config.example.yaml").read_text(encoding="utf-8")

# A policy in place has the keys of `policies.*`; the mapping forms of `listen` and `admin` stand as comments.
MODEL = [key for key in walk() if key.pattern[:3] != ("routes", ANY, "cors") or len(key.pattern) == 3]
COMMENTED = [
    ".".join(key.pattern) for key in MODEL if key.pattern[0] in {"listen", "admin"} and len(key.pattern) > 1
]


def document(text: str) -> dict[str, Value]:
    data = read_yaml(text, Findings("f"))
    assert data is not None
    return data


def patterns_in(value: Value, path: tuple[str | int, ...] = ()) -> set[str]:
    """The keys of a document as patterns: names and indexes written as the model has them."""
    if isinstance(value, list):
        return {found for at, item in enumerate(value) for found in patterns_in(item, (*path, at))}
    if not isinstance(value, dict):
        return set()
    found: set[str] = set()
    block = block_at(path)
    for key, item in value.items():
        if block is not None:
            found.add(as_pattern((*path, key)))
        found |= patterns_in(item, (*path, key))
    return found


def as_pattern(path: tuple[str | int, ...]) -> str:
    """The path with every step that no model names written as "*"."""
    return ".".join(
        ANY if isinstance(step, int) or block_at(path[:at]) is None else step for at, step in enumerate(path)
    )


@pytest.mark.parametrize("key", MODEL, ids=lambda key: ".".join(key.pattern))
def test_every_key_is_in_the_example(key: Any) -> None:
    pattern = ".".join(key.pattern)
    if pattern in COMMENTED:
        assert re.search(rf"^# +{key.pattern[-1]}:", EXAMPLE, re.MULTILINE)
    else:
        assert pattern in patterns_in(document(EXAMPLE))


def test_every_key_of_the_example_is_in_the_model() -> None:
    known = {".".join(key.pattern) for key in walk()}
    assert patterns_in(document(EXAMPLE)) <= known


def test_the_example_has_the_order_of_the_model() -> None:
    def check(value: Value, path: tuple[str | int, ...]) -> None:
        if isinstance(value, dict):
            block = block_at(path)
            if block is not None:
                assert list(value) == [key for key in keys_of(block) if key in value], path
            for key, item in value.items():
                check(item, (*path, key))
        if isinstance(value, list):
            for at, item in enumerate(value):
                check(item, (*path, at))

    check(document(EXAMPLE), ())


@pytest.mark.parametrize("text", [EXAMPLE, STARTER], ids=["config.example.yaml", "what init writes"])
def test_it_loads_without_a_word(text: str) -> None:
    table, problems = load_table(text, "f", {})
    assert table is not None
    assert problems == []


def test_the_reference_page_is_up_to_date() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == reference_page(), (
        "regenerate it: python -m corsproxy.config.reference > docs/configuration.md"
    )


@pytest.mark.parametrize("key", MODEL, ids=lambda key: ".".join(key.pattern))
def test_every_key_is_described_on_the_page(key: Any) -> None:
    head = ".".join(key.pattern[:-1])
    section = (
        reference_page().split(f"\n## `{head}`\n" if head else "\n## The top level\n")[1].split("\n## ")[0]
    )
    row = next(line for line in section.splitlines() if line.startswith(f"| `{key.pattern[-1]}` |"))
    kind, default, meaning = (cell.strip() for cell in re.split(r"(?<!\\)\|", row)[2:5])
    assert kind
    assert default is not None
    assert meaning.endswith(".")


SCHEMA = json_schema()


def accepts(schema: dict[str, Any], value: Value) -> bool:
    """A small JSON Schema validator, for the words that our schema uses."""
    if "$ref" in schema:
        return accepts(SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")], value)
    if "anyOf" in schema and not any(accepts(option, value) for option in schema["anyOf"]):
        return False
    if "const" in schema and (schema["const"] != value or type(schema["const"]) is not type(value)):
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        return False
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get(
        "maximum", value
    ):
        return False
    if isinstance(value, int | float) and value <= schema.get("exclusiveMinimum", -math.inf):
        return False
    return {
        None: lambda: True,
        "object": lambda: isinstance(value, dict) and accepts_members(schema, value),
        "array": lambda: isinstance(value, list) and all(accepts(schema["items"], item) for item in value),
        "string": lambda: isinstance(value, str),
        "boolean": lambda: isinstance(value, bool),
        "integer": lambda: isinstance(value, int) and not isinstance(value, bool),
        "number": lambda: isinstance(value, int | float) and not isinstance(value, bool),
        "null": lambda: value is None,
    }[schema.get("type")]()


def accepts_members(schema: dict[str, Any], value: dict[str, Value]) -> bool:
    others = schema.get("additionalProperties", {})
    known = schema.get("properties", {})
    return set(schema.get("required", ())) <= set(value) and all(
        accepts(known[key], item) if key in known else others is not False and accepts(others, item)
        for key, item in value.items()
    )


def test_the_schema_accepts_the_example() -> None:
    assert accepts(SCHEMA, document(EXAMPLE))
    assert accepts(SCHEMA, document(STARTER))


REFUSED = {
    "an unknown key": "listem: a:1\nroutes: []",
    "a route without upstream": "routes: [{cors: off}]",
    "an unknown value": "log: {level: loud}\nroutes: []",
    "a number where a list belongs": "routes: 5",
    "a duration without a unit it knows": "timeouts: {idle: 5 years}\nroutes: []",
    "no time": "timeouts: {idle: 0}\nroutes: []",
    "no time, with a unit": "timeouts: {idle: 0s}\nroutes: []",
    "no time, with decimals": "timeouts: {idle: 00.00ms}\nroutes: []",
    "cors: on": "routes: [{upstream: a, cors: on}]",
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_schema_refuses(case: str) -> None:
    assert not accepts(SCHEMA, document(REFUSED[case]))


ACCEPTED = {
    "a variable in place of a number": "limits: {in_flight: '${N}'}\nroutes: []",
    "a variable in place of a word": "log: {level: '${LEVEL:-info}'}\nroutes: []",
    "a bare off": "admin: off\nroutes: [{upstream: a, cors: off, websocket: off}]",
    "a star or a list": "policies: {a: {allow_methods: '*', allow_headers: [x]}}\nroutes: []",
    "listen as a mapping": "listen: {address: 'a:1', tls: null}\nroutes: []",
    "admin as a mapping": "admin: {address: 'a:1', token: '${TOKEN}', hosts: [a]}\nroutes: []",
    "hardly any time": "timeouts: {idle: 0.5ms, connect: 0.001}\nroutes: []",
    "no time where that is a duration": "drain: {delay: 0s}\nroutes: []",
    "a bare number as a duration": "timeouts: {idle: 5}\nroutes: []",
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_the_schema_accepts(case: str) -> None:
    assert accepts(SCHEMA, document(ACCEPTED[case]))


def test_the_schema_names_its_draft() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
