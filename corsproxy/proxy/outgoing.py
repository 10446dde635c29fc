"""The head of a request as the upstream gets it.

Here:  the route's path, the upstream's Host, the client's own lines, who asked, and the route's edits.
Never: sockets; bodies; deciding whether it goes.
"""

from corsproxy.config.table import Route
from corsproxy.http.edits import edit_lines
from corsproxy.http.forwarded import handed_on
from corsproxy.http.own_page import as_own_page
from corsproxy.http.paths import strip_prefix
from corsproxy.proxy.downstream import Downstream
from corsproxy.proxy.request import Request
from corsproxy.proxy.service import RouteService

__all__ = ["path_at_upstream", "request_head"]


def request_head(
    request: Request,
    service: RouteService,
    client: Downstream,
    request_id: bytes,
    authority: bytes,
    *,
    is_allowed: bool = False,
) -> bytes:
    """The complete head, with the empty line. authority: of the endpoint.

    is_allowed: a page sent it that the policy allows, so it may pass for one of the upstream's own.
    """
    host = request.host if service.keeps_host else service.host or authority
    path = path_at_upstream(request.path, service.route)
    fields = request.lines
    if service.guard is not None:
        fields = service.guard.let_through(fields)
    if is_allowed and service.page_scheme:
        fields = as_own_page(fields, service.page_scheme + host)
    lines = [b"%b %b%b HTTP/1.1\r\nHost: %b" % (request.method, path, request.query, host), *fields]
    if request.chunked:
        lines.append(b"Transfer-Encoding: chunked")
    if request.trailers_wanted:
        lines.append(b"TE: trailers\r\nConnection: TE")
    if request.upgrade:
        lines.append(b"Connection: Upgrade\r\nUpgrade: " + request.upgrade)
    lines.append(b"X-Request-Id: " + request_id)
    if request.forwarding and client.trusts_peer:
        lines.append(handed_on(request.forwarding, client.peer, client.scheme, request.host))
    else:
        if request.host:
            lines.append(b"X-Forwarded-Host: " + request.host)
        lines.append(client.forwarded)
    edits = service.route.request_edits
    if edits is not None:  # what the proxy itself says may be edited too: X-Forwarded-For, X-Request-Id
        start, *fields = b"\r\n".join(lines).removesuffix(b"\r\n").split(b"\r\n")
        lines = [start, *edit_lines(fields, edits), b""]
    return b"\r\n".join(lines) + b"\r\n"


def path_at_upstream(path: bytes, route: Route) -> bytes:
    """The path that the upstream is asked for. path: as the client sent it, without query."""
    if path == b"*":  # about the upstream as a whole (RFC 9110 §9.3.7)
        return path
    if route.strip_prefix:
        path = strip_prefix(path, route.strip_prefix)
    return route.base_path + path if route.base_path else path
