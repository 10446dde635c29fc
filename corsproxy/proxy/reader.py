"""Bytes of one client connection into request heads and body pieces, one message at a time.

Here:  where a head and a body end; limits on heads and on what surrounds a body; preflights known by heart.
Never: sockets, time, answers. What is wrong with a request is returned as a Fault.

Nothing behind the current message is parsed yet: a bad one costs none of those before it, and is refused in
its turn (RFC 9112 §9.3.2).
"""

from httptools import HttpParserError

from corsproxy.config.table import Limits
from corsproxy.http.faults import BAD_REQUEST, HEAD_TOO_LARGE, TARGET_TOO_LONG, TOO_MANY_FIELDS, Fault
from corsproxy.proxy.chunks import ChunkedBody
from corsproxy.proxy.head import END, Head, HeadStart, end_of_section, parse_head
from corsproxy.proxy.request import Request, read_request

__all__ = ["PreflightMemo", "RequestReader"]

_CAPITAL_O = 0x4F  # OPTIONS starts with it
_MEMO_LIMIT = 4096
_MEMO_HEAD_BYTES = 1024
_SECRETS = frozenset({b"authorization", b"cookie", b"proxy-authorization"})


class PreflightMemo:
    """Preflights read before, by their heads, byte for byte: what a head says depends on nothing else.

    Pages of one browser send the same ones again and again, and without credentials (Fetch,
    #cors-preflight-fetch); what others send with some is not kept. Saves 5 of the 8 µs that go into a
    preflight beside the system calls.
    """

    __slots__ = ("known",)

    def __init__(self) -> None:
        self.known: dict[bytes, Request] = {}  # nobody changes these requests

    def keep(self, head: bytes, request: Request) -> None:
        """Remember a request without body, if it is a preflight like most."""
        plain = request.is_preflight and request.keep_alive and not request.upgrade
        if plain and not request.is_http10 and len(head) <= _MEMO_HEAD_BYTES and not _has_secrets(request):
            if len(self.known) >= _MEMO_LIMIT:  # heads come from clients
                self.known.clear()
            self.known[head] = request


def _has_secrets(request: Request) -> bool:
    return any(name.lower() in _SECRETS for name, _ in request.raw_fields)


class RequestReader:
    """Turns what a client sends into requests. `waiting` holds what came behind the current one, unparsed."""

    __slots__ = (
        "_body_left",
        "_chunks",
        "_empty_bytes",
        "_limits",
        "_overhead",
        "_preflights",
        "_start",
        "body",
        "complete",
        "is_http10",
        "unfinished_head",
        "waiting",
    )

    def __init__(self, limits: Limits, preflights: PreflightMemo) -> None:
        """preflights: those that were read within these limits."""
        self._limits = limits
        self._preflights = preflights
        self._start: HeadStart | None = None  # of the head that is not complete
        self._empty_bytes = 0  # of empty lines since the last request
        self._body_left = 0  # bytes of a body with a length
        self._chunks: ChunkedBody | None = None  # the current body, when it is chunked
        self._overhead = 0  # bytes of framing and trailers since the last piece of body
        self.waiting = b""
        self.unfinished_head = b""  # what is here of a head that is not complete, or cannot be served
        self.body: list[bytes] = []  # pieces that nobody has taken yet
        self.complete = True  # the current request is here in full
        self.is_http10 = False  # the current request's version

    def adopt(self, limits: Limits, preflights: PreflightMemo) -> None:
        """Read by these limits from now on."""
        self._limits = limits
        self._preflights = preflights

    def take_body(self) -> list[bytes]:
        """The body pieces that came since the last call."""
        body = self.body
        self.body = []
        return body

    def read_head(self) -> Request | Fault | None:
        """Read `waiting` up to the end of one head; None when it does not hold that much.

        With the head goes what is here of its body. After a Fault nothing more may be read: what follows
        cannot be told from the message that was wrong.
        """
        data = self.waiting
        if self.unfinished_head:
            return self._read_on(data)
        if data[0] == _CAPITAL_O:
            known = self._preflights.known.get(data)
            if known is not None:
                self.waiting = b""
                self.is_http10 = False
                self._empty_bytes = 0
                return known
        end = data.find(END) + len(END)
        if end < len(END):
            return self._read_on(data)
        if end == len(data):
            self.waiting = b""
        else:
            data, self.waiting = data[:end], data[end:]
        return self._read_whole(data)

    def _read_on(self, data: bytes) -> Request | Fault | None:
        """One more piece of a head that comes in several."""
        end = end_of_section(data, self.unfinished_head)
        if end >= 0:
            self.waiting = data[end:]
            return self._read_whole(self.unfinished_head + data[:end])
        self.waiting = b""
        self.unfinished_head = raw = self.unfinished_head + data
        if len(raw) > self._limits.request_head:
            return self._too_large(raw)
        if self._start is None:
            self._start = HeadStart()
        return self._start.feed(data, raw)

    def _read_whole(self, raw: bytes) -> Request | Fault | None:
        if len(raw) > self._limits.request_head:
            return self._too_large(raw)
        head = parse_head(raw)
        if head is None:
            return self._skip_empty_lines(raw)
        request = head if isinstance(head, Fault) else self._request(head)
        if isinstance(request, Fault):
            self.unfinished_head = raw
            return request
        if self.unfinished_head:
            self._forget_start()
        if not request.has_body:
            if raw[0] == _CAPITAL_O:
                self._preflights.keep(raw, request)
            return request
        fault = self._begin_body(request)
        if fault is not None:
            self.unfinished_head = raw
            return fault
        return request

    def _skip_empty_lines(self, raw: bytes) -> Fault | None:
        """RFC 9112 §2.2: some clients send them before a request line; they count as its head."""
        self._forget_start()
        behind = self.waiting
        self.waiting = behind.lstrip(b"\r\n")
        self._empty_bytes += len(raw) + len(behind) - len(self.waiting)
        return HEAD_TOO_LARGE if self._empty_bytes > self._limits.request_head else None

    def _forget_start(self) -> None:
        self.unfinished_head = b""
        self._start = None

    def _too_large(self, raw: bytes) -> Fault:
        self.unfinished_head = raw
        line = raw.find(b"\r\n")
        return TARGET_TOO_LONG if line < 0 or line > self._limits.request_head else HEAD_TOO_LARGE

    def _request(self, head: Head) -> Request | Fault:
        if len(head.fields) > self._limits.request_fields:
            return TOO_MANY_FIELDS
        self._empty_bytes = 0
        self.is_http10 = head.is_http10
        return read_request(
            head.method,
            head.target,
            head.fields,
            is_http10=head.is_http10,
            keep_alive=head.keep_alive,
        )

    def _begin_body(self, request: Request) -> Fault | None:
        self.body = []
        self.complete = False
        self._body_left = request.body_bytes
        self._chunks = ChunkedBody() if request.chunked else None
        self._overhead = 0
        return self.read_body() if self.waiting else None

    def read_body(self) -> Fault | None:
        """Read `waiting` as body, up to its end; the pieces go to `body`."""
        data = self.waiting
        if self._chunks is not None:
            return self._read_chunks(self._chunks, data)
        left = self._body_left
        self.waiting = data[left:]
        self.body.append(data[:left])  # the same bytes, not a copy, where all of them are the body's
        self._body_left = left = max(left - len(data), 0)
        self.complete = not left
        return None

    def _read_chunks(self, chunks: ChunkedBody, data: bytes) -> Fault | None:
        self.waiting = b""
        try:
            self.waiting = chunks.feed(data)
        except HttpParserError as error:
            return BAD_REQUEST.because(str(error))  # llhttp's words, which quote nothing of the body
        piece = chunks.take()
        if piece:
            self.body.append(piece)
            self._overhead = 0
        else:
            self._overhead += len(data)
            if self._overhead > self._limits.request_head:
                return BAD_REQUEST.because("too many bytes of chunk extensions or trailers")
        if chunks.is_complete:
            self.complete = True
            self._chunks = None
        return None
