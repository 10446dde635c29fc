"""Which route serves a request: the first in file order that matches.

Here:  an index over the routes of one table, and a bounded memo of (host, path) pairs seen before.
Never: what a route then does; changing the table.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from corsproxy.config.table import Match, Route
from corsproxy.http.faults import AMBIGUOUS_PATH, HOST_UNKNOWN, NO_ROUTE, Fault
from corsproxy.http.paths import canonical_path, climbs, normalised_path, strip_prefix

__all__ = ["Router", "host_name"]

# Hosts and paths come from clients: when the memo is full it starts anew, so it never holds more than this.
_MEMO_LIMIT = 4096
_MEMO_KEY_BYTES = 1024
_LONGEST_NAME = 255  # bytes of a host; longer ones have as many parents as a client likes (RFC 1035 §2.3.4)


@dataclass(slots=True)
class _Node:
    """One path segment of the prefix index."""

    children: dict[bytes, "_Node"] = field(default_factory=dict)
    routes: list[int] = field(default_factory=list)


@dataclass(slots=True)
class _Index:
    """The routes of one host pattern, by path."""

    prefixes: _Node = field(default_factory=_Node)
    exact: dict[bytes, list[int]] = field(default_factory=dict)
    regexes: list[int] = field(default_factory=list)


class Router:
    """Finds the route of a request in a time that does not grow with the number of routes.

    Only routes that share host and path, or match by regular expression, are looked at one by one.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = tuple(routes)
        self._by_host: dict[bytes, _Index] = {}
        # A file that tells paths apart by what follows ";" is for an upstream that does.
        self._knows_parameters = any(b";" in _pattern(route.match) for route in self._routes)
        self._memo: dict[tuple[bytes, bytes], tuple[tuple[Route, ...], tuple[Route, ...] | None]] = {}
        for route in self._routes:
            for host in route.match.hosts or (b"",):
                _enter(self._by_host.setdefault(host, _Index()), route)

    def match(
        self, method: bytes, host: bytes, path: bytes, fields: Sequence[tuple[bytes, bytes]] | None
    ) -> Route | Fault:
        """The route of a request, or the fault that says why there is none.

        method: for a preflight the requested method, so that it reaches the route of the actual request.
        host: the Host field or the authority of the target, as sent.
        path: raw, without query.
        fields: the request's; None for a preflight, which cannot carry the actual request's fields.
        """
        key = (host, path)
        found = self._memo.get(key)
        if found is None:
            found = self._look_up(host, path)
            if len(host) + len(path) <= _MEMO_KEY_BYTES:
                if len(self._memo) >= _MEMO_LIMIT:
                    self._memo.clear()
                self._memo[key] = found
        candidates, as_normalised = found
        route = _first(candidates, method, fields)
        if as_normalised is not None and (
            _first(as_normalised, method, fields) is not route or _leaves_its_base(route, path)
        ):
            return AMBIGUOUS_PATH
        if route is None:
            return NO_ROUTE if self._knows(host) else HOST_UNKNOWN
        return route

    def _knows(self, host: bytes) -> bool:
        """False when every route names its hosts, and this is none of them (RFC 9110 §15.5.20)."""
        return any(pattern in self._by_host for pattern in _host_patterns(host_name(host)))

    def _look_up(self, host: bytes, path: bytes) -> tuple[tuple[Route, ...], tuple[Route, ...] | None]:
        """The routes for this path, and for the path as an upstream might read it where that differs."""
        name = host_name(host)
        canonical = canonical_path(path)
        candidates = self._candidates(name, canonical)
        normalised = normalised_path(path, keeps_parameters=self._knows_parameters)
        return candidates, None if normalised == canonical else self._candidates(name, normalised)

    def _candidates(self, host: bytes, path: bytes) -> tuple[Route, ...]:
        """The routes whose hosts and path fit, in file order."""
        found: set[int] = set()
        for pattern in _host_patterns(host):
            index = self._by_host.get(pattern)
            if index is not None:
                found.update(self._by_path(index, path))
        return tuple(self._routes[at] for at in sorted(found))

    def _by_path(self, index: _Index, path: bytes) -> Iterator[int]:
        yield from index.exact.get(path, ())
        for at in index.regexes:
            pattern = self._routes[at].match.path_regex
            if pattern is not None and pattern.fullmatch(path):
                yield at
        node = index.prefixes
        yield from node.routes
        for segment in path.split(b"/")[1:]:
            found = node.children.get(segment)
            if found is None:
                return
            node = found
            yield from node.routes


def host_name(host: bytes) -> bytes:
    """A Host field as it is matched: lower case, without port and trailing dot."""
    name = host.lower()
    if name.startswith(b"["):
        return name[: name.find(b"]") + 1]
    colon = name.rfind(b":")
    return (name if colon < 0 else name[:colon]).removesuffix(b".")


def _host_patterns(host: bytes) -> Iterator[bytes]:
    """The patterns that admit a host: itself, "*." with each of its parents, and any."""
    if len(host) > _LONGEST_NAME:
        yield b""
        return
    yield host
    dot = host.find(b".")
    while dot >= 0:
        yield b"*" + host[dot:]
        dot = host.find(b".", dot + 1)
    yield b""


def _enter(index: _Index, route: Route) -> None:
    match = route.match
    if match.path_exact is not None:
        index.exact.setdefault(match.path_exact, []).append(route.index)
    elif match.path_regex is not None:
        index.regexes.append(route.index)
    else:
        node = index.prefixes
        for segment in match.path.split(b"/")[1:]:
            if segment:  # "/" and a trailing slash add no segment of their own
                node = node.children.setdefault(segment, _Node())
        node.routes.append(route.index)


def _pattern(match: Match) -> bytes:
    if match.path_regex is not None:
        return match.path_regex.pattern
    return match.path if match.path_exact is None else match.path_exact


def _leaves_its_base(route: Route | None, path: bytes) -> bool:
    """True when dot segments would lead out of what stands before the path at the upstream."""
    if route is None or not (route.base_path or route.strip_prefix):
        return False
    return climbs(strip_prefix(path, route.strip_prefix) if route.strip_prefix else path)


def _first(
    candidates: tuple[Route, ...], method: bytes, fields: Sequence[tuple[bytes, bytes]] | None
) -> Route | None:
    for route in candidates:
        match = route.match
        if match.methods and method not in match.methods:
            continue
        if match.headers and fields is not None and not _carries(match, fields):
            continue
        return route
    return None


def _carries(match: Match, fields: Sequence[tuple[bytes, bytes]]) -> bool:
    """True when each header the route asks for stands in the request with exactly that value."""
    return all(
        any(value == wanted and name.lower() == asked for name, value in fields)
        for asked, wanted in match.headers
    )
