"""What a client connection and those who serve it ask of each other.

Here:  the shapes of a service, of the work on one request, of a tunnel; the settings of a listener.
Never: code that runs on a request.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from typing import Protocol as Shape

from corsproxy.config.table import Limits, Timeouts
from corsproxy.http.faults import Fault
from corsproxy.http.forwarded import Network
from corsproxy.proxy.reader import PreflightMemo
from corsproxy.proxy.request import Request

if TYPE_CHECKING:  # the connection itself is made of these
    from corsproxy.proxy.downstream import Downstream

__all__ = ["Pump", "Service", "Settings", "Work"]


class Work(Shape):
    """What is under way for a connection's current request."""

    @property
    def is_answered(self) -> bool:
        """True once the head of the response is out, and can no longer say that the connection ends."""

    def on_request_body(self) -> None:
        """More of the body, or its end (`Downstream.take_body`, `request_complete`)."""

    def on_client_gone(self) -> None:
        """The client closed the connection."""

    def on_client_fault(self, fault: Fault) -> None:
        """The rest of the body is not valid."""

    def on_client_drained(self) -> None:
        """The client takes more again, after `Downstream.is_choked` was True."""

    def on_deadline(self) -> None:
        """The time given to `Downstream.arm` is over."""


class Pump(Work, Shape):
    """What is under way once the connection has switched to another protocol."""

    def on_client_data(self, data: bytes) -> None:
        """Bytes from the client, as they came."""

    def on_going_away(self) -> None:
        """The process ends soon: take leave of both sides as the protocol has it, where that is known."""

    def on_client_eof(self) -> bool:
        """The client sends no more; True keeps the other direction open."""


class Service(Shape):
    """Who serves requests."""

    def handle(self, client: "Downstream", request: Request) -> None:
        """Serve one request; `Downstream.finish` ends it, now or later."""

    def refuse(self, client: "Downstream", fault: Fault, head: bytes) -> None:
        """Answer a request that could not be read. head: what is known of it, b"" when nothing is."""

    def settings(self) -> "Settings":
        """What holds for new connections."""


class Settings:
    """Limits and timeouts of the listener."""

    __slots__ = ("limits", "preflights", "tick", "timeouts", "trusted")

    def __init__(
        self, limits: Limits, timeouts: Timeouts, shortest: float, trusted: Sequence[Network]
    ) -> None:
        """shortest: of all timeouts that a connection can be given, in seconds. trusted: proxies in front."""
        self.limits = limits
        self.preflights = PreflightMemo()
        self.trusted = trusted
        self.timeouts = timeouts
        self.tick = max(shortest, 0.05)  # seconds between two looks at a connection's deadline
