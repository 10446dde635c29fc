"""HAR files: the calls of a recorded session, as far as CORS cares.

Here:  the cross-origin entries of a HAR (HTTP Archive 1.2), each as a question with its place in the file.
Never: bodies, cookies' values, timings; judging.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from corsproxy.cors.browser import Call, set_by_script
from corsproxy.cors.fields import is_token, parse_names
from corsproxy.proxy.explain import Question

__all__ = ["Entry", "HarError", "read_har"]

Fields = list[tuple[bytes, bytes]]


class HarError(Exception):
    """The text is no HAR; one line that says why."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One cross-origin call of the recording."""

    number: int  # of the entry in the file, from 1
    url: str
    question: Question


@dataclass(frozen=True, slots=True)
class _Recorded:
    number: int
    method: bytes
    url: str
    fields: Fields


def read_har(text: str, *, credentials: bool, host: str | None) -> list[Entry]:
    """The cross-origin calls, in their order. A preflight is part of its call; one alone stands for its call.

    credentials: of calls that carry no cookie, which may or may not have asked for them.
    host: ask the proxy under this name, instead of the one in each URL.
    Raises HarError.
    """
    recorded = [entry for entry in _entries(text) if _is_cross_origin(entry)]
    preflights = {_key(entry): entry for entry in recorded if _is_preflight(entry)}
    answered = {_key(entry) for entry in recorded if not _is_preflight(entry)}
    return [
        _entry(entry, preflights.get(_key(entry)), credentials=credentials, host=host)
        for entry in recorded
        if not (_is_preflight(entry) and _key(entry) in answered)
    ]


def _entries(text: str) -> Iterator[_Recorded]:
    try:
        entries = json.loads(text)["log"]["entries"]
        for number, entry in enumerate(entries, 1):
            yield _recorded(number, entry["request"])
    except json.JSONDecodeError as error:
        raise HarError(f"line {error.lineno}: {error.msg}") from error
    except RecursionError as error:
        raise HarError("nested too deeply") from error
    except (KeyError, TypeError, AttributeError, UnicodeError) as error:
        raise HarError("log.entries is not as HAR 1.2 has it") from error
    except ValueError as error:  # of int(), which is bounded: conversion takes time
        raise HarError("it holds a number of thousands of digits") from error


def _recorded(number: int, request: Mapping[str, Any]) -> _Recorded:  # Any: whatever JSON holds
    fields = [
        (header["name"].encode("latin-1", "replace"), header["value"].encode("latin-1", "replace"))
        for header in request["headers"]
    ]
    named = [(name, value) for name, value in fields if is_token(name)]  # not ":authority", not "é"
    return _Recorded(number, request["method"].encode("latin-1"), str(request["url"]), named)


def _is_cross_origin(entry: _Recorded) -> bool:
    origin = _field(entry.fields, b"origin")
    parts = _split(entry.url)
    return origin is not None and parts is not None and origin != f"{parts[0]}://{parts[1]}".encode()


def _is_preflight(entry: _Recorded) -> bool:
    return entry.method == b"OPTIONS" and _field(entry.fields, b"access-control-request-method") is not None


def _key(entry: _Recorded) -> tuple[str, bytes, bytes]:
    """What a preflight and its call have in common."""
    asked = _field(entry.fields, b"access-control-request-method") if _is_preflight(entry) else None
    return entry.url, _field(entry.fields, b"origin") or b"", asked or entry.method


def _entry(entry: _Recorded, preflight: _Recorded | None, *, credentials: bool, host: str | None) -> Entry:
    origin = _field(entry.fields, b"origin") or b""
    has_cookie = _field(entry.fields, b"cookie") is not None
    method = _key(entry)[2]
    asked = None if preflight is None else _asked(preflight)
    headers = set_by_script(entry.fields, asked) if not _is_preflight(entry) else _unknown(asked or ())
    call = Call(origin, method, headers, credentials or has_cookie, asks_first=preflight is not None)
    scheme, authority, target = _split(entry.url) or ("", "", "")
    question = Question(call, target.encode(), (host or authority).encode(), scheme.encode())
    return Entry(entry.number, entry.url, question)


def _asked(preflight: _Recorded) -> tuple[bytes, ...]:
    return parse_names(_field(preflight.fields, b"access-control-request-headers") or b"") or ()


def _unknown(names: Sequence[bytes]) -> tuple[tuple[bytes, bytes | None], ...]:
    return tuple((name, None) for name in names)


def _field(fields: Fields, wanted: bytes) -> bytes | None:
    return next((value for name, value in fields if name.lower() == wanted), None)


def _split(url: str) -> tuple[str, str, str] | None:
    """Scheme, authority without a default port, and path with query; None when it is no URL of HTTP."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not url.isascii():
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    is_default = port in {None, 80 if parts.scheme == "http" else 443}
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return parts.scheme, host if is_default else f"{host}:{port}", target
