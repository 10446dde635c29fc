"""Routes that no request can reach, since an earlier one takes everything they would.

Here:  one comparison of two compiled matches, and a search with it. It speaks only when it is certain.
Never: several earlier routes that cover a later one together; text of regular expressions beyond equality.
"""

from collections.abc import Sequence

from corsproxy.config.matching import is_under
from corsproxy.config.table import Match

__all__ = ["covers", "find_cover"]


def find_cover(earlier: Sequence[tuple[int, Match]], later: Match) -> int | None:
    """The index of the first earlier route that takes everything the later one would; None = none."""
    return next((index for index, match in earlier if covers(match, later)), None)


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
    return bool(second) and all(any(_covers_host(wide, narrow) for wide in first) for narrow in second)


def _covers_host(wide: bytes, narrow: bytes) -> bool:
    """A pattern covers itself, every name under it, and every pattern under it."""
    return wide == narrow or (wide.startswith(b"*.") and narrow.endswith(wide[1:]))
