"""The fields of one exchange as they were on both wires, for whoever looks into single exchanges.

Here:  references to what request, forwarding and answer have in hand anyway; nothing is copied or parsed.
Never: bodies; redaction, which is the duty of whoever keeps any of it beyond the exchange.
"""

from corsproxy.http.fields import Fields
from corsproxy.proxy.request import Request

__all__ = ["Capture"]


class Capture:
    """What went over the wires: secrets and all, so it lives no longer than the exchange."""

    __slots__ = ("answer", "request", "response", "scheme", "sent")

    def __init__(self, request: Request, scheme: bytes) -> None:
        self.request = request
        self.scheme = scheme  # that the client speaks with this proxy
        self.sent = b""  # the head for the upstream, complete; b"" = it got none
        self.response: Fields | None = None  # the upstream's; None = there was none
        self.answer = b""  # the head that the client got, complete; b"" = none

    def note_response(self, fields: Fields, answer: bytes) -> None:
        """What the upstream sent, and what the client got of it."""
        self.response = fields
        self.answer = answer
