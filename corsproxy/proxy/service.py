"""What serves one route: its settings, its upstream, and the ready-made CORS bytes.

Here:  the mutable companion of a frozen route: counters and bounded memo tables keyed by what clients send.
Never: sockets of clients, the order of steps in a request (handler).
"""

from corsproxy.config.table import Rewriting, Route
from corsproxy.cors.decide import (
    NO_POLICY,
    Decision,
    Preflight,
    decide_actual,
    decide_preflight,
)
from corsproxy.cors.policy import CorsPolicy
from corsproxy.proxy.answers import preflight_answer
from corsproxy.upstream.cluster import Cluster

__all__ = ["Ready", "RouteService"]

# Origins and preflights come from clients: a full memo starts anew, so none ever holds more than this.
_MEMO_LIMIT = 2048
_MEMO_KEY_BYTES = 1024


class Ready:
    """A decision and the bytes it puts on every response; and what else the route changes there."""

    __slots__ = ("block", "decision", "owned", "plain", "rewriting", "vary_line")

    def __init__(
        self, decision: Decision, policy: CorsPolicy | None, rewriting: Rewriting | None = None
    ) -> None:
        self.decision = decision
        self.rewriting = rewriting
        # Lower-case names, beside access-control-*, that the upstream may not set.
        self.owned = frozenset() if policy is None or decision.passes else policy.owned_fields
        self.block = b"\r\n".join(name + b": " + value for name, value in decision.fields)
        self.vary_line = b"Vary: " + b", ".join(decision.vary) if decision.vary else b""
        # True when nothing depends on the response's own fields, and none of them is edited.
        depends = decision.passes or decision.expose_present or decision.merge_expose
        self.plain = not (depends or (rewriting is not None and rewriting.edits is not None))


class RouteService:
    """One route at work."""

    __slots__ = ("_actual", "_preflight", "cluster", "host", "in_flight", "keeps_host", "route")

    def __init__(self, route: Route, cluster: Cluster) -> None:
        self.route = route
        self.cluster = cluster
        host = route.upstream.host
        # The Host sent to the upstream: the client's own, a literal one, or else the endpoint's.
        self.keeps_host = host == "preserve"
        self.host = host if isinstance(host, bytes) else b""
        self.in_flight = 0
        self._actual: dict[tuple[bytes | None, bool], Ready] = {}
        self._preflight: dict[tuple[bytes, bytes, bytes | None, bool], tuple[Decision, bytes]] = {}

    def actual(self, origin: bytes | None, *, same_origin: bool = False) -> Ready:
        """The decision on a request that is no preflight."""
        key = (origin, same_origin)
        ready = self._actual.get(key)
        if ready is None:
            policy = self.route.policy
            decision = NO_POLICY if policy is None else decide_actual(policy, origin, same_origin=same_origin)
            ready = Ready(decision, policy, self.route.rewriting)
            if origin is None or len(origin) <= _MEMO_KEY_BYTES:
                if len(self._actual) >= _MEMO_LIMIT:
                    self._actual.clear()
                self._actual[key] = ready
        return ready

    def preflight(
        self, origin: bytes, method: bytes, headers: bytes | None, *, network: bool
    ) -> tuple[Decision, bytes]:
        """The decision on a preflight and, if allowed, the answer's head without Date and Connection."""
        key = (origin, method, headers, network)
        found = self._preflight.get(key)
        if found is None:
            policy = self.route.policy
            if policy is None:
                return NO_POLICY, b""
            decision = decide_preflight(policy, Preflight(origin, method, headers, network))
            head = preflight_answer(decision, policy.preflight_status) if decision.allowed else b""
            found = (decision, head)
            if len(origin) + len(method) + len(headers or b"") <= _MEMO_KEY_BYTES:
                if len(self._preflight) >= _MEMO_LIMIT:
                    self._preflight.clear()
                self._preflight[key] = found
        return found
