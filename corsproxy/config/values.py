"""The kinds of value that keys take, each with how it is read, what it is called, and its JSON Schema.

Here:  annotated types for the model: durations, sizes, counts, flags, lists that may be "*", a bare `off`.
Never: keys, defaults, meaning.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema

from corsproxy.config.expand import Expanded
from corsproxy.config.findings import Mistake
from corsproxy.config.scalars import resolve
from corsproxy.config.units import DURATION_PATTERN, SIZE_PATTERN, parse_duration, parse_size
from corsproxy.config.words import quoted

__all__ = [
    "Address",
    "AddressOrOff",
    "Capacity",
    "Count",
    "Duration",
    "Flag",
    "Fraction",
    "HeadSize",
    "Kind",
    "Names",
    "Off",
    "Period",
    "Size",
    "Status",
    "Words",
    "Workers",
    "WrongValueError",
]

# `object` in, `object` out: these run before pydantic's own check, which then sees the exact type.

_REFERENCE = {"type": "string", "pattern": r"\$\{.+\}"}  # any scalar may come from the environment


@dataclass(frozen=True, slots=True)
class Kind:
    """What the reference page calls the type of a key."""

    words: str


class WrongValueError(ValueError):
    """A value that a key cannot take, in words of our own; pydantic hands it through."""

    def __init__(self, mistake: Mistake) -> None:
        super().__init__(mistake.message)
        self.mistake = mistake


def _wrong(code: str, message: str, remedy: str = "") -> WrongValueError:
    return WrongValueError(Mistake(code, message, remedy))


def _settled(value: object) -> object:
    """A value from the environment, read as what it looks like; any other as it is."""
    return resolve(str(value)) if isinstance(value, Expanded) else value


def _flag(value: object) -> object:
    return _settled(value)


def _seconds(value: object) -> object:
    value = _settled(value)
    if isinstance(value, str):
        seconds = parse_duration(value)
        if seconds is None:
            raise _wrong("bad-duration", f"{quoted(value)} is no duration", "write 250ms, 5s, 10m or 2h")
        value = seconds
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if not (0 <= value <= _LONGEST and math.isfinite(value)):
        raise _wrong("out-of-range", "the duration is out of range", "durations go from 0 to 366d")
    return float(value)


def _longer_than_nothing(value: object) -> object:
    seconds = _seconds(value)
    if seconds == 0 and not isinstance(seconds, bool):
        raise _wrong(
            "out-of-range", "a time limit of 0 would end everything at once", "write a longer one, such as 5s"
        )
    return seconds


def _bytes(value: object) -> object:
    value = _settled(value)
    if isinstance(value, str):
        size = parse_size(value)
        if size is None:
            raise _wrong("bad-size", f"{quoted(value)} is no size", "write 65536, 64KiB or 10MB")
        return size
    return value


def _between(lowest: int, highest: int) -> BeforeValidator:
    def check(value: object) -> object:
        number = _bytes(value) if lowest == _SMALLEST_HEAD else _settled(value)
        if isinstance(number, int) and not isinstance(number, bool) and not lowest <= number <= highest:
            raise _wrong(
                "out-of-range", f"{number} is out of range", f"write a number from {lowest} to {highest}"
            )
        return number

    return BeforeValidator(check)


def _fraction(value: object) -> object:
    number = _settled(value)
    if isinstance(number, bool) or not isinstance(number, int | float):
        return number
    if not 0 <= number <= 1:
        raise _wrong("out-of-range", f"{number} is out of range", "write a number from 0 to 1, such as 0.1")
    return float(number)


def _star_or_list(value: object) -> object:
    """The string "*" is a list of it; other strings are refused with the list they belong in."""
    if value == "*" and isinstance(value, str):
        return [str(value)]
    if isinstance(value, str):
        raise _wrong("expected-list", 'expected a list or "*"', f"write [{value}]")
    return value


def _bare_off(value: object) -> object:
    """YAML reads a bare `off` as false; here it is the word."""
    return "off" if value is False else value


def _address(value: object) -> object:
    """A bare port is refused here, where the number is still at hand."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65535:
        raise _wrong(
            "bad-address", f"{value} is a port without a host", f"write 127.0.0.1:{value}, or 0.0.0.0:{value}"
        )
    return value


def _workers(value: object) -> object:
    value = _settled(value)
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1024):
        return value
    raise _wrong("bad-workers", "this is no number of processes", "write a number from 1 to 1024, or auto")


def _schema(*options: dict[str, Any]) -> WithJsonSchema:  # Any: JSON Schema is open by nature
    return WithJsonSchema({"anyOf": [*options, _REFERENCE]})


_LONGEST = 366 * 86400.0
_MOST = 2**31 - 1
_LARGEST = 2**50
_SMALLEST_HEAD = 1024
_LARGEST_HEAD = 1024 * 1024

_DURATION_SCHEMA = _schema(
    {"type": "number", "minimum": 0}, {"type": "string", "pattern": f"^{DURATION_PATTERN}$"}
)
_PERIOD_SCHEMA = _schema(
    {"type": "number", "exclusiveMinimum": 0},
    {"type": "string", "pattern": f"^(?![0.]+[a-z]){DURATION_PATTERN}$"},  # not all zeros before the unit
)
_SIZE_TEXT = {"type": "string", "pattern": f"^{SIZE_PATTERN}$"}


def _whole(lowest: int, highest: int) -> WithJsonSchema:
    return _schema({"type": "integer", "minimum": lowest, "maximum": highest})


Duration = Annotated[float, BeforeValidator(_seconds), _DURATION_SCHEMA, Kind("duration")]
"""Seconds; 0 is allowed."""

Period = Annotated[float, BeforeValidator(_longer_than_nothing), _PERIOD_SCHEMA, Kind("duration")]
"""Seconds; more than 0."""

Size = Annotated[
    int,
    _between(0, _LARGEST),
    BeforeValidator(_bytes),
    _schema({"type": "integer", "minimum": 0}, _SIZE_TEXT),
    Kind("size"),
]
"""Bytes; 0 is allowed."""

HeadSize = Annotated[
    int,
    _between(_SMALLEST_HEAD, _LARGEST_HEAD),
    _schema({"type": "integer", "minimum": _SMALLEST_HEAD, "maximum": _LARGEST_HEAD}, _SIZE_TEXT),
    Kind("size, 1KiB to 1MiB"),
]
Count = Annotated[int, _between(0, _MOST), _whole(0, _MOST), Kind("number")]
Capacity = Annotated[int, _between(1, _MOST), _whole(1, _MOST), Kind("number, at least 1")]
Flag = Annotated[bool, BeforeValidator(_flag), _schema({"type": "boolean"}), Kind("true or false")]
Fraction = Annotated[
    float,
    BeforeValidator(_fraction),
    _schema({"type": "number", "minimum": 0, "maximum": 1}),
    Kind("number, 0 to 1"),
]
Status = Annotated[Literal[200, 204], BeforeValidator(_settled)]

Workers = Annotated[
    int | Literal["auto"],
    BeforeValidator(_workers),
    _schema({"type": "integer", "minimum": 1, "maximum": 1024}, {"const": "auto"}),
    Kind("number or `auto`"),
]

Words = Annotated[list[str], Kind("list of text")]
Names = Annotated[
    list[str],
    BeforeValidator(_star_or_list),
    _schema({"type": "array", "items": {"type": "string"}}, {"const": "*"}),
    Kind('list of text, or `"*"`'),
]
Off = BeforeValidator(_bare_off)
Address = Annotated[str, BeforeValidator(_address), Kind("address")]
AddressOrOff = Annotated[
    str,
    BeforeValidator(_address),
    Off,
    WithJsonSchema({"anyOf": [{"type": "string"}, {"const": False}]}),
    Kind("address or `off`"),
]
