"""What a run of `corsproxy dev` has seen: what a policy for production has to allow.

Here:  counts of origins, methods, header names and first path segments, and their JSON.
Never: values of fields, cookies, queries, whole paths; files (`state` keeps them).
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from corsproxy.cors.decide import Kind
from corsproxy.cors.fields import exposable, parse_names, shown
from corsproxy.http.paths import canonical_path
from corsproxy.proxy.capture import Capture
from corsproxy.proxy.exchange import Exchange

__all__ = ["DULL_RESPONSE_HEADERS", "Journal", "SeenRoute"]

_MOST = 128  # different words of one kind: most of them come from clients
VERSION = 1

# On most responses, and of no use to scripts.
DULL_RESPONSE_HEADERS = frozenset(
    b"accept-ranges age allow alt-svc connection content-security-policy cross-origin-embedder-policy "
    b"cross-origin-opener-policy cross-origin-resource-policy date keep-alive nel origin-agent-cluster "
    b"permissions-policy proxy-status referrer-policy report-to reporting-endpoints server "
    b"strict-transport-security timing-allow-origin transfer-encoding upgrade vary via "
    b"x-content-type-options x-dns-prefetch-control x-download-options x-frame-options "
    b"x-permitted-cross-domain-policies x-powered-by x-xss-protection content-encoding".split()
)


@dataclass(slots=True)
class SeenRoute:
    """One route of the run, and where its requests went."""

    name: str
    prefix: str
    url: str
    strips: bool
    segments: Counter[str] = field(default_factory=Counter)  # "/users": what came first in the path


@dataclass(slots=True)
class Journal:
    """The counts of one run."""

    routes: list[SeenRoute]
    as_origin: str = ""  # the page in production, when it was named
    exchanges: int = 0
    origins: Counter[str] = field(default_factory=Counter)
    methods: Counter[str] = field(default_factory=Counter)  # of calls of scripts
    headers: Counter[str] = field(default_factory=Counter)  # that preflights asked for
    exposable: Counter[str] = field(
        default_factory=Counter
    )  # names on responses that scripts see when exposed
    with_cookies: int = 0  # calls that sent some

    def record(self, exchange: Exchange, _ended: float) -> None:
        """Take one finished exchange. What was refused is nothing to allow."""
        decision = exchange.decision
        if exchange.route is None or decision is None or not decision.allowed:
            return
        self.exchanges += 1
        self._count_segment(exchange)
        if exchange.origin is None or exchange.capture is None:
            return
        if decision.kind is Kind.PREFLIGHT:
            asked = parse_names(exchange.capture.request.headers or b"") or ()
            _add(self.headers, map(shown, asked))
            return
        self._count_call(exchange, exchange.origin, exchange.capture)

    def _count_segment(self, exchange: Exchange) -> None:
        seen = next(
            (each for each in self.routes if exchange.route and each.name == exchange.route.name), None
        )
        if seen is not None:
            first = canonical_path(exchange.path).split(b"/")[1:2]
            _add(seen.segments, ["/" + shown(segment) for segment in first])

    def _count_call(self, exchange: Exchange, origin: bytes, capture: Capture) -> None:
        _add(self.origins, [shown(origin)])
        _add(self.methods, [shown(exchange.method)])
        if any(name.lower() == b"cookie" for name, _ in capture.request.raw_fields):
            self.with_cookies += 1
        if 300 <= exchange.status < 400:
            return  # no script sees these: browsers follow them
        names = exposable(name for name, _ in capture.response or ())
        _add(self.exposable, (shown(name) for name in names if name not in DULL_RESPONSE_HEADERS))

    def as_json(self) -> dict[str, Any]:
        """The object that `from_json` reads. Any: JSON."""
        return {
            "version": VERSION,
            "as_origin": self.as_origin,
            "exchanges": self.exchanges,
            "with_cookies": self.with_cookies,
            **{name: dict(getattr(self, name).most_common()) for name in _COUNTERS},
            "routes": [
                {
                    "name": route.name,
                    "prefix": route.prefix,
                    "url": route.url,
                    "strips": route.strips,
                    "segments": dict(route.segments.most_common()),
                }
                for route in self.routes
            ],
        }

    @classmethod
    def from_json(cls, data: Any) -> "Journal":  # Any: JSON
        """The journal. Raises ValueError for anything that `as_json` did not write."""
        try:
            if data["version"] != VERSION:
                raise ValueError("another version of corsproxy wrote it")
            routes = [
                SeenRoute(
                    str(each["name"]),
                    str(each["prefix"]),
                    str(each["url"]),
                    bool(each["strips"]),
                    _counter(each["segments"]),
                )
                for each in data["routes"]
            ]
            journal = cls(routes, str(data["as_origin"]), int(data["exchanges"]))
            journal.with_cookies = int(data["with_cookies"])
            for name in _COUNTERS:
                setattr(journal, name, _counter(data[name]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"it is no journal: {error!r}") from error
        return journal


_COUNTERS = ("origins", "methods", "headers", "exposable")


def _add(counter: Counter[str], words: Iterable[str]) -> None:
    for word in words:
        if word in counter or len(counter) < _MOST:
            counter[word] += 1


def _counter(data: Any) -> Counter[str]:  # Any: JSON
    return Counter({str(word): int(number) for word, number in data.items()})
