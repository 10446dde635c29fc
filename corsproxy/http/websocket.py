"""WebSocket frames, as far as one who passes them on has to know them (RFC 6455).

Here:  where one frame ends and the next begins, and the frame that takes leave.
Never: payloads, masks, extensions, sockets.
"""

__all__ = ["GOING_AWAY", "FrameEdges"]

GOING_AWAY = b"\x88\x02\x03\xe9"
"""A Close frame as a server sends it: status 1001, an endpoint is going away (RFC 6455 §7.4.1)."""

_MASKED = 0x80
_LENGTH = 0x7F
_LENGTH_BYTES = {126: 2, 127: 8}


class FrameEdges:
    """Follows one direction of a connection. A control frame may be put in at an edge, and only there: also
    between the fragments of a message (RFC 6455 §5.4).
    """

    __slots__ = ("_header", "_left")

    def __init__(self) -> None:
        self._header = b""  # of a frame, as long as it is not complete
        self._left = 0  # bytes of the current frame that are still to come

    @property
    def at_edge(self) -> bool:
        """True when the bytes taken so far end with a frame."""
        return not self._left and not self._header

    def take(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        if self.at_edge and len(data) > 1 and len(data) == data[1] + 2 < 128:
            return  # one short frame of a server, as most are
        if len(data) == self._left:
            self._left = 0  # the common end of a large frame
            return
        at = 0
        while at < len(data):
            at = self._step(data, at)

    def take_to_edge(self, data: bytes) -> int:
        """Take bytes up to the first edge; returns how many those were."""
        at = 0
        while at < len(data) and (at == 0 or not self.at_edge):
            at = self._step(data, at)
        return at

    def _step(self, data: bytes, at: int) -> int:
        """Take the rest of a frame, or of a header, as far as it is here; returns where that ends."""
        if self._left:
            end = min(len(data), at + self._left)
            self._left -= end - at
            return end
        header = self._header + data[at : at + 14]  # no header is longer
        size, payload = _read_header(header)
        if not size:
            self._header = header
            return len(data)
        end = at + size - len(self._header)
        self._header = b""
        self._left = payload
        return end


def _read_header(data: bytes) -> tuple[int, int]:
    """The sizes of a frame's header and of its payload; (0, 0) when the header is not complete (§5.2)."""
    if len(data) < 2:
        return 0, 0
    length = data[1] & _LENGTH
    extended = _LENGTH_BYTES.get(length, 0)
    size = 2 + extended + (4 if data[1] & _MASKED else 0)
    if len(data) < size:
        return 0, 0
    return size, int.from_bytes(data[2 : 2 + extended], "big") if extended else length
