"""The shape of the file, read off the model: which keys stand where.

Here:  a walk over the model's fields, for messages, the table of unsupported keys, reference page and tests.
Never: values, positions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from corsproxy.config.model import Config, Settings
from corsproxy.config.problems import Path

__all__ = ["ANY", "Key", "block_at", "inner_block", "keys_of", "walk"]

ANY = "*"
"""Stands in a pattern for the entries of a list and the names of a mapping."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the model: where it stands, and its field."""

    pattern: tuple[str, ...]  # ("routes", "*", "match", "path")
    owner: type[Settings]
    field: FieldInfo


def keys_of(block: type[Settings]) -> dict[str, FieldInfo]:
    """The keys of a block, in the order they are written."""
    return block.model_fields


def walk(block: type[Settings] = Config, at: tuple[str, ...] = ()) -> Iterator[Key]:
    """Every key of the file, blocks before what is in them."""
    for name, field in keys_of(block).items():
        pattern = (*at, name)
        yield Key(pattern, block, field)
        inner = inner_block(field.annotation)
        if inner is not None:
            yield from walk(inner[0], (*pattern, *inner[1]))


def block_at(path: Path) -> type[Settings] | None:
    """The model of the block at a path of the document; None where no block stands."""
    block: type[Settings] | None = Config
    steps = list(path)
    while steps and block is not None:
        field = keys_of(block).get(str(steps.pop(0)))
        inner = inner_block(field.annotation) if field else None
        if inner is None or len(steps) < len(inner[1]):
            return None
        block = inner[0]
        steps = steps[len(inner[1]) :]
    return block


def inner_block(
    annotation: Any,
) -> tuple[type[Settings], tuple[str, ...]] | None:  # Any: annotations have no type
    """The block that a key holds, and the "*" steps to it: one for a list or a mapping of blocks."""
    origin = get_origin(annotation)
    if origin is None:
        is_block = isinstance(annotation, type) and issubclass(annotation, Settings)
        return (annotation, ()) if is_block else None
    if origin is Annotated:
        return inner_block(get_args(annotation)[0])
    if origin in {Union, UnionType}:
        return next((inner for option in get_args(annotation) if (inner := inner_block(option))), None)
    if origin in {list, dict}:
        inner = inner_block(get_args(annotation)[-1])
        return (inner[0], (ANY, *inner[1])) if inner else None
    return None
