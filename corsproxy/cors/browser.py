"""A browser's side of CORS: what a call of a script needs, and whether the fields it gets satisfy it.

Here:  Fetch on exact values: header names that need permission, the CORS check, the preflight check; every
       step with what was looked at.
Never: policies and decisions. What the proxy meant is not asked, only what it sends.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from corsproxy.cors.fields import is_token
from corsproxy.cors.origins import is_well_formed
from corsproxy.cors.policy import FORBIDDEN_METHODS, SAFELISTED_METHODS

__all__ = [
    "Call",
    "Failure",
    "Lines",
    "Step",
    "check_preflight",
    "check_response",
    "is_forbidden_request_header",
    "passes",
    "set_by_script",
    "unsafe_names",
    "why_preflight",
]

Lines = Sequence[tuple[bytes, bytes]]
"""Field lines of a response, in any case and order."""

# Fetch, #concept-method-normalize: these are upper-cased, others stay as the script wrote them.
_NORMALISED = frozenset(b"DELETE GET HEAD OPTIONS POST PUT".split())

# Fetch, #forbidden-request-header. A script that sets one is not heard, so no preflight asks for it.
_FORBIDDEN_REQUEST_HEADERS = frozenset(
    b"accept-charset accept-encoding access-control-request-headers access-control-request-method "
    b"access-control-request-private-network connection content-length cookie cookie2 date dnt expect host "
    b"keep-alive origin referer set-cookie te trailer transfer-encoding upgrade via".split()
)
_FORBIDDEN_PREFIXES = (b"proxy-", b"sec-")

# Sent by browsers of their own accord, so they stand on requests whose script never set them.
_OWN_FIELDS = frozenset(
    b"accept accept-language cache-control if-modified-since if-none-match pragma priority save-data "
    b"upgrade-insecure-requests user-agent".split()
)

# Fetch, #cors-safelisted-request-header.
_LONGEST_SAFE_VALUE = 128
_LONGEST_SAFE_SUM = 1024
_UNSAFE_BYTE = re.compile(rb'[\x00-\x08\x0a-\x1f"():<>?@\[\\\]{}\x7f]')
_LANGUAGES = re.compile(rb"[0-9A-Za-z *,\-.;=]*")
_RANGE = re.compile(rb"bytes=([0-9]+)-([0-9]*)")
_FORM_TYPES = frozenset({b"application/x-www-form-urlencoded", b"multipart/form-data", b"text/plain"})
_SAFELISTED_NAMES = frozenset(b"accept accept-language content-language content-type range".split())


class Failure(StrEnum):
    """Where a browser stops, in the order in which it looks."""

    METHOD_FORBIDDEN = "method-forbidden"
    ALLOW_ORIGIN_MISSING = "allow-origin-missing"
    ALLOW_ORIGIN_WILDCARD = "allow-origin-wildcard"
    ALLOW_ORIGIN_SEVERAL = "allow-origin-several"
    ALLOW_ORIGIN_INVALID = "allow-origin-invalid"
    ALLOW_ORIGIN_DIFFERS = "allow-origin-differs"
    ALLOW_CREDENTIALS_NOT_TRUE = "allow-credentials-not-true"
    PREFLIGHT_REDIRECTED = "preflight-redirected"
    PREFLIGHT_STATUS = "preflight-status"
    METHODS_UNREADABLE = "methods-unreadable"
    HEADERS_UNREADABLE = "headers-unreadable"
    METHOD_NOT_LISTED = "method-not-listed"
    HEADER_NOT_LISTED = "header-not-listed"


@dataclass(frozen=True, slots=True)
class Call:
    """What a script asks for, with fetch() or XMLHttpRequest."""

    origin: bytes  # of the page, serialized; b"null" for an opaque one
    method: bytes = b"GET"  # as the script wrote it
    headers: tuple[tuple[bytes, bytes | None], ...] = ()  # as the script set them; None = value not known
    credentials: bool = False  # credentials: "include", or withCredentials
    asks_first: bool = False  # a preflight whatever it carries (Fetch, #use-cors-preflight-flag)

    @property
    def sent_method(self) -> bytes:
        """The method as the browser sends it."""
        upper = self.method.upper()
        return upper if upper in _NORMALISED else self.method


@dataclass(frozen=True, slots=True)
class Step:
    """One thing a browser looks at."""

    check: str  # what must hold
    seen: str  # what it found
    section: str  # of Fetch
    failure: Failure | None = None  # None = passed
    about: str = ""  # the method or header name that was looked for


def passes(steps: Sequence[Step]) -> bool:
    """Did the browser get to the end?"""
    return all(step.failure is None for step in steps)


# What a preflight asks


def is_forbidden_request_header(name: bytes) -> bool:
    """Is this field (lower case) the browser's alone to set?"""
    return name in _FORBIDDEN_REQUEST_HEADERS or name.startswith(_FORBIDDEN_PREFIXES)


def unsafe_names(call: Call) -> tuple[bytes, ...]:
    """The header names that need permission, in lower case, sorted.

    Fetch, #cors-unsafe-request-header-names.
    """
    settable = [
        (lower, value)
        for name, value in call.headers
        if not is_forbidden_request_header(lower := name.lower())
    ]
    unsafe = {name for name, value in settable if not _is_safelisted(name, value)}
    safe = [(name, value or b"") for name, value in settable if name not in unsafe]
    if sum(len(value) for _, value in safe) > _LONGEST_SAFE_SUM:
        unsafe.update(name for name, _ in safe)
    return tuple(sorted(unsafe))


def set_by_script(fields: Lines, asked: Sequence[bytes] | None) -> tuple[tuple[bytes, bytes | None], ...]:
    """The fields of a request that need judging: those its preflight named, in lower case, or else those that
    no browser sends by itself. asked: None = no preflight is known.
    """
    return tuple(
        (name, value)
        for name, value in fields
        if not is_forbidden_request_header(lower := name.lower())
        and (lower in asked if asked is not None else lower not in _OWN_FIELDS)
    )


def why_preflight(call: Call) -> tuple[str, ...]:
    """What about the call makes a browser ask first; nothing when it does not."""
    method = call.sent_method
    reasons = [] if method in SAFELISTED_METHODS else [f"{_text(method)} is not safelisted"]
    values = {name.lower(): value for name, value in call.headers}
    for name in unsafe_names(call):
        with_value = name in _SAFELISTED_NAMES and values[name] is not None
        shown = f"{_text(name)}: {_text(values[name] or b'')}" if with_value else _text(name)
        reasons.append(f"{shown} is not safelisted")
    if call.asks_first and not reasons:
        reasons.append(
            "the browser asked first: an upload listener, a streamed body, or a header not named here"
        )
    return tuple(reasons)


def _is_safelisted(name: bytes, value: bytes | None) -> bool:
    """Does this header (lower case) pass unasked?

    Of a value that is not known the usual is assumed: a script that names Content-Type sends JSON, one that
    names Accept sends nothing odd.
    """
    if value is None:
        return name in _SAFELISTED_NAMES and name != b"content-type"
    if len(value) > _LONGEST_SAFE_VALUE:
        return False
    match name:
        case b"accept":
            return not _UNSAFE_BYTE.search(value)
        case b"accept-language" | b"content-language":
            return _LANGUAGES.fullmatch(value) is not None
        case b"content-type":
            essence = value.partition(b";")[0].strip(b" \t").lower()
            return not _UNSAFE_BYTE.search(value) and essence in _FORM_TYPES
        case b"range":
            return _is_safe_range(value)
        case _:
            return False


def _is_safe_range(value: bytes) -> bool:
    match = _RANGE.fullmatch(value)
    return match is not None and (not match[2] or int(match[1]) <= int(match[2]))


# What a browser looks at


def check_response(call: Call, fields: Lines) -> tuple[Step, ...]:
    """The CORS check (Fetch, #concept-cors-check); nothing after the step that fails."""
    return tuple(_cors_check(call, fields))


def check_preflight(call: Call, status: int, fields: Lines) -> tuple[Step, ...]:
    """The check of a preflight's answer (Fetch, #cors-preflight-fetch, step 7); nothing after a failure."""
    steps: list[Step] = []
    for step in _preflight_check(call, status, fields):
        steps.append(step)
        if step.failure is not None:
            break
    return tuple(steps)


def _cors_check(call: Call, fields: Lines) -> Iterator[Step]:
    section = "#concept-cors-check"
    name = "Access-Control-Allow-Origin"
    value = _get(fields, b"access-control-allow-origin")
    if value is None:
        yield Step(f"{name} is there", "absent", section, Failure.ALLOW_ORIGIN_MISSING)
        return
    wanted = "the page's origin" if call.credentials else "the page's origin, or *"
    fits = value == call.origin or (value == b"*" and not call.credentials)
    why = None if fits else _why_not_origin(value)
    yield Step(f"{name} is {wanted}", _text(value), section, why)
    if call.credentials and fits:
        yield _credentials_step(fields, section)


def _why_not_origin(value: bytes) -> Failure:
    if value == b"*":
        return Failure.ALLOW_ORIGIN_WILDCARD
    if b"," in value or b" " in value:
        return Failure.ALLOW_ORIGIN_SEVERAL
    return Failure.ALLOW_ORIGIN_DIFFERS if is_well_formed(value) else Failure.ALLOW_ORIGIN_INVALID


def _credentials_step(fields: Lines, section: str) -> Step:
    value = _get(fields, b"access-control-allow-credentials")
    why = None if value == b"true" else Failure.ALLOW_CREDENTIALS_NOT_TRUE  # byte for byte
    return Step("Access-Control-Allow-Credentials is true", _shown(value), section, why)


def _preflight_check(call: Call, status: int, fields: Lines) -> Iterator[Step]:
    section = "#cors-preflight-fetch"
    method = call.sent_method
    if method.upper() in FORBIDDEN_METHODS:
        seen, why = _text(method), Failure.METHOD_FORBIDDEN
        yield Step("the method is one that scripts may use", seen, "#forbidden-method", why)
    yield from _cors_check(call, fields)
    yield Step("the status is 200 to 299", str(status), section, _why_not_status(status))
    allow_methods = _get(fields, b"access-control-allow-methods")
    allow_headers = _get(fields, b"access-control-allow-headers")
    methods, names = _names(allow_methods), _names(allow_headers)
    if methods is None:
        seen, why = _shown(allow_methods), Failure.METHODS_UNREADABLE
        yield Step("Access-Control-Allow-Methods is a list of names", seen, section, why)
    if names is None:
        seen, why = _shown(allow_headers), Failure.HEADERS_UNREADABLE
        yield Step("Access-Control-Allow-Headers is a list of names", seen, section, why)
    yield _method_step(call, methods or (), _shown(allow_methods), section)
    listed = {name.lower() for name in names or ()}
    for name in unsafe_names(call):
        yield _header_step(call, name, listed, _shown(allow_headers), section)


def _why_not_status(status: int) -> Failure | None:
    if 200 <= status <= 299:
        return None
    return Failure.PREFLIGHT_REDIRECTED if 300 <= status <= 399 else Failure.PREFLIGHT_STATUS


def _method_step(call: Call, methods: Sequence[bytes], seen: str, section: str) -> Step:
    method = call.sent_method
    if method in SAFELISTED_METHODS:
        return Step(f"{_text(method)} is safelisted", _text(method), section)
    # With credentials "*" is a method of that name (Fetch, #cors-protocol-and-credentials).
    fits = method in methods or (b"*" in methods and not call.credentials)
    why = None if fits else Failure.METHOD_NOT_LISTED
    check = f"Access-Control-Allow-Methods lists {_text(method)}"
    return Step(check, seen, section, why, "" if fits else _text(method))


def _header_step(call: Call, name: bytes, listed: set[bytes], seen: str, section: str) -> Step:
    # "*" never covers Authorization (Fetch, #cors-non-wildcard-request-header-name). The browsers of 2026
    # let it, and have announced that they will not: the standard decides.
    covered = b"*" in listed and not call.credentials and name != b"authorization"
    why = None if name in listed or covered else Failure.HEADER_NOT_LISTED
    check = f"Access-Control-Allow-Headers lists {_text(name)}"
    return Step(check, seen, section, why, "" if why is None else _text(name))


def _get(fields: Lines, wanted: bytes) -> bytes | None:
    """The value of a field, its lines joined (Fetch, #concept-header-list-get); None when it is absent."""
    values = [value for name, value in fields if name.lower() == wanted]
    return b", ".join(values) if values else None


def _names(value: bytes | None) -> tuple[bytes, ...] | None:
    """The members of a list of tokens; None when one of them is none (Fetch, #extract-header-list-values)."""
    members = [member.strip(b" \t") for member in (value or b"").split(b",")]
    members = [member for member in members if member]
    return tuple(members) if all(map(is_token, members)) else None


def _shown(value: bytes | None) -> str:
    return "absent" if value is None else _text(value)


def _text(raw: bytes) -> str:
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "?" for byte in raw)
