"""The question in a query string: which call of a script is to be explained.

Here:  path, origin, method, headers, header, credentials and host, checked and turned into a Question.
Never: answering it (proxy.explain).
"""

from collections.abc import Iterable, Iterator, Mapping

from corsproxy.config.table import Table
from corsproxy.cors.browser import Call
from corsproxy.cors.fields import is_token
from corsproxy.http.authority import is_authority
from corsproxy.proxy.explain import Question
from corsproxy.proxy.explained import authority_of

__all__ = ["BadQueryError", "question_of"]

_NAMES = ("path", "origin", "method", "headers", "header", "credentials", "host")
_REPEATED = frozenset({"headers", "header"})
_TRUTH = {"": True, "1": True, "true": True, "include": True, "0": False, "false": False, "omit": False}
_EXAMPLE = "/-/explain?path=/api&origin=https://app.example.com"

Query = Mapping[str, list[str]]


class BadQueryError(ValueError):
    """The query names no call; the text says what is wrong with it."""


def question_of(pairs: Iterable[tuple[str, str]], table: Table) -> Question:
    """The call that the parameters of a query describe. Raises BadQueryError."""
    query = _gathered(pairs)
    call = Call(
        _required(query, "origin"),
        _token(_text(query, "method", "GET"), "method"),
        (*_names(query), *_with_values(query)),
        _flag(query, "credentials"),
    )
    host = _wire(query, "host") or authority_of(table.listen).encode("ascii")
    if not is_authority(host):
        raise BadQueryError("host is no host and port, so the proxy answers 400: write it like a.test:8080")
    return Question(call, _target(query), host, b"https" if table.tls else b"http")


def _gathered(pairs: Iterable[tuple[str, str]]) -> Query:
    query: dict[str, list[str]] = {}
    for name, value in pairs:
        query.setdefault(name, []).append(value)
    for name, values in query.items():
        if name not in _NAMES:
            raise BadQueryError(f"{name!r} is not known here; {', '.join(_NAMES)} are")
        if len(values) > 1 and name not in _REPEATED:
            raise BadQueryError(f"{name} stands there twice")
    return query


def _text(query: Query, name: str, default: str = "") -> str:
    return query.get(name, [default])[0]


def _wire(query: Query, name: str) -> bytes:
    """A value as it stands on the wire; empty when it is not there."""
    return _printable(_text(query, name), name)


def _printable(text: str, noun: str) -> bytes:
    if not text.isascii() or not text.isprintable():
        raise BadQueryError(f"{noun} is not printable ASCII")
    return text.encode("ascii")


def _required(query: Query, name: str) -> bytes:
    value = _wire(query, name)
    if not value:
        raise BadQueryError(f"{name} is missing: ask like {_EXAMPLE}")
    return value


def _target(query: Query) -> bytes:
    target = _required(query, "path")
    if not target.startswith(b"/") or b" " in target or b"#" in target:
        raise BadQueryError("path is no path: write it like /api/items?page=2, percent-encoded in this query")
    return target


def _token(text: str, noun: str) -> bytes:
    name = text.encode("utf-8", "replace")
    if not is_token(name):
        raise BadQueryError(f"{text!r} is no {noun}")
    return name


def _names(query: Query) -> Iterator[tuple[bytes, None]]:
    """`headers=a,b`: names whose values do not matter."""
    for listed in query.get("headers", []):
        for name in listed.split(","):
            if name.strip():
                yield _token(name.strip(), "header name"), None


def _with_values(query: Query) -> Iterator[tuple[bytes, bytes]]:
    """`header=Name: value`, as often as there are such headers."""
    for line in query.get("header", []):
        name, colon, value = line.partition(":")
        if not colon:
            raise BadQueryError("header is written like header=Content-Type: application/json")
        yield _token(name.strip(), "header name"), _printable(value.strip(), "header value")


def _flag(query: Query, name: str) -> bool:
    value = _text(query, name, "false").lower()
    if value not in _TRUTH:
        raise BadQueryError(f"{name} is true or false")
    return _TRUTH[value]
