"""Would this have worked in production? Exchanges of a laptop, judged by the file that serves there.

Here:  the call as the production page would make it, and what `explain` says of it by that file. A preflight
       and the call after it are one call.
Never: serving by that file; calls that nobody made.
"""

from collections import Counter, OrderedDict
from dataclasses import dataclass, field

from corsproxy.config.table import Table
from corsproxy.cors.browser import Call
from corsproxy.cors.decide import Kind
from corsproxy.cors.explain import Outcome
from corsproxy.cors.fields import parse_names, shown
from corsproxy.cors.origins import is_loopback_host, parse_origin
from corsproxy.dev.pairs import Pairs
from corsproxy.proxy.exchange import Exchange
from corsproxy.proxy.explain import Explanation, Question, explain
from corsproxy.proxy.explained import authority_of, place_text, remedy_text
from corsproxy.proxy.routing import Router

__all__ = ["Judge", "Objection"]


@dataclass(frozen=True, slots=True)
class Objection:
    """Why an exchange would fail in production."""

    says: str  # the reason, what settled it, and the line of the file
    to_do: str  # "" when nothing can be said
    call: str  # method and path


@dataclass(slots=True)
class Judge:
    """The production file, and what was found so far."""

    table: Table
    origin: bytes  # of the page in production: stands in for those of this machine
    host: bytes = b""  # by which it is asked there; b"" = a host that the file names
    judged: int = 0
    undecided: int = (
        0  # calls that it leaves to the API's own CORS fields (`cors: off`), which nobody saw here
    )
    failed: Counter[Objection] = field(default_factory=Counter)
    _router: Router | None = None
    _pairs: Pairs = field(default_factory=Pairs)
    _seen: int = 0  # exchanges so far, which number them
    _asked: OrderedDict[int, "_Asked"] = field(default_factory=OrderedDict)  # preflights, by their numbers
    _memo: dict[tuple[bytes, bytes, Call], Objection | None] = field(default_factory=dict)

    @property
    def asked_host(self) -> bytes:
        """By which production is asked: what was given, else the first name that the file has."""
        if self.host:
            return self.host
        hosts = (host for route in self.table.routes for host in route.match.hosts)
        named = next((host for host in hosts if not host.startswith(b"*")), None)
        return authority_of(self.table.listen).encode() if named is None else named

    def judge(self, exchange: Exchange, ended: float) -> Objection | None:
        """What production says; None when it works there, or is no business of CORS.

        ended: seconds on the monotonic clock.
        """
        self._seen += 1
        before = self._pairs.note(self._seen, exchange, ended)
        asked = None if before is None else self._asked.get(before.id)
        call = self._call_of(exchange, asked)
        if call is None:
            return None
        found = self._found(exchange, call)
        if asked is not None and before is not None and not before.cached:
            self._count(asked.found, -1)  # it was counted when it asked; now the whole call is
        self._count(found, 1)
        if exchange.capture is not None and exchange.capture.request.is_preflight:
            self._asked[self._seen] = _Asked(call.headers, found)
            if len(self._asked) > _MOST_ASKED:
                self._asked.popitem(last=False)
        return None if found is _UNDECIDED else found

    def _found(self, exchange: Exchange, call: Call) -> Objection | None:
        key = (exchange.path, b"1" if _switches(exchange) else b"", call)
        if key not in self._memo:
            if len(self._memo) >= _MOST_REMEMBERED:
                self._memo.clear()
            self._memo[key] = self._objection(exchange, call)
        return self._memo[key]

    def _count(self, found: Objection | None, by: int) -> None:
        if found is _UNDECIDED:
            self.undecided += by
            return
        self.judged += by
        if found is None:
            return
        if found in self.failed or (by > 0 and len(self.failed) < _MOST_LISTED):
            self.failed[found] += by
            self.failed = +self.failed  # without those that are down to none

    def _call_of(self, exchange: Exchange, asked: "_Asked | None") -> Call | None:
        """The call behind an exchange; None for one without Origin, and for what is refused here already.

        asked: the preflight that it relies on.
        """
        decision = exchange.decision
        if exchange.origin is None or exchange.capture is None or decision is None or not decision.allowed:
            return None
        origin = self.origin if _is_of_this_machine(exchange.origin) else exchange.origin
        request = exchange.capture.request
        if request.is_preflight:
            names = parse_names(request.headers or b"") or ()
            wanted = tuple((name, None) for name in names)
            return Call(origin, request.requested_method or b"GET", wanted, asks_first=True)
        # Cookies prove that the call has credentials (Fetch, #credentials). Which headers a script has set,
        # only its preflight tells.
        sends_cookies = any(name.lower() == b"cookie" for name, _ in request.raw_fields)
        headers = asked.headers if asked else ()
        return Call(origin, exchange.method, headers, sends_cookies, asks_first=asked is not None)

    def _objection(self, exchange: Exchange, call: Call) -> Objection | None:
        router = self._router = self._router or Router(self.table.routes)
        scheme = b"https" if self.table.tls else b"http"
        found = explain(self.table, Question(call, exchange.path, self.asked_host, scheme), router)
        if found.verdict.outcome is Outcome.UPSTREAM_DECIDES and not _switches(exchange):
            return _UNDECIDED
        if found.allowed or _is_any_socket(found, exchange):
            return None
        return Objection(
            _says(found), remedy_text(found), f"{shown(call.sent_method)} {shown(exchange.path)}"
        )


@dataclass(frozen=True, slots=True)
class _Asked:
    """A preflight: the headers that it named, and what was found."""

    headers: tuple[tuple[bytes, bytes | None], ...]
    found: Objection | None


_MOST_ASKED = 512
_MOST_REMEMBERED = 4096  # paths come from clients
_MOST_LISTED = 256
_UNDECIDED = Objection("", "", "")  # stands for itself: what the file leaves to the API


def _is_of_this_machine(raw: bytes) -> bool:
    origin = parse_origin(raw)
    return origin is not None and is_loopback_host(origin.host)


def _switches(exchange: Exchange) -> bool:
    return exchange.status == 101


def _is_any_socket(found: Explanation, exchange: Exchange) -> bool:
    """A WebSocket needs no CORS fields; `websocket: any` asks for no origin either."""
    return _switches(exchange) and found.route is not None and found.route.websocket == "any"


def _says(found: Explanation) -> str:
    detail = f": {found.detail}" if found.detail else ""
    kind = "the preflight" if found.leg.decision.kind is Kind.PREFLIGHT else "the call"
    rule = found.rule
    place = f" ({place_text(found.file, rule.line)})" if rule else f" ({found.file})"
    return f"{kind} fails with {found.reason}{detail}{place}"
