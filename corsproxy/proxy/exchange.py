"""The record of one exchange: what was asked, decided and answered.

Here:  one mutable record, filled in by the handler and the forwarding, read once it is finished; the word for
       its outcome.
Never: Cookie, Authorization, query values or bodies, but for `capture`, which no observer keeps; formatting.
"""

from corsproxy.config.table import Route
from corsproxy.cors.decide import Decision, Kind, Reason
from corsproxy.http.faults import Fault
from corsproxy.http.trace_context import Trace
from corsproxy.proxy.capture import Capture

__all__ = ["Exchange", "outcome_of"]


class Exchange:
    """One request and its response or answer: all that log, metrics, traces and inspector read."""

    __slots__ = (
        "address",
        "capture",
        "client",
        "decision",
        "endpoint",
        "fault",
        "host",
        "is_http10",
        "method",
        "origin",
        "path",
        "peer",
        "received_bytes",
        "referrer",
        "request_id",
        "requested_method",
        "responded",
        "retries",
        "route",
        "scheme",
        "sent_bytes",
        "started",
        "status",
        "stripped",
        "trace",
        "traceparent",
        "user_agent",
    )

    def __init__(self, started: float, peer: str) -> None:
        self.started = started  # seconds on the monotonic clock
        self.peer = peer  # address of the client's end of the connection
        self.client = ""  # the client's own, where trusted proxies say another; "" = that of the peer
        self.method = b""  # b"" when the head could not be read
        self.path = b""  # raw, without query
        self.origin: bytes | None = None
        self.host = b""  # the authority that was asked for
        self.scheme = b""  # that the client speaks with this proxy
        self.is_http10 = False
        self.user_agent = b""
        self.referrer = b""  # Referer, without its query
        self.traceparent = b""  # as sent, unread
        self.trace: Trace | None = None  # None = nobody traces
        self.request_id = b""  # X-Request-Id, the client's or ours
        self.requested_method: bytes | None = None  # of a preflight
        self.route: Route | None = None
        self.decision: Decision | None = None
        self.endpoint = ""  # the upstream address that was asked; "" for answers of the proxy's own
        self.address = ""  # where the endpoint's host name led; "" when the endpoint itself says it
        self.status = 0  # what the client was told; 0 = nothing
        self.fault: Fault | None = None
        self.received_bytes = 0  # of the request body
        self.sent_bytes = 0  # of the response body
        self.responded = 0.0  # when the upstream's response head was there; 0.0 = never
        self.retries = 0  # times that the request was sent again, or to another endpoint
        self.capture: Capture | None = None  # None = nobody wants to see the fields
        self.stripped = 0  # CORS fields of the upstream's that were taken off


def outcome_of(decision: Decision | None) -> str:
    """One word for log, metric and inspector; a dash for what no policy of a route settled."""
    if decision is None or decision.kind is Kind.NOT_CORS:
        return "-"
    if decision.reason is Reason.NO_ROUTE:  # a script may well read that 404: its fields are another policy's
        return "-"
    if decision.passes:
        return "report-only" if decision.detail else "-"
    return "allowed" if decision.allowed else "denied"
