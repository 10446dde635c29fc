"""Bytes of one client connection into request heads and body pieces, one message at a time.

Here:  aiohttp's C request parser, fed so that nothing behind the current message is parsed yet.
Never: sockets, time, answers. What is wrong with a request is returned as a Fault.

aiohttp's parser is strict, but it gives everything of one read at once, and a bad message takes the good ones
before it along. Both end when it is fed up to where a head or a chunked body can end, and no further.
"""

from collections.abc import Callable
from typing import Any
from typing import Protocol as Shape

from aiohttp.http_exceptions import BadHttpMessage, HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from corsproxy.config.table import Limits
from corsproxy.http.faults import (
    BAD_REQUEST,
    HEAD_TOO_LARGE,
    TARGET_TOO_LONG,
    TOO_MANY_FIELDS,
    VERSION_REFUSED,
    Fault,
)
from corsproxy.proxy.request import Request, read_request

__all__ = ["Parser", "RequestReader"]

_END = b"\r\n\r\n"


class Parser(Shape):
    """What is used of aiohttp's `HttpRequestParser`, whose C version has no type of its own."""

    def feed_data(self, data: bytes, /) -> tuple[Any, bool, bytes]:
        """Messages as (head, body stream), whether the last asks for another protocol, and the rest."""

    def message_consumed(self) -> None:
        """A message was taken; the parser stops after some that were not."""

    def set_upgraded(self, val: bool, /) -> None:
        """Go on with HTTP after a request for another protocol."""


class RequestReader:
    """Turns what a client sends into requests. `waiting` holds what came behind the current one, unparsed."""

    __slots__ = (
        "_body_left",
        "_chunked",
        "_head_bytes",
        "_limits",
        "_new_parser",
        "_overhead",
        "_parser",
        "_payload",
        "body",
        "complete",
        "is_http10",
        "unfinished_head",
        "waiting",
    )

    def __init__(self, new_parser: Callable[[], Parser], limits: Limits) -> None:
        self._new_parser = new_parser
        self._parser = new_parser()
        self._limits = limits
        self._head_bytes = 0  # of the current head that went into the parser
        self._body_left = 0
        self._overhead = 0  # bytes of framing and trailers since the last piece of body
        self._chunked = False
        self._payload: StreamReader = EMPTY_PAYLOAD
        self.waiting = b""
        self.unfinished_head = b""  # what is here of a head that is not complete, or cannot be served
        self.body: list[bytes] = []  # pieces that nobody has taken yet
        self.complete = True  # the current request is here in full
        self.is_http10 = False  # the current request's version

    def close(self) -> None:
        """Let go of the parser: nothing is read any more."""
        self.waiting = b""
        self._payload = EMPTY_PAYLOAD
        del self._parser, self._new_parser

    def take_body(self) -> list[bytes]:
        """The body pieces that came since the last call."""
        body = self.body
        self.body = []
        return body

    def read_head(self) -> Request | Fault | None:
        """Parse `waiting` up to the end of one head; None when it does not hold that much.

        With the head goes what is here of its body. After a Fault nothing more may be read: what follows
        cannot be told from the message that was wrong.
        """
        data = self.waiting
        end = _end_of_head(data, self.unfinished_head)
        if end is None or end == len(data):
            self.waiting = b""
        else:
            data, self.waiting = data[:end], data[end:]
        self._head_bytes += len(data)
        if self._head_bytes > self._limits.request_head:
            self.unfinished_head += data
            line = self.unfinished_head.find(b"\r\n")
            return TARGET_TOO_LONG if line < 0 or line > self._limits.request_head else HEAD_TOO_LARGE
        try:
            messages, upgrading, _ = self._parser.feed_data(data)
        except HttpProcessingError as error:
            self.unfinished_head += data
            return BAD_REQUEST.because(_objection(error))
        if not messages:  # incomplete, or empty lines before a request line (RFC 9112 §2.2)
            self.unfinished_head += data
            return None
        self._head_bytes = 0
        if upgrading:  # no tunnel starts here: what follows is HTTP again
            self._parser.set_upgraded(False)
        head, self._payload = messages[0]
        request = self._request(head, self.unfinished_head + data)
        self.unfinished_head = self.unfinished_head + data if isinstance(request, Fault) else b""
        return request

    def _request(self, head: Any, raw: bytes) -> Request | Fault:
        # Any: aiohttp's RawRequestMessage, private to its C parser
        version = head.version
        if version.major != 1 or version.minor > 1:
            return VERSION_REFUSED
        self.is_http10 = version.minor == 0
        method = head.method.encode("ascii")
        target = head.path.encode("utf-8", "surrogateescape")
        # llhttp takes more than one space between the three; RFC 9112 §3 does not.
        if not raw.startswith(b"%b %b HTTP/1." % (method, target)) and not _is_request_line(
            raw, method, target
        ):
            return BAD_REQUEST.because("malformed request line")
        fields = head.raw_headers
        if len(fields) > self._limits.request_fields:
            return TOO_MANY_FIELDS
        request = read_request(
            method,
            target,
            fields,
            is_http10=self.is_http10,
            keep_alive=not head.should_close,
        )
        if isinstance(request, Fault):
            return request
        if request.has_body:
            self._chunked = request.chunked
            self._body_left = request.body_bytes
            self.complete = False
            if self.waiting:
                return self.read_body() or request
        else:
            self._parser.message_consumed()
        return request

    def read_body(self) -> Fault | None:
        """Parse `waiting` as body, up to its end; the pieces go to `body`."""
        data = self.waiting
        payload = self._payload
        try:
            if self._chunked:
                at = 0
                while at < len(data) and not payload.is_eof():
                    end = data.find(_END, at)
                    end = len(data) if end < 0 else end + len(_END)
                    self._parser.feed_data(data[at:end])
                    at = end
                self.waiting = data[at:]
            else:
                taken = data[: self._body_left]
                self._body_left -= len(taken)
                self.waiting = data[len(taken) :]
                self._parser.feed_data(taken)
        except HttpProcessingError as error:
            self.waiting = b""
            return BAD_REQUEST.because(_objection(error))
        piece = payload.read_nowait()
        if piece:
            self.body.append(piece)
            self._overhead = 0
        else:
            self._overhead += len(data)
            if self._overhead > self._limits.request_head:
                return BAD_REQUEST.because("too many bytes of chunk extensions or trailers")
        if payload.is_eof():
            self.complete = True
            self._payload = EMPTY_PAYLOAD
            if self._chunked:
                # aiohttp 3.14 puts the last trailer on the next request, which may be another user's.
                self._parser = self._new_parser()
            else:
                self._parser.message_consumed()
        return None


def _end_of_head(data: bytes, before: bytes) -> int | None:
    """Where the head ends in `data`, behind the parsed `before`; None when it does not."""
    if before:
        seam = before[-3:]
        at = (seam + data[:3]).find(_END)
        if at >= 0:
            return at + len(_END) - len(seam)
    at = data.find(_END)
    return None if at < 0 else at + len(_END)


def _is_request_line(raw: bytes, method: bytes, target: bytes) -> bool:
    """True when the head starts so after the empty lines that RFC 9112 §2.2 lets pass."""
    return raw.lstrip(b"\r\n").startswith(b"%b %b HTTP/1." % (method, target))


_OBJECTIONS = {
    "BadHttpMethod": "unknown method",
    "BadStatusLine": "malformed request line",
    "InvalidHeader": "malformed field",
    "InvalidURLError": "malformed request target",
    "LineTooLong": "a line is too long",
    "TransferEncodingError": "malformed chunk",
}


def _objection(error: HttpProcessingError) -> str:
    """What the parser objects to, without the bytes it quotes."""
    if type(error) is BadHttpMessage:
        return error.message.partition("\n")[0].rstrip(":.")
    return _OBJECTIONS.get(type(error).__name__, "malformed")
