"""A configuration's text, fit to be shown: a mask in the place of each value that may be a secret.

Here:  finding the values with PyYAML's marks; layout, comments and every other character stay.
Never: what a configuration comes to (`config.effective`); undoing it.
"""

import re
from collections.abc import Iterator

import yaml

from corsproxy.config.effective import MASK
from corsproxy.config.problems import Path
from corsproxy.config.words import is_secret_name

__all__ = ["masked"]

_LOADER: type[yaml.SafeLoader | yaml.CSafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_EDITS = frozenset({"set", "add"})
_NAME = re.compile(r"""([\w-]+)["']?[ \t]*:[ \t]""")  # for a text that no YAML reader takes


def masked(text: str) -> str:
    """The text without secrets. References to the environment stay: they are none.

    In a text that is no YAML, a line ends where a name begins that speaks of one.
    """
    try:
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError:
        return "".join(map(_masked_line, text.splitlines(keepends=True)))
    spans = {} if root is None else dict(_secrets(root, (), text))
    for start, end in sorted(
        spans.items(), reverse=True
    ):  # from the end: the places before stay where they are
        text = text[:start] + MASK + text[end:]
    return text


def _secrets(node: yaml.Node, path: Path, text: str) -> Iterator[tuple[int, int]]:
    """Where secrets begin and end."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _secrets(value, (*path, str(key.value)), text)
    elif isinstance(node, yaml.SequenceNode):
        for at, item in enumerate(node.value):
            yield from _secrets(item, (*path, at), text)
    elif node.value and "${" not in node.value:
        start = int(node.start_mark.index)
        end = start + len(text[start : node.end_mark.index].rstrip())  # a block scalar ends in the next line
        if _is_secret(path):
            yield start, end
        elif path[-2:] == ("health", "path") and "?" in (written := text[start:end].rstrip("\"'")):
            yield start + written.index("?") + 1, start + len(written)


def _is_secret(path: Path) -> bool:
    """The admin listener's token, and values of header fields whose names speak of one."""
    *before, name = path or ("",)
    if before == ["admin"] and name == "token":
        return True
    is_field = before[-1:] == ["headers"] or (
        len(before) > 1 and before[-1] in _EDITS and str(before[-2]).endswith("_headers")
    )
    return is_field and is_secret_name(str(name))


def _masked_line(line: str) -> str:
    """Without the rest of the line behind the first name that speaks of a secret."""
    for found in _NAME.finditer(line):
        if is_secret_name(found[1]):
            kept = line[: found.end()]
            return kept + MASK + line[len(line.rstrip("\r\n")) :]
    return line
