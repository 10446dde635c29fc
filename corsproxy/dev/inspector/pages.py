"""The inspector's pages on the admin listener.

Here:  routes, the static files, answers in JSON, and the cookie and header that they ask for.
Never: Host and Origin, which the admin listener checks; what the answers say (inspector).
"""

from collections.abc import Awaitable, Callable
from importlib.resources import files

from aiohttp import web
from aiohttp.typedefs import Handler

from corsproxy.dev.inspector.asked import Body, flag_in, number_in, question_in, read_body, text_in
from corsproxy.dev.inspector.events import Events
from corsproxy.dev.inspector.gate import HOME, Gate, add_page_fields
from corsproxy.dev.inspector.inspector import Inspector, RefusedActionError
from corsproxy.ops.admin_guard import problem
from corsproxy.ops.plane import Plane
from corsproxy.proxy.explain import Question

__all__ = ["STATIC", "Pages"]

_CONTENT_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
STATIC = files("corsproxy.dev.inspector") / "static"

Action = Callable[[Body], Awaitable[object]]


class Pages:
    """What is under `/-/` when there is an inspector."""

    def __init__(self, inspector: Inspector, plane: Plane, gate: Gate) -> None:
        self._inspector = inspector
        self._plane = plane
        self._gate = gate
        self._events = Events(inspector.ring, inspector.state)
        self._page = (STATIC / "index.html").read_bytes()

    def add_to(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get(HOME, self._home)
        for name, content in _static_files().items():
            content_type = _CONTENT_TYPES[name[name.rindex(".") :]]
            app.router.add_get(f"{HOME}static/{name}", self._guarded(_serve(content, content_type)))
        app.router.add_get(f"{HOME}events", self._guarded(self._events.serve))
        app.router.add_get(f"{HOME}state", self._guarded(self._show_state))
        app.router.add_get(f"{HOME}exchanges", self._guarded(self._list))
        app.router.add_get(HOME + r"exchanges/{id:\d{1,15}}", self._guarded(self._show))
        actions: dict[str, Action] = {
            "ask": self._ask,
            "paste": self._paste,
            "apply": self._apply,
            "undo": self._undo,
            "save": self._save,
            "replay": self._replay,
            "clear": self._clear,
        }
        for name, action in actions.items():
            app.router.add_post(HOME + name, self._guarded(_acting(action)))

    def _guarded(self, handler: Handler) -> Handler:
        """The handler for those with the cookie: the listener lets everybody in where it has no token."""

        async def answer(request: web.Request) -> web.StreamResponse:
            return self._gate.check(request) or await handler(request)

        return answer

    # Looking

    async def _home(self, request: web.Request) -> web.StreamResponse:
        page = web.Response(body=self._page, content_type="text/html", charset="utf-8")
        response = self._gate.come_in(request) or self._gate.check(request) or page
        add_page_fields(response)
        return response

    async def _show_state(self, _: web.Request) -> web.Response:
        return web.json_response(await self._inspector.state())

    async def _list(self, _: web.Request) -> web.Response:
        rows = ",".join(entry.row for entry in self._inspector.ring.after(0))
        return web.Response(text=f'{{"rows":[{rows}]}}', content_type="application/json")

    async def _show(self, request: web.Request) -> web.Response:
        try:
            return web.json_response(await self._inspector.show(int(request.match_info["id"])))
        except RefusedActionError as error:
            return problem(error.status, str(error))

    # Acting

    def _question(self, body: Body) -> Question:
        """The call of an exchange, or one that was typed in."""
        if "id" in body:
            return self._inspector.question(number_in(body, "id"))
        return question_in(body, self._plane.table)

    async def _ask(self, body: Body) -> object:
        return await self._inspector.ask(self._question(body))

    async def _paste(self, body: Body) -> object:
        return await self._inspector.paste(text_in(body, "text"))

    async def _apply(self, body: Body) -> object:
        return await self._inspector.apply(self._question(body), text_in(body, "version"))

    async def _undo(self, _: Body) -> object:
        return await self._inspector.take_back()

    async def _save(self, body: Body) -> object:
        mark = text_in(body, "mark")
        return self._inspector.save(mark) if mark else self._inspector.draft()

    async def _replay(self, body: Body) -> object:
        return await self._inspector.replay(number_in(body, "id"), confirmed=flag_in(body, "confirmed"))

    async def _clear(self, _: Body) -> object:
        self._inspector.ring.clear()
        return {}


def _acting(action: Action) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return web.json_response(await action(await read_body(request)))
        except RefusedActionError as error:
            return problem(error.status, str(error))

    return answer


def _static_files() -> dict[str, bytes]:
    """What the page loads, by its path below `static/`."""
    found: dict[str, bytes] = {}
    for folder, prefix in ((STATIC, ""), (STATIC / "vendor", "vendor/")):
        for file in folder.iterdir():
            if file.name.endswith((".js", ".css")):
                found[prefix + file.name] = file.read_bytes()
    return found


def _serve(content: bytes, content_type: str) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        response = web.Response(body=content, content_type=content_type, charset="utf-8")
        add_page_fields(response)
        return response

    return answer
