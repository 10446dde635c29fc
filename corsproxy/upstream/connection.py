"""One HTTP/1.1 connection to an upstream endpoint.

Here:  bytes in, one response out: head, body pieces as they come, end. Parsed by llhttp (httptools).
Never: what is done with a response; CORS; whom to ask next.
"""

import asyncio
import contextlib
import socket
import ssl
from typing import Protocol as Shape
from typing import cast

import httptools

from corsproxy.http.faults import UPSTREAM_BROKE_OFF, UPSTREAM_PROTOCOL, UPSTREAM_TLS, Fault
from corsproxy.http.fields import Fields
from corsproxy.upstream.delivery import Delivery
from corsproxy.upstream.tls import said_goodbye, tls_objection

__all__ = ["Connection", "Owner", "Receiver", "Switched"]

# What an upstream may send beside a body before it is taken for broken: memory stays bounded.
_HEAD_LIMIT = 256 * 1024  # bytes of a head, or of framing and trailers without a byte of body between
_INTERIM_LIMIT = 100
_VERSION = b"HTTP/1."
_GENTLE_SECONDS = 2.0  # for what is still to be sent when a tunnel ends
_SMALL_READ = 4096  # of more than that, the kernel acknowledges most at once
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux


class Receiver(Shape):
    """Who asked. Each call is made from the event loop; none may await."""

    def on_interim(self, status: int, fields: Fields) -> None:
        """A 1xx response other than 101."""

    def on_response(self, connection: "Connection") -> None:
        """Something new: the head, body pieces (`take_body`), the end (`complete`), or all at once."""

    def on_upstream_lost(self, fault: Fault, *, at_end: bool) -> None:
        """The connection is gone. at_end: it was closed in order, which ends a body without a length."""

    def on_unsent(self, held: bytes) -> None:
        """The connection was of no use any more before a byte of the request, `held`, had been sent."""

    def pause_upload(self) -> None:
        """The upstream takes no more for now."""

    def resume_upload(self) -> None:
        """The upstream takes more again."""


class Switched(Shape):
    """Who pumps bytes after a 101."""

    def on_upstream_data(self, data: bytes) -> None:
        """Bytes from the upstream, as they came."""

    def on_upstream_eof(self) -> bool:
        """The upstream sends no more; True keeps the other direction open."""

    def on_upstream_closed(self) -> None:
        """The connection is gone."""

    def pause_upload(self) -> None:
        """The upstream takes no more for now."""

    def resume_upload(self) -> None:
        """The upstream takes more again."""


class Owner(Shape):
    """Who keeps idle connections."""

    def made(self, connection: "Connection") -> None:
        """The connection is open."""

    def forget(self, connection: "Connection") -> None:
        """The connection is closed."""

    def keep(self, connection: "Connection") -> None:
        """The connection is free for another request."""

    def hold(self, connection: "Connection") -> None:
        """The connection has a request to send at the end of this turn: call `send_held`, or `renounce`."""

    def hold_no_longer(self, connection: "Connection") -> None:
        """The same, but now."""


class _ExcessError(Exception):
    """The upstream sent more than was asked for."""


class Connection(asyncio.Protocol):
    """A connection that serves one request at a time.

    The response is read from the attributes; they hold until the next `send`.
    """

    __slots__ = (
        "_body",
        "_check_version",
        "_delivery",
        "_early",
        "_ended",
        "_head_only",
        "_in_interim",
        "_interims",
        "_last_look",
        "_left",
        "_may_switch",
        "_overhead",
        "_owner",
        "_parser",
        "_pump",
        "_receiver",
        "_sock",
        "address",
        "complete",
        "descriptor",
        "fields",
        "has_head",
        "held",
        "is_tls",
        "reason",
        "requests",
        "reusable",
        "status",
        "switched",
        "trailers",
        "transport",
        "untouched",
        "was_idle",
    )

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._receiver: Receiver | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._pump: Switched | None = None
        self.held = b""  # a request that is sent at the end of this turn
        self.descriptor = -1
        self._sock: socket.socket | None = None
        self.was_idle = False  # it has been, at least once
        self.is_tls = False
        self._delivery: Delivery | None
        self._last_look: asyncio.TimerHandle | None = None  # while it waits for what is not sent yet
        self._ended = False  # the endpoint said that it sends no more
        self.transport: asyncio.Transport
        self.address = ""  # which address of a named host it is; set by the owner
        self.requests = 0  # sent over this connection so far
        self._reset(head_only=False, may_switch=False)

    def _reset(self, *, head_only: bool, may_switch: bool) -> None:
        self._head_only = head_only
        self._may_switch = may_switch
        self._delivery = None  # of this request; None = nobody has looked yet
        self._early = b""  # what followed a 101 in the same read
        self.switched = False  # the response is a 101, and was asked for
        self._in_interim = False
        self._interims = 0
        self._left = -1  # bytes of the body that come past the parser; 0 = none do, -1 = not settled yet
        self._overhead = 0  # bytes received since the last piece of body
        self._check_version = False
        self._body: list[bytes] = []
        self.status = 0
        self.reason = b""
        self.fields: Fields = []
        self.trailers: Fields = []
        self.has_head = False
        self.complete = False
        self.reusable = False
        self.untouched = True  # no byte of a response was received

    # What the proxy asks of it

    def send(
        self, receiver: Receiver, data: bytes, *, is_whole: bool, head_only: bool, may_switch: bool
    ) -> None:
        """Send a request, or its beginning; the response goes to the receiver.

        is_whole: nothing more of the request follows, so that it may wait for the end of the turn.
        head_only: the request is a HEAD, whose response has no body whatever its fields say (RFC 9112 §6.3).
        may_switch: the request asks for another protocol, so 101 is an answer to it.
        """
        self._receiver = receiver
        self._reset(head_only=head_only, may_switch=may_switch)
        self.requests += 1
        if not self.was_idle:
            self.transport.write(data)
            return
        self.held = data  # what came meanwhile, an end or bytes that nobody asked for, shows until it is sent
        if is_whole:
            self._owner.hold(self)
        else:
            self._owner.hold_no_longer(self)

    def send_held(self) -> None:
        """The turn is over, and the connection is sound."""
        data, self.held = self.held, b""
        self.transport.write(data)

    def renounce(self) -> None:
        """The connection is no good, and nothing was sent: the receiver has its request back."""
        receiver, held = self._receiver, self.held
        self.close()
        if receiver is not None:
            receiver.on_unsent(held)

    @property
    def is_http10(self) -> bool:
        """True when the response, whose head is here, is of HTTP/1.0."""
        return self._parser.get_http_version() == "1.0"

    def take_body(self) -> list[bytes]:
        """The body pieces that came since the last call."""
        body = self._body
        self._body = []
        return body

    def pause(self) -> None:
        """Read no more of the response for now."""
        self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        self.transport.resume_reading()

    def release(self, *, request_complete: bool) -> None:
        """The exchange is over: keep the connection if its framing is beyond doubt, else close it.

        A request that the endpoint has not taken in full would stand in the way of the next one.
        """
        self._receiver = None
        transport = self.transport
        transport.resume_reading()
        is_sound = self.complete and self.reusable and request_complete and not transport.is_closing()
        if is_sound and not transport.get_write_buffer_size():
            self._owner.keep(self)
        else:
            self.close()

    def switch(self, pump: Switched) -> bytes:
        """Hand all further bytes to `pump`; returns what the upstream has sent already."""
        self._receiver = None
        self._pump = pump
        early, self._early = self._early, b""
        return early

    def takes_some(self) -> bool:
        """True when something is on its way, and the endpoint has taken some since this was asked last."""
        if self._delivery is None:
            self._delivery = Delivery()
        return self._delivery.look(self.transport)[1]

    def close_gently(self) -> None:
        """Close once everything written is sent; nobody is told."""
        self._receiver = self._pump = None
        self.transport.close()
        self._wait_for_the_end()

    def _wait_for_the_end(self) -> None:
        """It waits for what is not sent yet, and an upstream that reads nothing would keep it waiting."""
        self._last_look = asyncio.get_running_loop().call_later(_GENTLE_SECONDS, self._end_waiting)

    def _end_waiting(self) -> None:
        if self.takes_some():
            self._wait_for_the_end()
        else:
            self.transport.abort()

    def close(self) -> None:
        """Close at once; nobody is told. What was not sent yet is dropped."""
        self._receiver = None
        self.held = b""
        self.transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The endpoint accepted."""
        self.transport = cast(asyncio.Transport, transport)
        self._sock = sock = transport.get_extra_info("socket")
        self.descriptor = sock.fileno()
        self.is_tls = transport.get_extra_info("sslcontext") is not None
        self._owner.made(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed, by whom ever."""
        self._owner.forget(self)
        if self._last_look is not None:
            self._last_look.cancel()
        if self.held:
            self.renounce()
            return
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.on_upstream_closed()
        receiver = self._receiver
        if receiver is not None:
            self._receiver = None
            at_end = exc is None and self._ended and self.has_head
            receiver.on_upstream_lost(_loss(exc), at_end=at_end)

    def pause_writing(self) -> None:
        """The endpoint takes no more for now."""
        side = self._receiver or self._pump
        if side is not None:
            side.pause_upload()

    def resume_writing(self) -> None:
        """The endpoint takes more again."""
        side = self._receiver or self._pump
        if side is not None:
            side.resume_upload()

    def eof_received(self) -> bool | None:
        """The endpoint sends no more."""
        if self.held:
            self.renounce()
            return None
        self._ended = said_goodbye(self.transport)
        return None if self._pump is None else self._pump.on_upstream_eof()

    def data_received(self, data: bytes) -> None:
        """Parse, then tell the receiver once what is new."""
        receiver = self._receiver
        if self._left > 0 and receiver is not None:
            self._take_rest(data)
            receiver.on_response(self)
            return
        if self._pump is not None:
            self._pump.on_upstream_data(data)
            return
        if self.held:
            self.renounce()  # nobody has asked yet
            return
        if receiver is None or self.complete:
            # Nobody asked. Whatever it is, it must not become the next client's response.
            self.reusable = False
            if receiver is None:
                self.close()
            return
        is_first = self.untouched
        if is_first:
            self.untouched = False
            self._check_version = not data.startswith(_VERSION)
            if self._check_version and not _VERSION.startswith(data):  # llhttp would take RTSP and ICE, too
                self._give_up("not HTTP/1.x")
                return
        self._overhead += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:  # after a 101 that `on_headers_complete` let pass
            self._early = data[upgrade.args[0] :]
        except httptools.HttpParserError as error:
            # A whole response is good, whatever followed it; the connection is not.
            self.reusable = False
            if not self.complete:
                self._give_up(str(error.__context__ or error))
                return
        if self._body:
            self._overhead = 0
        elif self._overhead > _HEAD_LIMIT and not self.complete:
            self._give_up("more head or framing than is accepted")
            return
        if not self.complete and is_first and len(data) < _SMALL_READ:
            self._acknowledge()
        if self.has_head and self._receiver is receiver:
            if self._left < 0 and self._body and not self.complete:
                self._left = self._rest_of_body()
            receiver.on_response(self)

    def _acknowledge(self) -> None:
        """Have the kernel acknowledge what came, which on a kept connection it would do in 40 ms.

        A server that writes head and body apart, with Nagle's algorithm on (RFC 9293 §3.7.4), sends the body
        only then: Python's `http.server` is one.
        """
        if _QUICKACK is not None and self._sock is not None:
            with contextlib.suppress(OSError):  # a Unix socket, or a connection that is closed by now
                self._sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def _rest_of_body(self) -> int:
        """How many bytes end the body, where it has a length: they need no parser, which would copy them.

        The parser is left in the middle of a message, and gets a successor.
        """
        length = next((value for name, value in self.fields if name.lower() == b"content-length"), None)
        if length is None or self.switched:
            return 0
        self.reusable = self._parser.should_keep_alive()
        self._parser = httptools.HttpResponseParser(self)
        return int(length) - sum(map(len, self._body))

    def _take_rest(self, data: bytes) -> None:
        """A piece of a body whose length is known."""
        excess = len(data) - self._left
        if excess > 0:
            self.reusable = False  # whatever that is: nobody asked for it
            data = data[:-excess]
        self._left -= len(data)
        self._body.append(data)
        self.complete = not self._left

    def _give_up(self, objection: str) -> None:
        """Close, and tell the receiver what the upstream did wrong."""
        receiver, self._receiver = self._receiver, None
        self.transport.abort()
        if receiver is not None:
            receiver.on_upstream_lost(UPSTREAM_PROTOCOL.because(objection), at_end=False)

    # httptools callbacks

    def on_message_begin(self) -> None:
        """A response starts, or something that follows one."""
        if self.complete:
            raise _ExcessError("bytes after the response")

    def on_status(self, reason: bytes) -> None:
        """The reason phrase, perhaps in pieces."""
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field line of the head or of the trailers."""
        if self.has_head:
            self.trailers.append((name, value))
        else:
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        """The head is complete."""
        status = self._parser.get_status_code()
        if self._check_version and self._parser.get_http_version() not in {"1.0", "1.1"}:
            raise ValueError("not HTTP/1.x")
        if status >= 200:
            self.status = status
            self.has_head = True
            if self._head_only:
                self._end_without_body()
        elif status == 101 and self._may_switch and self._parser.should_upgrade():
            self.status = status
            self.has_head = self.switched = True
        elif status < 100 or status == 101:
            # 101 is only good when a switch was asked for (RFC 9110 §15.2.2).
            raise ValueError(f"status {status:03}")
        else:
            self._in_interim = True

    def on_body(self, data: bytes) -> None:
        """A piece of the body, transfer coding undone."""
        if self.complete:
            raise _ExcessError("a body where none may be")
        self._body.append(data)

    def on_message_complete(self) -> None:
        """The response, or an interim one, is complete."""
        if self._in_interim:
            self._end_interim()
        elif self.switched:
            pass
        elif not self.complete:
            self.complete = True
            self.reusable = self._parser.should_keep_alive()

    def _end_interim(self) -> None:
        self._in_interim = False
        self._interims += 1
        if self._interims > _INTERIM_LIMIT:
            raise ValueError("too many interim responses")
        self._check_version = True  # the final response follows, perhaps in the same bytes
        status, fields = self._parser.get_status_code(), self.fields
        self.fields, self.reason = [], b""
        if self._receiver is not None:
            self._receiver.on_interim(status, fields)

    def _end_without_body(self) -> None:
        """The response to a HEAD ends with its head; llhttp cannot be told so, and gets a successor."""
        options = {
            option.strip().lower()
            for name, value in self.fields
            if name.lower() == b"connection"
            for option in value.split(b",")
        }
        self.complete = True
        self.reusable = b"close" not in options and self._parser.get_http_version() == "1.1"
        self._parser = httptools.HttpResponseParser(self)


def _loss(exc: Exception | None) -> Fault:
    """The fault of a connection that ended; in TLS 1.3 a refused client certificate is heard of here."""
    if isinstance(exc, ssl.SSLError):
        return UPSTREAM_TLS.because(tls_objection(exc))
    is_reset = isinstance(exc, ConnectionResetError)
    return UPSTREAM_BROKE_OFF.because("the connection was reset" if is_reset else str(exc or ""))
