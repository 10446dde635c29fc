"""Names that people give to routes, policies, upstreams and groups.

Here:  what such a name may look like, since it goes into logs, metrics and messages.
Never: what a name refers to.
"""

import re
from collections.abc import Iterable

from corsproxy.config.findings import Findings, Mistake
from corsproxy.config.problems import Path
from corsproxy.config.words import quoted

__all__ = ["check_name", "check_names"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RESERVED = frozenset({"off"})  # `cors: off` has a meaning of its own


def check_name(name: str) -> Mistake | None:
    """What is wrong with a name; None = nothing."""
    if name in _RESERVED:
        return Mistake("reserved-name", f"{quoted(name)} has a meaning of its own", "choose another name")
    if _NAME.fullmatch(name):
        return None
    remedy = "up to 64 letters, digits, '.', '_' and '-', starting with a letter or digit"
    return Mistake("bad-name", f"{quoted(name)} is no name", remedy)


def check_names(names: Iterable[str], path: Path, findings: Findings) -> None:
    """Check the keys of a block whose keys are names."""
    for name in names:
        mistake = check_name(name)
        if mistake is not None:
            findings.add((*path, name), mistake, on_key=True)
