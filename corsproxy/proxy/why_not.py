"""Why a route does not take a request: the first thing about its match that does not fit.

Here:  one match held against one request, part by part, in words.
Never: choosing a route (`routing` does, with an index; a test holds the two against each other).
"""

from collections.abc import Sequence

from corsproxy.config.table import Match
from corsproxy.cors.fields import shown
from corsproxy.http.paths import canonical_path

__all__ = ["why_not"]


def why_not(
    match: Match, method: bytes, host: bytes, path: bytes, fields: Sequence[tuple[bytes, bytes]] | None
) -> str:
    """What does not fit; "" when everything does.

    host: a name as it is matched, without port. path: raw, without query. fields: None for a preflight.
    """
    return (
        _why_not_host(match, host)
        or _why_not_path(match, canonical_path(path))
        or _why_not_method(match, method)
        or ("" if fields is None else _why_not_headers(match, fields))
    )


def _why_not_host(match: Match, host: bytes) -> str:
    if not match.hosts or any(_is_host(pattern, host) for pattern in match.hosts):
        return ""
    return f"hosts are {_listed(match.hosts)}, not {shown(host) or 'none'}"


def _is_host(pattern: bytes, host: bytes) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith(b"*.") else host == pattern


def _why_not_path(match: Match, path: bytes) -> str:
    if match.path_exact is not None:
        return "" if path == match.path_exact else f"path_exact is {shown(match.path_exact)}"
    if match.path_regex is not None:
        return "" if match.path_regex.fullmatch(path) else f"path_regex is {shown(match.path_regex.pattern)}"
    return "" if _is_under(path, match.path) else f"path is {shown(match.path)}"


def _is_under(path: bytes, prefix: bytes) -> bool:
    return path.startswith(b"/") and (path == prefix or path.startswith(prefix.rstrip(b"/") + b"/"))


def _why_not_method(match: Match, method: bytes) -> str:
    if not match.methods or method in match.methods:
        return ""
    return f"methods are {_listed(sorted(match.methods))}"


def _why_not_headers(match: Match, fields: Sequence[tuple[bytes, bytes]]) -> str:
    for name, wanted in match.headers:
        if not any(key.lower() == name and value == wanted for key, value in fields):
            return f"it wants the header {shown(name)}: {shown(wanted)}"
    return ""


def _listed(names: Sequence[bytes]) -> str:
    return ", ".join(map(shown, names))
