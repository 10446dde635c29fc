"""Keys that are described but do not work yet. A setting that would be ignored is refused instead.

Here:  one table, key by key; what is in it may only have its default. It shrinks as the keys come to life.
Never: other rules.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from corsproxy.config.findings import Findings, Mistake
from corsproxy.config.model import Config, Settings
from corsproxy.config.problems import Path
from corsproxy.config.shape import ANY

__all__ = ["NOT_YET", "refuse_unsupported"]


@dataclass(frozen=True, slots=True)
class NotYet:
    """One key, and what it may hold until it is supported."""

    key: str  # "upstreams.*.tls"
    permits: Callable[[Any, Any], bool]  # Any: (value, default) of that key, whatever its type
    remedy: str = "remove it, or write its default"


def _only_default(value: object, default: object) -> bool:
    return value == default


NOT_YET = (NotYet("workers", _only_default, "run several copies for now"),)


def refuse_unsupported(config: Config, findings: Findings) -> None:
    """Note every key of the table that has a value which would have no effect."""
    for entry in NOT_YET:
        for path, value, default in _values(config, tuple(entry.key.split("."))):
            if not entry.permits(value, default):
                message = "not yet supported in this version"
                findings.add(path, Mistake("not-yet-supported", message, entry.remedy), on_key=True)


def _values(
    value: object, pattern: tuple[str, ...], path: Path = ()
) -> Iterator[tuple[Path, object, object]]:
    """Every value that a pattern finds, with its path and its default."""
    first, *rest = pattern
    if first == ANY:
        entries = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        )
        for step, entry in entries:
            yield from _values(entry, tuple(rest), (*path, step))
    elif isinstance(value, Settings):
        inner = getattr(value, first)
        if rest:
            yield from _values(inner, tuple(rest), (*path, first))
        else:
            yield (*path, first), inner, type(value).model_fields[first].default
