"""Header edits: fields that a route sets, adds or removes in a head on its way through.

Here:  the edits as a value, and what they make of a list of field lines.
Never: which names may be edited (`config.rewriting` says so); CORS fields and Vary, which come after.
"""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["HeaderEdits", "edit_lines", "name_key"]


@dataclass(frozen=True, slots=True)
class HeaderEdits:
    """What to change in one head. Names are compared by `name_key` and sent as they are written here.

    No name is both removed and set or added, and none is set twice.
    """

    set: tuple[tuple[bytes, bytes], ...] = ()
    add: tuple[tuple[bytes, bytes], ...] = ()
    remove: frozenset[bytes] = frozenset()  # keys


def name_key(name: bytes) -> bytes:
    """A name for comparing: without case, and "_" as "-", which are one to CGI and its heirs (RFC 3875
    §4.1.18): who removes X-Debug does not want X_Debug either.
    """
    return name.lower().replace(b"_", b"-")


def edit_lines(lines: Iterable[bytes], edits: HeaderEdits) -> list[bytes]:
    """The lines ("Name: value") after the edits.

    A field that is set stands where its first line stood, or after the lines when there was none; what is
    added comes last. All other lines keep their order and their bytes.
    """
    pending = {name_key(name): name + b": " + value for name, value in edits.set}
    settled: set[bytes] = set()
    edited: list[bytes] = []
    for line in lines:
        name = name_key(line.partition(b":")[0])
        if name in edits.remove or name in settled:
            continue
        replacement = pending.pop(name, None)
        if replacement is not None:
            settled.add(name)
        edited.append(line if replacement is None else replacement)
    edited += pending.values()
    edited += [name + b": " + value for name, value in edits.add]
    return edited
