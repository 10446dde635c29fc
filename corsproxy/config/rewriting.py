"""What a route changes in messages, from the file to the table: header edits, redirects, cookies.

Here:  which names may be edited and why others may not, and values that fit on the wire.
Never: changing a message (`http.edits`, `http.redirects`, `http.cookies`).
"""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from corsproxy.config import model
from corsproxy.config.addresses import parse_host_pattern
from corsproxy.config.findings import Findings, Mistake
from corsproxy.config.problems import Path
from corsproxy.config.table import Endpoint, Rewriting, Upstream
from corsproxy.config.words import is_secret_name, quoted
from corsproxy.http.cookies import CookieRules
from corsproxy.http.edits import HeaderEdits, name_key
from corsproxy.http.fields import HOP_BY_HOP, is_field_value, is_token
from corsproxy.http.own_cookies import ForwardedCookies
from corsproxy.http.redirects import RedirectMap, without_default_port

__all__ = ["compile_forwarded_cookies", "compile_request_edits", "compile_rewriting"]

_FRAMING = frozenset({b"content-length", b"transfer-encoding", b"expect"})
Refusal = Callable[[bytes], tuple[str, str] | None]
"""Why a name (lower case) may not be edited, and what to do instead; None when it may."""


def compile_request_edits(edits: model.HeaderEdits, path: Path, findings: Findings) -> HeaderEdits | None:
    """The edits of requests; None when there are none, or when something is wrong with one."""
    return _Edits(edits, path, findings, _request_refusal).compile()


def compile_rewriting(
    entry: model.Route,
    path: Path,
    findings: Findings,
    *,
    upstream: Upstream | None,
    base_path: bytes,
    prefix: bytes,
    owned: AbstractSet[bytes],
) -> Rewriting | None:
    """What happens to the head of a response; None when nothing can.

    upstream: None when it could not be compiled.
    owned: lower-case names that the route's policy sends itself, beside access-control-*.
    """
    edits = _Edits(
        entry.response_headers,
        (*path, "response_headers"),
        findings,
        lambda name: _response_refusal(name, owned),
    ).compile()
    cookies = _cookies(entry.cookies, (*path, "cookies"), findings, base_path, prefix)
    redirects = None
    if entry.redirects == "rewrite" and upstream is not None:
        redirects = _redirects(upstream, base_path, prefix)
    if edits is None and cookies is None and redirects is None:
        return None
    return Rewriting(redirects, cookies, edits)


def _common_refusal(name: bytes) -> tuple[str, str] | None:
    if name in _FRAMING:
        return "frames the message", "the proxy sees to it"
    if name in HOP_BY_HOP:
        return "is about one connection", "the proxy writes it for each side (RFC 9110 §7.6.1)"
    if name.startswith(b"access-control-"):
        return "belongs to CORS", "use the route's policy under `cors`"
    return None


def _request_refusal(name: bytes) -> tuple[str, str] | None:
    if name == b"host":
        return "is no edit: it has a key of its own", "use `host:` of the upstream"
    if name == b"origin":
        return (
            "is what the upstream and this proxy decide by",
            "leave it: what the browser sent must be what the upstream sees",
        )
    return _common_refusal(name)


def _response_refusal(name: bytes, owned: AbstractSet[bytes]) -> tuple[str, str] | None:
    if name == b"vary":
        return "is merged by the proxy", "leave it: the upstream's values are kept, and Origin is added"
    if name in {b"host", b"origin"}:
        return "is no field of a response", "remove it"
    if name in owned:
        return "is sent by the route's policy", "change the policy instead"
    return _common_refusal(name)


@dataclass(frozen=True, slots=True)
class _Edits:
    """The edits of one direction, being compiled."""

    written: model.HeaderEdits
    path: Path
    findings: Findings
    refusal: Refusal

    def compile(self) -> HeaderEdits | None:
        before = self.findings.error_count
        fields = {kind: getattr(self.written, kind) for kind in ("set", "add")}
        compiled = {kind: self._fields(kind, entries) for kind, entries in fields.items()}
        removed = [(name, (*self.path, "remove", at)) for at, name in enumerate(self.written.remove)]
        self._check_names(removed)
        self._check_apart(removed)
        if self.findings.error_count > before or not (compiled["set"] or compiled["add"] or removed):
            return None
        gone = frozenset(_key(name) for name, _ in removed)
        return HeaderEdits(compiled["set"], compiled["add"], gone)

    def _fields(self, kind: str, fields: dict[str, str]) -> tuple[tuple[bytes, bytes], ...]:
        self._check_names([(name, (*self.path, kind, name)) for name in fields], on_key=True)
        compiled = []
        for name, text in fields.items():
            value = _wire_value(text)
            if value is None:
                remedy = "no line ends or other control characters, and no space at either end"
                shown = "what is written here" if is_secret_name(name) else quoted(text)
                says = Mistake("bad-header-value", f"{shown} is no header value", remedy)
                self.findings.add((*self.path, kind, name), says)
            compiled.append((name.encode("ascii", "replace"), value or b""))
        return tuple(compiled)

    def _check_names(self, names: Iterable[tuple[str, Path]], *, on_key: bool = False) -> None:
        seen: set[bytes] = set()
        for name, where in names:
            mistake = self._name_mistake(name, seen)
            if mistake is not None:
                self.findings.add(where, mistake, on_key=on_key)
            seen.add(_key(name))

    def _name_mistake(self, name: str, seen: AbstractSet[bytes]) -> Mistake | None:
        key = _key(name)
        if not name.isascii() or not is_token(key):
            return Mistake("bad-header-name", f"{quoted(name)} is no header name")
        refused = self.refusal(key)
        if refused is not None:
            return Mistake("owned-header", f"{quoted(name)} {refused[0]}", refused[1])
        if key in seen:
            message = f"header {quoted(name)} is given twice"
            return Mistake("duplicate-header", message, "names are compared without case")
        return None

    def _check_apart(self, removed: Iterable[tuple[str, Path]]) -> None:
        """What is removed is not set or added as well: which of the two is meant would be a guess."""
        written = {_key(name) for name in (*self.written.add, *self.written.set)}
        for name, where in removed:
            if _key(name) in written and self.refusal(_key(name)) is None:
                message = f"{quoted(name)} is removed, and set or added as well"
                remedy = "`set` replaces what is there: remove it from `remove`"
                self.findings.add(where, Mistake("contradicting-edits", message, remedy))


def _wire_value(text: str) -> bytes | None:
    """A value as it goes on the wire, non-ASCII as UTF-8 (obs-text, RFC 9110 §5.5); None when it cannot."""
    value = text.encode("utf-8")
    return value if is_field_value(value) and value == value.strip(b" \t") else None


def _key(name: str) -> bytes:
    return name_key(name.encode("ascii", "replace"))


def _redirects(upstream: Upstream, base_path: bytes, prefix: bytes) -> RedirectMap:
    schemes = frozenset(endpoint.scheme.encode("ascii") for endpoint in upstream.endpoints)
    own = {name for endpoint in upstream.endpoints for name in _names(endpoint)}
    if isinstance(upstream.host, bytes):  # what it is told that it is called
        own |= {without_default_port(scheme, upstream.host.lower()) for scheme in schemes}
    return RedirectMap(
        schemes, frozenset(own), keeps_host=upstream.host == "preserve", base_path=base_path, prefix=prefix
    )


_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


def _names(endpoint: Endpoint) -> set[bytes]:
    """What an endpoint may call itself. A port of this machine is known by all of its names."""
    names = {endpoint.host, *(_THIS_MACHINE if endpoint.host.lower() in _THIS_MACHINE else ())}
    return {replace(endpoint, host=name).authority.lower() for name in names}


def _cookies(
    cookies: model.Cookies, path: Path, findings: Findings, base_path: bytes, prefix: bytes
) -> CookieRules | None:
    """The rules; None when they would change no cookie."""
    domain = None if cookies.domain is None else _domain(cookies.domain, (*path, "domain"), findings)
    if cookies.same_site == "none" and cookies.secure == "drop":
        message = "a browser refuses cookies with SameSite=None that are not Secure"
        remedy = "write same_site: lax, or do not drop Secure"
        findings.add((*path, "same_site"), Mistake("cookie-never-kept", message, remedy))
    if cookies.path == "keep":
        base_path = prefix = b""
    rules = CookieRules(domain, base_path, prefix, cookies.secure, cookies.same_site)
    return None if rules == CookieRules() else rules


def compile_forwarded_cookies(
    cookies: model.Cookies, path: Path, findings: Findings, *, workers: int
) -> ForwardedCookies | None:
    """Which cookies of requests go on; None = all.

    workers: processes; 0 = one per core. What one of them learns, the others do not know.
    """
    for at, name in enumerate(cookies.forward_names):
        if not is_token(name.encode("utf-8")):
            message = f"{quoted(name)} is no name of a cookie"
            findings.add(
                (*path, "forward_names", at), Mistake("bad-cookie-name", message, "write the name alone")
            )
    if cookies.forward == "all":
        if cookies.forward_names:
            says = Mistake(
                "unused-cookie-names", "all cookies go on, listed or not", "write forward: listed", "warning"
            )
            findings.add((*path, "forward_names"), says, on_key=True)
        return None
    if cookies.forward == "own" and workers != 1:
        says = Mistake(
            "own-cookies-in-workers",
            "each worker would know only the cookies that it has seen set",
            "write workers: 1, or forward: listed with forward_names",
        )
        findings.add((*path, "forward"), says)
    names = frozenset(name.encode("utf-8") for name in cookies.forward_names)
    return ForwardedCookies(names, learns=cookies.forward == "own")


def _domain(text: str, path: Path, findings: Findings) -> bytes | None:
    """The Domain to write; b"" drops the attribute. A dot in front means nothing (RFC 6265 §5.2.3)."""
    if not text:
        return b""
    domain = parse_host_pattern(text.removeprefix("."))
    if not isinstance(domain, Mistake) and domain.startswith((b"*", b"[")):
        remedy = f"write {text.removeprefix('*.')}: names below it are covered anyway"
        if domain.startswith(b"["):
            remedy = 'write "": a cookie of an address has no Domain'
        domain = Mistake("bad-host", f"{quoted(text)} is no cookie domain", remedy)
    if isinstance(domain, Mistake):
        findings.add(path, domain)
        return None
    return domain
