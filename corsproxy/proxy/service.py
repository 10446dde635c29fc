"""What serves one route: its settings, its upstream, and the ready-made CORS bytes.

Here:  the mutable companion of a frozen route: counters and bounded memo tables keyed by what clients send.
Never: sockets of clients, the order of steps in a request (handler).
"""

from corsproxy.config.table import Rewriting, Route
from corsproxy.cors.decide import (
    NO_POLICY,
    Decision,
    Kind,
    Preflight,
    decide_actual,
    decide_preflight,
)
from corsproxy.cors.policy import CorsPolicy
from corsproxy.proxy.answers import preflight_answer, refusal_answer
from corsproxy.proxy.cookie_guard import CookieGuard
from corsproxy.upstream.cluster import Cluster

__all__ = ["Load", "Memos", "Ready", "RouteService"]

# Origins and preflights come from clients: a full memo starts anew, so none ever holds more than this.
_MEMO_LIMIT = 4096
_MEMO_KEY_BYTES = 512


Settled = tuple[Decision, bytes, bytes]


class Ready:
    """A decision and the bytes it puts on every response; and what else the route changes there."""

    __slots__ = ("admits", "block", "decision", "owned", "plain", "rewriting", "vary_line")

    def __init__(
        self, decision: Decision, policy: CorsPolicy | None, rewriting: Rewriting | None = None
    ) -> None:
        self.decision = decision
        self.admits = decision.kind is Kind.ACTUAL and decision.allowed and not decision.passes
        self.rewriting = rewriting
        # Lower-case names, beside access-control-*, that the upstream may not set.
        self.owned = frozenset() if policy is None or decision.passes else policy.owned_fields
        self.block = b"\r\n".join(name + b": " + value for name, value in decision.fields)
        self.vary_line = b"Vary: " + b", ".join(decision.vary) if decision.vary else b""
        # True when nothing depends on the response's own fields, and none of them is edited.
        depends = decision.passes or decision.expose_present or decision.merge_expose
        self.plain = not (depends or (rewriting is not None and rewriting.edits is not None))


class Memos:
    """What was decided before, for all routes together: else clients could fill one for each of them."""

    __slots__ = ("actual", "preflight")

    def __init__(self) -> None:
        self.actual: dict[tuple[int, bytes | None, bool], Ready] = {}
        self.preflight: dict[tuple[int, bytes, bytes, bytes | None, bool], Settled] = {}


class Load:
    """What a route has to do right now; it is counted on when another table takes over."""

    __slots__ = ("in_flight", "tunnels")

    def __init__(self) -> None:
        self.in_flight = 0  # exchanges with the upstream, switched connections among them
        self.tunnels = 0  # connections that were switched to another protocol


class RouteService:
    """One route at work."""

    __slots__ = ("_index", "_memos", "cluster", "guard", "host", "keeps_host", "load", "page_scheme", "route")

    def __init__(
        self, route: Route, cluster: Cluster, memos: Memos, load: Load, guard: CookieGuard | None = None
    ) -> None:
        self.route = route
        self.cluster = cluster
        host = route.upstream.host
        # The Host sent to the upstream: the client's own, a literal one, or else the endpoint's.
        self.keeps_host = host == "preserve"
        self.host = host if isinstance(host, bytes) else b""
        # With the Host, the origin that pages get which the policy allows; b"" = they keep their own.
        own_page = route.upstream.origin == "upstream"
        self.page_scheme = route.upstream.endpoints[0].scheme.encode() + b"://" if own_page else b""
        self.load = load
        self.guard = guard  # of cookies; None = all of them go on
        self._index = route.index
        self._memos = memos

    def actual(self, origin: bytes | None, *, same_origin: bool = False) -> Ready:
        """The decision on a request that is no preflight."""
        memo = self._memos.actual
        key = (self._index, origin, same_origin)
        ready = memo.get(key)
        if ready is None:
            policy = self.route.policy
            decision = NO_POLICY if policy is None else decide_actual(policy, origin, same_origin=same_origin)
            ready = Ready(decision, policy, self.route.rewriting)
            if origin is None or len(origin) <= _MEMO_KEY_BYTES:
                if len(memo) >= _MEMO_LIMIT:
                    memo.clear()
                memo[key] = ready
        return ready

    def preflight(self, origin: bytes, method: bytes, headers: bytes | None, *, network: bool) -> Settled:
        """The decision on a preflight and its answer: the head without Date and Connection, and the body."""
        memo = self._memos.preflight
        key = (self._index, origin, method, headers, network)
        settled = memo.get(key)
        if settled is None:
            settled = _settle(self.route.policy, Preflight(origin, method, headers, network))
            if len(origin) + len(method) + len(headers or b"") <= _MEMO_KEY_BYTES:
                if len(memo) >= _MEMO_LIMIT:
                    memo.clear()
                memo[key] = settled
        return settled


def _settle(policy: CorsPolicy | None, ask: Preflight) -> Settled:
    if policy is None:
        return NO_POLICY, b"", b""
    decision = decide_preflight(policy, ask)
    if decision.allowed:
        return decision, preflight_answer(decision, policy.preflight_status), b""
    return decision, *refusal_answer(decision, "The preflight was refused.")
