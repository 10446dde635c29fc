"""The seam to aiohttp's server: one client connection, its requests one at a time.

Here:  aiohttp's `RequestHandler`, driven without a task per request: order of pipelined requests, flow
       control, deadlines, lingering close. Nearly all that knows aiohttp's internals is here.
Never: other connections (proxy.clients); routes, policies, upstreams: `Service.handle` gets each request and
       calls back.
"""

import asyncio
import contextlib
import logging
import math
import socket
import struct
from typing import TYPE_CHECKING, cast

from aiohttp.base_protocol import BaseProtocol
from aiohttp.web_protocol import RequestHandler

from corsproxy.http.faults import CLIENT_TIMEOUT, Fault
from corsproxy.http.fields import Fields
from corsproxy.http.forwarded import client_address, forwarded_lines, trusts
from corsproxy.proxy.reader import RequestReader
from corsproxy.proxy.roles import Pump, Service, Work
from corsproxy.upstream.delivery import Delivery

if TYPE_CHECKING:  # which makes these
    from corsproxy.proxy.clients import ClientServer

__all__ = ["Downstream"]

_log = logging.getLogger(__name__)

_LINGER_SECONDS = 2.0
_SURPLUS_SECONDS = 1.0
_MOST_HELD = 64 * 1024  # bytes of responses until the end of the turn
_IDLE, _HEAD, _EXCHANGE, _TUNNEL, _CLOSING = range(5)


class Downstream(RequestHandler):
    """A client's connection: one exchange at a time; pipelined requests wait unparsed."""

    __slots__ = (
        "_deadline",
        "_delivery",
        "_gone",
        "_held",
        "_keeps_alive",
        "_outbox",
        "_phase",
        "_processing",
        "_pump",
        "_read_paused",
        "_reader",
        "_service",
        "_settings",
        "_timer",
        "_timer_at",
        "_upload_paused",
        "forwarded",
        "is_surplus",
        "peer",
        "scheme",
        "trusts_peer",
        "work",
    )

    def __init__(self, server: "ClientServer", service: Service, loop: asyncio.AbstractEventLoop) -> None:
        # Not RequestHandler's: it would make a parser and a queue, 2 KiB a connection that nobody uses here.
        BaseProtocol.__init__(self, loop)
        self._task_handler = None  # aiohttp's server asks a connection for it
        self._manager: ClientServer | None = server
        self._outbox = server.outbox
        self._held = b""  # what is sent at the end of this turn
        self._close = False  # the connection ends with the exchange that is under way
        settings = service.settings()
        self._service = service
        self._settings = settings
        self._reader = RequestReader(settings.limits, settings.preflights)
        self._phase = _IDLE
        self._processing = False
        self._read_paused = False
        self._upload_paused = False
        self._keeps_alive = True  # this exchange may be followed by another
        self._deadline = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf
        self._delivery: Delivery | None = None  # of this exchange's response; None = nobody has looked yet
        self._gone: asyncio.Future[None] | None = None
        self._pump: Pump | None = None
        self.work: Work | None = None
        self.peer = ""  # the client's address, without port; "" on a Unix socket
        self.scheme = b"http"
        self.forwarded = b""  # X-Forwarded-For and -Proto lines
        self.trusts_peer = False  # what it says of hops before it is kept
        self.is_surplus = False  # over the connection ceiling: its requests are refused

    def is_served_by(self, service: Service) -> bool:
        """True when its next request is this service's."""
        return self._service is service

    def serve(self, service: Service) -> None:
        """Hand requests to this service from the next one on, and wait for that as long as it says."""
        waits_since = self._deadline - self._settings.timeouts.keepalive
        self._service = service
        self._settings = settings = service.settings()
        self._reader.adopt(settings.limits, settings.preflights)
        self.trusts_peer = bool(settings.trusted) and trusts(self.peer, settings.trusted)
        if self._phase == _IDLE and not self.is_surplus:
            self.arm(waits_since + settings.timeouts.keepalive - self._loop.time())

    def retire(self) -> None:
        """End with the exchange that is under way, or else with the next."""
        self._close = True

    def may_be_eased(self, since: float) -> bool:
        """True when it has been in use since then, and a response is to come that can say it is the last.

        Else a next request could be on its way already, and would be lost.
        """
        if self._close:
            return False
        if self.work is not None:
            return not self.work.is_answered
        return self._phase == _IDLE and self._deadline - self._settings.timeouts.keepalive >= since

    # What an exchange asks of its client

    @property
    def is_choked(self) -> bool:
        """True while the client takes no more; `Work.on_client_drained` says when it does again."""
        return self._paused

    @property
    def request_complete(self) -> bool:
        """True when the current request is here in full."""
        return self._reader.complete

    @property
    def closes(self) -> bool:
        """True when the connection ends with this exchange."""
        return not self._keeps_alive or self._close or not self._reader.complete

    def connection_line(self) -> bytes:
        """The Connection field that this exchange's head needs, with its line end; mostly none.

        What it says holds: when an upload is complete by the end of the response, for one (RFC 9112 §9.6).
        """
        if self.closes:
            self._close = True
            return b"Connection: close\r\n"
        return b"Connection: keep-alive\r\n" if self._reader.is_http10 else b""

    def address_told(self, forwarding: Fields) -> str:
        """The client's own address, by what the peer says of it, which is trusted."""
        return client_address(forwarding, self.peer, self._settings.trusted)

    def take_body(self) -> list[bytes]:
        """The pieces of the request body that came since the last call."""
        return self._reader.take_body()

    def write(self, data: bytes) -> None:
        """Send bytes of the response."""
        if self._held:
            self.send_held()
        if self.transport is not None:
            self.transport.write(data)

    def write_pieces(self, pieces: list[bytes]) -> None:
        """Send bytes of the response without joining them first."""
        if self._held:
            self.send_held()
        if self.transport is not None:
            self.transport.writelines(pieces)

    def write_last(self, data: bytes) -> None:
        """Send the end of the response, or all of it: at the end of this turn, with what others send then."""
        held = self._held
        if held:  # of a request that came in the same read
            self._held = held + data
        else:
            self._held = data
            self._outbox.add(self)
        if len(self._held) > _MOST_HELD:
            self.send_held()

    def send_held(self) -> None:
        """Send what waits for the end of the turn."""
        data, self._held = self._held, b""
        if data and self.transport is not None:
            self.transport.write(data)

    def arm(self, seconds: float) -> None:
        """Call `Work.on_deadline` when this much time goes by without another call."""
        now = self._loop.time()
        self._deadline = when = now + seconds
        # The timer fires at least once a tick, and no timeout is shorter than a tick: nearly always nothing
        # to do.
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

    def end_with_this(self) -> None:
        """Close the connection after this exchange."""
        self._keeps_alive = False

    def finish(self) -> None:
        """The response is written in full."""
        self.work = None
        self._upload_paused = False
        if self._reader.body:  # nobody wanted it: it is no part of what comes next
            self._reader.take_body()
        if self.closes:
            self._end()
            return
        self._phase = _IDLE
        self.arm(self._settings.timeouts.keepalive)
        if not self._processing:
            self._process()

    def switch(self, pump: Pump) -> bytes:
        """Hand all further bytes to `pump`; returns what the client has sent already."""
        self.work = self._pump = pump
        self._phase = _TUNNEL
        early, self._reader.waiting = self._reader.waiting, b""
        self._release_reading()
        return early

    def write_eof(self) -> bool:
        """Send the end of the stream and go on receiving; False where the transport cannot."""
        self.send_held()
        transport = self.transport
        if transport is None or not transport.can_write_eof():
            return False
        transport.write_eof()
        return True

    def hang_up(self) -> None:
        """Close once everything written is sent."""
        self.work = self._pump = None
        self._phase = _CLOSING
        self.send_held()
        if self.transport is not None:
            self.transport.close()
            self.arm(_LINGER_SECONDS)

    def cut(self) -> None:
        """End the connection so that the client sees that the response is incomplete (RFC 9112 §8)."""
        self.work = None
        self._phase = _CLOSING
        self.send_held()
        transport = self.transport
        if transport is not None:
            _reset_on_close(transport)
            transport.abort()

    def abandon(self) -> None:
        """End the connection and what is under way on it, now."""
        self._let_go()
        transport = self.transport
        if self._phase == _CLOSING and transport is not None and transport.get_write_buffer_size() == 0:
            transport.abort()  # the response is with the kernel in full, and a reset would take it back
        else:
            self.cut()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        # Not RequestHandler's, which would start a task, nor BaseProtocol's, which sets TCP_NODELAY: that and
        # SO_KEEPALIVE come from the listening socket (ops.sockets). Two system calls less.
        self.transport = real = cast(asyncio.Transport, transport)
        server = cast("ClientServer", self._manager)
        server.connection_made(self, real)
        peer = real.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) else ""
        tls = real.get_extra_info("sslcontext") is not None
        self.scheme = b"https" if tls else b"http"
        self.forwarded = forwarded_lines(self.peer, tls=tls)
        trusted = self._settings.trusted
        self.trusts_peer = bool(trusted) and trusts(self.peer, trusted)
        self.is_surplus = server.open_count > self._settings.limits.connections
        if self.is_surplus and not server.has_room():
            self.cut()
        else:
            self.arm(_SURPLUS_SECONDS if self.is_surplus else self._settings.timeouts.keepalive)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is closed, by whom ever."""
        manager = self._manager
        if manager is None:
            return
        manager.connection_lost(self, exc)
        BaseProtocol.connection_lost(self, exc)
        self._phase = _CLOSING
        self._held = b""
        self._reader.waiting = b""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        self._let_go()
        self._manager = None

    def eof_received(self) -> bool | None:  # type: ignore[override] # aiohttp narrows asyncio's own signature
        """A client that sends no more is taken to be gone, as by nginx and Envoy: nobody waits."""
        self.send_held()
        if self._pump is not None:
            return self._pump.on_client_eof()
        if self.work is not None:
            is_answered = self.work.is_answered
            self._phase = _CLOSING
            self._let_go()
            if is_answered:
                self.cut()
        return None

    def data_received(self, data: bytes) -> None:
        """Bytes of a head, of a body, or of a request that has to wait."""
        reader = self._reader
        if self._phase <= _HEAD:
            reader.waiting = reader.waiting + data if reader.waiting else data
            if not self._processing:
                self._process()
        elif self._phase == _EXCHANGE:
            reader.waiting += data
            if reader.complete:
                self._hold_reading()
            else:
                self._read_body()
        elif self._pump is not None:
            self._pump.on_client_data(data)

    def resume_writing(self) -> None:
        """The client takes more again."""
        super().resume_writing()
        if self.work is not None:
            self.work.on_client_drained()
        elif self._reader.waiting and not self._processing:
            self._process()

    # aiohttp's server, stopping

    def close(self) -> None:
        """Finish the current exchange, if any, and end."""
        self._close = True
        if self._phase == _IDLE and not self._reader.waiting:
            self._end()
        elif self._phase == _CLOSING:
            if self._reader.complete and self.transport is not None:
                self.transport.close()  # it lingers
        elif self._pump is not None:
            self._pump.on_going_away()

    async def shutdown(self, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 - aiohttp's signature
        """`close`, and wait for it; abort when `timeout` seconds are over."""
        try:
            self.close()
        except Exception:  # noqa: BLE001 - a mistake of ours may cost this connection, and nobody else's end
            _log.exception("internal error; the connection is closed")
            self.abandon()
        if self.transport is None:
            return
        self._gone = self._loop.create_future()
        try:
            async with asyncio.timeout(timeout):
                await self._gone
        except TimeoutError:
            self.abandon()

    # Reading

    def _process(self) -> None:
        """Serve what has been received, request after request, as long as each is answered at once."""
        self._processing = True
        reader = self._reader
        try:
            while reader.waiting and self._phase <= _HEAD and not self._paused:
                self._next_request(reader)
        except Exception:  # noqa: BLE001 - a mistake of ours may cost this exchange, and nobody else's
            _log.exception("internal error; the connection is closed")
            self.abandon()
        finally:
            self._processing = False
        if reader.waiting:
            if self._paused:  # it does not read what it asked for: what more it asks can wait in the kernel
                self._hold_reading()
        elif self._read_paused and not self._upload_paused:
            self._release_reading()

    def _next_request(self, reader: RequestReader) -> None:
        request = reader.read_head()
        if request is None:
            if self._phase == _IDLE and reader.unfinished_head.strip(b"\r\n"):  # empty lines begin nothing
                self._phase = _HEAD
                self.arm(self._settings.timeouts.client_head)
        elif isinstance(request, Fault):
            self._refuse(request)
        else:
            self._phase = _EXCHANGE
            self._keeps_alive = request.keep_alive and not self.is_surplus
            self._delivery = None
            if reader.waiting:
                self._hold_reading()
            self._service.handle(self, request)

    def _read_body(self) -> None:
        reader = self._reader
        fault = reader.read_body()
        work = self.work
        if fault is not None:
            self._keeps_alive = False
            if work is not None:
                work.on_client_fault(fault)
            return
        if reader.waiting:
            self._hold_reading()
        if work is not None and (reader.body or reader.complete):
            work.on_request_body()

    def _refuse(self, fault: Fault) -> None:
        """Answer a request that cannot be served; what follows cannot be told from it and is not read."""
        reader = self._reader
        self._phase = _EXCHANGE
        self._keeps_alive = False
        reader.complete = False
        reader.waiting = b""
        self._service.refuse(self, fault, reader.unfinished_head)

    def _hold_reading(self) -> None:
        if not self._read_paused and self.transport is not None:
            self._read_paused = True
            self.transport.pause_reading()

    def _release_reading(self) -> None:
        if self._read_paused and self.transport is not None and not self.transport.is_closing():
            self._read_paused = False
            self.transport.resume_reading()

    # Time

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        self._timer = self._loop.call_at(when, self._on_tick)

    def _on_tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        if now < self._deadline:
            self._set_timer(min(self._deadline, now + self._settings.tick))
            return
        self._deadline = self._timer_at = math.inf
        if self.work is not None:
            self.work.on_deadline()
        elif self._phase == _HEAD:
            self._refuse(CLIENT_TIMEOUT)
        elif self.transport is not None:
            self._end_waiting(self.transport)

    def _end_waiting(self, transport: asyncio.Transport) -> None:
        """Nothing more is expected of this client; but one that takes its last response slowly may go on."""
        is_on_its_way, is_taken = self._look_at_delivery(transport)
        if is_taken:
            self.arm(self._settings.timeouts.idle)
        elif is_on_its_way:
            self.cut()
        else:
            transport.abort()

    def takes_some(self) -> bool:
        """True when a response is on its way, and the client has taken some since this was asked last."""
        return self.transport is not None and self._look_at_delivery(self.transport)[1]

    def _look_at_delivery(self, transport: asyncio.Transport) -> tuple[bool, bool]:
        if self._delivery is None:
            self._delivery = Delivery()
        return self._delivery.look(transport)

    # The end

    def _let_go(self) -> None:
        work, self.work = self.work, None
        self._pump = None
        if work is not None:
            work.on_client_gone()

    def _end(self) -> None:
        """Close, and where the client may still be sending, read on for a moment.

        A close with unread bytes, or with some that come later, resets the connection, and the reset can
        overtake the answer (RFC 9112 §9.6). They may come later where the client did not ask for the end.
        """
        may_go_on = self._phase == _EXCHANGE and self._keeps_alive and self._gone is None
        self._phase = _CLOSING
        self.send_held()
        reader = self._reader
        transport = self.transport
        if transport is None:
            return
        all_sent = transport.get_write_buffer_size() == 0
        if (reader.complete and not reader.waiting and not may_go_on) or not transport.can_write_eof():
            transport.close()
            if all_sent and self.scheme == b"http":  # else both sides have to say goodbye
                return
        else:
            reader.waiting = b""
            transport.write_eof()
            self._release_reading()
        self.arm(_LINGER_SECONDS if all_sent else self._settings.timeouts.idle)


def _reset_on_close(transport: asyncio.Transport) -> None:
    """Let the kernel send a reset: an orderly end would make a body without a length look whole."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
        with contextlib.suppress(OSError, ValueError):  # it is closed already
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
