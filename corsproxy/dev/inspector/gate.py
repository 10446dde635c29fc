"""Who may see the inspector: whoever opened the link with the token once, in the browser that did.

Here:  the link that becomes a cookie, the proof for the admin listener, the header that changes need, and the
       Content-Security-Policy of the page.
Never: Host and Origin, which the admin listener checks for all of its pages.
"""

import hashlib
import hmac

from aiohttp import web

__all__ = ["CHANGE_HEADER", "HOME", "Gate", "add_page_fields"]

HOME = "/-/"
CHANGE_HEADER = "X-Corsproxy-Inspector"
"""No form and no foreign page can send it without a preflight, and nothing here ever answers one."""

_CONTENT_SECURITY_POLICY = "; ".join(  # noqa: FLY002 - a directive a line
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)


class Gate:
    """The token, as a link and as a cookie."""

    def __init__(self, token: str) -> None:
        """Raises ValueError without a token: everything that passes through the proxy is to be seen here."""
        if not token:
            raise ValueError("an inspector needs a token")
        self._token = token
        # Not the token itself: cookies of localhost go to all of its ports; the token opens more than this.
        self._proof = hmac.new(token.encode(), b"corsproxy inspector", hashlib.sha256).hexdigest()

    @property
    def entrance(self) -> str:
        """Path and query of the link for the first visit."""
        return f"{HOME}?t={self._token}"

    def is_open(self, request: web.Request) -> bool:
        """Does this request show the cookie?"""
        shown = request.cookies.get(_cookie_name(request), "")
        return hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), self._proof.encode())

    def may_enter(self, request: web.Request) -> bool:
        """The proof for the admin listener: the cookie; the door itself says what is wrong with a link."""
        return request.path == HOME or (request.path.startswith(HOME) and self.is_open(request))

    def come_in(self, request: web.Request) -> web.Response | None:
        """Turn the link into the cookie, and lead to a URL without the token; None when there is no link."""
        shown = request.query.get("t")
        if shown is None:
            return None
        if not hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), self._token.encode()):
            return None if self.is_open(request) else _refused("That link is from another run.")
        response = web.Response(status=303, headers={"Location": HOME})
        response.set_cookie(
            _cookie_name(request),
            self._proof,
            path=HOME,
            httponly=True,
            samesite="Strict",
            secure=request.secure,
        )
        return response

    def check(self, request: web.Request) -> web.Response | None:
        """Why the page is not shown; None when it is."""
        return None if self.is_open(request) else _refused("This page is shown with its link only.")


def _cookie_name(request: web.Request) -> str:
    """One for each port: several of us may run on one machine, and cookies do not look at ports."""
    port = request.headers.get("Host", "").rpartition(":")[2]
    return f"corsproxy_inspector_{port if port.isascii() and port.isdigit() else 'default'}"


def _refused(says: str) -> web.Response:
    """In plain words: a person who followed an old link reads it."""
    return web.Response(
        status=401, text=f"{says}\nOpen the one with ?t=… that corsproxy printed when it started.\n"
    )


def add_page_fields(response: web.StreamResponse) -> None:
    """What a browser has to know about the page before it runs any of it."""
    response.headers["Content-Security-Policy"] = _CONTENT_SECURITY_POLICY
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Cache-Control"] = "no-store"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
