"""Routes that share requests with an earlier one, in ways that are seldom meant.

Here:  preflights that reach another route than their call, and hosts that never reach their own route.
Never: routes that no request reaches at all (`reach`); it speaks only when it is certain.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace

from corsproxy.config.findings import Mistake
from corsproxy.config.matching import is_under
from corsproxy.config.reach import Earlier, covers_host
from corsproxy.config.table import Match
from corsproxy.config.words import listed, quoted
from corsproxy.cors.policy import CorsPolicy

__all__ = ["HeaderRoutes", "find_needless_hosts", "find_taken_hosts", "shares_preflights"]

# Of a policy, what does not tell it from one with the same keys written elsewhere.
_PLACE = frozenset({"name", "where", "line"})

Content = tuple[object, ...]


@dataclass(slots=True)
class HeaderRoutes:
    """The routes so far that ask for headers of the request, which no preflight carries."""

    # By policy: most files give all of them one, and then none of them is looked at.
    _routes: dict[Content, list[tuple[int, Match]]] = field(default_factory=dict)
    _contents: dict[CorsPolicy, Content] = field(default_factory=dict)

    def add(self, index: int, match: Match, policy: CorsPolicy | None) -> None:
        """Remember a route; indexes rise. policy: None = `cors: off`."""
        if match.headers:
            self._routes.setdefault(self._content(policy), []).append((index, match))

    def find_taker(self, match: Match, policy: CorsPolicy | None) -> tuple[int, Mistake] | None:
        """A route with another policy that takes preflights of this one, and what to say about it."""
        if not self._routes:
            return None
        own = self._content(policy)
        for content, routes in self._routes.items():
            for index, earlier in routes if content != own else ():
                if shares_preflights(earlier, match):
                    names = listed((name.decode("latin-1") for name, _ in earlier.headers), "and")
                    return index, _astray(names)
        return None

    def _content(self, policy: CorsPolicy | None) -> Content:
        """The keys of a policy, wherever it stands."""
        if policy is None:
            return ()
        if policy not in self._contents:
            values = (
                getattr(policy.spec, each.name) for each in fields(policy.spec) if each.name not in _PLACE
            )
            self._contents[policy] = tuple(
                tuple(entry.text for entry in value) if isinstance(value, tuple) else value
                for value in values
            )
        return self._contents[policy]


def _astray(names: str) -> Mistake:
    return Mistake(
        "preflight-to-another-route",
        f"a preflight carries no {names}, so those of this route are answered there, by another policy "
        "(Fetch, #cors-preflight-fetch)",
        "give both routes one policy, or tell them apart by host or path",
        "warning",
    )


def shares_preflights(first: Match, second: Match) -> bool:
    """Is there a request for the second route whose preflight the first one takes, being the earlier?"""
    # Who carries all the headers that the first one asks for reaches it with the call as well.
    return (
        not set(first.headers) <= set(second.headers)
        and _share_paths(first, second)
        and _share_hosts(first.hosts, second.hosts)
        and (not first.methods or not second.methods or not first.methods.isdisjoint(second.methods))
    )


def _share_paths(first: Match, second: Match) -> bool:
    if first.path_regex is not None or second.path_regex is not None:
        return _share_by_regex(first, second)
    if first.path_exact is not None and second.path_exact is not None:
        return first.path_exact == second.path_exact
    if first.path_exact is not None:
        return is_under(first.path_exact, second.path)
    if second.path_exact is not None:
        return is_under(second.path_exact, first.path)
    return is_under(first.path, second.path) or is_under(second.path, first.path)


def _share_by_regex(first: Match, second: Match) -> bool:
    """Only what is certain: one expression twice, an exact path that it matches, a prefix of everything."""
    for one, other in ((first, second), (second, first)):
        if one.path_regex is None:
            continue
        if other.path_exact is not None:
            return one.path_regex.fullmatch(other.path_exact) is not None
        if other.path_regex is None:
            return other.path == b"/"
    return first.path_regex is not None and first.path_regex.pattern == getattr(
        second.path_regex, "pattern", b""
    )


def _share_hosts(first: tuple[bytes, ...], second: tuple[bytes, ...]) -> bool:
    if not first or not second:
        return True
    return any(covers_host(one, other) or covers_host(other, one) for one in first for other in second)


# Hosts


def find_needless_hosts(hosts: tuple[bytes, ...]) -> Iterator[tuple[int, Mistake]]:
    """Entries of one list that another one covers, or repeats."""
    seen: set[bytes] = set()
    listed_here = frozenset(hosts)
    for at, host in enumerate(hosts):
        wider = (pattern for pattern in _patterns_above(host) if pattern in listed_here)
        cover = host if host in seen else next(wider, None)
        seen.add(host)
        if cover is not None:
            name, by = quoted(host.decode("ascii")), quoted(cover.decode("ascii"))
            yield at, Mistake("host-covered", f"{name} is covered by {by} beside it", "remove it", "warning")


def _patterns_above(host: bytes) -> Iterator[bytes]:
    """The patterns that admit all that this entry admits, and more."""
    at = host.find(b".", 2 if host.startswith(b"*.") else 0)
    while at >= 0:
        yield b"*" + host[at:]
        at = host.find(b".", at + 1)


def find_taken_hosts(match: Match, earlier: Earlier) -> Iterator[tuple[int, int]]:
    """Entries of a route's hosts that never reach it, each with the index of the route that takes them."""
    if len(match.hosts) < 2:
        return  # a lone host that is taken makes the route unreachable, which is said elsewhere
    for at, host in enumerate(match.hosts):
        cover = earlier.find_cover(replace(match, hosts=(host,)))
        if cover is not None:
            yield at, cover
