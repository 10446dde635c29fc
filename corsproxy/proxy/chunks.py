"""A chunked request body into the bytes it carries.

Here:  llhttp (httptools), fed up to where the body can end and no further (RFC 9112 §7.1).
Never: sockets, bounds on a body. Extensions and trailers are checked for their form and end here, so that it
       does not matter which of them stands twice (RFC 9110 §6.5.1).

A parser of its own for each such body: what it ends in, a trailer above all, is nobody's next head.
"""

from collections.abc import Callable

from httptools import HttpRequestParser

from corsproxy.proxy.head import END, end_of_section

__all__ = ["ChunkedBody"]

_HEAD = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"  # what makes llhttp read chunks


class _Sink:
    """What llhttp calls. Apart from the body, so that parser and callbacks do not hold each other."""

    __slots__ = ("is_complete", "on_body")

    def __init__(self, on_body: Callable[[bytes], None]) -> None:
        self.on_body = on_body
        self.is_complete = False

    def on_message_complete(self) -> None:
        """The last chunk and the trailers are here."""
        self.is_complete = True


class ChunkedBody:
    """One body, from behind its head to behind its trailers."""

    __slots__ = ("_parser", "_pieces", "_sink", "_tail")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._sink = _Sink(self._pieces.append)
        self._parser = HttpRequestParser(self._sink)
        self._parser.feed_data(_HEAD)
        self._tail = b""  # the last three bytes

    @property
    def is_complete(self) -> bool:
        """True when the body is here in full."""
        return self._sink.is_complete

    def feed(self, data: bytes) -> bytes:
        """Read on; returns what stands behind the body. Raises HttpParserError."""
        # From its end, a large piece is searched in a third of the time; and most have no place to end at.
        if data.rfind(END) < 0 and END not in self._tail + data[:3]:
            self._parser.feed_data(data)
            at = len(data)
        else:
            at = self._feed_by_sections(data)
        self._tail = (self._tail + data[-3:])[-3:]
        return data[at:]

    def _feed_by_sections(self, data: bytes) -> int:
        """Feed up to each place where the body can end; returns where it did, or how much there was."""
        view = memoryview(data)  # nothing is copied only to be cut
        start, end = 0, end_of_section(data, self._tail)
        while end >= 0:
            self._parser.feed_data(view[start:end])
            if self._sink.is_complete:
                return end
            start, end = end, end_of_section(data, start=end)
        self._parser.feed_data(view[start:])
        return len(data)

    def take(self) -> bytes:
        """The bytes that came since the last call."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data
