"""The life of a request, top to bottom: match, limit, decide, answer or forward, record.

Here:  the order of the steps, and the one place that turns a fault into an answer.
Never: bytes on sockets (downstream, forward), the rules (cors), the file (config).
"""

import itertools
import re
import secrets
import time
from collections.abc import Callable, Mapping

from corsproxy.config.table import Table, Upstream
from corsproxy.cors.decide import Decision, decide_no_route
from corsproxy.http.faults import BODY_TOO_LARGE, CONNECTION_LIMIT, IN_FLIGHT_LIMIT, Fault
from corsproxy.http.forwarded import public_origin
from corsproxy.http.redirects import without_default_port
from corsproxy.proxy.answers import date_line, fault_answer, options_answer, refusal_answer
from corsproxy.proxy.capture import Capture
from corsproxy.proxy.cookie_guard import CookieMemory, guard_for
from corsproxy.proxy.downstream import Downstream
from corsproxy.proxy.exchange import Exchange
from corsproxy.proxy.forward import Forward
from corsproxy.proxy.request import Request
from corsproxy.proxy.roles import Settings
from corsproxy.proxy.routing import Router
from corsproxy.proxy.service import Load, Memos, Ready, RouteService
from corsproxy.upstream.cluster import Cluster

__all__ = ["Handler", "Trace"]

# Request ids are unique, not secret: a random beginning for this process, and a counter.
_ID_PREFIX = secrets.token_hex(6).encode("ascii")
_ID_COUNTER = itertools.count()

Record = Callable[[Exchange, float], None]
Begin = Callable[[Downstream, Request], Exchange]
Trace = Callable[[Exchange, Request], None]
"""Told of an exchange that begins; may say to the upstream which trace it belongs to."""


class Handler:
    """Serves requests by one table."""

    def __init__(
        self,
        table: Table,
        clusters: Mapping[Upstream, Cluster],
        record: Record,
        loads: Mapping[str, Load],
        *,
        cookies: CookieMemory | None = None,
        captures: bool = False,
        trace: Trace | None = None,
    ) -> None:
        """record: called once for each exchange, with the time it ended on the monotonic clock.

        loads: of the routes, by name.
        cookies: what upstreams have set so far; None = nothing.
        captures: the record is to hold the fields on both wires, too.
        trace: called as each exchange begins; None = nobody traces.
        """
        self.table = table
        self._router = Router(table.routes)
        memos = Memos()
        known = CookieMemory() if cookies is None else cookies
        self._services = tuple(
            RouteService(route, clusters[route.upstream], memos, loads[route.name], guard_for(route, known))
            for route in table.routes
        )
        self._record = record
        begin = _begin_captured if captures else _begin
        self._begin = begin if trace is None else _traced(begin, trace)
        self._settings = Settings(table.limits, table.timeouts, _shortest(table), table.trusted_proxies)
        self._date = b""
        self._date_until = 0.0

    def settings(self) -> Settings:
        """What holds for new connections."""
        return self._settings

    def handle(self, client: Downstream, request: Request) -> None:
        """Serve one request; every way out passes `_record`, so each has exactly one log line."""
        exchange = self._begin(client, request)
        is_preflight = request.is_preflight
        found = self._router.match(
            (request.requested_method if is_preflight else request.method) or b"",
            request.host,
            request.path,
            None if is_preflight else request.raw_fields,
        )
        if isinstance(found, Fault):
            self._answer_fault(client, exchange, found, self._without_route(request))
            return
        service = self._services[found.index]
        exchange.route = found
        if is_preflight and found.policy is not None:
            decision, head, body = service.preflight(
                request.origin or b"",
                request.requested_method or b"",
                request.headers,
                network=request.network,
            )
            exchange.decision = decision
            if not decision.passes:
                self._send_answer(client, exchange, head, body)
                return
        ready = _decide(client, service, request)
        if exchange.decision is None:  # not a preflight, or one that the upstream settles
            exchange.decision = ready.decision
        if request.upgrade and found.websocket == "off":
            request.upgrade = b""  # served as the ordinary request that it is as well (RFC 9110 §7.8)
        fault = _over_limit(client, service, request)
        if fault is not None:
            self._answer_fault(client, exchange, fault, ready.decision)
        elif ready.decision.blocks or _may_not_switch(service, ready, request):
            self._answer_refusal(client, exchange, ready.decision)
        elif request.max_forwards == 0:
            self._send_answer(client, exchange, options_answer(ready.decision), b"")
        else:
            service.load.in_flight += 1
            Forward(client, request, exchange, service, ready, self).start()

    def refuse(self, client: Downstream, fault: Fault, head: bytes) -> None:
        """Answer a request that could not be read; what is legible of its head may still name an origin."""
        exchange = Exchange(time.monotonic(), client.peer)
        exchange.scheme = client.scheme
        exchange.method, exchange.path = _legible_line(head)
        exchange.origin = _legible_origin(head)
        exchange.request_id = _new_id()
        exchange.fault = fault
        answer, body = fault_answer(fault, decide_no_route(self.table.policies, exchange.origin))
        self._send_answer(client, exchange, answer, body)

    def _without_route(self, request: Request) -> Decision:
        return decide_no_route(self.table.policies, request.origin, preflight=request.is_preflight)

    # Ways out

    def _answer_refusal(self, client: Downstream, exchange: Exchange, decision: Decision) -> None:
        head, body = refusal_answer(decision, "This origin may not use this route.")
        self._send_answer(client, exchange, head, body)

    def _answer_fault(
        self,
        client: Downstream,
        exchange: Exchange,
        fault: Fault,
        decision: Decision | None,
    ) -> None:
        exchange.fault = fault
        if exchange.decision is None:
            exchange.decision = decision
        head, body = fault_answer(fault, decision)
        self._send_answer(client, exchange, head, body)

    def _send_answer(self, client: Downstream, exchange: Exchange, head: bytes, body: bytes) -> None:
        if exchange.method == b"HEAD":
            body = b""
        exchange.status = int(head[9:12])
        exchange.sent_bytes = len(body)
        head += self._closing_lines(client, exchange)
        if exchange.capture is not None:
            exchange.capture.answer = head
        client.write_last(head + body)
        self._record(exchange, time.monotonic())
        client.finish()

    def _closing_lines(self, client: Downstream, exchange: Exchange) -> bytes:
        """Date, Connection and the empty line: what no answer made beforehand can hold."""
        return self.date(exchange.started) + b"\r\n" + client.connection_line() + b"\r\n"

    def date(self, now: float) -> bytes:
        """The Date line, without its end, at this time on the monotonic clock; made once a second."""
        if now >= self._date_until:
            self._date = date_line(time.time())
            self._date_until = now + 1.0
        return self._date

    # Outcome of a forward

    def on_forwarded(self, forward: Forward) -> None:
        """The exchange is over: its response is out in full or as far as it came, or the client is gone."""
        forward.service.load.in_flight -= 1
        self._record(forward.exchange, time.monotonic())

    def on_failed(self, forward: Forward, fault: Fault) -> None:
        """The exchange ended in a fault, and the client has had no answer yet."""
        forward.service.load.in_flight -= 1
        self._answer_fault(forward.client, forward.exchange, fault, forward.ready.decision)


def _begin(client: Downstream, request: Request) -> Exchange:
    exchange = Exchange(time.monotonic(), client.peer)
    exchange.method = request.method
    exchange.path = request.path
    exchange.origin = request.origin
    exchange.host = request.host
    exchange.scheme = client.scheme
    exchange.is_http10 = request.is_http10
    exchange.user_agent = request.user_agent
    if request.referrer:
        exchange.referrer = request.referrer.partition(b"?")[0]
    exchange.traceparent = request.traceparent
    if client.trusts_peer and request.forwarding:
        exchange.client = client.address_told(request.forwarding)
    exchange.requested_method = request.requested_method
    exchange.request_id = request.request_id or _new_id()
    return exchange


def _begin_captured(client: Downstream, request: Request) -> Exchange:
    exchange = _begin(client, request)
    exchange.capture = Capture(request, client.scheme)
    return exchange


def _traced(begin: Begin, trace: Trace) -> Begin:
    def begin_traced(client: Downstream, request: Request) -> Exchange:
        exchange = begin(client, request)
        trace(exchange, request)
        return exchange

    return begin_traced


def _new_id() -> bytes:
    return b"%b%08x" % (_ID_PREFIX, next(_ID_COUNTER))


def _decide(client: Downstream, service: RouteService, request: Request) -> Ready:
    ready = service.actual(request.origin)
    if not ready.decision.allowed and _is_same_origin(client, request):
        return service.actual(request.origin, same_origin=True)
    return ready


def _may_not_switch(service: RouteService, ready: Ready, request: Request) -> bool:
    """True when a foreign page would open a WebSocket: browsers leave that check to us (RFC 6455 §10.2)."""
    if not request.upgrade or service.route.websocket == "any":
        return False
    decision = ready.decision
    return not decision.allowed and not decision.passes


def _over_limit(client: Downstream, service: RouteService, request: Request) -> Fault | None:
    if client.is_surplus:
        return CONNECTION_LIMIT
    limits = service.route.limits
    if limits.request_body and request.body_bytes > limits.request_body:
        return BODY_TOO_LARGE  # before a byte of it is read
    if limits.in_flight and service.load.in_flight >= limits.in_flight:
        return IN_FLIGHT_LIMIT
    return None


def _is_same_origin(client: Downstream, request: Request) -> bool:
    """True when the request comes from a page that this proxy itself serves: Origin is sent with every POST.

    Sec-Fetch-Site cannot be set by scripts (Fetch, #forbidden-request-header). Without it, Origin is compared
    with the proxy's own scheme and Host, which may name the default port: Origin never does (RFC 6454 §6.1).
    """
    if request.site:
        return request.site == b"same-origin"
    scheme, host = client.scheme, request.host
    if client.trusts_peer:
        scheme, host = public_origin(request.forwarding, scheme, host)
    return request.origin == scheme + b"://" + without_default_port(scheme, host.lower())


_LINE = re.compile(rb"[\r\n]*([A-Z]{1,20}) (/[!->@-~]{0,1023})")  # the path without its query


def _legible_line(head: bytes) -> tuple[bytes, bytes]:
    """Method and path of a head that was refused unread, where they can be made out; else b"" and b""."""
    found = _LINE.match(head)
    return (found[1], found[2]) if found else (b"", b"")


_ORIGIN_LINE = re.compile(rb"\r\norigin:[ \t]*([!-~]{1,512})[ \t]*(?=\r\n)", re.IGNORECASE)


def _legible_origin(head: bytes) -> bytes | None:
    """The Origin of a head that was refused unread, if it has just one."""
    found = _ORIGIN_LINE.findall(head)
    return found[0] if len(found) == 1 else None


def _shortest(table: Table) -> float:
    """The shortest timeout of the table, in seconds: how often a connection looks at its deadline."""
    every = [table.timeouts, *(route.timeouts for route in table.routes)]
    return min(
        seconds
        for timeouts in every
        for seconds in (
            timeouts.client_head,
            timeouts.keepalive,
            timeouts.response,
            timeouts.idle,
            timeouts.connect,
        )
    )
