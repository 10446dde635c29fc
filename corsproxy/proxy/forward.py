"""One exchange carried through: the client's request to an upstream, its response back.

Here:  a small state machine between two connections: body both ways with tied flow control, deadlines,
       faults, another endpoint where connecting failed, and the one retry that RFC 9110 §9.2.2 permits.
Never: deciding about CORS or routes; formatting of the record.
"""

import asyncio
import time
from typing import Protocol as Shape

from corsproxy.http.faults import (
    BODY_TOO_LARGE,
    CLIENT_GONE,
    CLIENT_TIMEOUT,
    RESPONSE_TIMEOUT,
    UPSTREAM_PROTOCOL,
    UPSTREAM_STALLED,
    Fault,
)
from corsproxy.http.fields import Fields, list_members
from corsproxy.http.forwarded import public_origin
from corsproxy.http.methods import IDEMPOTENT_METHODS
from corsproxy.http.redirects import Place
from corsproxy.proxy.answers import interim_head
from corsproxy.proxy.downstream import Downstream
from corsproxy.proxy.exchange import Exchange
from corsproxy.proxy.outgoing import request_head
from corsproxy.proxy.request import Request
from corsproxy.proxy.response import Framing, response_head, trailer_section
from corsproxy.proxy.service import Ready, RouteService
from corsproxy.proxy.tunnel import Tunnel
from corsproxy.upstream.connection import Connection
from corsproxy.upstream.pool import Pool

__all__ = ["Forward", "Outcome"]


class Outcome(Shape):
    """Who is told how it ended; one of the two is called, once."""

    def on_forwarded(self, forward: "Forward") -> None:
        """The response is out in full or as far as it came, or the client is gone."""

    def on_failed(self, forward: "Forward", fault: Fault) -> None:
        """A fault, and the client has had no answer yet."""

    def date(self, now: float) -> bytes:
        """The Date line, without its end, at this time on the monotonic clock."""


class Forward:
    """The work of one client connection while its request is with an upstream."""

    __slots__ = (
        "_connection",
        "_connects_by",
        "_continued",
        "_first",
        "_framing",
        "_head_bytes",
        "_opening",
        "_outcome",
        "_pool",
        "_received",
        "_retries",
        "_reused",
        "_tried",
        "client",
        "exchange",
        "is_answered",
        "ready",
        "request",
        "service",
    )

    def __init__(
        self,
        client: Downstream,
        request: Request,
        exchange: Exchange,
        service: RouteService,
        ready: Ready,
        outcome: Outcome,
    ) -> None:
        self.client = client
        self.request = request
        self.exchange = exchange
        self.service = service
        self.ready = ready
        self._outcome = outcome
        self._connection: Connection | None = None
        self._opening: asyncio.Task[None] | None = None
        self._first = b""  # the request, as far as it was there when it was sent
        self._framing = Framing.NONE  # of the response towards the client
        self.is_answered = False  # the head of the response is out
        self._received = 0  # bytes of the request body so far
        self._reused = False
        self._connects_by = 0.0  # on the monotonic clock; 0 = it has not tried yet
        self._continued = False  # the upstream wants the body that the client holds back
        self._retries = service.route.upstream.retries
        self._pool: Pool | None = None  # of the endpoint that the exchange is with
        self._tried: tuple[Pool, ...] = ()  # where connecting failed
        self._head_bytes = 0  # of `_first`

    def start(self) -> None:
        """Send the request as far as it is here."""
        client = self.client
        client.work = self
        self._pool = pool = self.service.cluster.pick()
        head = self._head_for(pool)
        body = self._framed_body() if self.request.has_body else b""
        if body is None:
            return
        self._first = head + body
        self._connect(pool)

    def _head_for(self, pool: Pool) -> bytes:
        head = request_head(
            self.request,
            self.service,
            self.client,
            self.exchange.request_id,
            pool.authority,
            is_allowed=self.ready.admits,
        )
        self._head_bytes = len(head)
        if self.exchange.capture is not None:
            self.exchange.capture.sent = head
        return head

    # The way to the upstream

    def _connect(self, pool: Pool, *, first: bool = False) -> None:
        """first: it has had its turn already, for a connection that was no good."""
        connection = pool.take()
        if connection is not None:
            self._reused = True
            self._send(connection)
            return
        self._reused = False
        if not self.client.request_complete:  # else reading goes on: so a client that leaves is noticed
            self.client.pause_upload()
        now = time.monotonic()
        if not first or not self._connects_by:
            self._connects_by = now + self.service.route.timeouts.connect
        timeout = max(self._connects_by - now, 0.0)
        self._opening = pool.open(timeout, self._opened, first=first)
        self.client.arm(timeout + 1.0)  # the connect has its own timer; this one only outlasts it

    def _opened(self, outcome: Connection | Fault) -> None:
        self._opening = None
        if isinstance(outcome, Fault):
            self._try_another(outcome)
        else:
            self._reused = outcome.requests > 0
            self._send(outcome)

    def _try_another(self, fault: Fault) -> None:
        """Connecting failed, so no byte was sent: any request may go to another endpoint."""
        pool = self._leave(fault)
        if pool is not None:
            self._tried = (*self._tried, pool)
        other = self.service.cluster.pick_other(self._tried) if self._retries > 0 else None
        if other is None:
            self._fail(fault)
            return
        self._retries -= 1
        self.exchange.retries += 1
        self._pool = other
        body = self._first[self._head_bytes :]
        self._first = self._head_for(other) + body
        self._connect(other)

    def _leave(self, fault: Fault | None) -> Pool | None:
        """The endpoint is done with, and how it went; returns which it was."""
        pool, self._pool = self._pool, None
        if pool is not None:
            self.service.cluster.leave(pool, fault)
        return pool

    def _send(self, connection: Connection) -> None:
        self._connection = connection
        if self._pool is not None:
            self.exchange.endpoint = self._pool.name
        self.exchange.address = connection.address
        request, client = self.request, self.client
        client.resume_upload()  # before the write, which may pause it again
        self._arm()
        connection.send(
            self,
            self._first,
            is_whole=client.request_complete,
            head_only=request.method == b"HEAD",
            may_switch=bool(request.upgrade),
        )

    def _arm(self) -> None:
        timeouts = self.service.route.timeouts
        self.client.arm(timeouts.response if self._awaits_response() else timeouts.idle)

    def _awaits_response(self) -> bool:
        """True when it is the upstream's turn: it has the request, or the client waits for a 100."""
        if self.is_answered:
            return False
        if self.client.request_complete:
            return True
        return self.request.expects and not self._continued and not self._received

    def _framed_body(self) -> bytes | None:
        """The body pieces that arrived, framed for the upstream; None when they were too many."""
        pieces = self.client.take_body()
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        size = len(body)
        self._received += size
        self.exchange.received_bytes = self._received
        limit = self.service.route.limits.request_body
        if limit and self._received > limit:
            self._fail(BODY_TOO_LARGE)
            return None
        if not self.request.chunked:
            return body
        framed = b"%x\r\n%b\r\n" % (size, body) if size else b""
        return framed + b"0\r\n\r\n" if self.client.request_complete else framed

    # Work: what the client does

    def on_request_body(self) -> None:
        """More of the request body, or its end."""
        body = self._framed_body()
        if body is None:
            return
        connection = self._connection
        if connection is None:  # still connecting: reading is paused, so this stays small
            self._first += body
            return
        self._first = b""  # the upstream has had more than that: no retry from here on
        if not connection.complete:
            connection.transport.write(body)
        self._arm()

    def on_client_gone(self) -> None:
        """Nobody waits any more: the upstream is let go at once."""
        self._drop_upstream()
        self._leave(CLIENT_GONE)
        self.exchange.fault = CLIENT_GONE
        if not self.is_answered:
            self.exchange.status = CLIENT_GONE.status
        self._outcome.on_forwarded(self)

    def on_client_fault(self, fault: Fault) -> None:
        """The rest of the request is not valid: what the upstream got of it must not look whole."""
        self._fail(fault)

    def on_client_drained(self) -> None:
        """The client takes more again."""
        if self._connection is not None:
            self._connection.resume()
            self._arm()

    def on_deadline(self) -> None:
        """Somebody took too long: name who."""
        if self._connection is None:
            self._fail(RESPONSE_TIMEOUT)
        elif self.is_answered:
            if not self.client.is_choked:
                self._fail(UPSTREAM_STALLED)
            elif self.client.takes_some():
                self._arm()
            else:
                self._fail(CLIENT_TIMEOUT)
        elif self._awaits_response():
            self._fail(RESPONSE_TIMEOUT)
        else:
            self._on_upload_deadline(self._connection)

    def _on_upload_deadline(self, connection: Connection) -> None:
        """No piece of the body came for too long, or none could go on."""
        if connection.transport.get_write_buffer_size() == 0:
            self._fail(CLIENT_TIMEOUT)
        elif connection.takes_some():
            self._arm()
        else:
            self._fail(UPSTREAM_STALLED)

    # Receiver: what the upstream does

    def on_interim(self, status: int, fields: Fields) -> None:
        """A 1xx response goes on to whoever can understand it (RFC 9110 §15.2)."""
        if not self.request.is_http10 and (status != 100 or self.request.expects):
            self.client.write(interim_head(status, fields))
        if status == 100:
            self._continued = True
            self._arm()

    def pause_upload(self) -> None:
        """The upstream takes no more for now: neither do we."""
        self.client.pause_upload()

    def resume_upload(self) -> None:
        """The upstream takes more again."""
        self.client.resume_upload()
        self._arm()

    def on_response(self, connection: Connection) -> None:
        """Head, body pieces and end, as they come; all of a small response leaves in one write."""
        out: list[bytes] = []
        if not self.is_answered:
            if connection.switched:
                self._switch(connection)
                return
            head = self._head(connection)
            if head is None:
                return
            out.append(head)
        pieces = connection.take_body()
        if pieces and self._framing != Framing.NONE:
            self._add_body(out, pieces)
        complete = connection.complete
        if complete and self._framing == Framing.CHUNKED:
            trailers = connection.trailers
            wanted = trailers and self.request.trailers_wanted
            out.append(b"0\r\n" + (trailer_section(trailers) if wanted else b"") + b"\r\n")
        client = self.client
        if len(out) == 2 and len(out[1]) < 16384:
            out = [out[0] + out[1]]  # one system call; the copy is cheaper than a vector
        if len(out) > 1:
            client.write_pieces(out)
        elif out and complete:
            client.write_last(out[0])
        elif out:
            client.write(out[0])
        if complete:
            self._finish(connection)
            return
        if client.is_choked:
            connection.pause()
        self._arm()

    def on_upstream_lost(self, fault: Fault, *, at_end: bool) -> None:
        """The connection is gone: the end of a body without a length, a stale connection, or a fault."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if at_end and self.is_answered and self._upstream_framing(connection) == Framing.CLOSE:
            if self._framing == Framing.CHUNKED:
                self.client.write(b"0\r\n\r\n")
            self._end()
        elif self._pool is not None and self._may_retry(connection):
            self._retries -= 1
            self.exchange.retries += 1
            self._connect(self._pool)
        else:
            self._fail(fault)

    def on_unsent(self, held: bytes) -> None:
        """The kept connection had ended, or spoken unasked: another one, which is no retry.

        In the next turn: the next one may have ended, too, and so on.
        """
        self._connection = None
        self._first = held
        asyncio.get_running_loop().call_soon(self._connect_again)

    def _connect_again(self) -> None:
        if self._pool is not None:  # else it is over: the client left meanwhile
            self._connect(self._pool, first=True)

    def _may_retry(self, connection: Connection) -> bool:
        """True when a kept connection proved stale and the request can be sent again (RFC 9110 §9.2.2)."""
        return (
            self._reused
            and self._retries > 0
            and connection.untouched
            and bool(self._first)
            and self.client.request_complete
            and self.request.method in IDEMPOTENT_METHODS
        )

    def _switch(self, connection: Connection) -> None:
        """101: the client gets the head, and from then on both sides talk past us."""
        client = self.client
        protocol = next((value for name, value in connection.fields if name.lower() == b"upgrade"), b"")
        head = response_head(
            101,
            connection.reason,
            connection.fields,
            self.ready,
            head_only=True,
            place=self._place,
        )
        if isinstance(head, str) or protocol.lower() not in _protocols(self.request.upgrade):
            self._fail(UPSTREAM_PROTOCOL.because("a switch to a protocol that was not asked for"))
            return
        self._connection = None
        self.is_answered = True
        self.exchange.status = 101
        self.exchange.responded = time.monotonic()
        self.exchange.stripped = head.cors_stripped
        if self.service.guard is not None:
            self.service.guard.learn(connection.fields)
        self.service.load.tunnels += 1
        head.lines.append(b"Upgrade: " + protocol + b"\r\nConnection: Upgrade\r\n\r\n")
        answer = b"\r\n".join(head.lines)
        if self.exchange.capture is not None:
            self.exchange.capture.note_response(connection.fields, answer)
        client.write(answer)
        idle, websocket = self.service.route.timeouts.idle, protocol.lower() == b"websocket"
        Tunnel(client, connection, idle, self._tunnel_ended, websocket=websocket).start()

    def _tunnel_ended(self, tunnel: Tunnel, fault: Fault | None) -> None:
        self._leave(fault)
        self.service.load.tunnels -= 1
        self.exchange.fault = fault
        self.exchange.received_bytes = tunnel.received_bytes
        self.exchange.sent_bytes = tunnel.sent_bytes
        self._outcome.on_forwarded(self)

    # The response

    def _head(self, connection: Connection) -> bytes | None:
        """The head for the client; None when the upstream's was unusable and the exchange ended."""
        request = self.request
        now = time.monotonic()
        head = response_head(
            connection.status,
            connection.reason,
            connection.fields,
            self.ready,
            head_only=request.method == b"HEAD",
            date=self._outcome.date(now),
            place=self._place,
        )
        if isinstance(head, str):
            self._fail(UPSTREAM_PROTOCOL.because(head))
            return None
        client = self.client
        lines = head.lines
        framing = head.framing
        if framing >= Framing.CHUNKED:
            if request.is_http10:
                framing = Framing.CLOSE
                client.end_with_this()
            else:
                # A body that ends with the connection is chunked too, so that a cut one is seen to be cut.
                framing = Framing.CHUNKED
                lines.append(b"Transfer-Encoding: chunked")
        self._framing = framing
        self.is_answered = True
        self.exchange.status = connection.status
        self.exchange.responded = now
        self.exchange.stripped = head.cors_stripped
        if self.service.guard is not None:
            self.service.guard.learn(connection.fields)
        lines.append(client.connection_line() + b"\r\n")
        answer = b"\r\n".join(lines)
        if self.exchange.capture is not None:
            self.exchange.capture.note_response(connection.fields, answer)
        return answer

    def _place(self) -> Place:
        """Where the client found the proxy: by its own word, or by that of a trusted proxy in front."""
        client, host = self.client, self.request.host
        if not client.trusts_peer:
            return Place(client.scheme, host, host)
        return Place(*public_origin(self.request.forwarding, client.scheme, host), host)

    def _add_body(self, out: list[bytes], pieces: list[bytes]) -> None:
        size = len(pieces[0]) if len(pieces) == 1 else sum(map(len, pieces))
        self.exchange.sent_bytes += size
        if self._framing != Framing.CHUNKED:
            out.extend(pieces)
        elif len(pieces) == 1 and size < 16384:  # an event: one small copy is cheaper than a vector
            out.append(b"%x\r\n%b\r\n" % (size, pieces[0]))
        else:
            out.append(b"%x\r\n" % size)
            out.extend(pieces)
            out.append(b"\r\n")

    def _upstream_framing(self, connection: Connection) -> Framing:
        names = {name.lower() for name, _ in connection.fields}
        return Framing.NONE if names & {b"content-length", b"transfer-encoding"} else Framing.CLOSE

    def _finish(self, connection: Connection) -> None:
        """The response is complete; the connection may serve another request."""
        self._connection = None
        if self._framing >= Framing.CHUNKED and connection.is_http10:
            connection.reusable = False  # no such framing in HTTP/1.0: it is in doubt (RFC 9112 §6.1)
        connection.release(request_complete=self.client.request_complete)
        self._end()

    def _end(self) -> None:
        self._leave(None)
        self._outcome.on_forwarded(self)
        self.client.finish()

    def _fail(self, fault: Fault) -> None:
        """End the exchange with a fault: an answer while none is out, else a cut that is seen as one."""
        self._drop_upstream()
        self._leave(fault)
        self.exchange.fault = fault
        if self.is_answered:
            self._outcome.on_forwarded(self)
            self.client.cut()
        else:
            self._outcome.on_failed(self, fault)

    def _drop_upstream(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            self._opening = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _protocols(upgrade: bytes) -> set[bytes]:
    """The protocols that an Upgrade field names, in lower case."""
    return {member.lower() for member in list_members(upgrade)}
