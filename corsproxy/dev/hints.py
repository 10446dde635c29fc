"""What a developer should know about one exchange beyond its line in the log, and what to do.

Here:  refusals with the flag that allows them, faults, cookies that do not work or were kept back, redirects
       that leave the proxy, and the permission that a browser asks for (Local Network Access).
Never: whether it was said before (terminal); values of cookies and fields.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Literal

from corsproxy.config.problems import path_text
from corsproxy.cors.browser import Call
from corsproxy.cors.decide import Reason
from corsproxy.cors.fields import parse_names, shown
from corsproxy.cors.origins import is_loopback_host, parse_origin
from corsproxy.cors.remedy import find_remedy, place_of
from corsproxy.cors.sites import PRIVATE, site_of
from corsproxy.dev.cookie_notes import ONLY_SAFARI, Visit, why_lost
from corsproxy.dev.leaving import leads_to, sent_values
from corsproxy.http.faults import Fault
from corsproxy.http.own_cookies import cookie_names, is_deletion, set_cookie_name
from corsproxy.proxy.capture import Capture
from corsproxy.proxy.exchange import Exchange
from corsproxy.proxy.explained import change_text

__all__ = ["Hint", "fault_hint", "hints_for", "is_public_origin", "network_access_hint"]


@dataclass(frozen=True, slots=True)
class Hint:
    """One thing to know."""

    topic: Literal["refused", "fault", "cookie", "redirect", "network-access"]
    says: str  # "" when the log's own line says it
    to_do: str = ""
    key: str = ""  # a hint of the same topic and key says the same; "" = each is worth saying


def hints_for(exchange: Exchange, file: str = "") -> Iterator[Hint]:
    """Everything worth saying about an exchange, the reason for its outcome first.

    file: the one that is served by, whose line is named then; "" = there is none.
    """
    yield from _refusal(exchange, file)
    yield from _fault(exchange)
    yield from _network_access(exchange)
    if exchange.capture is not None:
        yield from _kept_back(exchange.capture, exchange)
        yield from _lost(exchange.capture, exchange)
    yield from _leaving(exchange)


# Refusals and faults


def _refusal(exchange: Exchange, file: str) -> Iterator[Hint]:
    decision = exchange.decision
    if decision is None or decision.allowed or decision.passes or exchange.fault is not None:
        return
    detail = decision.detail
    match decision.reason:
        case Reason.ORIGIN_NOT_ALLOWED:
            says = f"origin {detail} is not allowed: only pages of this machine are"
            yield Hint("refused", says, f"to allow it: --origin {detail}{_in_file(exchange, file)}")
        case Reason.NULL_NOT_ALLOWED:
            says = 'the page has no origin ("null"): it was opened from a file, or is sandboxed'
            yield Hint("refused", says, "serve it: python -m http.server 5173, then http://localhost:5173")
        case Reason.ORIGIN_MALFORMED | Reason.REQUEST_HEADER_LIST_MALFORMED:
            yield Hint("refused", f"no browser sends {detail!r}", "look at the tool that did")
        case Reason.METHOD_NOT_ALLOWED:
            yield _not_in_list(exchange, f"method {detail}", file)
        case Reason.HEADER_NOT_ALLOWED:
            yield _not_in_list(exchange, f"header {detail}", file)
        case _:
            yield Hint("refused", f"{decision.reason.value}: {detail}")


def _not_in_list(exchange: Exchange, what: str, file: str) -> Hint:
    """A preflight that asked for more than the policy lists, with the remedy that `explain` has for it."""
    says = f"{what} is not allowed"
    if exchange.route is None or exchange.route.policy is None or exchange.capture is None:
        return Hint("refused", says)
    asked = exchange.capture.request
    names = parse_names(asked.headers or b"") or ()
    call = Call(exchange.origin or b"", asked.requested_method or b"", tuple((name, None) for name in names))
    remedy = find_remedy(exchange.route.policy, call, preflight=True)
    if not remedy.changes:
        return Hint(
            "refused",
            f"{what} cannot be allowed: {remedy.warning}" if remedy.warning else says,
            remedy.advice,
        )
    changes = "; ".join(change_text(change, file or "the configuration") for change in remedy.changes)
    return Hint("refused", says, f"to allow it: {changes}")


def _in_file(exchange: Exchange, file: str) -> str:
    if not file or exchange.route is None or exchange.route.policy is None:
        return ""
    if (exchange.origin or b"").startswith(b"http://"):
        return ""  # there it takes a second key, which the option brings along
    where, line = place_of(exchange.route.policy.spec, "allow_origins")
    return f", or add it to {path_text(where)} ({file}:{line})"


# What becomes of plain http on a port that speaks TLS.
_NO_HTTP = frozenset({"broke-off", "protocol-error"})
_ASK_FOR_HTTPS = "does it speak https there?"

_TO_DO = {
    "connection-refused": "is the API running? The proxy goes on serving; it will be found when it starts",
    "unreachable": "is the network there, or a VPN needed?",
    "connect-timeout": "is the network there, or a VPN needed?",
    "dns-error": "look at the name, and whether a VPN is needed",
    "no-route": "give the URL without --route beside it, or another --route",
}


def _fault(exchange: Exchange) -> Iterator[Hint]:
    fault = exchange.fault
    if fault is None or fault.code == "client-gone":
        return
    if fault.code == "host-unknown":
        host = shown(exchange.capture.request.host) if exchange.capture else ""
        says = f"asked as {host or 'a host without name'}, which is not this machine's name"
        yield Hint("fault", says, "call it localhost: a page could point any other name here (DNS rebinding)")
        return
    hint = fault_hint(fault)
    if fault.code in _NO_HTTP and exchange.endpoint.startswith("http://") and not exchange.responded:
        hint = replace(hint, to_do=f"did the API end, or {_ASK_FOR_HTTPS}")
    yield replace(hint, says="")  # the line has said it


def fault_hint(fault: Fault) -> Hint:
    """What went wrong on the way to the API, and what may help."""
    to_do = _tls_remedy(fault.detail) if fault.code == "tls-error" else _TO_DO.get(fault.code, "")
    return Hint("fault", fault.says.rstrip("."), to_do)


def _tls_remedy(detail: str) -> str:
    """OpenSSL's words, and what they come to."""
    lower = detail.lower()
    if "mismatch" in lower or "expired" in lower:
        return "--insecure goes on all the same; whoever sits between can then pretend to be the API"
    if "certificate" in lower:
        return "--ca FILE names the authority to trust (that of the company, say); --insecure trusts anybody"
    return _ASK_FOR_HTTPS


# Local Network Access


def is_public_origin(origin: bytes) -> bool:
    """True for a page from elsewhere: not of this machine, nor of a private network as its address says."""
    parsed = parse_origin(origin)
    if parsed is None or is_loopback_host(parsed.host):
        return False
    host = parsed.host.decode("ascii", "replace").strip("[]")
    try:
        return ip_address(host).is_global
    except ValueError:
        return site_of(parsed)[1] != PRIVATE and "." in host


def network_access_hint(origin: str) -> Hint:
    """What a browser does when such a page calls this machine."""
    says = f"{origin} is no page of this machine: Chromium asks the user before it may call localhost"
    if origin.startswith("http://"):
        says = f"{origin} is no secure page: Chromium does not let it call localhost at all"
        return Hint("network-access", says, "serve the page over https, or from localhost", origin)
    to_do = "say yes to the prompt (once for each site); no field of a response replaces it"
    return Hint("network-access", says, to_do, origin)


def _network_access(exchange: Exchange) -> Iterator[Hint]:
    origin = exchange.origin
    if (
        origin is not None
        and exchange.decision is not None
        and exchange.decision.allowed
        and is_public_origin(origin)
    ):
        yield network_access_hint(shown(origin))


# Cookies


def _kept_back(capture: Capture, exchange: Exchange) -> Iterator[Hint]:
    """Cookies that came, and did not go on."""
    if not capture.sent:
        return
    came = [name for value in _values(capture.request.raw_fields, b"cookie") for name in cookie_names(value)]
    known = {name for value in sent_values(capture.sent, b"cookie:") for name in cookie_names(value)}
    # What is set right now needs no word: next time it goes along.
    set_now = _values(capture.response or (), b"set-cookie")
    known |= {set_cookie_name(value) for value in set_now if not is_deletion(value)}
    for name in dict.fromkeys(came):
        if name not in known:
            said = shown(name)
            says = f"cookie {said} stays here: {exchange.endpoint} has not set it through this proxy"
            yield Hint("cookie", says, f"if it is for the API: --cookie {said}", f"kept back {said}")


def _lost(capture: Capture, exchange: Exchange) -> Iterator[Hint]:
    """Cookies that the API sets and a browser has no use for."""
    request = capture.request
    visit = Visit(capture.scheme, request.host, exchange.origin)
    for line in sent_values(capture.answer, b"set-cookie:"):
        why = why_lost(line, visit)
        if why:
            name = shown(set_cookie_name(line))
            where = " in Safari" if why == ONLY_SAFARI else ""
            yield Hint("cookie", f"cookie {name} will not work{where}: {why}", key=f"lost {name}")


def _values(fields: Iterable[tuple[bytes, bytes]], wanted: bytes) -> Iterator[bytes]:
    for name, value in fields:
        if name.lower() == wanted:
            yield value


# Redirects


def _leaving(exchange: Exchange) -> Iterator[Hint]:
    """A redirect that a script would have to follow to a place that knows nothing of this proxy."""
    if target := leads_to(exchange):
        says = f"this redirect leads to {target}, past the proxy: no script can follow it there"
        to_do = f"log in by a navigation, or bring it here: --route /somewhere={target}"
        yield Hint("redirect", says, to_do, target)
