"""A browser's side of CORS, written from the Fetch standard alone, to hold our answers against.

Here:  which header names need permission, what a preflight asks, the CORS check, the preflight check, what a
       script can read. Section names are those of the standard.
Never: anything from the package under test: a mistake made there must not be repeated here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Headers = Sequence[tuple[bytes, bytes]]
CredentialsMode = Literal["omit", "same-origin", "include"]

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
NORMALIZED = {b"DELETE", b"GET", b"HEAD", b"OPTIONS", b"POST", b"PUT"}
SAFE_METHODS = {b"GET", b"HEAD", b"POST"}
SAFE_RESPONSE_NAMES = {
    b"cache-control",
    b"content-language",
    b"content-length",
    b"content-type",
    b"expires",
    b"last-modified",
    b"pragma",
}
FORBIDDEN_RESPONSE_NAMES = {b"set-cookie", b"set-cookie2"}
UNSAFE_BYTES = set(range(0x20)) - {0x09} | set(b'"():<>?@[\\]{}\x7f')
LANGUAGE_BYTES = set(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz *,-.;=")
FORM_TYPES = {b"application/x-www-form-urlencoded", b"multipart/form-data", b"text/plain"}


@dataclass(frozen=True)
class Fetch:
    """A call of fetch() in mode "cors" from a page of another origin."""

    origin: bytes  # serialized; b"null" for an opaque one
    method: bytes = b"GET"  # as the script wrote it
    headers: Mapping[bytes, bytes] = field(default_factory=dict)  # as the script set them
    credentials: CredentialsMode = "same-origin"

    @property
    def sent_method(self) -> bytes:
        """ "Normalize a method": six are upper-cased, `patch` is not among them."""
        upper = self.method.upper()
        return upper if upper in NORMALIZED else self.method


def get(headers: Headers, name: bytes) -> bytes | None:
    """ "Get" from a header list: lines of one name are joined."""
    values = [value for key, value in headers if key.lower() == name]
    return b", ".join(values) if values else None


def list_values(headers: Headers, name: bytes) -> list[bytes] | None:
    """ "Extract header list values" of `#token`: [] when absent, None for failure."""
    value = get(headers, name)
    if value is None:
        return []
    elements = [element.strip(b" \t") for element in value.split(b",")]
    elements = [element for element in elements if element]
    return elements if all(TOKEN.fullmatch(element) for element in elements) else None


def is_safelisted_request_header(name: bytes, value: bytes) -> bool:
    """ "CORS-safelisted request-header"."""
    if len(value) > 128:
        return False
    match name.lower():
        case b"accept":
            return not set(value) & UNSAFE_BYTES
        case b"accept-language" | b"content-language":
            return set(value) <= LANGUAGE_BYTES
        case b"content-type":
            essence = value.partition(b";")[0].strip().lower()
            return not set(value) & UNSAFE_BYTES and essence in FORM_TYPES
        case b"range":
            return re.fullmatch(rb"bytes=[0-9]+-[0-9]*", value) is not None
        case _:
            return False


def unsafe_request_header_names(headers: Mapping[bytes, bytes]) -> list[bytes]:
    """ "CORS-unsafe request-header names": lower case, sorted."""
    unsafe = {
        name.lower() for name, value in headers.items() if not is_safelisted_request_header(name, value)
    }
    safelisted = {name: value for name, value in headers.items() if name.lower() not in unsafe}
    if sum(map(len, safelisted.values())) > 1024:
        unsafe |= {name.lower() for name in safelisted}
    return sorted(unsafe)


def needs_preflight(fetch: Fetch) -> bool:
    return fetch.sent_method not in SAFE_METHODS or bool(unsafe_request_header_names(fetch.headers))


def preflight_asks(fetch: Fetch) -> tuple[bytes, bytes | None]:
    """Access-Control-Request-Method and -Headers ("CORS-preflight fetch", 4 and 5); None = no such field."""
    names = unsafe_request_header_names(fetch.headers)
    return fetch.sent_method, b",".join(names) if names else None


def passes_cors_check(fetch: Fetch, response: Headers) -> bool:
    """ "CORS check"."""
    origin = get(response, b"access-control-allow-origin")
    if origin is None:
        return False
    if fetch.credentials != "include" and origin == b"*":
        return True
    if origin != fetch.origin:
        return False
    if fetch.credentials != "include":
        return True
    return get(response, b"access-control-allow-credentials") == b"true"


def passes_preflight(fetch: Fetch, status: int, response: Headers) -> bool:
    """ "CORS-preflight fetch", 7, with the strict reading of `*` and Authorization."""
    if not passes_cors_check(fetch, response) or not 200 <= status <= 299:
        return False
    methods = list_values(response, b"access-control-allow-methods")
    names = list_values(response, b"access-control-allow-headers")
    if methods is None or names is None:
        return False
    wild = fetch.credentials != "include"
    if fetch.sent_method not in {*methods, *SAFE_METHODS} and not (wild and b"*" in methods):
        return False
    listed = {name.lower() for name in names}
    for name in unsafe_request_header_names(fetch.headers):
        if name not in listed and (name == b"authorization" or not (wild and b"*" in listed)):
            return False
    return True


def preflight_seconds(response: Headers) -> int:
    """How long the answer may be kept, before an engine's own limit."""
    value = get(response, b"access-control-max-age")
    return int(value) if value is not None and re.fullmatch(rb"[0-9]+", value) else 5


def readable_names(fetch: Fetch, response: Headers) -> set[bytes]:
    """The response header names that a script sees ("CORS filtered response") once the check has passed."""
    exposed = list_values(response, b"access-control-expose-headers") or []
    present = {name.lower() for name, _ in response}
    if fetch.credentials != "include" and b"*" in exposed:
        return present - FORBIDDEN_RESPONSE_NAMES
    return present & (SAFE_RESPONSE_NAMES | {name.lower() for name in exposed}) - FORBIDDEN_RESPONSE_NAMES
