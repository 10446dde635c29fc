"""Words for people: a value as it was written, and the word that was probably meant.

Here:  pure functions on text.
Never: positions, severities, knowledge of the configuration's keys.
"""

import difflib
import re
from collections.abc import Iterable

__all__ = ["count", "did_you_mean", "is_secret_name", "listed", "nearest", "printable", "quoted"]

_LONGEST_QUOTE = 80
_PASSWORD = re.compile(r":[^:/?#@\s]+@")
# Names of fields and variables whose values may be secrets.
_SECRET_NAME = re.compile(r"auth|token|secret|passw|cookie|session|credential|key", re.IGNORECASE)


def printable(text: str) -> str:
    """The text with everything that could move a terminal's cursor written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def quoted(value: str) -> str:
    """A value as written, in single quotes; long ones are cut, and the password of a URL is left out."""
    value = _PASSWORD.sub(":***@", value)
    shown = value if len(value) <= _LONGEST_QUOTE else value[: _LONGEST_QUOTE - 1] + "…"
    return f"'{printable(shown)}'"


def is_secret_name(name: str) -> bool:
    """True when what stands under this name may be a secret: a token, a key, a password."""
    return _SECRET_NAME.search(name) is not None


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The known word that was probably meant, whatever its case; "" when none is near.

    cutoff: how near it has to be, from 0 to 1; 0.6 lets half of the letters differ, 0.85 one or two.
    """
    names = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower()[:_LONGEST_QUOTE], names, n=1, cutoff=cutoff)
    return names[near[0]] if near else ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A remedy that names the nearest known word; "" when none is near."""
    near = nearest(word, known)
    return f"did you mean {quoted(near)}?" if near else ""


def listed(words: Iterable[str], last: str = "or") -> str:
    """Words in a sentence: "a, b or c"."""
    *head, tail = words
    return f"{', '.join(head)} {last} {tail}" if head else tail


def count(number: int, noun: str) -> str:
    """A number with its noun: "1 route", "2 policies"."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun[:-1]}ies" if noun.endswith("y") else f"{number} {noun}s"
