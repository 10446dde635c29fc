"""Cookies that do not work on localhost, and why: those a browser drops, or does not send back.

Here:  one Set-Cookie line, as the client gets it, against the rules of browsers (RFC 6265bis §4.1, §5.7, and
       CHIPS for Partitioned).
Never: values of cookies; changing lines (`http.cookies` does).
"""

from collections.abc import Callable
from dataclasses import dataclass

from corsproxy.cors.origins import Origin, is_loopback_host, parse_origin
from corsproxy.cors.sites import LOOPBACK, site_of
from corsproxy.http.own_cookies import is_deletion

__all__ = ["ONLY_SAFARI", "Visit", "why_lost"]

ONLY_SAFARI = "Safari refuses Secure over plain http (Chromium and Firefox keep it on localhost): use --https"

_SPACE = b" \t"
_LONGEST = 4096  # bytes of name and value; browsers drop a longer one (RFC 6265bis §5.6)


@dataclass(frozen=True, slots=True)
class Visit:
    """Who asked whom."""

    scheme: bytes  # of the proxy
    host: bytes  # by which it was asked, with port
    origin: bytes | None  # of the page; None = not a call of a script on another origin

    @property
    def proxy(self) -> Origin | None:
        """The proxy's own origin; None where the Host is no name that a browser would write."""
        port = b":443" if self.scheme == b"https" else b":80"
        return parse_origin(self.scheme + b"://" + self.host.lower().removesuffix(port))


@dataclass(frozen=True, slots=True)
class _Cookie:
    """One line, read as a browser reads it: of attributes given twice the last counts."""

    name: bytes
    size: int
    attributes: dict[bytes, bytes]

    @property
    def is_secure(self) -> bool:
        return b"secure" in self.attributes

    @property
    def same_site(self) -> bytes:
        """In lower case; "lax" where nothing is said, as Chromium takes it."""
        return self.attributes.get(b"samesite", b"lax").lower()


def why_lost(line: bytes, visit: Visit) -> str:
    """Why a browser does not keep this cookie, or never sends it back; "" when it works.

    Safari refuses what Chromium and Firefox accept on localhost; then it is named.
    """
    if is_deletion(line):
        return ""
    cookie = _read(line)
    return next((why for rule in _RULES if (why := rule(cookie, visit))), "")


def _read(line: bytes) -> _Cookie:
    pair, *rest = line.split(b";")
    name, equals, value = (part.strip(_SPACE) for part in pair.partition(b"="))
    attributes = {}
    for attribute in rest:
        key, _, content = attribute.partition(b"=")
        attributes[key.strip(_SPACE).lower()] = content.strip(_SPACE)
    return _Cookie(name if equals else b"", len(name) + len(value), attributes)


def _too_long(cookie: _Cookie, _visit: Visit) -> str:
    return f"it is longer than {_LONGEST} bytes" if cookie.size > _LONGEST else ""


def _broken_promise(cookie: _Cookie, _visit: Visit) -> str:
    """Names that promise attributes (§4.1.3); case does not count."""
    name = cookie.name.lower()
    prefix = next((each for each in _PROMISES if name.startswith(each)), None)
    if prefix is None:
        return ""
    missing = [says for says, holds in _PROMISES[prefix] if not holds(cookie)]
    return f"its name promises {' and '.join(missing)}" if missing else ""


def _needs_secure(cookie: _Cookie, _visit: Visit) -> str:
    if cookie.is_secure:
        return ""
    if cookie.same_site == b"none":
        return "SameSite=None needs Secure"
    return "Partitioned needs Secure" if b"partitioned" in cookie.attributes else ""


def _foreign_domain(cookie: _Cookie, visit: Visit) -> str:
    domain = cookie.attributes.get(b"domain", b"").removeprefix(b".").lower()
    host = visit.proxy.host if visit.proxy else b""
    if not domain or host == domain or host.endswith(b"." + domain):
        return ""
    return f"it is for {domain.decode('latin-1')}, not for {host.decode('latin-1')}"


def _another_site(cookie: _Cookie, visit: Visit) -> str:
    """Cookies with SameSite go along only within one site, whose scheme counts (§5.2)."""
    page = parse_origin(visit.origin) if visit.origin else None
    proxy = visit.proxy
    if page is None or proxy is None or cookie.same_site == b"none" or _site(page) == _site(proxy):
        return ""
    says = f"{bytes(page).decode()} and {bytes(proxy).decode()} are two sites"
    if page.scheme != proxy.scheme and page.host == proxy.host:
        return f"{says}, since one is http and the other https: use the same for both"
    if site_of(page)[1] == LOOPBACK:
        return f"{says}: call both by the same name"
    return f"{says}, and this cookie stays within one"


def _plain_http(cookie: _Cookie, visit: Visit) -> str:
    if not cookie.is_secure or visit.scheme == b"https":
        return ""
    host = visit.proxy.host if visit.proxy else b""
    if not is_loopback_host(host):
        return "Secure needs https"
    return ONLY_SAFARI


_RULES: tuple[Callable[[_Cookie, Visit], str], ...] = (
    _too_long,
    _broken_promise,
    _needs_secure,
    _foreign_domain,
    _another_site,
    _plain_http,
)

_SECURE = ("Secure", lambda cookie: cookie.is_secure)
_HTTP_ONLY = ("HttpOnly", lambda cookie: b"httponly" in cookie.attributes)
_ROOT = ("Path=/", lambda cookie: cookie.attributes.get(b"path") == b"/")
_ONE_HOST = ("no Domain", lambda cookie: not cookie.attributes.get(b"domain"))
# Longer names first.
_PROMISES: dict[bytes, tuple[tuple[str, Callable[[_Cookie], bool]], ...]] = {
    b"__host-http-": (_SECURE, _HTTP_ONLY, _ROOT, _ONE_HOST),
    b"__host-": (_SECURE, _ROOT, _ONE_HOST),
    b"__http-": (_SECURE, _HTTP_ONLY),
    b"__secure-": (_SECURE,),
}


def _site(origin: Origin) -> tuple[bytes, bytes]:
    """The site; of loopback hosts each is one of its own, since no suffix is above them."""
    scheme, owner = site_of(origin)
    return scheme, origin.host if owner == LOOPBACK else owner
