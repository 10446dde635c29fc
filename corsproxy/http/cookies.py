"""Set-Cookie lines, with the attributes that a route changes changed and all else byte for byte as it came.

Here:  Domain, Path, Secure, SameSite of one line, and what a browser demands of them together (RFC 6265 §4.1,
       its successor RFC 6265bis, and CHIPS for Partitioned).
Never: names and values of cookies, joining or splitting lines, Cookie fields of requests.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from corsproxy.http.redirects import public_path

__all__ = ["CookieRules", "rewrite_cookie"]

# Names that promise Secure: without it a browser drops the cookie (RFC 6265bis §4.1.3). Case does not count.
_SECURE_NAMES = (b"__secure-", b"__host-", b"__http-")
_HOST_NAME = b"__host-"  # promises Path=/ and no Domain besides
_SPACE = b" \t"


@dataclass(frozen=True, slots=True)
class CookieRules:
    """What a route changes in the cookies of its upstream."""

    domain: bytes | None = None  # None = keep; b"" = drop the attribute; a line without one never gets one
    base_path: bytes = b""  # with prefix: how Path moves; both empty = keep
    prefix: bytes = b""
    secure: Literal["keep", "add", "drop"] = "keep"
    same_site: Literal["keep", "strict", "lax", "none", "drop"] = "keep"


def rewrite_cookie(value: bytes, rules: CookieRules) -> bytes:
    """The value of one Set-Cookie line after the rules.

    No rule makes a browser drop a cookie that it would have kept: where a name promises an attribute, that
    attribute stays; what needs Secure goes, or is not written, where there is no Secure.
    """
    pair, *attributes = value.split(b";")
    name = pair.partition(b"=")[0].strip(_SPACE).lower()
    if not name.startswith(_HOST_NAME):
        if rules.domain is not None:
            attributes = _set_domain(attributes, rules.domain)
        if rules.base_path or rules.prefix:
            attributes = _changed(attributes, b"path", lambda path: _moved(path, rules))
    attributes = _set_secure(attributes, rules, promised=name.startswith(_SECURE_NAMES))
    attributes = _set_same_site(attributes, rules)
    return b";".join([pair, *attributes])


def _set_domain(attributes: list[bytes], domain: bytes) -> list[bytes]:
    """Domain replaced or dropped. None is added: that would show the cookie to more hosts than its own."""
    if not domain:
        return _without(attributes, b"domain")
    return _changed(attributes, b"domain", lambda _: domain)


def _moved(path: bytes, rules: CookieRules) -> bytes:
    """Where a cookie's path lies at the proxy.

    One above the base path covers the whole route, so it becomes the prefix: `/api`, not `/api/`, which
    would not match a request for `/api` (RFC 6265 §5.1.4).
    """
    if not path.startswith(b"/"):  # a browser takes the directory of the request instead (§5.2.4)
        return path
    folder = path if path.endswith(b"/") else path + b"/"
    if (rules.base_path + b"/").startswith(folder):
        return rules.prefix or b"/"
    moved = public_path(path, rules.base_path, rules.prefix)
    return path if moved is None else moved


def _set_secure(attributes: list[bytes], rules: CookieRules, *, promised: bool) -> list[bytes]:
    if rules.secure == "add" and not _has(attributes, b"secure"):
        return [*attributes, b" Secure"]
    if rules.secure == "drop" and not promised:
        # Both need Secure: a browser drops the cookie that has one of them without it.
        kept = _without(_without(attributes, b"secure"), b"partitioned")
        return _changed(kept, b"samesite", lambda value: b"Lax" if value.lower() == b"none" else value)
    return attributes


def _set_same_site(attributes: list[bytes], rules: CookieRules) -> list[bytes]:
    match rules.same_site:
        case "keep":
            return attributes
        case "drop":
            return _without(attributes, b"samesite")
        case "none" if not _has(attributes, b"secure"):
            return attributes  # with None, the cookie would be dropped
        case word:
            value = word.title().encode("ascii")
    if _has(attributes, b"samesite"):
        return _changed(attributes, b"samesite", lambda _: value)
    return [*attributes, b" SameSite=" + value]


def _name(attribute: bytes) -> bytes:
    return attribute.partition(b"=")[0].strip(_SPACE).lower()


def _has(attributes: list[bytes], name: bytes) -> bool:
    return any(_name(attribute) == name for attribute in attributes)


def _without(attributes: list[bytes], name: bytes) -> list[bytes]:
    return [attribute for attribute in attributes if _name(attribute) != name]


def _changed(attributes: list[bytes], name: bytes, change: Callable[[bytes], bytes]) -> list[bytes]:
    """The attributes with the values of this one changed; a repeated one everywhere (the last counts)."""
    return [_with_value(each, change) if _name(each) == name else each for each in attributes]


def _with_value(attribute: bytes, change: Callable[[bytes], bytes]) -> bytes:
    name, _, written = attribute.partition(b"=")
    value = written.strip(_SPACE)
    changed = change(value)
    if changed == value:
        return attribute
    if not value:
        return name.rstrip(_SPACE) + b"=" + changed
    return name + b"=" + written.replace(value, changed, 1)
