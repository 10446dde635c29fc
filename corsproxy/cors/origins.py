"""Origins: what the `Origin` field may hold, and the rules that admit one.

Here:  the grammar of a serialized origin on bytes, and `OriginRules`, asked once per distinct origin.
Never: reading entries of the file (`entries`), judging how wide a rule is (`hazards`), fields of answers.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address

__all__ = [
    "DEFAULT_PORTS",
    "MAX_ORIGIN_BYTES",
    "NULL",
    "Origin",
    "OriginPattern",
    "OriginRegex",
    "OriginRule",
    "OriginRules",
    "canonical_ipv6",
    "is_host",
    "is_ipv4",
    "is_loopback_host",
    "is_well_formed",
    "loopback_patterns",
    "parse_origin",
]

NULL = b"null"  # an opaque origin; case-sensitive (Fetch, #origin-header)
MAX_ORIGIN_BYTES = 512  # a scheme, the longest host name (253 bytes) and a port, with room to spare
# Schemes whose hosts are names or addresses of the network (URL Standard, #special-scheme); elsewhere a
# host is an opaque word: moz-extension://<uuid>, app://obsidian.md.
DEFAULT_PORTS = {b"http": 80, b"https": 443, b"ws": 80, b"wss": 443, b"ftp": 21}

_SCHEME = re.compile(rb"[a-z][a-z0-9+.-]*")
_ORIGIN = re.compile(rb"([a-z][a-z0-9+.-]*)://([a-z0-9._~-]+|\[[0-9a-f:]+\])(?::(0|[1-9][0-9]{0,4}))?")
# The underscore is no host name of RFC 1123, but browsers resolve it and send it.
_NAME = re.compile(rb"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?")
_OPAQUE = re.compile(rb"[a-z0-9._~-]+")


@dataclass(frozen=True, slots=True)
class Origin:
    """A tuple origin in canonical form: lower case, the scheme's own port left out."""

    scheme: bytes
    host: bytes  # IPv6 with its brackets
    port: int | None = None  # None = the scheme's own

    def __bytes__(self) -> bytes:
        port = b"" if self.port is None else b":%d" % self.port
        return b"%b://%b%b" % (self.scheme, self.host, port)


@dataclass(frozen=True, slots=True)
class OriginRule:
    """One entry of allow_origins or allow_origin_regex, as written, and where."""

    text: str
    line: int = 0
    where: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class OriginPattern:
    """An entry that names a scheme and a host, the labels before it or the port being free."""

    scheme: bytes
    host: bytes  # the host itself, or what follows "*."
    port: int | None = None  # None = the scheme's own
    subdomains: bool = False  # one or more whole labels before `host`, never `host` itself
    any_port: bool = False

    @property
    def is_exact(self) -> bool:
        """Does this admit one origin alone?"""
        return not (self.subdomains or self.any_port)


@dataclass(frozen=True, slots=True)
class OriginRegex:
    """A whole-origin regular expression that `regexes` found harmless."""

    compiled: re.Pattern[bytes]


def parse_origin(raw: bytes) -> Origin | None:
    """The tuple origin that these bytes serialize; None for "null" and for whatever no browser would send.

    Only the canonical form parses: no browser writes an upper-case letter, a default port or a long-hand
    address (Fetch, #origin-header; URL Standard, #host-serializing).
    """
    if len(raw) > MAX_ORIGIN_BYTES or not (match := _ORIGIN.fullmatch(raw)):
        return None
    scheme, host, digits = match.groups()
    port = None if digits is None else int(digits)
    if port is not None and (port > 65535 or port == DEFAULT_PORTS.get(scheme)):
        return None
    return Origin(scheme, host, port) if is_host(scheme, host) else None


def is_well_formed(raw: bytes) -> bool:
    """Is this an `Origin` value as browsers write it: `null`, or one canonical tuple origin?"""
    return raw == NULL or parse_origin(raw) is not None


def is_host(scheme: bytes, host: bytes) -> bool:
    """Is `host` the canonical host of an origin of this (lower-case, whole) scheme?"""
    if not _SCHEME.fullmatch(scheme):
        return False
    if host.startswith(b"["):
        return canonical_ipv6(host) == host
    if scheme not in DEFAULT_PORTS:
        return _OPAQUE.fullmatch(host) is not None
    if not _NAME.fullmatch(host):
        return False
    # URL Standard, #ends-in-a-number-checker: such a host is an IPv4 address or nothing.
    return is_ipv4(host) or not _ends_in_number(host)


def _ends_in_number(host: bytes) -> bool:
    last = host.removesuffix(b".").rpartition(b".")[2]
    return last.isdigit() or re.fullmatch(rb"0x[0-9a-f]*", last) is not None


def is_ipv4(host: bytes) -> bool:
    """Four decimal numbers without leading zeros, as the URL Standard serializes an IPv4 address."""
    parts = host.split(b".")
    return len(parts) == 4 and all(
        part.isdigit() and part == b"%d" % int(part[:4]) and int(part) < 256 for part in parts
    )


def canonical_ipv6(host: bytes) -> bytes | None:
    """The address in brackets as the URL Standard serializes it (#concept-ipv6-serializer), or None.

    Not `IPv6Address.compressed`: newer Pythons write the last four bytes of a mapped address in decimal.
    """
    if not (host.startswith(b"[") and host.endswith(b"]")) or b"%" in host:
        return None
    try:
        packed = IPv6Address(host[1:-1].decode("ascii")).packed
    except (AddressValueError, UnicodeDecodeError):
        return None
    pieces = [int.from_bytes(packed[at : at + 2]) for at in range(0, 16, 2)]
    start, length = _longest_zero_run(pieces)
    if length < 2:
        return b"[%b]" % _hex(pieces)
    return b"[%b::%b]" % (_hex(pieces[:start]), _hex(pieces[start + length :]))


def _hex(pieces: Sequence[int]) -> bytes:
    return b":".join(b"%x" % piece for piece in pieces)


def _longest_zero_run(pieces: Sequence[int]) -> tuple[int, int]:
    """Start and length of the first of the longest runs of zeros."""
    best = (0, 0)
    start = 0
    for at, piece in enumerate(pieces):
        if piece:
            start = at + 1
        elif at + 1 - start > best[1]:
            best = (start, at + 1 - start)
    return best


def is_loopback_host(host: bytes) -> bool:
    """Does this host name the client's own machine (Secure Contexts, #is-origin-trustworthy)?"""
    name = host.removesuffix(b".")
    if name == b"localhost" or name.endswith(b".localhost") or name == b"[::1]":
        return True
    return is_ipv4(host) and host.startswith(b"127.")


def loopback_patterns() -> tuple[OriginPattern, ...]:
    """What "@loopback" stands for."""
    hosts = ((b"localhost", False), (b"localhost", True), (b"127.0.0.1", False), (b"[::1]", False))
    return tuple(
        OriginPattern(scheme, host, subdomains=subdomains, any_port=True)
        for scheme in (b"http", b"https")
        for host, subdomains in hosts
    )


# One key for "any port", beside the numbers and None of the scheme's own port.
_ANY_PORT = -1

Matcher = OriginPattern | OriginRegex | None  # None stands for the rule "null"


class OriginRules:
    """The origins a policy admits; compiled once, asked once per distinct origin.

    `find` costs a dictionary look-up, one more per label of the host when patterns exist, and then the
    regular expressions in their order: it does not grow with the number of exact entries or patterns.
    """

    __slots__ = ("_exact", "_patterns", "_regexes")

    def __init__(self, rules: Iterable[tuple[Matcher, OriginRule]] = ()) -> None:
        """rules: what is matched, and the entry it came from. Of two that match alike, the first is kept."""
        self._exact: dict[bytes, OriginRule] = {}
        self._patterns: dict[tuple[bytes, bool, bytes, int | None], OriginRule] = {}
        self._regexes: list[tuple[re.Pattern[bytes], OriginRule]] = []
        for matcher, rule in rules:
            self._add(matcher, rule)

    def _add(self, matcher: Matcher, rule: OriginRule) -> None:
        match matcher:
            case None:
                self._exact.setdefault(NULL, rule)
            case OriginRegex(compiled):
                self._regexes.append((compiled, rule))
            case OriginPattern(scheme, host, port) if matcher.is_exact:
                self._exact.setdefault(bytes(Origin(scheme, host, port)), rule)
            case OriginPattern(scheme, host, port, subdomains, any_port):
                self._patterns.setdefault((scheme, subdomains, host, _ANY_PORT if any_port else port), rule)

    def find(self, origin: bytes) -> OriginRule | None:
        """The rule that admits this origin, or None.

        Malformed origins never match; b"null" needs its own rule.
        """
        if rule := self._exact.get(origin):
            return rule
        if not (self._patterns or self._regexes) or (parsed := parse_origin(origin)) is None:
            return None
        return self._find_pattern(parsed) or self._find_regex(origin)

    def _find_pattern(self, origin: Origin) -> OriginRule | None:
        if not self._patterns:
            return None
        # Only the port is free in a pattern that names the whole host.
        if rule := self._patterns.get((origin.scheme, False, origin.host, _ANY_PORT)):
            return rule
        _, dot, parent = origin.host.partition(b".")
        while dot:  # whole labels only: "evil-example.com" is no child of "example.com"
            for port in (origin.port, _ANY_PORT):
                if rule := self._patterns.get((origin.scheme, True, parent, port)):
                    return rule
            _, dot, parent = parent.partition(b".")
        return None

    def _find_regex(self, origin: bytes) -> OriginRule | None:
        return next((rule for compiled, rule in self._regexes if compiled.fullmatch(origin)), None)
