"""Who may ask the admin listener: by expected names, no page of another origin, with the token if one is set.

Here:  the checks that come before every page of it, and answers that say which one failed (RFC 9457).
Never: what the pages say; CORS fields, which would open them to scripts.
"""

import hmac
import ipaddress
from collections.abc import Callable
from http import HTTPStatus

from aiohttp import web
from aiohttp.typedefs import Handler

from corsproxy.config.table import AdminListener

__all__ = ["PROBES", "Guard", "Proof", "problem"]

PROBES = frozenset({"/-/healthy", "/-/ready"})
"""Asked by whoever runs containers, who has no token; they tell no secrets."""

Proof = Callable[[web.Request], bool]


def problem(status: int, says: str, **more: object) -> web.Response:
    """An answer that says what is wrong."""
    body = {"title": HTTPStatus(status).phrase, "status": status, "detail": says, **more}
    return web.json_response(body, status=status, content_type="application/problem+json")


class Guard:
    """The checks of one listener."""

    def __init__(self, listener: AdminListener) -> None:
        self._listener = listener
        self._proofs: list[Proof] = []

    def accept(self, proof: Proof) -> None:
        """Take this for as good as the token: the cookie of a page, for example."""
        self._proofs.append(proof)

    def is_trusted(self, request: web.Request) -> bool:
        """May this request see everything? Always where no token is set."""
        token = self._listener.token
        return not token or _shows(request, token) or any(proof(request) for proof in self._proofs)

    @web.middleware
    async def check(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let the request in, or say why not."""
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        try:
            return await handler(request)
        except web.HTTPMethodNotAllowed as error:
            allowed = ", ".join(sorted(error.allowed_methods))
            refusal = problem(405, f"{request.method} is not for this path; {allowed} is")
            refusal.headers["Allow"] = allowed
            return refusal
        except web.HTTPNotFound:
            return problem(404, "there is nothing here", paths=_paths(request.app))
        except web.HTTPClientError as error:
            return problem(error.status, error.reason)

    def _refusal(self, request: web.Request) -> web.Response | None:
        if not _is_expected_host(request.headers.get("Host", ""), self._listener):
            # A page could have its own name point here: DNS rebinding.
            return problem(421, "this listener does not answer to that Host; `admin.hosts` names more")
        if _is_from_another_page(request):
            way = "; paste the address into the address bar" if _is_visit(request) else ""
            return problem(403, f"pages of other origins may not ask this listener{way}")
        if request.path in PROBES or self.is_trusted(request):
            return None
        refusal = problem(401, "show the token of `admin.token` as Authorization: Bearer")
        refusal.headers["WWW-Authenticate"] = 'Bearer realm="corsproxy"'
        return refusal


def _shows(request: web.Request, token: str) -> bool:
    scheme, _, shown = request.headers.get("Authorization", "").partition(" ")
    # In constant time: how long a comparison takes would tell how much of a guess is right.
    is_right = hmac.compare_digest(shown.strip().encode("utf-8", "surrogateescape"), token.encode())
    return is_right and scheme.lower() == "bearer"


def _is_from_another_page(request: web.Request) -> bool:
    """True when a page that is not this listener's own makes a browser ask.

    Browsers say so in Sec-Fetch-Site, where they take the address for trustworthy, and in the Origin of all
    that is not GET or HEAD (Fetch, #origin-header). Whoever sends neither is no page, or only looks.
    """
    if request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
        return True
    origin = request.headers.get("Origin")
    own = request.headers.get("Host", "").lower()
    return origin is not None and origin not in {f"http://{own}", f"https://{own}"}


def _is_visit(request: web.Request) -> bool:
    """True when somebody followed a link: a page that is to be looked at, and no script waits for it."""
    return request.headers.get("Sec-Fetch-Dest") == "document"


def _is_expected_host(host: str, listener: AdminListener) -> bool:
    """True for an IP address, localhost, the name it listens on and those of `hosts`.

    No page can have one of the first two lead elsewhere than they do; the others are the operator's.
    """
    before, _, after = host.rpartition(":")
    name = (before if after.isdigit() else host).lower()
    if listener.address.path or name in {"localhost", *listener.hosts} or _is_own_name(name, listener):
        return True
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _is_own_name(name: str, listener: AdminListener) -> bool:
    return bool(name) and name == listener.address.host.lower()


def _paths(app: web.Application) -> list[str]:
    found = {resource.canonical for resource in app.router.resources()}
    return sorted(path for path in found if "{" not in path)
