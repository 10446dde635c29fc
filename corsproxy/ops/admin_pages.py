"""What the admin listener answers: health, metrics, configuration, explanations, reload.

Here:  one method a page, each from what the plane says.
Never: who may ask (admin_guard), the listener (admin), counting.
"""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import asdict

from aiohttp import web

from corsproxy.config.effective import effective, effective_yaml
from corsproxy.config.table import AdminListener
from corsproxy.ops.admin_explain import BadQueryError, question_of
from corsproxy.ops.admin_guard import Guard, problem
from corsproxy.ops.plane import Plane, Reload, State
from corsproxy.ops.snapshot import Readings, Snapshot
from corsproxy.proxy.explain import explain
from corsproxy.proxy.explained import as_json

__all__ = ["Pages"]

# A probe that waits for a busy worker longer than this is told without the state of the upstreams. Kubernetes
# gives up after a second.
_READINGS_SECONDS = 0.5


class Pages:
    """The pages of one listener."""

    def __init__(self, listener: AdminListener, plane: Plane, guard: Guard) -> None:
        self._listener = listener
        self._plane = plane
        self._guard = guard

    def add_to(self, app: web.Application) -> None:
        """Make them answer."""
        app.router.add_get("/-/healthy", self.healthy)
        app.router.add_get("/-/ready", self.ready)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/-/config", self.config)
        app.router.add_get("/-/explain", self.explain)
        app.router.add_get("/-/origins", self.origins)
        app.router.add_post("/-/reload", self.reload)

    async def healthy(self, _: web.Request) -> web.Response:
        """The event loop turns: that is all it takes."""
        return web.json_response({"healthy": True})

    async def ready(self, request: web.Request) -> web.Response:
        """Does it want traffic? The upstreams are reported; they count only where the file says so."""
        state = self._plane.state
        readings = await self._readings()
        upstreams = _upstreams(readings)
        # Workers that die again and again may all be waited for at once: then nobody serves.
        ready = not state.draining and (readings is None or readings.processes > 0)
        if self._listener.ready_needs_upstream:
            ready = ready and upstreams is not None and all(upstreams.values())
        body: dict[str, object] = {
            "ready": ready,
            "draining": state.draining,
            "config": {"version": state.version, "loaded_at": state.loaded_at},
        }
        if self._guard.is_trusted(request):  # their names may be addresses of the inside
            body["upstreams"] = upstreams
        return web.json_response(body, status=200 if ready else 503)

    async def _readings(self) -> Readings | None:
        """What the processes read off now; None when they take too long to say."""
        try:
            async with asyncio.timeout(_READINGS_SECONDS):
                return (await self._plane.snapshot()).readings
        except TimeoutError:
            return None

    async def metrics(self, request: web.Request) -> web.Response:
        """All metrics, in the format that the scraper prefers."""
        snapshot = await self._plane.snapshot()
        accept = ",".join(request.headers.getall("Accept", []))
        # In a thread, and imported there: a hundred routes take some milliseconds to write out.
        body, media_type = await asyncio.to_thread(_expose, snapshot, self._plane.state, accept)
        return web.Response(body=body, headers={"Content-Type": media_type})

    async def config(self, request: web.Request) -> web.Response:
        """The effective configuration, secrets masked; YAML unless JSON is asked for."""
        plane = self._plane
        if _wants_json(request):
            return web.json_response(effective(plane.text, plane.table.file, os.environ, plane.table))
        text = effective_yaml(plane.text, plane.table.file, os.environ, plane.table)
        return web.Response(text=text, content_type="application/yaml")  # RFC 9512

    async def explain(self, request: web.Request) -> web.Response:
        """What becomes of a call: the object that `explain --json` prints."""
        table = self._plane.table
        try:
            question = question_of(request.query.items(), table)
        except BadQueryError as error:
            return problem(400, str(error))
        return web.json_response(as_json(explain(table, question)))

    async def origins(self, _: web.Request) -> web.Response:
        """The origins that are refused most."""
        snapshot = await self._plane.snapshot()
        return web.json_response({"denied": [asdict(denied) for denied in snapshot.denied]})

    async def reload(self, _: web.Request) -> web.Response:
        """Read the configuration again."""
        outcome = await self._plane.reload()
        if outcome.ok:
            return web.json_response(_reload_json(outcome, self._plane.state.version))
        return problem(
            422,
            "the configuration has errors; the one before it serves on",
            **_reload_json(outcome, self._plane.state.version),
        )


def _reload_json(outcome: Reload, version: str) -> dict[str, object]:
    """version: of what serves now."""
    return {**asdict(outcome), "version": version}


def _upstreams(readings: Readings | None) -> Mapping[str, bool] | None:
    """Which upstreams have an endpoint that some process would ask; None when nobody said."""
    if readings is None:
        return None
    found: dict[str, bool] = {}
    for (upstream, _), (asked, _) in readings.endpoints.items():
        found[upstream] = found.get(upstream, False) or asked > 0
    return found


def _wants_json(request: web.Request) -> bool:
    wanted = request.query.get("format", "")
    return wanted == "json" or (not wanted and "application/json" in request.headers.get("Accept", ""))


def _expose(snapshot: Snapshot, state: State, accept: str) -> tuple[bytes, str]:
    from corsproxy.ops.exposition import expose  # noqa: PLC0415 - who is not scraped does without it

    return expose(snapshot, state, accept)
