"""Finished exchanges, made by hand."""

from corsproxy.config.compile import load_table
from corsproxy.config.table import Route
from corsproxy.cors.decide import Decision, decide_actual
from corsproxy.proxy.exchange import Exchange

__all__ = ["APP", "EVIL", "ROUTE", "decided", "exchange", "route"]

APP, EVIL = b"https://app.example.com", b"https://evil.example"


def route(name: str = "api", mode: str = "enforce") -> Route:
    """A route whose policy allows APP."""
    cors = f"{{allow_origins: ['{APP.decode()}'], mode: {mode}}}"
    table, _ = load_table(f"routes: [{{name: {name}, upstream: http://u.test, cors: {cors}}}]", "", {})
    assert table is not None
    return table.routes[0]


ROUTE = route()


def decided(origin: bytes | None, at: Route = ROUTE) -> Decision:
    assert at.policy is not None
    return decide_actual(at.policy, origin)


def exchange(origin: bytes | None = APP, at: Route | None = ROUTE, **more: object) -> Exchange:
    """A GET that took no time and was answered 200, but for what `more` says."""
    made = Exchange(100.0, "192.0.2.1")
    made.method, made.path, made.status = b"GET", b"/", 200
    made.origin, made.route = origin, at
    if at is not None:
        made.decision = decided(origin, at)
    for name, value in more.items():
        setattr(made, name, value)
    return made
