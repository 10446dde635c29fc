"""Text to model: the file as `config.model` describes it, with every problem of its shape.

Here:  reading, expanding environment variables, and checking keys and types. What is wrong is noted and taken
       out, so that the rest is still checked by whoever comes next.
Never: rules between keys, names that refer to other keys (`config.compile`), files.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from corsproxy.config.expand import Expanded, expand, secrets_of
from corsproxy.config.findings import Findings, Mistake, Place
from corsproxy.config.model import Config, Settings
from corsproxy.config.problems import Path
from corsproxy.config.shape import block_at, inner_block, keys_of
from corsproxy.config.values import WrongValueError
from corsproxy.config.words import did_you_mean, listed, nearest, quoted
from corsproxy.config.yaml import Value, read_yaml

__all__ = ["Loaded", "load"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What could be read of a file. The config lacks the parts that the findings call broken."""

    config: Config | None  # None = nothing could be read
    findings: Findings
    written: frozenset[Path]  # every path of the document, broken ones too


def load(text: str, file: str, env: Mapping[str, str]) -> Loaded:
    """Read a file; whatever the text is, the answer is a value."""
    findings = Findings(file)
    data = read_yaml(text, findings)
    written = frozenset(findings.places)
    if data is None:
        return Loaded(None, findings, written)
    expanded = _expanded(data, (), env, findings)
    while True:  # each pass takes out what it refuses, so the next has less to refuse; two are usual
        try:
            return Loaded(Config.model_validate(expanded), findings, written)
        except ValidationError as error:
            _note_and_remove(error, expanded, findings)


def _expanded(value: Value, path: Path, env: Mapping[str, str], findings: Findings) -> Value:
    """The document with the references in its text replaced."""
    if isinstance(value, list):
        return [_expanded(item, (*path, at), env, findings) for at, item in enumerate(value)]
    if isinstance(value, dict):
        return {key: _expanded(item, (*path, key), env, findings) for key, item in value.items()}
    if not isinstance(value, str) or "$" not in value:
        return value
    findings.hide(secrets_of(value, env))
    text = expand(value, env)
    if isinstance(text, Mistake):
        findings.add(path, text)
        findings.break_off(path)
        return value
    return Expanded(text) if "${" in value else text


def _note_and_remove(error: ValidationError, data: Value, findings: Findings) -> None:
    """Say what pydantic refuses in our words, and take the values out of the document."""
    refused: dict[Path, Any] = {}  # Any: pydantic's ErrorDetails
    for detail in error.errors(include_url=False):
        # A value that fits no member of a union is refused once for each: the first says enough.
        refused.setdefault(_document_path(detail["loc"], data), detail)
    for path, detail in refused.items():
        _remove(path, data)
        if detail["type"] == "extra_forbidden":
            _note_unknown_key(path, findings)
        else:
            findings.add(path, _mistake(detail, path, findings.place(path)))
            findings.break_off(path)


def _document_path(loc: tuple[str | int, ...], data: Value) -> Path:
    """The path of pydantic without the names of union members, which are in angle brackets."""
    path: Path = ()
    for step in loc:
        if isinstance(data, dict) and step in data:
            data = data[str(step)]
        elif isinstance(data, list) and isinstance(step, int):
            data = data[step]
        else:
            continue
        path = (*path, step)
    return path


def _remove(path: Path, data: Value) -> None:
    """Take one value out; in a list an empty one takes its place, so that the others keep their index."""
    for step in path[:-1]:
        data = data[step]  # type: ignore[index]  # the path was found in this very document
    last = path[-1]
    if isinstance(data, dict):
        del data[str(last)]
    elif isinstance(data, list):
        data[int(last)] = {} if path[0] == "routes" and len(path) == 2 else ""


def _note_unknown_key(path: Path, findings: Findings) -> None:
    key = str(path[-1])
    block = block_at(path[:-1])
    known = keys_of(block) if block else {}
    homes = [name for name, field in known.items() if _holds(inner_block(field.annotation), key)]
    # `timeout` is a slip of `timeouts`, though `drain` has a key of this name; `path` is none of `match`.
    meant = nearest(key, known, cutoff=0.85 if homes else 0.6)
    if meant:
        remedy = f"did you mean {quoted(meant)}?"
    else:
        remedy = f"it belongs in {listed(map(quoted, homes))}" if homes else f"known here: {', '.join(known)}"
    findings.add(
        path, Mistake("unknown-key", f"unknown key {quoted(key)}", remedy), on_key=True, on_parent=True
    )
    if meant and (*path[:-1], meant) not in findings.places:
        findings.break_off((*path[:-1], meant))  # it is misspelt, so it is not missing too


def _holds(inner: tuple[type[Settings], tuple[str, ...]] | None, key: str) -> bool:
    return inner is not None and not inner[1] and key in keys_of(inner[0])


def _mistake(detail: Any, path: Path, place: Place) -> Mistake:  # Any: pydantic's ErrorDetails
    """What pydantic refused, in our words."""
    kind: str = detail["type"]
    context = detail.get("ctx", {})
    value = detail["input"]
    if isinstance(error := context.get("error"), WrongValueError):
        return error.mistake
    if value is None:
        return Mistake(
            "no-value", "nothing is written here", f"write {_wanted(kind, context)}, or remove the key"
        )
    if kind == "literal_error":
        return _not_a_choice(context["expected"], value, place)
    return Mistake(
        "wrong-type",
        f"expected {_wanted(kind, context)}, found {_found(value, place)}",
        _retype(kind, path, place),
    )


_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a duration",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}


def _wanted(kind: str, context: Mapping[str, str]) -> str:
    if kind == "literal_error":
        return f"one of {_choices(context['expected'])}"
    return _WANTED.get(kind, "another value")


def _found(value: object, place: Place) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    return quoted(place.text if place.text is not None else str(value))


def _retype(kind: str, path: Path, place: Place) -> str:
    """How to write the value so that it has the type that is wanted."""
    if place.text is None:
        return ""
    if "${" in place.text:
        return "look what the variable holds"
    if path == ("admin",):
        return "write HOST:PORT, off, or {address: HOST:PORT}"
    if kind == "string_type":
        return f"quote it: '{place.text}'" if place.plain else ""
    if kind == "list_type":
        return f"write [{place.text}]" if place.text else "write []"
    if kind == "model_type" and path == ("log",):
        return f"write {{level: {place.text}}}"
    return "remove the quotes" if kind in {"bool_type", "int_type"} and not place.plain else ""


def _not_a_choice(expected: str, value: object, place: Place) -> Mistake:
    shown = _found(value, place)
    remedy = did_you_mean(place.text or "", re.findall(r"[\w-]+", expected.replace(" or ", " ")))
    return Mistake("unknown-value", f"expected one of {_choices(expected)}, found {shown}", remedy)


def _choices(expected: str) -> str:
    return expected.replace("'", "")
