"""The reference page of the configuration file, made from the model. Regenerate it with:

    python -m corsproxy.config.reference > docs/configuration.md

Here:  one section a block, one row a key: type, default, meaning.
Never: facts about keys that the model does not know.
"""

import sys
from collections.abc import Iterator
from inspect import getdoc
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from corsproxy.config.model import Config, Settings
from corsproxy.config.shape import inner_block, keys_of
from corsproxy.config.units import duration_text, size_text
from corsproxy.config.values import Kind

__all__ = ["reference_page"]

_HEAD = """\
# The configuration file

<!-- Generated from the model in corsproxy/config/model.py by `python -m corsproxy.config.reference`. -->

`corsproxy` reads one YAML file: the one named by `-c FILE`, else `$CORSPROXY_CONFIG`, else
`./corsproxy.yaml`, else `/etc/corsproxy/corsproxy.yaml`; `-c -` reads standard input. `corsproxy init`
writes one to start from, [`config.example.yaml`](../config.example.yaml) shows every key,
`corsproxy check` names every problem with its line, and `corsproxy schema` prints a JSON Schema for editors.
With it an editor checks keys and types; `check` finds the rest: origins, names, paths, unsafe combinations.

- **Durations** are `250ms`, `5s`, `10m`, `2h`, `1d`; a bare number is seconds.
- **Sizes** are `64KiB`, `10MB`; a bare number is bytes.
- **Environment variables** are replaced in values: `${NAME}`, or `${NAME:-default}` when it may be unset or
  empty; `$$` is a dollar sign. A variable that is not set and has no default is an error.
  One `${NAME}` stands for one value: a list of origins needs one entry for each,
  `["${ORIGIN_APP}", "${ORIGIN_ADMIN}"]`, in quotes within `[]`.
- **Names** of routes, policies, upstreams and groups are up to 64 letters, digits, `.`, `_` and `-`.
- Unknown keys, duplicate keys and wrong types are errors. Anchors, aliases, merge keys and tags of YAML are
  not used here; `extends` and origin groups share what is common.
"""


def reference_page() -> str:
    """The page as Markdown."""
    return "\n".join([_HEAD, *_sections(Config, "The top level")])


def _sections(block: type[Settings], title: str) -> Iterator[str]:
    yield f"## {title}\n\n{getdoc(block)}\n\n| key | type | default | meaning |\n|---|---|---|---|"
    for name, field in keys_of(block).items():
        yield f"| `{name}` | {_type(field)} | {_default(field)} | {_escaped(field.description or '')} |"
    yield ""
    at = "" if block is Config else f"{title.strip('`')}."
    for name, field in keys_of(block).items():
        inner = inner_block(field.annotation)
        if inner is None or (block.__name__ == "Route" and name == "cors"):
            continue  # a policy in place has the keys of `policies.*`
        yield from _sections(inner[0], f"`{'.'.join((at + name, *inner[1]))}`")


def _type(field: FieldInfo) -> str:
    kinds = [item.words for item in field.metadata if isinstance(item, Kind)]
    return _escaped(kinds[0] if kinds else _spelled(field.annotation))


def _spelled(annotation: Any) -> str:  # Any: annotations have no type
    """An annotation in words."""
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if annotation is str:
        return "text"
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return "mapping"
    if origin is Annotated:
        kinds = [item.words for item in arguments if isinstance(item, Kind)]
        return kinds[0] if kinds else _spelled(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin is list:
        return f"list of {_spelled(arguments[0])}s" if arguments[0] is not str else "list of text"
    if origin is dict:
        return f"name to {_spelled(arguments[1])}"
    return " or ".join(_spelled(option) for option in arguments if option is not type(None))


def _default(field: FieldInfo) -> str:
    value = field.default
    if (field.description or "").startswith("Required."):
        return "required"
    if value is None or isinstance(value, Settings):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, float):
        return f"`{value:g}`" if _type(field).startswith("number") else f"`{duration_text(value)}`"
    if "size" in _type(field):
        return f"`{size_text(value)}`"
    if isinstance(value, list):
        return f"`[{', '.join(value)}]`"
    return "`{}`" if value == {} else f"`{value}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference_page())
