"""Routes that no request can reach, since an earlier one takes everything they would.

Here:  one comparison of two compiled matches, and a search with it. It speaks only when it is certain.
Never: several earlier routes that cover a later one together; text of regular expressions beyond equality.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice, product

from corsproxy.config.matching import is_under
from corsproxy.config.table import Match

__all__ = ["Earlier", "covers", "covers_host"]

_REGEX = b""  # no path is empty, so this key is free for the routes whose path is a regular expression


@dataclass(slots=True)
class Earlier:
    """The routes so far, by the path they start at and by host: a file may hold thousands."""

    _by_place: dict[tuple[bytes, bytes], list[tuple[int, Match]]] = field(default_factory=dict)

    def add(self, index: int, match: Match) -> None:
        """Remember a route; indexes rise."""
        for host in match.hosts or (b"",):
            self._by_place.setdefault((_start(match), host), []).append((index, match))

    def find_cover(self, later: Match) -> int | None:
        """The index of the first route that takes everything this one would; None = none."""
        return min(self._covers(later), default=None)

    def _covers(self, later: Match) -> Iterator[int]:
        """The first of each place: indexes rise in a list, so the others come later."""
        for place in product({_REGEX, *_starts_above(_start(later))}, _hosts_above(later)):
            routes = self._by_place.get(place, ())
            yield from islice((index for index, match in routes if covers(match, later)), 1)


def _start(match: Match) -> bytes:
    if match.path_regex is not None:
        return _REGEX
    return match.path if match.path_exact is None else match.path_exact


def _starts_above(path: bytes) -> Iterator[bytes]:
    """The prefixes that a path lies under, on segment boundaries, and the path itself."""
    yield b"/"
    yield path
    at = path.find(b"/", 1)
    while at > 0:
        yield path[:at]
        at = path.find(b"/", at + 1)


def _hosts_above(later: Match) -> set[bytes]:
    """The host patterns of which a route must have one to take all that this one would; b"" = any."""
    if not later.hosts:
        return {b""}
    host = later.hosts[0]
    return {b"", host, *(b"*" + host[at:] for at, byte in enumerate(host) if byte == ord("."))}


def covers(first: Match, second: Match) -> bool:
    """True when every request that fits the second match fits the first one too."""
    return (
        _covers_paths(first, second)
        and _covers_hosts(first.hosts, second.hosts)
        and (not first.methods or (bool(second.methods) and second.methods <= first.methods))
        and set(first.headers) <= set(second.headers)
    )


def _covers_paths(first: Match, second: Match) -> bool:
    if first.path_exact is not None:
        return first.path_exact == second.path_exact
    if first.path_regex is not None:
        if second.path_exact is not None:
            return first.path_regex.fullmatch(second.path_exact) is not None
        return second.path_regex is not None and first.path_regex.pattern == second.path_regex.pattern
    if second.path_regex is not None:
        return first.path == b"/"
    return is_under(second.path if second.path_exact is None else second.path_exact, first.path)


def _covers_hosts(first: tuple[bytes, ...], second: tuple[bytes, ...]) -> bool:
    if not first:
        return True
    return bool(second) and all(any(covers_host(wide, narrow) for wide in first) for narrow in second)


def covers_host(wide: bytes, narrow: bytes) -> bool:
    """A pattern covers itself, every name under it, and every pattern under it."""
    return wide == narrow or (wide.startswith(b"*.") and narrow.endswith(wide[1:]))
