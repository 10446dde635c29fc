"""Faults: what went wrong in an exchange, who broke it, and what the client is told.

Here:  the closed list of faults with status, the error type of RFC 9209 §2.3, and a sentence.
Never: raising, logging, bytes on the wire.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

__all__ = [
    "AMBIGUOUS_PATH",
    "BAD_REQUEST",
    "BODY_TOO_LARGE",
    "CLIENT_GONE",
    "CLIENT_TIMEOUT",
    "CONNECTION_LIMIT",
    "CONNECT_TIMEOUT",
    "DNS_ERROR",
    "HEAD_TOO_LARGE",
    "HOST_UNKNOWN",
    "IN_FLIGHT_LIMIT",
    "METHOD_REFUSED",
    "NO_ROUTE",
    "RESPONSE_TIMEOUT",
    "TARGET_TOO_LONG",
    "TOO_MANY_FIELDS",
    "TRANSFER_CODING",
    "TUNNEL_IDLE",
    "UPSTREAM_BROKE_OFF",
    "UPSTREAM_LIMIT",
    "UPSTREAM_PROTOCOL",
    "UPSTREAM_REFUSED",
    "UPSTREAM_STALLED",
    "UPSTREAM_TLS",
    "UPSTREAM_UNREACHABLE",
    "VERSION_REFUSED",
    "Fault",
    "Side",
]


class Side(StrEnum):
    """Who broke it."""

    CLIENT = "client"
    PROXY = "proxy"
    UPSTREAM = "upstream"


@dataclass(frozen=True, slots=True)
class Fault:
    """An exchange that could not be finished as asked.

    code: one word for log, metric and the problem's `type`.
    error: error type of RFC 9209 §2.3 for Proxy-Status; "" when the proxy has nothing to report there.
    retry_after: seconds for Retry-After; 0 = the field is left out.
    """

    code: str
    status: int
    side: Side
    error: str
    says: str
    detail: str = ""
    retry_after: int = 0

    def because(self, detail: str) -> "Fault":
        """The same fault with what is known about this one."""
        return replace(self, detail=detail)


BAD_REQUEST = Fault(
    "bad-request", 400, Side.CLIENT, "http_request_error", "The request is not valid HTTP/1.1."
)
AMBIGUOUS_PATH = Fault(
    "ambiguous-path",
    400,
    Side.CLIENT,
    "http_request_error",
    "The path could be read as another route; it is refused rather than guessed at.",
)
NO_ROUTE = Fault("no-route", 404, Side.PROXY, "destination_not_found", "No route matches this request.")
HOST_UNKNOWN = Fault(
    "host-unknown", 421, Side.PROXY, "destination_not_found", "No route is for the host of this request."
)
METHOD_REFUSED = Fault(
    "method-refused", 405, Side.CLIENT, "http_request_denied", "This method is not forwarded by this proxy."
)
CLIENT_TIMEOUT = Fault(
    "client-timeout", 408, Side.CLIENT, "http_request_error", "The request did not arrive in time."
)
BODY_TOO_LARGE = Fault(
    "body-too-large",
    413,
    Side.CLIENT,
    "http_request_error",
    "The request body is longer than this route accepts.",
)
TARGET_TOO_LONG = Fault(
    "target-too-long",
    414,
    Side.CLIENT,
    "http_request_error",
    "The request target is longer than this proxy accepts.",
)
HEAD_TOO_LARGE = Fault(
    "head-too-large",
    431,
    Side.CLIENT,
    "http_request_error",
    "The request head is larger than this proxy accepts.",
)
TOO_MANY_FIELDS = Fault(
    "too-many-fields",
    431,
    Side.CLIENT,
    "http_request_error",
    "The request has more fields than this proxy accepts.",
)
TRANSFER_CODING = Fault(
    "transfer-coding",
    501,
    Side.CLIENT,
    "http_request_error",
    "The request body uses a transfer coding other than chunked.",
)
VERSION_REFUSED = Fault(
    "version-refused", 505, Side.CLIENT, "http_request_error", "This proxy speaks HTTP/1.1 and HTTP/1.0 only."
)
CLIENT_GONE = Fault(
    "client-gone", 499, Side.CLIENT, "", "The client closed the connection before the exchange was finished."
)
IN_FLIGHT_LIMIT = Fault(
    "in-flight-limit",
    503,
    Side.PROXY,
    "connection_limit_reached",
    "This route has as many requests in flight as it accepts.",
    retry_after=1,
)
CONNECTION_LIMIT = Fault(
    "connection-limit",
    503,
    Side.PROXY,
    "connection_limit_reached",
    "This proxy has as many connections as it accepts.",
    retry_after=1,
)
UPSTREAM_LIMIT = Fault(
    "upstream-limit",
    503,
    Side.PROXY,
    "connection_limit_reached",
    "All connections to the upstream are in use.",
    retry_after=1,
)
DNS_ERROR = Fault("dns-error", 502, Side.UPSTREAM, "dns_error", "The upstream's name could not be resolved.")
UPSTREAM_REFUSED = Fault(
    "connection-refused", 502, Side.UPSTREAM, "connection_refused", "The upstream refused the connection."
)
UPSTREAM_UNREACHABLE = Fault(
    "unreachable", 502, Side.UPSTREAM, "destination_unavailable", "The upstream could not be reached."
)
UPSTREAM_TLS = Fault("tls-error", 502, Side.UPSTREAM, "tls_protocol_error", "TLS with the upstream failed.")
UPSTREAM_BROKE_OFF = Fault(
    "broke-off",
    502,
    Side.UPSTREAM,
    "connection_terminated",
    "The upstream closed the connection before its response was complete.",
)
UPSTREAM_PROTOCOL = Fault(
    "protocol-error",
    502,
    Side.UPSTREAM,
    "http_protocol_error",
    "The upstream's response is not valid HTTP/1.1.",
)
CONNECT_TIMEOUT = Fault(
    "connect-timeout", 504, Side.UPSTREAM, "connection_timeout", "Connecting to the upstream took too long."
)
RESPONSE_TIMEOUT = Fault(
    "response-timeout", 504, Side.UPSTREAM, "http_response_timeout", "The upstream did not answer in time."
)
UPSTREAM_STALLED = Fault(
    "upstream-stalled",
    504,
    Side.UPSTREAM,
    "connection_read_timeout",
    "The upstream neither took the request nor went on with its response.",
)
TUNNEL_IDLE = Fault(
    "tunnel-idle", 101, Side.PROXY, "", "Nothing moved through the switched connection for too long."
)
