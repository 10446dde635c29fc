"""What an experiment is: requests of a script, what it could read, what the proxy took them for.

Here:  the shape of the rows, and the outcomes that many of them share.
Never: the rows (reading, asking), running them (test_experiments).
"""

from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "ALL_NAMES",
    "HELLO",
    "JSON",
    "NO_LEAVE",
    "NO_LEAVE_TO_ASK",
    "TOKEN",
    "WATCHED",
    "Blocked",
    "Case",
    "Read",
    "Step",
]

# The names that experiments look for among those that a script sees. Set-Cookie must never be there.
WATCHED = {
    "authorization",
    "etag",
    "location",
    "proxy-status",
    "set-cookie",
    "x-legacy-node",
    "x-total-count",
}


@dataclass(frozen=True, slots=True)
class Read:
    """The script could read the response."""

    status: int = 200
    body: str | None = None  # None = whatever it is
    names: str = ""  # of WATCHED, those that the script sees
    type: str = "cors"


@dataclass(frozen=True, slots=True)
class Blocked:
    """The script learned nothing, and the console says why."""

    chromium: str  # `corsErrorStatus` of the DevTools protocol
    firefox: str  # what the reason in brackets begins with


NO_LEAVE = Blocked("MissingAllowOriginHeader", "CORS header ‘Access-Control-Allow-Origin’ missing")
NO_LEAVE_TO_ASK = Blocked(
    "PreflightMissingAllowOriginHeader", "CORS header ‘Access-Control-Allow-Origin’ missing"
)
HELLO = Read(body="hello", names="x-total-count")


@dataclass(frozen=True, slots=True)
class Step:
    """One request by a script."""

    path: str  # at the proxy; its first segment is the name of the policy
    gets: Read | Blocked
    page: str = "app"  # whose script asks
    way: Literal["fetch", "xhr", "eventsource", "sandbox"] = "fetch"
    method: str = "GET"
    headers: dict[str, str] = field(default_factory=dict)
    credentials: Literal["omit", "same-origin", "include"] = "same-origin"
    mode: Literal["cors", "no-cors"] = "cors"
    body: str | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """A few requests in a row, and what the proxy took them for."""

    says: str
    steps: tuple[Step, ...]
    seen: tuple[str, ...]  # by the proxy, in order: "preflight" or the method, then the reason
    reached: int | None = None  # requests that the upstream saw; None = all but the preflights


JSON = {"Content-Type": "application/json"}
TOKEN = {"Authorization": "Bearer xyz"}

ALL_NAMES = "authorization etag x-legacy-node x-total-count"
