"""The policy of the other proxies as an addon of mitmproxy."""

import re

from mitmproxy import http  # type: ignore[import-not-found] # installed in an environment of its own

ALLOWED = re.compile(r"https://(app|[a-z0-9.-]+\.preview)\.example\.com")


def request(flow: http.HTTPFlow) -> None:
    """Answer preflights."""
    asks = flow.request.headers
    origin = asks.get("origin", "")
    if flow.request.method != "OPTIONS" or "access-control-request-method" not in asks:
        return
    flow.response = http.Response.make(204)
    if ALLOWED.fullmatch(origin):
        flow.response.headers["access-control-allow-origin"] = origin
        flow.response.headers["access-control-allow-credentials"] = "true"
        flow.response.headers["access-control-allow-methods"] = "GET, PUT, POST"
        flow.response.headers["access-control-allow-headers"] = "content-type, authorization"
        flow.response.headers["access-control-max-age"] = "600"


def response(flow: http.HTTPFlow) -> None:
    """Put the policy on what the upstream said."""
    if flow.response is None or flow.response.status_code == 204:
        return
    headers = flow.response.headers
    for name in ("allow-origin", "allow-credentials", "expose-headers"):
        headers.pop(f"access-control-{name}", None)
    headers.add("vary", "Origin")
    origin = flow.request.headers.get("origin", "")
    if ALLOWED.fullmatch(origin):
        headers["access-control-allow-origin"] = origin
        headers["access-control-allow-credentials"] = "true"
        headers["access-control-expose-headers"] = "X-Total-Count"
