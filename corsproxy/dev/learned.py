"""A policy for production from what a run of `corsproxy dev` has seen: the least that lets it all through.

Here:  the text of the file, with the counts beside what they speak for.
Never: what nobody asked for; origins of this machine: who may read in production is for a person to say.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from corsproxy.cors.browser import is_forbidden_request_header
from corsproxy.cors.policy import FORBIDDEN_METHODS, SAFELISTED_METHODS
from corsproxy.dev.journal import Journal, SeenRoute
from corsproxy.http.methods import FORWARDABLE_METHODS

__all__ = ["policy_from"]

_PLACEHOLDER = "https://app.example.com"
_MOST_SEGMENTS = 6

_HEAD = """\
# What the last run of `corsproxy dev` needed: {exchanges}, {calls} of them calls of scripts.
# Look through it, put in the origin of your page, then: corsproxy check && corsproxy run
# Every key is explained in docs/configuration.md.

listen: 127.0.0.1:8080
admin: 127.0.0.1:8081

policies:
  web:
    allow_origins:
      - {origin}  # {origin_note}
"""
_CREDENTIALS = """\
    allow_credentials: true  # {count} sent cookies
"""
_ROUTE = """\
  # {segments}
  - name: {name}
    match:
      path: {path}
    upstream: {url}
{strip}    cors: web
"""


def policy_from(journal: Journal) -> str:
    """The configuration file."""
    return "".join(_parts(journal))


def _parts(journal: Journal) -> Iterator[str]:
    yield _HEAD.format(
        exchanges=_counted(journal.exchanges, "exchange"),
        calls=journal.methods.total(),
        origin=_quoted(journal.as_origin or _PLACEHOLDER),
        origin_note=_origin_note(journal),
    )
    yield from _methods(journal.methods)
    yield from _headers(journal.headers)
    yield from _exposable(journal.exposable)
    if journal.with_cookies:
        yield _CREDENTIALS.format(count=_counted(journal.with_cookies, "call"))
    yield "    max_age: 10m\n\nroutes:\n"
    yield from (_route(route) for route in journal.routes)


def _origin_note(journal: Journal) -> str:
    seen = ", ".join(f"{origin} ({count})" for origin, count in journal.origins.most_common(3))
    whose = "of --as-origin" if journal.as_origin else "put in yours"
    return f"{whose}; the run saw {seen or 'no page'}"


def _methods(seen: Counter[str]) -> Iterator[str]:
    """The methods that need to be listed, beside those that browsers let pass anyway."""
    usable = FORWARDABLE_METHODS - FORBIDDEN_METHODS - {b"OPTIONS"}
    listed = [method for method, _ in seen.most_common() if method.encode("latin-1", "replace") in usable]
    needed = [method for method in listed if method.encode() not in SAFELISTED_METHODS]
    if not needed:
        yield "    # GET, HEAD and POST need no mention\n" if listed else ""
        return
    counts = ", ".join(f"{method} {seen[method]}" for method in listed)
    yield f"    allow_methods: [{', '.join(listed)}]  # {counts}\n"


def _headers(seen: Counter[str]) -> Iterator[str]:
    """What preflights asked for, but for names that no browser asks for: "*" would be everything."""
    wanted = {name: count for name, count in seen.items() if _is_askable(name)}
    if wanted:
        yield "    allow_headers:\n"
    for name, count in sorted(wanted.items()):
        yield f"      - {_quoted(name)}  # asked for by {_counted(count, 'preflight')}\n"


def _is_askable(name: str) -> bool:
    return name != "*" and not is_forbidden_request_header(name.encode("ascii", "replace"))


def _exposable(seen: Counter[str]) -> Iterator[str]:
    """As comments: what a script reads of a response, nobody sees from here."""
    if not seen:
        return
    yield "    # On responses; take in those that scripts read:\n    # expose_headers:\n"
    for name, count in sorted(seen.items()):
        yield f"    #   - {_quoted(name)}  # on {_counted(count, 'response')}\n"


def _route(route: SeenRoute) -> str:
    seen = [f"{segment} ({count})" for segment, count in route.segments.most_common(_MOST_SEGMENTS)]
    more = len(route.segments) - len(seen)
    return _ROUTE.format(
        segments=f"{', '.join(seen)}{f' and {more} more' if more else ''}"
        if seen
        else "nothing was asked here",
        name=_quoted(route.name),
        path=_quoted(route.prefix),
        url=_quoted(route.url),
        strip=f"    strip_prefix: {_quoted(route.prefix)}\n" if route.strips else "",
    )


_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9./_-]*(?:://[A-Za-z0-9.:/_-]+)?")


def _quoted(text: str) -> str:
    """A scalar: bare where YAML cannot take it for anything but this text."""
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text).replace("$", "$$")


_WORDS: Iterable[str] = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
