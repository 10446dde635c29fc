"""The facts of one request, read once from its head.

Here:  one pass over the field lines: what routing, CORS and framing need, and what may cross the proxy.
Never: sockets, routes, decisions. A head that must be refused is returned as a Fault, never repaired.
"""

import re
from collections.abc import Sequence

from corsproxy.http.authority import is_authority
from corsproxy.http.faults import BAD_REQUEST, METHOD_REFUSED, TRANSFER_CODING, Fault
from corsproxy.http.fields import HOP_BY_HOP, PLAIN_OPTIONS, Fields, list_members, nominated
from corsproxy.http.forwarded import is_forwarding_field
from corsproxy.http.paths import split_target

__all__ = ["Request", "read_request"]

# What a field line is to this proxy. Everything that is not named here crosses it untouched.
_CROSS, _DROP, _HOST, _ORIGIN, _CONNECTION, _METHOD, _HEADERS, _NETWORK, _SITE = range(9)
_LENGTH, _TRANSFER, _EXPECT, _TE, _UPGRADE, _FORWARDING, _ID, _HOPS, _OLD_SOCKET, _ONCE = range(9, 19)
_AGENT, _REFERRER, _TRACE = range(19, 22)  # these cross, too: they are noted for the record alone
_ROLE_OF: dict[bytes, int] = {
    b"host": _HOST,
    b"origin": _ORIGIN,
    b"connection": _CONNECTION,
    b"access-control-request-method": _METHOD,
    b"access-control-request-headers": _HEADERS,
    b"access-control-request-private-network": _NETWORK,
    b"sec-fetch-site": _SITE,
    b"content-length": _LENGTH,
    b"transfer-encoding": _TRANSFER,
    b"expect": _EXPECT,
    b"te": _TE,
    b"upgrade": _UPGRADE,
    b"x-request-id": _ID,
    b"max-forwards": _HOPS,
    b"user-agent": _AGENT,
    b"referer": _REFERRER,
    b"traceparent": _TRACE,
    b"content-location": _ONCE,
    b"content-range": _ONCE,
    b"content-type": _ONCE,
    b"etag": _ONCE,
    b"server": _ONCE,
    b"sec-websocket-key1": _OLD_SOCKET,
}
# Roles by name as written, so that the loop below needs no lower(): 0.6 µs less for a browser's dozen fields.
_SEEN: dict[bytes, int] = {}
_SEEN_LIMIT = 1024

# Authorities that were looked at before: a site has few.
_HOSTS: set[bytes] = set()
_HOSTS_LIMIT = 1024
# CONNECT would make this a tunnel to places that clients choose (RFC 9110 §9.3.6); TRACE would show a script
# what the browser and the hops before us added (Fetch, #forbidden-method).
_REFUSED_METHODS = frozenset({b"CONNECT", b"TRACE"})
_NO_NAMES: frozenset[bytes] = frozenset()
_HOP_COUNT = re.compile(rb"[0-9]{1,9}")
_LONGEST_LENGTH = 19  # digits: what fits 64 bits, and what no body will ever need
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._~+/=@:-]{1,128}")
_TWICE = BAD_REQUEST.because("a field that may stand once stands twice")  # RFC 9110 §5.3
_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)


class Request:
    """One request head. Bytes as sent, unless said otherwise."""

    __slots__ = (
        "body_bytes",
        "chunked",
        "connection",
        "expects",
        "forwarding",
        "has_body",
        "headers",
        "host",
        "is_http10",
        "keep_alive",
        "lines",
        "max_forwards",
        "method",
        "network",
        "origin",
        "path",
        "query",
        "raw_fields",
        "referrer",
        "request_id",
        "requested_method",
        "site",
        "traceparent",
        "trailers_wanted",
        "upgrade",
        "user_agent",
    )

    method: bytes
    path: bytes  # raw, without query; "*" for an OPTIONS about the server
    query: bytes  # with its "?"; b"" when there is none
    host: bytes  # the authority this request is for
    is_http10: bool
    keep_alive: bool  # the client will take another response on this connection
    origin: bytes | None  # several lines are joined with ", ", which no origin matches
    requested_method: bytes | None
    headers: bytes | None  # Access-Control-Request-Headers, its lines joined with ","
    network: bool  # Access-Control-Request-Private-Network: true
    site: bytes  # Sec-Fetch-Site
    has_body: bool
    chunked: bool
    body_bytes: int  # Content-Length; -1 when it is not known beforehand
    expects: bool  # Expect: 100-continue
    trailers_wanted: bool  # TE: trailers
    upgrade: bytes  # what the client would switch to; b"" = nothing
    connection: frozenset[bytes]  # further field names that end at this hop
    lines: list[bytes]  # "Name: value" of each field that may cross the proxy, in order
    max_forwards: int  # how many more hops an OPTIONS may go; -1 = as many as there are
    request_id: bytes  # X-Request-Id as sent; b"" when there is none that can be kept
    user_agent: bytes  # b"" when there is none; so with the next two
    referrer: bytes  # Referer
    traceparent: bytes  # several lines are joined with ", ", which is not valid
    forwarding: Fields  # what the client says of hops before it; counts only from a trusted peer
    raw_fields: Sequence[tuple[bytes, bytes]]

    @property
    def is_preflight(self) -> bool:
        """OPTIONS with Origin and Access-Control-Request-Method, nothing else (Fetch,
        #cors-preflight-request).
        """
        return self.requested_method is not None and self.method == b"OPTIONS" and self.origin is not None


def read_request(
    method: bytes,
    target: bytes,
    fields: Sequence[tuple[bytes, bytes]],
    *,
    is_http10: bool,
    keep_alive: bool,
) -> Request | Fault:
    """The facts of a head that the parser accepted, or why it is refused all the same.

    target: as sent; origin-form, absolute-form or "*".
    fields: names and values as sent.
    """
    if method in _REFUSED_METHODS:
        return METHOD_REFUSED.because(method.decode("ascii"))
    request = Request()
    request.method = method
    request.is_http10 = is_http10
    request.keep_alive = keep_alive
    request.raw_fields = fields
    request.site = request.upgrade = request.request_id = b""
    request.user_agent = request.referrer = request.traceparent = b""
    request.forwarding = []
    request.origin = request.requested_method = request.headers = None
    request.network = request.has_body = request.chunked = request.expects = request.trailers_wanted = False
    request.body_bytes = 0
    request.max_forwards = -1
    request.connection = _NO_NAMES
    request.lines = lines = []
    connection: list[bytes] = []
    host = agent = None
    once: tuple[bytes, ...] = ()
    known = _SEEN.get
    for field in fields:
        name, value = field
        role = known(name)
        if role is None:
            role = _role_of(name)
        if role == _CROSS:
            lines.append(b": ".join(field))
        elif role == _HOST:
            if host is not None:
                return BAD_REQUEST.because("more than one Host")  # RFC 9112 §3.2
            host = value
        elif role == _ORIGIN:
            # A list never matches: it is kept, so that the refusal can name it (Fetch, #origin-header).
            request.origin = value if request.origin is None else request.origin + b", " + value
            lines.append(b": ".join(field))
        elif role >= _AGENT:
            lines.append(b": ".join(field))
            if role == _AGENT:
                if agent is not None:
                    return _TWICE
                request.user_agent = agent = value
            elif role == _REFERRER:
                request.referrer = value
            else:
                request.traceparent += b", " + value if request.traceparent else value
        elif role == _DROP:
            pass
        elif role == _CONNECTION:
            if value not in PLAIN_OPTIONS:
                connection.append(value)
        elif role == _ONCE:
            lower = name.lower()
            if lower in once:
                return _TWICE
            once += (lower,)
            lines.append(b": ".join(field))
        else:
            fault = _note(request, role, name, value)
            if fault is not None:
                return fault
    if request.upgrade and not _may_upgrade(request):
        request.upgrade = b""
    if connection:
        request.connection = nominated(connection)
        if request.connection:
            ends = request.connection
            request.lines = [line for line in lines if line.partition(b":")[0].lower() not in ends]
    if host is None:
        if not is_http10:  # also where the target names a host (RFC 9112 §3.2)
            return BAD_REQUEST.because("no Host")
        host = b""
    request.host = host
    if target[:1] == b"/":
        request.path, request.query = split_target(target)
    else:
        fault = _read_other_form(request, target)
        if fault is not None:
            return fault
        host = request.host
    if not host and not is_http10:
        return BAD_REQUEST.because("Host is empty")
    if host and host not in _HOSTS and not _is_host(host):
        return BAD_REQUEST.because("Host is not a host and port")
    if b"#" in target:
        return BAD_REQUEST.because("a fragment is never sent")
    return request


def _is_host(text: bytes) -> bool:
    """True for an authority; those of a sensible length are remembered."""
    if not is_authority(text):
        return False
    if len(text) <= 64:
        if len(_HOSTS) >= _HOSTS_LIMIT:  # they come from clients
            _HOSTS.clear()
        _HOSTS.add(text)
    return True


def _may_upgrade(request: Request) -> bool:
    """True for a switch that can be handed on (RFC 9110 §7.8): to a protocol that keeps to our rules.

    h2c would carry further requests that nobody here sees (h2c smuggling), and TLS would hide them.
    """
    named = {
        option.lower()
        for name, value in request.raw_fields
        if name.lower() == b"connection"
        for option in list_members(value)
    }
    asked = {protocol.partition(b"/")[0].lower() for protocol in list_members(request.upgrade)}
    return (
        not request.is_http10
        and not request.has_body
        and b"upgrade" in named
        and not asked & {b"h2c", b"h2", b"tls", b"http"}
    )


def _role_of(name: bytes) -> int:
    lower = name.lower()
    role = _ROLE_OF.get(lower, _CROSS)
    if lower in HOP_BY_HOP and role == _CROSS:
        role = _DROP
    elif is_forwarding_field(lower):
        role = _FORWARDING
    elif b"_" in lower and _has_meaning(lower.replace(b"_", b"-")):
        role = _DROP  # to CGI and its heirs both spellings are one name (RFC 3875 §4.1.18)
    if len(name) <= 64:
        if len(_SEEN) >= _SEEN_LIMIT:  # names come from clients
            _SEEN.clear()
        _SEEN[name] = role
    return role


def _has_meaning(lower: bytes) -> bool:
    """True for a name that is read, dropped or made here: no other spelling of it may get past."""
    return lower in _ROLE_OF or lower in HOP_BY_HOP or is_forwarding_field(lower)


def _note(request: Request, role: int, name: bytes, value: bytes) -> Fault | None:
    """Keep what a less common field says. Those about CORS cross the proxy as well."""
    if role == _LENGTH:
        if not value.isdigit() or len(value) > _LONGEST_LENGTH:  # the parser has seen that it is there once
            return BAD_REQUEST.because("Content-Length is not a number, or has too many digits")
        request.body_bytes = int(value)
        request.has_body = request.body_bytes > 0
        request.lines.append(name + b": " + value)
    elif role == _TRANSFER:
        if request.is_http10:
            return BAD_REQUEST.because("Transfer-Encoding in HTTP/1.0")  # RFC 9112 §6.1
        if request.chunked or value.lower() != b"chunked":
            return TRANSFER_CODING
        request.chunked = request.has_body = True
        request.body_bytes = -1
    elif role == _EXPECT:
        if value.lower() != b"100-continue" or request.is_http10:  # RFC 9110 §10.1.1
            return None
        request.expects = True
        request.lines.append(name + b": " + value)
    elif role == _TE:
        members = {member.partition(b";")[0].strip().lower() for member in list_members(value)}
        request.trailers_wanted |= b"trailers" in members
    elif role == _FORWARDING:
        request.forwarding.append((name, value))
    elif role == _ID:
        if not request.request_id and _REQUEST_ID.fullmatch(value):
            request.request_id = value
    elif role == _HOPS:
        if any(line[:13].lower() == b"max-forwards:" for line in request.lines):
            return _TWICE  # else it would not be known which of them the next hop counts
        request.lines.append(name + b": " + _one_hop_less(request, value))
    elif role == _OLD_SOCKET:
        # Behind the head of this handshake come eight bytes that no length announces: a request, to others.
        return BAD_REQUEST.because("a WebSocket handshake from before RFC 6455")
    elif role == _UPGRADE:
        request.upgrade = value if not request.upgrade else request.upgrade + b", " + value
    else:
        _note_cors(request, role, value)
        request.lines.append(name + b": " + value)
    return None


def _one_hop_less(request: Request, value: bytes) -> bytes:
    """Max-Forwards as it goes on (RFC 9110 §7.6.2). It is about OPTIONS and TRACE; else it crosses untouched.

    So does what is no number, or one that no chain of proxies is long enough for: it limits nothing here.
    """
    if request.method != b"OPTIONS" or _HOP_COUNT.fullmatch(value) is None:
        return value
    request.max_forwards = hops = int(value)
    return b"%d" % max(hops - 1, 0)


def _note_cors(request: Request, role: int, value: bytes) -> None:
    if role == _METHOD:
        first = request.requested_method
        request.requested_method = value if first is None else first + b", " + value
    elif role == _HEADERS:
        request.headers = value if request.headers is None else request.headers + b"," + value
    elif role == _NETWORK:
        request.network = value == b"true"
    else:
        request.site = value


def _read_other_form(request: Request, target: bytes) -> Fault | None:
    """Absolute-form and asterisk-form (RFC 9112 §3.2.2, §3.2.4)."""
    if target == b"*" and request.method == b"OPTIONS":
        request.path, request.query = target, b""
        return None
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None or not absolute[1]:
        return BAD_REQUEST.because("the request target has no form of RFC 9112 §3.2")
    # Its authority wins over the Host field. It chooses a route, never a destination.
    request.host = absolute[1]
    path = absolute[2] or b"/"
    request.path, request.query = split_target(path if path[:1] == b"/" else b"/" + path)
    return None
