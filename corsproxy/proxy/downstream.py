"""The seam to aiohttp's server: one client connection, from its bytes to requests, one at a time.

Here:  aiohttp's `web.Server`, `RequestHandler` and C request parser, driven without a task per request; head
       limits, deadlines, pipelining, lingering close. All that touches aiohttp's internals is in this file.
Never: routes, policies, upstreams. `handle` is called with one complete head; the exchange calls back.

aiohttp's parser is strict, but gives everything of one read at once, and a bad message takes the good ones before
it along. So it is fed one message at a time, cut where a head or a chunked body can end.
"""

import asyncio
import math
import socket
import struct
from collections.abc import Callable
from typing import Any, Protocol as Shape, cast

from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import BadHttpMessage, HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.tcp_helpers import tcp_keepalive
from aiohttp.web_protocol import RequestHandler

from corsproxy.config.table import Limits, Timeouts
from corsproxy.http.faults import (
    BAD_REQUEST,
    CLIENT_TIMEOUT,
    HEAD_TOO_LARGE,
    TARGET_TOO_LONG,
    TOO_MANY_FIELDS,
    VERSION_REFUSED,
    Fault,
)
from corsproxy.http.forwarded import forwarded_lines
from corsproxy.proxy.request import Request, read_request

__all__ = ["ClientServer", "Downstream", "Service", "Settings", "Work"]

_END = b"\r\n\r\n"
# Body bytes are taken from aiohttp's stream right after each read; its own flow control must stay out of it.
_NO_PAUSE = 1 << 30
_LINGER_SECONDS = 2.0
# A few connections over the ceiling are still told so (503); the rest are closed unread.
_SURPLUS_ANSWERED = 16
_SURPLUS_SECONDS = 1.0
_IDLE, _HEAD, _EXCHANGE, _CLOSING = range(4)


class Work(Shape):
    """What is under way for a connection's current request."""

    def on_request_body(self) -> None:
        """More of the body, or its end (`Downstream.take_body`, `request_complete`)."""

    def on_client_gone(self) -> None:
        """The client closed the connection."""

    def on_client_fault(self, fault: Fault) -> None:
        """The rest of the body is not valid."""

    def on_deadline(self) -> None:
        """The time given to `Downstream.arm` is over."""

    def on_client_drained(self) -> None:
        """The client takes more again, after `Downstream.is_choked` was True."""


class Service(Shape):
    """Who serves requests."""

    def handle(self, client: "Downstream", request: Request) -> None:
        """Serve one request; `Downstream.finish` ends it, now or later."""

    def refuse(self, client: "Downstream", fault: Fault, head: bytes) -> None:
        """Answer a request that could not be read. head: what is known of it, b"" when nothing is."""

    def settings(self) -> "Settings":
        """What holds for new requests."""


class Settings:
    """Limits and timeouts of the listener."""

    __slots__ = ("limits", "tick", "timeouts")

    def __init__(self, limits: Limits, timeouts: Timeouts, shortest: float) -> None:
        self.limits = limits
        self.timeouts = timeouts
        self.tick = max(shortest, 0.05)  # seconds between two looks at a connection's deadline


class ClientServer(web.Server):
    """aiohttp's low-level server with `Downstream` as its connections."""

    def __init__(self, service: Service, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(_never_called, loop=loop)
        self._service = service

    def __call__(self) -> "Downstream":
        return Downstream(self, self._service, self._loop)

    @property
    def open_count(self) -> int:
        """Connections now open."""
        return len(self._connections)

    def abort(self) -> None:
        """Cut every connection."""
        for connection in list(self._connections):
            cast(Downstream, connection).abandon()


async def _never_called(request: web.BaseRequest) -> web.StreamResponse:
    raise AssertionError(f"requests do not come this way: {request!r}")


class Downstream(RequestHandler):
    """A client's connection. One exchange at a time; pipelined requests wait unparsed, with reading paused."""

    __slots__ = (
        "_body",
        "_body_left",
        "_chunked",
        "_deadline",
        "_gone",
        "_head_bytes",
        "_head_start",
        "_is_http10",
        "_payload",
        "_phase",
        "_processing",
        "_read_paused",
        "_rest",
        "_service",
        "_settings",
        "_timer",
        "_timer_at",
        "_upload_paused",
        "forwarded",
        "is_surplus",
        "keep_alive_wanted",
        "peer",
        "request_complete",
        "scheme",
        "work",
    )

    def __init__(self, server: ClientServer, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        settings = service.settings()
        super().__init__(
            server,
            loop=loop,
            access_log=cast(Any, None),  # aiohttp's own signature leaves out that None is "no log"
            max_line_size=settings.limits.request_head,
            max_field_size=settings.limits.request_head,
            max_headers=settings.limits.request_head,  # counted in `_read_head`, where 431 can be told
            read_bufsize=_NO_PAUSE,
            auto_decompress=False,
        )
        self._service = service
        self._settings = settings
        self._phase = _IDLE
        self._rest = b""  # received, not parsed yet
        self._head_bytes = 0  # of the current head that went into the parser
        self._head_start = b""  # the same bytes, while the head is incomplete
        self._body: list[bytes] = []
        self._body_left = 0
        self._chunked = False
        self._payload: StreamReader = EMPTY_PAYLOAD
        self._is_http10 = False
        self._processing = False
        self._read_paused = False
        self._upload_paused = False
        self._deadline = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._gone: asyncio.Future[None] | None = None
        self.work: Work | None = None
        self.request_complete = True
        self.keep_alive_wanted = True
        self.peer = ""
        self.forwarded = b""
        self.scheme = b"http"
        self.is_surplus = False  # over the connection ceiling: its requests are refused

    # What an exchange asks of its client

    @property
    def is_choked(self) -> bool:
        """True while the client takes no more; `Work.on_client_drained` says when it does again."""
        return self._paused

    @property
    def closes(self) -> bool:
        """True when the connection ends with this exchange, so that the head can say so."""
        return not self.keep_alive_wanted or self._close or not self.request_complete

    @property
    def connection_line(self) -> bytes:
        """The Connection field that this exchange's head needs, with its line end; mostly none."""
        if self.closes:
            return b"Connection: close\r\n"
        return b"Connection: keep-alive\r\n" if self._is_http10 else b""

    @property
    def time(self) -> Callable[[], float]:
        """The event loop's clock."""
        return self._loop.time

    def take_body(self) -> list[bytes]:
        """The pieces of the request body that came since the last call."""
        body = self._body
        self._body = []
        return body

    def write(self, data: bytes) -> None:
        """Send bytes of the response."""
        if self.transport is not None:
            self.transport.write(data)

    def write_pieces(self, pieces: list[bytes]) -> None:
        """Send bytes of the response without joining them first."""
        if self.transport is not None:
            self.transport.writelines(pieces)

    def arm(self, seconds: float) -> None:
        """Call `Work.on_deadline` when this much time goes by without another call."""
        now = self._loop.time()
        self._deadline = when = now + seconds
        # The timer fires at least once a tick, and no timeout is shorter than a tick: nearly always nothing to do.
        if when < self._timer_at:
            self._set_timer(min(when, now + self._settings.tick))

    def pause_upload(self) -> None:
        """Take no more of the request body from the client for now."""
        self._upload_paused = True
        self._hold_reading()

    def resume_upload(self) -> None:
        """Take more of the request body."""
        if self._upload_paused:
            self._upload_paused = False
            self._release_reading()

    def finish(self) -> None:
        """The response is written in full."""
        self.work = None
        self._upload_paused = False
        if self.closes:
            self._end()
            return
        self._phase = _IDLE
        self.arm(self._settings.timeouts.keepalive)
        if not self._processing:
            self._process()

    def cut(self) -> None:
        """End the connection so that the client sees that the response is incomplete (RFC 9112 §8)."""
        self.work = None
        self._phase = _CLOSING
        transport = self.transport
        if transport is not None:
            _reset_on_close(transport)
            transport.abort()

    def abandon(self) -> None:
        """End the connection and what is under way on it, now."""
        work, self.work = self.work, None
        if work is not None:
            work.on_client_gone()
        self.cut()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        BaseProtocol.connection_made(self, transport)  # not RequestHandler's: it would start a task
        real = cast(asyncio.Transport, transport)
        tcp_keepalive(real)
        manager = self._manager
        assert manager is not None
        manager.connection_made(self, real)
        peer = real.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) else ""
        tls = real.get_extra_info("sslcontext") is not None
        self.scheme = b"https" if tls else b"http"
        self.forwarded = forwarded_lines(self.peer, tls=tls)
        ceiling = self._settings.limits.connections
        open_count = len(manager._connections)
        self.is_surplus = open_count > ceiling
        if open_count > ceiling + ceiling // 10 + _SURPLUS_ANSWERED:
            self.cut()
        else:
            self.arm(self._settings.timeouts.keepalive if not self.is_surplus else _SURPLUS_SECONDS)

    def connection_lost(self, exc: BaseException | None) -> None:
        manager = self._manager
        if manager is None:
            return
        manager.connection_lost(self, exc)
        BaseProtocol.connection_lost(self, exc)
        self._phase = _CLOSING
        self._rest = b""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        work, self.work = self.work, None
        if work is not None:
            work.on_client_gone()
        # The parser holds this object and this object the parser.
        self._parser = None
        self._manager = None
        self._request_factory = None
        self._request_handler = None

    def eof_received(self) -> None:
        """A client that sends no more is taken to be gone, as nginx and Envoy do: nobody waits for the upstream."""
        work, self.work = self.work, None
        if work is not None:
            self._phase = _CLOSING
            work.on_client_gone()

    def data_received(self, data: bytes) -> None:
        if self._phase <= _HEAD:
            self._rest = self._rest + data if self._rest else data
            if not self._processing:
                self._process()
        elif self._phase == _EXCHANGE:
            if self.request_complete:
                self._rest += data
                self._hold_reading()
                return
            self._feed_body(data)
            work = self.work
            if work is not None and (self._body or self.request_complete):
                work.on_request_body()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self.work is not None:
            self.work.on_client_drained()
        elif self._rest and not self._processing:
            self._process()

    def pause_reading(self) -> None:
        """aiohttp's stream asks for this when it is full, which it never is here (`_NO_PAUSE`)."""

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's signature
        """aiohttp's stream calls this at the end of each body; reading is paused and resumed elsewhere."""

    # aiohttp's server, stopping

    def close(self) -> None:
        """Finish the current exchange, if any, and end."""
        self._close = True
        if self._phase == _IDLE and not self._rest:
            self._end()

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 - aiohttp's signature
        """`close`, and wait for it; abort when `timeout` seconds are over."""
        self.close()
        if self.transport is None:
            return
        self._gone = self._loop.create_future()
        try:
            async with asyncio.timeout(timeout):
                await self._gone
        except TimeoutError:
            self.abandon()

    # Heads

    def _process(self) -> None:
        """Serve what has been received, request after request, as long as each is answered at once."""
        self._processing = True
        try:
            while self._rest and self._phase <= _HEAD and not self._paused:
                self._read_head()
        finally:
            self._processing = False
        if not self._rest and self._read_paused and not self._upload_paused:
            self._release_reading()

    def _read_head(self) -> None:
        """Feed the parser up to the end of one head, and hand it on when it is complete."""
        data = self._rest
        end = _end_of_head(data, self._head_start)
        piece, self._rest = (data, b"") if end is None or end == len(data) else (data[:end], data[end:])
        limits = self._settings.limits
        self._head_bytes += len(piece)
        if self._head_bytes > limits.request_head:
            head = self._head_start + piece
            line = head.find(b"\r\n")
            self._refuse(TARGET_TOO_LONG if line < 0 or line > limits.request_head else HEAD_TOO_LARGE, head)
            return
        parser = self._parser
        assert parser is not None
        try:
            messages, upgrading, _ = parser.feed_data(piece)
        except HttpProcessingError as error:
            self._refuse(BAD_REQUEST.because(_objection(error)), b"")
            return
        if not messages:  # incomplete, or empty lines before a request line (RFC 9112 §2.2)
            self._head_start += piece
            if self._phase == _IDLE:
                self._phase = _HEAD
                self.arm(self._settings.timeouts.client_head)
            return
        self._head_bytes = 0
        self._head_start = b""
        if upgrading:  # no tunnel starts here: what follows is HTTP again
            parser.set_upgraded(False)
        message, payload = messages[0]
        self._payload = payload
        self._begin(message)

    def _begin(self, message: Any) -> None:
        """One complete head, as aiohttp's C parser gives it (its type is private to aiohttp)."""
        self._phase = _EXCHANGE
        self.request_complete = True
        self.keep_alive_wanted = False
        version = message.version
        if version.major != 1 or version.minor > 1:
            self._refuse(VERSION_REFUSED, b"")
            return
        self._is_http10 = version.minor == 0
        fields = message.raw_headers
        if len(fields) > self._settings.limits.request_fields:
            self._refuse(TOO_MANY_FIELDS, b"".join(b"\r\n%b: %b" % field for field in fields) + _END)
            return
        request = read_request(
            message.method.encode("ascii"),
            message.path.encode("utf-8", "surrogateescape"),
            fields,
            is_http10=self._is_http10,
            keep_alive=not message.should_close,
        )
        if isinstance(request, Fault):
            self._refuse(request, b"")
            return
        self.keep_alive_wanted = request.keep_alive and not self.is_surplus
        if request.has_body:
            self._chunked = request.chunked
            self._body_left = request.body_bytes
            self.request_complete = False
            rest, self._rest = self._rest, b""
            if rest:
                self._feed_body(rest)
                if self._phase != _EXCHANGE:
                    return
        else:
            assert self._parser is not None
            self._parser.message_consumed()
        self._service.handle(self, request)

    def _refuse(self, fault: Fault, head: bytes) -> None:
        """Answer a request that cannot be served, and read no further: what follows cannot be told from it."""
        self._phase = _EXCHANGE
        self.keep_alive_wanted = False
        self.request_complete = False
        self._rest = b""
        self._service.refuse(self, fault, head)

    # Bodies

    def _feed_body(self, data: bytes) -> None:
        """Take body bytes out of `data`; what follows the body stays in `_rest`."""
        parser = self._parser
        assert parser is not None
        payload = self._payload
        try:
            if not self._chunked:
                taken = data[: self._body_left]
                self._body_left -= len(taken)
                self._rest = data[len(taken) :]
                parser.feed_data(taken)
            else:
                at = 0
                while at < len(data) and not payload.is_eof():
                    cut = data.find(_END, at)
                    cut = len(data) if cut < 0 else cut + len(_END)
                    parser.feed_data(data[at:cut])
                    at = cut
                self._rest = data[at:]
        except HttpProcessingError as error:
            self._bad_body(BAD_REQUEST.because(_objection(error)))
            return
        piece = payload.read_nowait()
        if piece:
            self._body.append(piece)
        if payload.is_eof():
            self.request_complete = True
            self._payload = EMPTY_PAYLOAD
            parser.message_consumed()
            if self._rest:
                self._hold_reading()

    def _bad_body(self, fault: Fault) -> None:
        self._rest = b""
        self.keep_alive_wanted = False
        work = self.work
        if work is None:
            self._refuse(fault, b"")
        else:
            work.on_client_fault(fault)

    # Reading, time, the end

    def _hold_reading(self) -> None:
        if not self._read_paused and self.transport is not None:
            self._read_paused = True
            self.transport.pause_reading()

    def _release_reading(self) -> None:
        if self._read_paused and self.transport is not None and not self.transport.is_closing():
            self._read_paused = False
            self.transport.resume_reading()

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        self._timer = self._loop.call_at(when, self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        if now < self._deadline:
            self._set_timer(min(self._deadline, now + self._settings.tick))
            return
        self._deadline = self._timer_at = math.inf
        if self._phase == _EXCHANGE and self.work is not None:
            self.work.on_deadline()
        elif self._phase == _HEAD:
            self._refuse(CLIENT_TIMEOUT, self._head_start)
        elif self.transport is not None:
            self.transport.abort()

    def _end(self) -> None:
        """Close, and where the client may still be sending, read on for a moment.

        A close with unread bytes resets the connection, and the reset can overtake the answer (RFC 9112 §9.6).
        """
        self._phase = _CLOSING
        self._rest = b""
        transport = self.transport
        if transport is None:
            return
        if self.request_complete or not transport.can_write_eof():
            transport.close()
            return
        transport.write_eof()
        self._upload_paused = False
        self._release_reading()
        self.arm(_LINGER_SECONDS)


def _end_of_head(data: bytes, before: bytes) -> int | None:
    """Where the head ends in `data`, of which `before` was already parsed; None when it does not end there."""
    if before:
        seam = before[-3:]
        at = (seam + data[:3]).find(_END)
        if at >= 0:
            return at + len(_END) - len(seam)
    at = data.find(_END)
    return None if at < 0 else at + len(_END)


def _objection(error: HttpProcessingError) -> str:
    """What the parser objects to, without the bytes it quotes."""
    if type(error) is BadHttpMessage:
        return error.message.partition("\n")[0].rstrip(":.")
    return _OBJECTIONS.get(type(error).__name__, "malformed")


_OBJECTIONS = {
    "BadHttpMethod": "unknown method",
    "BadStatusLine": "malformed request line",
    "InvalidHeader": "malformed field",
    "InvalidURLError": "malformed request target",
    "LineTooLong": "a line is too long",
    "TransferEncodingError": "malformed chunk",
}


def _reset_on_close(transport: asyncio.Transport) -> None:
    """Let the kernel send a reset: an orderly end would make a body without a length look whole."""

    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
