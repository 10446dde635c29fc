"""One request head into method, target and fields: by the letter, and with nothing left over from it.

Here:  the request line by the grammar of RFC 9112 §3, the field lines by llhttp (httptools).
Never: sockets, time, what a field means. What is wrong with a head is returned as a Fault.

A parser lives for one head. That costs 0.2 µs, and nothing of one message can show up in the next.
"""

import re

from httptools import (
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserInvalidURLError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from corsproxy.http.faults import BAD_REQUEST, TRANSFER_CODING, VERSION_REFUSED, Fault
from corsproxy.http.fields import Fields

__all__ = ["END", "Head", "HeadStart", "end_of_section", "parse_head"]

END = b"\r\n\r\n"
"""Ends a head, and a chunked body with its trailers."""

# llhttp takes more than one space between the three, and RTSP; RFC 9112 §3 does not. Which methods there are,
# and what may stand in a target, llhttp says.
_REQUEST_LINE = re.compile(rb"([A-Z-]+) ([!-~]+) HTTP/1\.([01])\r\n")
# A line in its form, of a version that exists and is not spoken here, or of HTTP/0.9, which had none.
_OTHER_VERSION = re.compile(rb"[A-Z-]+ [!-~]+(?: HTTP/[0-9]\.[0-9])?\r\n")
_BAD_LINE = BAD_REQUEST.because("malformed request line")
_EMPTY_CODING = "Empty Transfer-Encoding"  # to `read_request`, a coding like others that are not known: 501


class Head:
    """A head in good form: what the fields mean is looked at by `read_request`."""

    __slots__ = ("fields", "is_complete", "is_http10", "keep_alive", "method", "parser", "target")

    parser: HttpRequestParser  # while it reads; it holds this object
    method: bytes
    target: bytes  # as sent; visible ASCII
    is_http10: bool
    keep_alive: bool  # the client will take another response on this connection (RFC 9112 §9.3)

    def __init__(self) -> None:
        self.fields: Fields = []
        self.is_complete = False

    # httptools callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field line. The white space before the value is off, but not behind it (RFC 9112 §5.1)."""
        self.fields.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        """The empty line."""
        if self.is_complete:
            raise ValueError("a second head")
        self.is_complete = True
        self.keep_alive = self.parser.should_keep_alive()


_TLS_HANDSHAKE = b"\x16\x03"  # record type and major version (RFC 8446 §5.1)


def parse_head(raw: bytes) -> Head | Fault | None:
    """Read the bytes up to the first empty line, or None when nothing stands before it.

    RFC 9112 §2.2 lets a client send empty lines before a request line.
    """
    head = Head()
    head.parser = parser = HttpRequestParser(head)
    try:
        parser.feed_data(raw)
    except HttpParserUpgrade:  # CONNECT, or a wish to switch: what follows is HTTP until a 101 is out
        pass
    except HttpParserError as error:
        return _refusal(error, raw)
    finally:
        del head.parser
    line = _REQUEST_LINE.match(raw)
    if line is None or not head.is_complete:
        raw = raw.lstrip(b"\r\n")
        if not raw:
            return None
        line = _REQUEST_LINE.match(raw)
        if line is None or not head.is_complete:
            return _refusal_of_line(raw) if head.is_complete else _BAD_LINE
    head.method, head.target, minor = line.groups()
    head.is_http10 = minor == b"0"
    return head


class HeadStart:
    """A head of which more is to come: so far, one that llhttp does not object to.

    What it says is read when it is here in full, from the first byte: how it was cut changes nothing.
    """

    __slots__ = ("_parser",)

    def __init__(self) -> None:
        self._parser = HttpRequestParser(None)

    def feed(self, piece: bytes, raw: bytes) -> Fault | None:
        """Take more. raw: all there is by now; the piece is its end."""
        try:
            self._parser.feed_data(piece)
        except HttpParserUpgrade:  # it will be looked at in full
            pass
        except HttpParserError as error:
            return _refusal(error, raw)
        return None


def _refusal(error: HttpParserError, raw: bytes) -> Fault:
    """Why llhttp refuses these bytes. Its own words quote nothing of them."""
    if raw.startswith(_TLS_HANDSHAKE):
        return BAD_REQUEST.because("a TLS handshake, where plain HTTP is spoken")
    if isinstance(error, HttpParserInvalidMethodError):
        return BAD_REQUEST.because("unknown method")
    if isinstance(error, HttpParserInvalidURLError):
        return BAD_REQUEST.because("malformed request target")
    if _REQUEST_LINE.match(raw.lstrip(b"\r\n")) is None:
        return _BAD_LINE
    says = str(error)
    return TRANSFER_CODING if says == _EMPTY_CODING else BAD_REQUEST.because(says)


def _refusal_of_line(raw: bytes) -> Fault:
    """Why a request line is refused that llhttp lets pass."""
    return _BAD_LINE if _OTHER_VERSION.match(raw) is None else VERSION_REFUSED


def end_of_section(data: bytes, before: bytes = b"", start: int = 0) -> int:
    """Where a head, or what may be a chunked body, ends in `data` from `start` on; -1 when it does not.

    before: what came directly before the data, of which only the end matters.
    """
    if before:
        seam = before[-3:]
        at = (seam + data[:3]).find(END)
        if at >= 0:
            return at + len(END) - len(seam)
    at = data.find(END, start)
    return -1 if at < 0 else at + len(END)
