"""A connection that was switched to another protocol: bytes both ways until both sides have ended.

Here:  a pump between client and upstream with tied flow control, half-close, an idle limit, and the leave
       that is taken when the process ends. WebSocket messages, extensions, close codes pass as they are.
Never: the handshake (forward), deciding who may open one (handler).
"""

from collections.abc import Callable

from corsproxy.http.faults import TUNNEL_IDLE, Fault
from corsproxy.http.websocket import GOING_AWAY, FrameEdges
from corsproxy.proxy.downstream import Downstream
from corsproxy.upstream.connection import Connection

__all__ = ["Tunnel"]


class Tunnel:
    """The work of a client connection after 101 Switching Protocols."""

    __slots__ = (
        "_client",
        "_client_ended",
        "_connection",
        "_edges",
        "_ended",
        "_idle",
        "_leaving",
        "_upstream_ended",
        "received_bytes",
        "sent_bytes",
    )

    is_answered = True  # the 101 was the last head

    def __init__(
        self,
        client: Downstream,
        connection: Connection,
        idle: float,
        ended: Callable[["Tunnel", Fault | None], None],
        *,
        websocket: bool,
    ) -> None:
        """idle: seconds without a byte either way. ended: called once, with the fault if there was one.

        websocket: it is that protocol, and not one that nobody here knows.
        """
        self._client = client
        self._connection = connection
        self._idle = idle
        self._ended: Callable[[Tunnel, Fault | None], None] | None = ended
        self._edges = FrameEdges() if websocket else None  # of what the upstream sends
        # The client was told to leave, or will be at the next edge: its upstream is not heard any more.
        self._leaving = False
        self._client_ended = False  # it sends no more
        self._upstream_ended = False
        self.received_bytes = 0  # from the client
        self.sent_bytes = 0  # to the client

    def start(self) -> None:
        """Take over both ends; what either side sent too early goes first."""
        early = self._client.switch(self)
        late = self._connection.switch(self)
        self._client.arm(self._idle)
        if early:
            self.on_client_data(early)
        if late:
            self.on_upstream_data(late)

    # The client's side

    def on_client_data(self, data: bytes) -> None:
        """Bytes from the client."""
        self.received_bytes += len(data)
        self._connection.transport.write(data)
        self._client.arm(self._idle)

    def on_client_eof(self) -> bool:
        """The client sends no more; True keeps the other direction open."""
        self._client_ended = True
        transport = self._connection.transport
        # TLS knows no half: who says goodbye there is gone, and what it sent before goes on to the upstream.
        if self._upstream_ended or self._client.scheme == b"https" or not transport.can_write_eof():
            self._end(None)
            return False
        transport.write_eof()
        return True

    def on_client_gone(self) -> None:
        """The client closed the connection."""
        self._end(None, abrupt=True)

    def on_going_away(self) -> None:
        """The process ends soon: the client is told 1001 in the upstream's place, and its answer ends both
        sides in order. Other protocols go on for as long as the process lets them.
        """
        if self._upstream_ended:  # nothing more can be said to the client, nor will it answer
            self._end(None)
        elif self._edges is not None and not self._leaving:
            self._leaving = True
            if self._edges.at_edge:
                self._client.write(GOING_AWAY)

    def on_client_drained(self) -> None:
        """The client takes more again."""
        self._connection.resume()

    def on_deadline(self) -> None:
        """Nothing came for too long; but what did may be on its way still, to one who takes it slowly."""
        takes = (self._client.takes_some(), self._connection.takes_some())  # both: each remembers this look
        if any(takes):
            self._client.arm(self._idle)
        else:
            self._end(TUNNEL_IDLE, abrupt=True)

    def on_request_body(self) -> None:
        """Never called: the request of a switch has no body."""

    def on_client_fault(self, fault: Fault) -> None:
        """Never called: nothing is parsed any more."""

    # The upstream's side

    def on_upstream_data(self, data: bytes) -> None:
        """Bytes from the upstream."""
        edges = self._edges
        if self._leaving:
            data = self._last_frame(data)
        elif edges is not None:
            edges.take(data)
        self.sent_bytes += len(data)
        client = self._client
        client.write(data)
        if client.is_choked:
            self._connection.pause()
        client.arm(self._idle)

    def _last_frame(self, data: bytes) -> bytes:
        """What still goes to a client that will be told to leave: the rest of the frame that it has begun."""
        edges = self._edges
        if edges is None or edges.at_edge:
            return b""
        rest = data[: edges.take_to_edge(data)]
        return rest + GOING_AWAY if edges.at_edge else rest

    def on_upstream_eof(self) -> bool:
        """The upstream sends no more; True keeps the other direction open."""
        self._upstream_ended = True
        if self._client_ended or not self._client.write_eof():
            self._end(None)
            return False
        return True

    def on_upstream_closed(self) -> None:
        """The upstream closed the connection."""
        self._end(None)

    def pause_upload(self) -> None:
        """The upstream takes no more for now."""
        self._client.pause_upload()

    def resume_upload(self) -> None:
        """The upstream takes more again."""
        self._client.resume_upload()

    def _end(self, fault: Fault | None, *, abrupt: bool = False) -> None:
        ended, self._ended = self._ended, None
        if ended is None:
            return
        if abrupt:
            self._connection.close()
        else:
            self._connection.close_gently()
        self._client.hang_up()
        ended(self, fault)
