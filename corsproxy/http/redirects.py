"""URLs in a response that point at the upstream, turned to point at the proxy.

Here:  Location and Content-Location (RFC 9110 §10.2.2, §8.7), Refresh (HTML,
       #shared-declarative-refresh-steps).
Never: following a redirect; other fields; bodies; URLs of other hosts, with userinfo, or with relative paths.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Place", "RedirectMap", "bring_back", "bring_back_refresh", "public_path", "without_default_port"]


@dataclass(frozen=True, slots=True)
class RedirectMap:
    """What counts as the upstream itself, and where its paths are found at the proxy."""

    schemes: frozenset[bytes]  # of the endpoints
    authorities: frozenset[
        bytes
    ]  # host and port, lower case, without a default port; those it may call itself
    keeps_host: bool = False  # the upstream is told the client's Host, so it may call itself that too
    base_path: bytes = b""  # taken off the upstream's paths
    prefix: bytes = b""  # put before them: what the route strips from requests


class Place(NamedTuple):
    """Where the client found the proxy."""

    scheme: bytes
    host: bytes  # with port; b"" when an HTTP/1.0 client named none
    host_sent: bytes  # Host as it reached the proxy; the same, unless a trusted proxy stands in front


# RFC 3986 §4.2: absolute, scheme-relative or path-absolute. Browsers read "\" as "/" and skip tabs (WHATWG
# URL): where one stands before the query we would not see the URL that they see, so it does not match.
_REFERENCE = re.compile(
    rb"(?:(?:(https?):)?//([^/?#@\\\t ]+))?(/[^?#\\\t]*|)([?#].*|)", re.IGNORECASE | re.DOTALL
)
_REFRESH = re.compile(
    rb"([0-9.]+(?:[ \t]*[;,]|[ \t])[ \t]*(?:url[ \t]*=[ \t]*)?([\"']?))(.*)", re.IGNORECASE | re.DOTALL
)
_HOST = re.compile(rb"[A-Za-z0-9._~!$&'()*+,;=\[\]:-]+")


def bring_back(url: bytes, mapping: RedirectMap, place: Place) -> bytes:
    """The URL as a client of the proxy must see it; the same bytes when it does not point at the upstream.

    An absolute URL stays absolute and gets the client's scheme and Host; one without a scheme, or without
    an authority, stays so.
    """
    match = _REFERENCE.fullmatch(url)
    if match is None:
        return url
    scheme, authority, path, rest = match.groups()
    if authority is None:
        return _moved_path(url, path, rest, mapping)
    if not _is_own(scheme and scheme.lower(), authority.lower(), mapping, place):
        return url
    moved = public_path(path or b"/", mapping.base_path, mapping.prefix)
    if moved is None:
        return url
    if _HOST.fullmatch(place.host) is None:  # nothing that an absolute URL could be made with
        return url if moved.startswith(b"//") else moved + rest
    start = b"//" if scheme is None else place.scheme + b"://"
    return start + place.host + moved + rest


def bring_back_refresh(value: bytes, mapping: RedirectMap, place: Place) -> bytes:
    """A Refresh value with its URL brought back: `5; url=/x`, `0;URL='http://…'`, `5, /x`."""
    match = _REFRESH.fullmatch(value)
    if match is None:
        return value
    before, quote, tail = match.groups()
    if not quote:
        return before + bring_back(tail, mapping, place)
    url, end, after = tail.partition(quote)
    return before + bring_back(url, mapping, place) + end + after


def public_path(path: bytes, base_path: bytes, prefix: bytes) -> bytes | None:
    """An upstream's path as the proxy serves it; None when it does not lie under the base path."""
    if base_path:
        if not path.startswith(base_path) or path[len(base_path) :][:1] not in {b"", b"/"}:
            return None
        path = path[len(base_path) :]
    return prefix + path or b"/"


def _moved_path(url: bytes, path: bytes, rest: bytes, mapping: RedirectMap) -> bytes:
    """A reference without authority. A relative one is resolved against the proxy's own URL anyway."""
    if not path:
        return url
    moved = public_path(path, mapping.base_path, mapping.prefix)
    # "/base//evil.example" must not become "//evil.example", which is another host.
    return url if moved is None or moved.startswith(b"//") else moved + rest


def _is_own(scheme: bytes | None, authority: bytes, mapping: RedirectMap, place: Place) -> bool:
    """True for an authority that the upstream calls itself.

    It may use the scheme of its endpoint, or the client's: X-Forwarded-Proto tells it that one.
    """
    known = mapping.schemes | {place.scheme}
    schemes = known if scheme is None else known & {scheme}
    for each in schemes:
        plain = without_default_port(each, authority)
        if plain in mapping.authorities:
            return True
        if mapping.keeps_host and plain == without_default_port(each, place.host_sent.lower()):
            return True
    return False


def without_default_port(scheme: bytes, authority: bytes) -> bytes:
    """An authority without an empty port and without the scheme's own (RFC 3986 §6.2.3)."""
    return authority.removesuffix(b":443" if scheme == b"https" else b":80").removesuffix(b":")
