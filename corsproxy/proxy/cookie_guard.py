"""Which cookies an upstream gets: those it has set by way of this proxy, and those that the route lists.

Here:  the names each upstream has set, kept while the process lives and bounded; a guard for each route.
Never: values of cookies; fields of the answer (http.cookies rewrites those).
"""

from collections.abc import Sequence

from corsproxy.config.table import Endpoint, Route
from corsproxy.http.fields import Fields
from corsproxy.http.own_cookies import is_deletion, set_cookie_name, sift_cookies

__all__ = ["CookieGuard", "CookieMemory", "guard_for"]

# For one upstream; browsers keep 180 cookies or fewer for a site (RFC 6265 §6.1 asks for 50).
_MOST_NAMES = 512

_Names = dict[bytes, None]
"""A set that knows which name is the oldest."""


class CookieMemory:
    """What each upstream has set, by its endpoints: routes and configurations come and go."""

    def __init__(self) -> None:
        self._known: dict[tuple[Endpoint, ...], _Names] = {}

    def of(self, endpoints: tuple[Endpoint, ...]) -> _Names:
        """The names of one upstream, shared by all routes to it."""
        return self._known.setdefault(endpoints, {})

    def names(self) -> dict[tuple[Endpoint, ...], list[bytes]]:
        """Everything known, the oldest name first."""
        return {endpoints: list(names) for endpoints, names in self._known.items()}


class CookieGuard:
    """The guard of one route."""

    __slots__ = ("_learned", "_listed")

    def __init__(self, listed: frozenset[bytes], learned: _Names | None) -> None:
        """learned: the upstream's own; None = only what is listed counts."""
        self._listed = listed
        self._learned = learned

    def let_through(self, lines: Sequence[bytes]) -> list[bytes]:
        """The lines of a request head without the cookies of others."""
        return sift_cookies(lines, self)

    def __contains__(self, name: object) -> bool:
        return name in self._listed or (self._learned is not None and name in self._learned)

    def learn(self, fields: Fields) -> None:
        """Note the names that a response sets. One that it only deletes may be another program's: an upstream
        that clears whatever it can think of does not get to see it for that.
        """
        if self._learned is None:
            return
        for name, value in fields:
            if len(name) == 10 and name.lower() == b"set-cookie" and not is_deletion(value):
                self._note(set_cookie_name(value))

    def _note(self, name: bytes) -> None:
        learned = self._learned
        if learned is None or name in learned:
            return
        if len(learned) >= _MOST_NAMES:
            del learned[next(iter(learned))]
        learned[name] = None


def guard_for(route: Route, memory: CookieMemory) -> CookieGuard | None:
    """The guard that a route asks for; None = every cookie goes on."""
    wanted = route.forwarded_cookies
    if wanted is None:
        return None
    return CookieGuard(wanted.names, memory.of(route.upstream.endpoints) if wanted.learns else None)
