"""The change of a remedy made in the text of the file: a few characters more, every other one as it was.

Here:  finding the place with PyYAML's marks, inserting there, and proof by reading the result again.
Never: writing YAML anew, which would lose comments; files; judging whether the change is wise (cors.remedy).
"""

import copy
import difflib
from collections.abc import Sequence
from typing import Any

import yaml

from corsproxy.config.findings import Findings
from corsproxy.config.masked import masked
from corsproxy.config.problems import Path, path_text
from corsproxy.config.yaml import Value, read_yaml
from corsproxy.cors.remedy import Change
from corsproxy.proxy.explained import yaml_value

__all__ = ["PatchError", "difference", "patched"]

_LOADER: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# Where a key that is not there yet goes: behind the last of those before it.
_ORDER = (
    *("extends", "allow_origins", "allow_origin_regex", "allow_methods", "allow_headers", "expose_headers"),
    "allow_credentials",
)


class PatchError(Exception):
    """A text that cannot be changed here; the message is one line that says what to do by hand."""


def patched(text: str, changes: Sequence[Change]) -> str:
    """The text with these changes. Raises PatchError when the result would not mean exactly that."""
    for change in changes:
        text = _with_change(text, change)
    return text


def difference(before: str, after: str, name: str) -> str:
    """What changes, as a unified diff; "" when nothing does. Secrets of the configuration are masked: whoever
    may look at exchanges may not know them all the same, and they stand in lines around the change, too.
    """
    if before == after:
        return ""
    lines = difflib.unified_diff(
        masked(before).splitlines(),
        masked(after).splitlines(),
        name,
        f"{name} (changed)",
        n=2,
        lineterm="",
    )
    return "\n".join(lines) or f"--- {name}\n+++ {name} (changed)\nwhat differs is a secret, and is not shown"


def _with_change(text: str, change: Change) -> str:
    by_hand = (
        f"change {path_text(change.where)} by hand: this place of the file is not one that can be edited"
    )
    wanted = _expected(_data(text), change)
    try:
        edited = _edited(text, change)
    except yaml.YAMLError as error:
        raise PatchError(by_hand) from error
    if wanted is None or edited is None or _data(edited) != wanted:
        raise PatchError(by_hand)
    return edited


def _data(text: str) -> Value:
    return read_yaml(text, Findings(""))


def _expected(data: Value, change: Change) -> Value:
    """The document as it has to read afterwards; None when it has no such place."""
    data = copy.deepcopy(data)
    *path, last = change.where
    at: Any = data  # Any: whatever the document holds; what does not fit ends in None
    try:
        for step in path:
            at = at[step]
        if change.adds:
            at[last].append(change.value)
        else:
            at[last] = list(change.value) if isinstance(change.value, tuple) else change.value
    except (LookupError, TypeError, AttributeError):
        return None
    return data


def _edited(text: str, change: Change) -> str | None:
    root = yaml.compose(text, Loader=_LOADER)
    node = _find(root, change.where)
    if node is None:
        parent = _find(root, change.where[:-1])
        if not isinstance(parent, yaml.MappingNode):
            return None
        return _with_key(text, parent, str(change.where[-1]), yaml_value(change.value))
    if change.adds:
        return _with_items(text, node, [change.value])
    if _is_block(node) and isinstance(node, yaml.SequenceNode) and isinstance(change.value, tuple):
        return _with_items(text, node, list(change.value[len(node.value) :]))
    return text[: node.start_mark.index] + yaml_value(change.value) + text[node.end_mark.index :]


def _find(node: yaml.Node | None, path: Path) -> yaml.Node | None:
    for step in path:
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == step), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
        else:
            return None
    return node


def _is_block(node: yaml.Node) -> bool:
    return isinstance(node, yaml.CollectionNode) and not node.flow_style


def _end(node: yaml.Node) -> int:
    """Where a node's own text ends: the end of a block collection is that of its last leaf."""
    if not _is_block(node) or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)


# A line more


def _with_line(text: str, at: int, line: str) -> str:
    """The text with a line more, after the one in which something ends, with its comment."""
    if text[at - 1 : at] == "\n":  # a block scalar ends where the next line starts
        return f"{text[:at]}{line}\n{text[at:]}"
    end = text.find("\n", at)
    if end < 0:
        return f"{text}\n{line}"
    return f"{text[:end]}\n{line}{text[end:]}"


def _with_items(text: str, node: yaml.Node, values: Sequence[object]) -> str | None:
    if not isinstance(node, yaml.SequenceNode):
        return None
    written = [yaml_value(value) for value in values if isinstance(value, str)]
    if _is_block(node):
        first = node.value[0].start_mark
        dash = text[: first.index].rindex("-")
        indent = " " * (dash - (text.rfind("\n", 0, dash) + 1))
        return _with_line(text, _end(node), "\n".join(f"{indent}- {value}" for value in written))
    return _with_flow_items(text, node, written)


def _with_flow_items(text: str, node: yaml.SequenceNode, written: Sequence[str]) -> str:
    if not node.value:
        at = node.start_mark.index + 1
        return text[:at] + ", ".join(written) + text[at:]
    last = node.value[-1]
    end = int(last.end_mark.index)
    if last.start_mark.line == node.start_mark.line or not _stands_alone(text, last):
        return f"{text[:end]}, {', '.join(written)}{text[end:]}"
    # One entry a line: the new ones too, and the comment stays with the entry that it stands behind.
    indent = " " * last.start_mark.column
    has_comma = text[end:].lstrip(" ").startswith(",")
    text = text if has_comma else f"{text[:end]},{text[end:]}"
    end = end if has_comma else end + 1
    return _with_line(text, end, "\n".join(f"{indent}{value}," for value in written))


def _stands_alone(text: str, node: yaml.Node) -> bool:
    start = text.rfind("\n", 0, node.start_mark.index) + 1
    rest = text[node.end_mark.index :].partition("\n")[0].strip(" ,")
    return not text[start : node.start_mark.index].strip() and (not rest or rest.startswith("#"))


# A key more


def _with_key(text: str, parent: yaml.MappingNode, key: str, value: str) -> str | None:
    if not parent.value:
        at = parent.start_mark.index + 1
        return f"{text[:at]}{key}: {value}{text[at:]}" if parent.flow_style else None
    before = _neighbour(parent, key)
    if parent.flow_style:
        end = int(before.end_mark.index)
        return f"{text[:end]}, {key}: {value}{text[end:]}"
    indent = " " * parent.value[0][0].start_mark.column
    return _with_line(text, _end(before), f"{indent}{key}: {value}")


def _neighbour(parent: yaml.MappingNode, key: str) -> yaml.Node:
    """The value behind which a new key goes; the last one, when none of those that go before is there."""
    earlier = _ORDER[: _ORDER.index(key)] if key in _ORDER else ()
    fitting = [value for name, value in parent.value if name.value in earlier]
    chosen: yaml.Node = fitting[-1] if fitting else parent.value[-1][1]
    return chosen
