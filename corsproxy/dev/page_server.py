"""The page of the demo, served from an origin of its own, and the few things it asks its own server.

Here:  static files under a strict Content-Security-Policy, the journal, and the refusal as the wire shows it.
Never: proxying: the one request sent from here is fixed, no visitor chooses its target.
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from importlib.resources import files

from aiohttp import ClientError, ClientSession, ClientTimeout, web
from aiohttp.typedefs import Handler, Middleware

from corsproxy.dev.legacy import Journal
from corsproxy.dev.places import Places

__all__ = ["Page", "content_security_policy"]

CONTENT_TYPES = {
    "index.html": "text/html",
    "style.css": "text/css",
    "app.js": "text/javascript",
    "experiments.js": "text/javascript",
    "report.js": "text/javascript",
    "sandbox.html": "text/html",
    "sandbox.js": "text/javascript",
}

# What a browser sends ahead of a PUT with JSON from a sandboxed frame, whose origin is "null" like anybody's.
REFUSED_PATH = "/api/items/43"
REFUSED_PREFLIGHT = {
    "Origin": "null",
    "Access-Control-Request-Method": "PUT",
    "Access-Control-Request-Headers": "content-type",
}
REFUSAL_TIMEOUT = ClientTimeout(total=5)


@dataclass(frozen=True, slots=True)
class Page:
    """What the page shows: where things are, the YAML the proxy runs by, and what the legacy API saw."""

    places: Places
    policy: str
    journal: Journal

    def app(self) -> web.Application:
        """The application to serve at `places.page`."""
        app = web.Application(middlewares=[send_home(self.places.page)])
        app.on_response_prepare.append(protect(content_security_policy(self.places)))
        folder = files("corsproxy.dev") / "page"
        for name, content_type in CONTENT_TYPES.items():
            path = "/" if name == "index.html" else f"/{name}"
            app.router.add_get(path, serve((folder / name).read_bytes(), content_type))
        app.router.add_get("/demo.json", self.describe)
        app.router.add_get("/journal.json", self.show_journal)
        app.router.add_get("/refusal.json", self.show_refusal)
        return app

    async def describe(self, _request: web.Request) -> web.Response:
        """Everything that differs from one start of the demo to the next."""
        return web.json_response({**asdict(self.places), "policy": self.policy})

    async def show_journal(self, request: web.Request) -> web.Response:
        """What one experiment (`?run=`) made the legacy API see."""
        return web.json_response([asdict(seen) for seen in self.journal.of_run(request.query.get("run", ""))])

    async def show_refusal(self, _request: web.Request) -> web.Response:
        """The proxy's answer to a preflight of origin "null": devtools can read it, a script never can."""
        try:
            async with (
                ClientSession(timeout=REFUSAL_TIMEOUT) as session,
                session.options(self.places.proxy + REFUSED_PATH, headers=REFUSED_PREFLIGHT) as answer,
            ):
                body = await answer.text()
        except (ClientError, TimeoutError) as error:
            return web.json_response({"error": f"the proxy did not answer: {error}"}, status=502)
        fields = [[name, value] for name, value in answer.headers.items()]
        return web.json_response({"status": answer.status, "fields": fields, "body": body})


def content_security_policy(places: Places) -> str:
    """Nothing inline, nothing from elsewhere; scripts may call the two APIs that the page compares.

    The page's origin stands by name: what 'self' means in a sandboxed frame has differed among browsers.
    """
    directives = {
        "default-src": "'none'",
        "script-src": places.page,
        "style-src": places.page,
        "img-src": "data:",  # the icon
        "connect-src": f"{places.page} {places.proxy} {places.legacy}",
        "frame-src": places.page,
        "frame-ancestors": places.page,
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
    }
    return "; ".join(f"{name} {value}" for name, value in directives.items())


def protect(policy: str) -> Callable[[web.Request, web.StreamResponse], Awaitable[None]]:
    """A signal that puts the safety fields on whatever leaves, a 404 too."""

    async def add_fields(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Content-Security-Policy"] = policy
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-store"  # the next demo on this port may be another version

    return add_fields


def send_home(origin: str) -> Middleware:
    """Send a visitor who came by another name (127.0.0.1, say) to the one origin that the policy allows."""
    home = origin.removeprefix("http://")

    @web.middleware
    async def redirect(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.host != home:
            raise web.HTTPFound(f"{origin}/")
        return await handler(request)

    return redirect


def serve(body: bytes, content_type: str) -> Handler:
    """A handler that answers with the same bytes every time."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, charset="utf-8")

    return answer
