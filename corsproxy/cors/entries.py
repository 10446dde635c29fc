"""Entries of allow_origins: from the text in the file to what is matched, or to what should stand there.

Here:  reading one entry, canonicalising what is safe to, naming the first thing wrong and the corrected text.
Never: how wide an entry may be beside other keys (`hazards`), matching (`origins`), groups but @loopback.
"""

import re
from dataclasses import dataclass

from corsproxy.cors.hazards import Hazard, any_with_credentials, as_written, caution, problem
from corsproxy.cors.origins import (
    DEFAULT_PORTS,
    MAX_ORIGIN_BYTES,
    NULL,
    OriginPattern,
    canonical_ipv6,
    is_host,
    is_ipv4,
    is_loopback_host,
    loopback_patterns,
)
from corsproxy.cors.policy import Written
from corsproxy.cors.sites import shared_suffix

__all__ = ["LOOPBACK_GROUP", "pattern_text", "read_entry"]

LOOPBACK_GROUP = "@loopback"

_PORT = re.compile(r":(0|[1-9][0-9]{0,4})")
_BETWEEN = re.compile(r"[\s,;]+")  # how lists are written elsewhere
_LONGEST_LIST = 300  # characters; a longer one nobody reads in a message
_EXAMPLE = "write scheme://host or scheme://host:port, for example https://app.example.com"


@dataclass(frozen=True, slots=True)
class _Parts:
    """An entry taken apart without judging it."""

    scheme: str | None
    userinfo: bool
    host: str
    port: str  # with its colon; "" = none written
    rest: str  # path, query and fragment


def read_entry(written: Written, *, credentials: bool) -> tuple[tuple[OriginPattern, ...], list[Hazard]]:
    """What one entry (not "*", not "null") admits, and what is to be said about its spelling.

    Nothing is admitted when a finding is an error.
    """
    if written.text == LOOPBACK_GROUP:
        return loopback_patterns(), []
    parts = _take_apart(written.text)
    if _means_any(parts):
        return (), [_any_spelling(written, credentials=credentials)]
    if written.text.startswith("@"):
        return (), [_unknown_group(written)]
    if several := _several(written.text):
        return (), [_several_origins(written, several)]
    if fault := _find_fault(written.text, parts):
        code, why = fault
        return (), [problem(code, written, f'"{as_written(written)}" {why}', _corrected(parts))]
    pattern = _pattern(parts)
    if pattern is None:
        why = f'"{as_written(written)}" names no host as browsers write it (URL Standard, #host-serializing)'
        return (), [problem("origin-host", written, why, _EXAMPLE)]
    if (canonical := pattern_text(pattern)) != written.text:
        why = (
            f'"{as_written(written)}" is compared as {canonical}, as browsers send it (Fetch, #origin-header)'
        )
        return (pattern,), [caution("origin-canonicalised", written, why, f"write {canonical}")]
    return (pattern,), []


def pattern_text(pattern: OriginPattern) -> str:
    """The entry that says this, in canonical form."""
    port = ":*" if pattern.any_port else "" if pattern.port is None else f":{pattern.port}"
    star = "*." if pattern.subdomains else ""
    return f"{pattern.scheme.decode()}://{star}{pattern.host.decode()}{port}"


def _take_apart(text: str) -> _Parts:
    before, separator, after = text.partition("://")
    has_scheme = bool(separator) and not set(before) & set("/?#@:")
    remainder = after if has_scheme else text
    end = min((at for at in map(remainder.find, "/?#") if at >= 0), default=len(remainder))
    userinfo, _, address = remainder[:end].rpartition("@")
    colon = address.find(":", address.rfind("]") + 1)
    host, port = (address, "") if colon < 0 else (address[:colon], address[colon:])
    return _Parts(before if has_scheme else None, bool(userinfo), host, port, remainder[end:])


def _means_any(parts: _Parts) -> bool:
    if parts.scheme is None:
        return False
    return "*" in parts.scheme or (
        parts.host in {"*", "*."} and parts.scheme.lower().encode() in DEFAULT_PORTS
    )


def _any_spelling(written: Written, *, credentials: bool) -> Hazard:
    if credentials:
        return any_with_credentials(written)
    return problem(
        "any-origin-spelling",
        written,
        f'"{as_written(written)}" leaves the owner of the origin open, so it would mean any origin',
        'write "*" alone to allow any origin, or name the host: https://*.example.com',
    )


def _unknown_group(written: Written) -> Hazard:
    why = f'"{as_written(written)}" is no group of origins'
    return problem("unknown-group", written, why, f"define it under origins, or write {LOOPBACK_GROUP}")


def _several(text: str) -> list[_Parts]:
    """The origins of a list that stands in one entry; none when it is no such list."""
    pieces = [_take_apart(piece) for piece in _BETWEEN.split(text) if piece]
    # A comma may also stand in a path, which has a message of its own.
    return (
        pieces if len(pieces) > 1 and all(part.scheme and part.rest in {"", "/"} for part in pieces) else []
    )


def _several_origins(written: Written, several: list[_Parts]) -> Hazard:
    why = f'"{as_written(written)}" holds {len(several)} origins, and an entry is one'
    remedy = "give each an entry of its own"
    corrected = [_corrected(part) for part in several]
    listed = ", ".join(each.removeprefix("write ") for each in corrected)
    if _EXAMPLE not in corrected and len(listed) <= _LONGEST_LIST:
        remedy += f": {listed}"
    return problem("origin-several", written, why, remedy)


def _find_fault(text: str, parts: _Parts) -> tuple[str, str] | None:
    """Code and reason of the first thing wrong with an entry; None when nothing is."""
    return _find_text_fault(text) or _find_shape_fault(parts) or _find_host_fault(parts)


def _find_text_fault(text: str) -> tuple[str, str] | None:
    if not text.strip():
        return "origin-empty", "is empty"
    if not text.isascii():
        return (
            "origin-unicode",
            "is written in punycode by browsers (URL Standard, #concept-domain-to-ascii)",
        )
    if text.lower() == NULL.decode():  # not as it is: the caller knows that one
        return "origin-missing-scheme", 'is no origin; the opaque origin is written "null", in lower case'
    if any(byte <= " " or byte == "\x7f" for byte in text):
        return "origin-space", "holds a space or a control character, which no origin does"
    if len(text) > MAX_ORIGIN_BYTES:
        return "origin-too-long", f"is longer than {MAX_ORIGIN_BYTES} bytes, so it could never match"
    return None


def _find_shape_fault(parts: _Parts) -> tuple[str, str] | None:
    if parts.scheme is None:
        return "origin-missing-scheme", "has no scheme, and http:// and https:// are different origins"
    if not is_host(parts.scheme.lower().encode(), b"a"):
        return "origin-scheme", "does not begin with a scheme (RFC 3986 §3.1)"
    if parts.userinfo:
        return "origin-userinfo", "holds a user name, which is no part of an origin (Fetch, #origin-header)"
    if parts.rest == "/":
        return "origin-trailing-slash", "ends in a slash, which no browser sends (Fetch, #origin-header)"
    kinds = {"/": "path", "?": "query", "#": "fragment"}
    if parts.rest:
        kind = kinds[parts.rest[0]]
        return f"origin-{kind}", f"holds a {kind}, which is no part of an origin (Fetch, #origin-header)"
    if parts.port not in {"", ":*"} and not (_PORT.fullmatch(parts.port) and int(parts.port[1:]) <= 65535):
        return "origin-port", 'has no port number from 0 to 65535 (or ":*" for any) after the colon'
    return None


def _find_host_fault(parts: _Parts) -> tuple[str, str] | None:
    name = parts.host.removeprefix("*.")
    if "*" in name or (name != parts.host and (is_ipv4(name.encode()) or name.startswith("["))):
        return "origin-wildcard", 'has a "*" that does not stand for whole labels at the left of a host name'
    return None


def _pattern(parts: _Parts) -> OriginPattern | None:
    """The pattern in canonical form; None when a part cannot be one."""
    scheme = (parts.scheme or "").lower().encode()
    name = parts.host.removeprefix("*.").lower().encode()
    host = canonical_ipv6(name) or name
    if not is_host(scheme, host):
        return None
    any_port = parts.port == ":*"
    port = int(parts.port[1:]) if _PORT.fullmatch(parts.port) else None
    port = None if port == DEFAULT_PORTS.get(scheme) else port
    return OriginPattern(scheme, host, port, subdomains=parts.host.startswith("*."), any_port=any_port)


def _corrected(parts: _Parts) -> str:
    """What to write instead: the same entry with everything that is wrong put right, when that leaves one."""
    if parts.scheme is None and parts.host.lower() == "null":
        return 'write "null"'
    port = parts.port if parts.port == ":*" or _PORT.fullmatch(parts.port) else ""
    host = _corrected_host(parts.host.strip())
    scheme = (parts.scheme or "").strip() or ("http" if is_loopback_host(host.lower().encode()) else "https")
    if scheme.isascii() and host.isascii() and (pattern := _pattern(_Parts(scheme, False, host, port, ""))):
        text = pattern_text(pattern)
        shared = pattern.subdomains and shared_suffix(pattern.host)
        if not shared and not _find_fault(text, _take_apart(text)):
            return f"write {text}"
    return _EXAMPLE


def _corrected_host(host: str) -> str:
    star = host.rfind("*")
    if star > 0 or (star == 0 and not host.startswith("*.")):
        label, _, parent = host[star + 1 :].partition(".")
        # "*example.com" was meant as "*.example.com"; of "app-*.example.com" the label goes.
        host = f"*.{label}.{parent}" if star == 0 and label else f"*.{parent}"
    if host.isascii():
        return host
    star_prefix = "*." if host.startswith("*.") else ""
    try:
        return star_prefix + host.removeprefix("*.").encode("idna").decode("ascii")
    except UnicodeError:
        return host
