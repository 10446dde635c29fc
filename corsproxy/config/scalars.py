"""What an unquoted scalar is, and the spellings that YAML 1.1 reads otherwise than they look.

Here:  text to a plain value, or to the name of the trap it steps into.
Never: positions, quoted scalars, knowledge of keys.
"""

import re

from corsproxy.config.findings import Mistake
from corsproxy.config.words import quoted

__all__ = ["Scalar", "resolve", "trap_in"]

Scalar = None | bool | int | float | str

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset(
    spelling for word in ("true", "yes", "on") for spelling in (word, word.title(), word.upper())
)
_FALSE = frozenset(
    spelling for word in ("false", "no", "off") for spelling in (word, word.title(), word.upper())
)
# Bounded: a number of a thousand digits is a mistake, and costs time to convert.
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})")
_DECIMAL = re.compile(r"[-+]?[0-9]{1,17}\.[0-9]{0,17}")

_LEADING_ZERO = re.compile(r"[-+]?0o?[0-9_]+")
_BASE_60 = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:(?:[Tt]|[ \t]+)[0-9].*)?")
_OTHER_NUMBER = re.compile(
    r"[-+]?(?:0x[0-9a-fA-F_]+|0b[01_]+|[0-9][0-9_]*_[0-9_.]*|\.inf|\.nan)", re.IGNORECASE
)


def resolve(text: str) -> Scalar:
    """The value of an unquoted scalar: null, true or false, a decimal number, else text."""
    if text in _NULL:
        return None
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    if _INTEGER.fullmatch(text):
        return int(text)
    if _DECIMAL.fullmatch(text):
        return float(text)
    return text


def trap_in(text: str) -> Mistake | None:
    """What a YAML 1.1 reader makes of an unquoted scalar that looks like something else; None = no trap.

    Other tools that read the same file would see the other value, so these are refused rather than guessed.
    """
    quote = f"quote it if it is text: {quoted(text)}"
    if _LEADING_ZERO.fullmatch(text):
        plain = text.lstrip("+-0o_")
        remedy = f"{quote}; as a number write {plain or '0'}"
        return Mistake(
            "yaml-octal", f"{text} has a leading zero, which YAML reads as an octal number", remedy
        )
    if _BASE_60.fullmatch(text):
        return Mistake("yaml-base-60", f"{text} is a number in base 60 to YAML", quote)
    if _DATE.fullmatch(text):
        return Mistake("yaml-date", f"{text} is a date to YAML", quote)
    if _OTHER_NUMBER.fullmatch(text):
        remedy = f"{quote}; write numbers in plain decimal digits"
        return Mistake("yaml-number", f"{text} is a number in a spelling that is easy to misread", remedy)
    return None
