"""The record of one exchange: what was asked, decided and answered.

Here:  one mutable record, filled in by the handler and the forwarding, read once it is finished.
Never: Cookie, Authorization, query values or bodies; formatting.
"""

from corsproxy.config.table import Route
from corsproxy.cors.decide import Decision
from corsproxy.http.faults import Fault

__all__ = ["Exchange"]


class Exchange:
    """One request and its response or answer: all that log, metrics, traces and inspector read."""

    __slots__ = (
        "address",
        "decision",
        "endpoint",
        "fault",
        "method",
        "origin",
        "path",
        "peer",
        "received_bytes",
        "request_id",
        "requested_method",
        "responded",
        "route",
        "sent_bytes",
        "started",
        "status",
    )

    def __init__(self, started: float, peer: str) -> None:
        self.started = started  # seconds on the monotonic clock
        self.peer = peer  # address of the client's end of the connection
        self.method = b""  # b"" when the head could not be read
        self.path = b""  # raw, without query
        self.origin: bytes | None = None
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
