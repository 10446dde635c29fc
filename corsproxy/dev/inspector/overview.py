"""What the page shows beside the list: what serves, how the upstreams are, who is refused most.

Here:  the state of the data plane as JSON.
Never: secrets of the configuration; changing anything.
"""

from corsproxy.dev.inspector.entry import Json
from corsproxy.ops.plane import Plane, Reload
from corsproxy.ops.snapshot import Snapshot

__all__ = ["overview"]

_MOST_ORIGINS = 20


async def overview(plane: Plane) -> Json:
    """Everything but the exchanges."""
    table, state = plane.table, plane.state
    snapshot = await plane.snapshot()
    return {
        "version": state.version,
        "loaded_at": state.loaded_at,
        "draining": state.draining,
        "last_reload": None if state.last_reload is None else _reload(state.last_reload),
        "file": table.file,
        "listen": str(table.listen),
        "routes": [
            {
                "name": route.name,
                "line": route.line,
                "policy": route.policy.name if route.policy else None,
                "upstream": route.upstream.name,
            }
            for route in table.routes
        ],
        "upstreams": _upstreams(snapshot),
        "refused": [
            {
                "origin": denied.origin,
                "count": denied.count,
                "last_seen": denied.last_seen,
                "reason": denied.reason,
                "detail": denied.detail,
                "route": denied.route,
            }
            for denied in snapshot.denied[:_MOST_ORIGINS]
        ],
        "connections": snapshot.readings.connections,
    }


def _reload(reload: Reload) -> Json:
    return {
        "ok": reload.ok,
        "at": reload.at,
        "problems": list(reload.problems),
        "needs_restart": list(reload.needs_restart),
    }


def _upstreams(snapshot: Snapshot) -> list[Json]:
    return [
        {"name": name, "endpoint": endpoint, "asked": asked, "known": known}
        for (name, endpoint), (asked, known) in sorted(snapshot.readings.endpoints.items())
    ]
