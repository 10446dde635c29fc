"""What must not be seen of an exchange, taken out before anything is kept.

Here:  field values and targets with `…` for their secrets: cookies, credentials, query values, tokens.
Never: deciding by guesswork that a known secret is none; undoing it: nothing here can be turned back.
"""

import re
from collections.abc import Iterable
from enum import Enum, auto
from typing import assert_never

from corsproxy.cors.fields import MAX_LIST_BYTES
from corsproxy.http.fields import Fields

__all__ = [
    "HIDDEN",
    "MAX_FIELDS",
    "MAX_VALUE",
    "Pairs",
    "lines_of",
    "shown_fields",
    "shown_path",
    "shown_query",
]

HIDDEN = "…"
MAX_VALUE = 1024  # characters of a value that are kept
MAX_FIELDS = 128

Pairs = list[list[str]]
"""Names and values as text, in the order of the wire."""

_COOKIES = frozenset({"cookie", "cookie2"})
_SET_COOKIES = frozenset({"set-cookie", "set-cookie2"})
_CREDENTIALS = frozenset({"authorization", "proxy-authorization"})
_SECRET_NAME = re.compile(
    r"auth|token|secret|passw|pwd|api-?_?key|apikey|session|credential|signature|csrf|xsrf|jwt|bearer|otp\b"
    r"|client-cert|cookie"
)
# No secrets whatever their name: challenges, and what CORS goes by, which has to be judged as it was sent.
_PUBLIC = frozenset({"www-authenticate", "proxy-authenticate", "origin", "timing-allow-origin"})
_CORS = "access-control-"
# Long by nature, and no secret: what a cache or a trace goes by.
_OPAQUE = frozenset(
    {
        "etag",
        "if-match",
        "if-none-match",
        "x-request-id",
        "traceparent",
        "tracestate",
        "x-trace-id",
        "digest",
        "content-digest",
        "user-agent",
    }
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
# JSON Web Tokens, and keys that say what they are.
_TOKEN = re.compile(
    r"eyJ[\w-]{6,}(?:\.[\w-]*){1,4}|\b(?:sk|pk|rk|gh[opsur]|github_pat|glpat|xox[abeoprs]|AKIA|ASIA|ya29)[-_.]?"
    r"[\w.-]{12,}"
)
_LONG_WORD = re.compile(r"[A-Za-z0-9_+-]{32,}={0,2}")
_USERINFO = re.compile(r"(?<=://)[^/?#@\s]*@")
_AFTER_PATH = re.compile(r"[?#][^\s\"'<>]*")


# Without any of these a value holds nothing that the patterns above look for: most values end here.
_SUSPECT = re.compile(r"[?#@]|eyJ|[A-Za-z0-9_+.-]{14,}")


class _Role(Enum):
    """What the name of a field says of its values."""

    PLAIN = auto()
    OPAQUE = auto()
    PUBLIC = auto()
    COOKIES = auto()
    SET_COOKIE = auto()
    CREDENTIALS = auto()
    SECRET = auto()


# Roles by name as sent; names come from clients, so a full memo starts anew.
_ROLES: dict[bytes, tuple[str, _Role]] = {}
_ROLES_LIMIT = 1024


def shown_fields(fields: Iterable[tuple[bytes, bytes]]) -> Pairs:
    """Fields as they may be kept: names untouched, secrets in values replaced, long ones cut."""
    pairs: Pairs = []
    for name, value in fields:
        if len(pairs) == MAX_FIELDS:
            pairs.append([HIDDEN, "more fields are not kept"])
            break
        label, role = _ROLES.get(name) or _role_of(name)
        longest = MAX_LIST_BYTES if role is _Role.PUBLIC else MAX_VALUE
        pairs.append([label, _cut(_shown_value(role, _text(value)), longest)])
    return pairs


def shown_path(path: bytes) -> str:
    """A raw path without query. Ids are what paths are made of, so only what is surely a token is hidden."""
    return _cut(_TOKEN.sub(HIDDEN, _text(path)))


def shown_query(query: bytes) -> str:
    """A query with its `?`: the names of its parameters, none of their values."""
    return _cut(_hide_values(_text(query))) if query else ""


def lines_of(head: bytes) -> tuple[str, Fields]:
    """The first line of a head, and its fields."""
    first, *lines = head.split(b"\r\n")
    split = (line.partition(b":") for line in lines if line)
    return _text(first), [(name, value.strip(b" \t")) for name, _, value in split]


def _role_of(name: bytes) -> tuple[str, _Role]:
    label = _text(name)[:MAX_VALUE]
    found = label, _role_named(label.lower())
    if len(name) <= 64:
        if len(_ROLES) >= _ROLES_LIMIT:
            _ROLES.clear()
        _ROLES[name] = found
    return found


def _role_named(name: str) -> _Role:
    if name in _PUBLIC or name.startswith(_CORS):
        return _Role.PUBLIC
    if name in _COOKIES:
        return _Role.COOKIES
    if name in _SET_COOKIES:
        return _Role.SET_COOKIE
    if name in _CREDENTIALS:
        return _Role.CREDENTIALS
    if _SECRET_NAME.search(name):
        return _Role.SECRET
    return _Role.OPAQUE if name in _OPAQUE else _Role.PLAIN


def _shown_value(role: _Role, value: str) -> str:
    match role:
        case _Role.PUBLIC:
            return value
        case _Role.PLAIN | _Role.OPAQUE:
            if _SUSPECT.search(value) is None:
                return value
            return _without_tokens(_without_urls(value), keeps_words=role is _Role.OPAQUE)
        case _Role.COOKIES:
            return "; ".join(_named(pair) for pair in value.split(";"))
        case _Role.SET_COOKIE:
            first, *attributes = value.split(";")
            return ";".join([_named(first), *attributes])
        case _Role.CREDENTIALS:
            scheme, space, _ = value.partition(" ")
            return f"{scheme} {HIDDEN}" if space and scheme.isalpha() else HIDDEN
        case _Role.SECRET:
            return HIDDEN
        case _:
            assert_never(role)


def _named(pair: str) -> str:
    """A cookie's name; one without a name is all value (RFC 6265bis §5.6)."""
    name, equals, _ = pair.strip().partition("=")
    return f"{name}={HIDDEN}" if equals else HIDDEN


def _without_urls(value: str) -> str:
    """No userinfo, query values or fragments of URLs that stand in a value: Referer, Location, Link …"""
    if "://" in value:
        value = _USERINFO.sub(f"{HIDDEN}@", value)
    if "?" in value or "#" in value:
        value = _AFTER_PATH.sub(lambda match: _hide_values(match[0]), value)
    return value


def _hide_values(query: str) -> str:
    """`?page=…&q=…`: what stands without `=`, or in a fragment, is a value as a whole."""
    mark, rest = query[:1], query[1:]
    before, hash_mark, fragment = rest.partition("#") if mark == "?" else ("", mark, rest)
    shown = "&".join(_hide_value(part) for part in re.split("[&;]", before)) if before else ""
    query = "?" + shown if mark == "?" else ""
    if not hash_mark:
        return query
    return f"{query}#{HIDDEN}" if fragment else f"{query}#"


def _hide_value(part: str) -> str:
    name, equals, _ = part.partition("=")
    if not equals:
        return HIDDEN if part else ""
    return f"{_TOKEN.sub(HIDDEN, name)}={HIDDEN}"


def _without_tokens(value: str, *, keeps_words: bool) -> str:
    value = _TOKEN.sub(HIDDEN, value)
    return value if keeps_words else _LONG_WORD.sub(_hide_if_random, value)


def _hide_if_random(match: re.Match[str]) -> str:
    """Hide a long word of letters and digits; what has only letters is a word, and a UUID names a thing."""
    word = match[0]
    if _UUID.fullmatch(word) or not any(map(str.isdigit, word)) or not any(map(str.isalpha, word)):
        return word
    return HIDDEN


def _cut(text: str, longest: int = MAX_VALUE) -> str:
    return text if len(text) <= longest else text[:longest] + HIDDEN


def _text(raw: bytes) -> str:
    return raw.decode("latin-1")
