"""Redirects that lead a script past the proxy, to a place that knows nothing of it.

Here:  the origin that such a redirect leads to, as the client was told it.
Never: following it; redirects of navigations, which may lead wherever they like.
"""

from collections.abc import Iterator

from corsproxy.cors.decide import Kind
from corsproxy.cors.fields import shown
from corsproxy.proxy.capture import Capture
from corsproxy.proxy.exchange import Exchange

__all__ = ["REDIRECTS", "leads_to", "sent_values"]

REDIRECTS = frozenset({301, 302, 303, 307, 308})


def leads_to(exchange: Exchange) -> str:
    """The origin past the proxy to which the answer to a script's call leads; "" when it leads to none."""
    capture = exchange.capture
    if capture is None or exchange.origin is None or exchange.status not in REDIRECTS:
        return ""
    if _is_navigation(capture) or (exchange.decision and exchange.decision.kind is Kind.PREFLIGHT):
        return ""
    own = capture.scheme + b"://" + capture.request.host.lower()
    for location in sent_values(capture.answer, b"location:"):
        absolute = capture.scheme + b":" + location if location.startswith(b"//") else location
        place = b"/".join(absolute.split(b"/", 3)[:3])
        if b"://" in place and place.lower() != own:
            return shown(place)
    return ""


def _is_navigation(capture: Capture) -> bool:
    """A form that is sent by POST has an Origin, too."""
    fields = capture.request.raw_fields
    return any(name.lower() == b"sec-fetch-mode" and value == b"navigate" for name, value in fields)


def sent_values(head: bytes, wanted: bytes) -> Iterator[bytes]:
    """The values of the lines of a complete head that begin with this name and its colon."""
    for line in head.split(b"\r\n"):
        if line[: len(wanted)].lower() == wanted:
            yield line[len(wanted) :].strip()
