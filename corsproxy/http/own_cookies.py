"""Cookies of requests, sifted by name: a browser sends those of every port of a host (RFC 6265 §8.5).

Here:  the names in Cookie and Set-Cookie fields, which of the latter only delete, and a head without what an
       upstream shall not see.
Never: values; which names an upstream may see (the caller knows).
"""

import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass

__all__ = ["ForwardedCookies", "cookie_names", "is_deletion", "set_cookie_name", "sift_cookies"]

_SPACE = b" \t"
_FIELD = b"cookie:"
_DELIMITERS = re.compile(rb"[\t\x20-/;-@\[-`{-~]+")  # RFC 6265 §5.1.1
_NUMBER = re.compile(rb"(\d{1,4})(?!\d)")
_LONG_AGO = 2000  # servers that delete name the beginning of time, 1970, or thereabouts


@dataclass(frozen=True, slots=True)
class ForwardedCookies:
    """Which cookies of requests a route hands on, where that is not all of them."""

    names: frozenset[bytes] = frozenset()  # with case (RFC 6265 §5.4: names are octets)
    learns: bool = False  # also those that the upstream itself has set by way of this proxy


def cookie_names(value: bytes) -> Iterator[bytes]:
    """The names in a Cookie field. A pair without "=" is a value without a name, as browsers send it."""
    return (_name(pair) for pair in value.split(b";") if pair.strip(_SPACE))


def set_cookie_name(value: bytes) -> bytes:
    """The name that a Set-Cookie line gives (RFC 6265 §5.2)."""
    return _name(value.partition(b";")[0])


def is_deletion(value: bytes) -> bool:
    """True for a Set-Cookie line that is there to remove a cookie: it expired long ago (RFC 6265 §3.1).

    Max-Age has precedence over Expires (§5.3); of two alike the last counts.
    """
    attributes = {}
    for attribute in value.split(b";")[1:]:
        name, _, content = attribute.partition(b"=")
        attributes[name.strip(_SPACE).lower()] = content.strip(_SPACE)
    max_age = attributes.get(b"max-age", b"")
    if max_age.removeprefix(b"-").isdigit():
        return max_age.startswith(b"-") or not max_age.strip(b"0")
    year = _year(attributes.get(b"expires", b""))
    return year is not None and year < _LONG_AGO


def _year(date: bytes) -> int | None:
    """The year of a date as browsers read it, in any of its forms (RFC 6265 §5.1.1); None = it has none."""
    day_seen = False
    for token in _DELIMITERS.split(date):
        number = _NUMBER.match(token)
        if number is None or b":" in token:  # a word, or the time
            continue
        digits, year = len(number[1]), int(number[1])
        if digits <= 2 and not day_seen:
            day_seen = True
        elif digits >= 2:
            century = 0 if digits > 2 else 1900 if year >= 70 else 2000
            # Before 1601 the whole attribute is ignored, as if it were not there.
            return year + century if year + century >= 1601 else None
    return None


def sift_cookies(lines: Sequence[bytes], names: Container[bytes]) -> list[bytes]:
    """The lines of a head ("Name: value") with only these cookies; a Cookie line that holds none is gone.

    What stays keeps its bytes and its order.
    """
    return [kept for line in lines if (kept := _sifted(line, names))]


def _sifted(line: bytes, names: Container[bytes]) -> bytes:
    if line[: len(_FIELD)].lower() != _FIELD:
        return line
    start, _, value = line.partition(b":")
    pairs = [pair.strip(_SPACE) for pair in value.split(b";")]
    kept = [pair for pair in pairs if pair and _name(pair) in names]
    if len(kept) == len(pairs):
        return line
    return start + b": " + b"; ".join(kept) if kept else b""


def _name(pair: bytes) -> bytes:
    name, equals, _ = pair.partition(b"=")
    return name.strip(_SPACE) if equals else b""
