"""Where `corsproxy dev` sends requests: URLs as people type them, made into routes.

Here:  the API itself, and paths that go elsewhere (`/auth=https://id.example.com`).
Never: YAML, sockets. A target is fixed at the start: no request chooses one.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from corsproxy.config.addresses import parse_endpoint
from corsproxy.config.findings import Mistake
from corsproxy.config.words import quoted

__all__ = ["Target", "TargetError", "in_order", "parse_route", "parse_target"]


class TargetError(ValueError):
    """What was typed leads nowhere; the text is one line for a person."""


@dataclass(frozen=True, slots=True)
class Target:
    """A path of the proxy and where it leads."""

    prefix: str  # "/" = whatever no other target takes
    url: str  # http or https, without a slash at its end
    strips: bool  # the prefix is taken off: the URL's own path stands in its place

    @property
    def authority(self) -> str:
        """Scheme, host and port: whose cookies these are."""
        return "/".join(self.url.split("/", 3)[:3])

    @property
    def name(self) -> str:
        """What the route is called."""
        return re.sub(r"[^A-Za-z0-9]+", "-", self.prefix).strip("-")[:60] or "api"


# A WebSocket begins as an HTTP request to the same place (RFC 6455 §3, §4.1).
_SCHEMES = {"ws": "http", "wss": "https", "http": "http", "https": "https"}
_PREFIX = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*")
_BARE_PORT = re.compile(r":?([0-9]{1,5})(/.*)?")
_LOOPBACK = re.compile(r"(?:[\w-]+\.)*localhost(?=[:/]|$)|127\.[0-9.]+(?=[:/]|$)|\[::1\]", re.IGNORECASE)


def parse_target(text: str, prefix: str = "/") -> Target:
    """The target of a URL: `https://api.example.com`, `localhost:5000`, `:5000`. Raises TargetError."""
    url = _completed(text)
    endpoint = parse_endpoint(url)
    if isinstance(endpoint, Mistake):
        raise TargetError(f"{endpoint.message}: {endpoint.remedy}")
    after_scheme = url.partition("://")[2]
    strips = prefix != "/" and "/" in after_scheme
    return Target(prefix, url.rstrip("/"), strips)


def parse_route(text: str) -> Target:
    """The target of `/auth=https://id.example.com`. Raises TargetError.

    As in nginx: a URL with a path, be it "/", has that in the place of the prefix; one without gets the
    whole path.
    """
    prefix, equals, url = text.partition("=")
    if not equals or not url:
        raise TargetError(f"{quoted(text)} is no route: write it like /auth=https://id.example.com")
    if not _PREFIX.fullmatch(prefix) or "//" in prefix:
        raise TargetError(f"{quoted(prefix)} is no path: write it like /auth=https://id.example.com")
    prefix = prefix.rstrip("/")
    if not prefix:
        raise TargetError("a route needs a path of its own; what is left goes to the URL beside the routes")
    return parse_target(url, prefix)


def in_order(targets: Iterable[Target]) -> list[Target]:
    """Longer paths first, so that each gets its requests. Raises TargetError for one that stands twice."""
    ordered = sorted(targets, key=lambda target: -len(target.prefix.rstrip("/")))
    for first, second in pairwise(ordered):
        if first.prefix == second.prefix:
            raise TargetError(f"{first.prefix} leads to two places: {first.url} and {second.url}")
    return ordered


def _completed(text: str) -> str:
    """With the scheme that is meant: this machine is asked over http, others are not guessed at."""
    scheme, mark, rest = text.partition("://")
    if mark:
        known = _SCHEMES.get(scheme.lower())
        if known is None:
            raise TargetError(f"{quoted(text)}: write http://, https://, ws:// or wss://")
        return f"{known}://{rest}"
    if bare := _BARE_PORT.fullmatch(text):
        return f"http://localhost:{bare[1]}{bare[2] or ''}"
    if _LOOPBACK.match(text):
        return f"http://{text}"
    if text.startswith(":"):
        raise TargetError(f"{quoted(text)} is no port: write :5000")
    raise TargetError(f"{quoted(text)} has no scheme: write https://{text}, or http://{text}")
