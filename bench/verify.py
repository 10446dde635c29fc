"""Before any figure: does this proxy do the same work as the others?

Here:  one exchange at a time, and what is wrong with its answer, as sentences.
Never: load, time, processes. A faster wrong answer is not a result.
"""

import http.client
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.load import LOADS, ORIGIN, Load, body_of
from bench.peers import Promise

__all__ = ["Answer", "Door", "exchange", "faults_of_load", "faults_of_policy", "is_serving"]

PREVIEW = "https://pr-7.preview.example.com"  # admitted by the pattern
STRANGER = "https://app.example.com.evil.test"  # admitted by nothing, but by a careless regular expression
ENOUGH_EVENT = 200  # bytes of a stream that show that it flows


@dataclass(frozen=True, slots=True)
class Door:
    """Where a proxy is asked."""

    port: int
    prefix: str = ""  # before every path
    authority: Path | None = None  # of its certificate; None = no TLS


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    fields: tuple[tuple[str, str], ...]  # lower-case names; repeated fields stay repeated
    body: bytes

    def value(self, name: str) -> str | None:
        """All lines of a field as one, as a browser joins them; None when absent."""
        lines = [value for key, value in self.fields if key == name]
        return ", ".join(lines) if lines else None

    def words(self, name: str) -> set[str]:
        """The members of a list-valued field, in lower case."""
        return {word.strip().lower() for word in (self.value(name) or "").split(",")} - {""}


def exchange(
    door: Door,
    method: str,
    fields: Mapping[str, str],
    body: str = "",
    path: str = "/",
    *,
    most: int | None = None,
) -> Answer:
    """Send one request on a connection of its own. Raises OSError or http.client.HTTPException.

    most: bytes of the body to read, where it does not end.
    """
    connection = dial(door)
    try:
        connection.request(method, door.prefix + path, body or None, dict(fields))
        response = connection.getresponse()
        names = tuple((name.lower(), value) for name, value in response.getheaders())
        return Answer(response.status, names, b"" if response.status == 101 else response.read(most))
    finally:
        connection.close()


def dial(door: Door) -> http.client.HTTPConnection:
    if door.authority is None:
        return http.client.HTTPConnection("127.0.0.1", door.port, timeout=5)
    context = ssl.create_default_context(cafile=str(door.authority))
    return http.client.HTTPSConnection("127.0.0.1", door.port, timeout=5, context=context)


def is_serving(door: Door) -> bool:
    """True once a GET comes back from the upstream; before that, some proxies answer 404 or 503."""
    try:
        return exchange(door, "GET", {}).status == 200
    except (OSError, http.client.HTTPException):
        return False


def faults_of_policy(door: Door, promise: Promise) -> list[str]:
    """What a proxy does wrong; empty when its policy is the one that all peers must have, if they can."""
    if promise is not Promise.POLICY:
        return []
    preflight = LOADS["preflight"]
    from_preview = {**preflight.fields, "Origin": PREVIEW}
    checks = {
        "GET, origin of the pattern": faults_of_actual(exchange(door, "GET", {"Origin": PREVIEW}), PREVIEW),
        "GET, unlisted origin": faults_of_refused(exchange(door, "GET", {"Origin": STRANGER})),
        "preflight, origin of the pattern": faults_of_preflight(
            exchange(door, preflight.method, from_preview), PREVIEW
        ),
    }
    return [f"{what}: {fault}" for what, faults in checks.items() for fault in faults]


def faults_of_load(door: Door, load: Load, promise: Promise = Promise.POLICY) -> list[str]:
    """Send the request of a load once and say what is wrong with its answer."""
    fields = {**load.fields, **SWITCH} if load.generator == "socket" else load.fields
    most = ENOUGH_EVENT if load.generator == "events" else None
    answer = exchange(door, load.method, fields, load.body, load.path, most=most)
    if load.is_preflight:
        return list(faults_of_preflight(answer, ORIGIN, promise))
    if load.generator == "socket":
        return list(faults_of_switch(answer))
    if load.generator == "events":
        return list(faults_of_events(answer))
    return list(faults_of_actual(answer, ORIGIN, promise, load.gets))


SWITCH = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def faults_of_actual(
    answer: Answer, origin: str, promise: Promise = Promise.POLICY, size: int = 1024
) -> Iterator[str]:
    yield from faults_of_whole_response(answer, size)
    yield from faults_of_origin(answer, origin, promise)
    if promise is Promise.POLICY:
        if "x-total-count" not in answer.words("access-control-expose-headers"):
            yield "Access-Control-Expose-Headers lacks X-Total-Count"
        yield from faults_of_vary(answer)


def faults_of_refused(answer: Answer) -> Iterator[str]:
    """An unlisted origin still gets the response, with Vary, but no leave to read it."""
    yield from faults_of_whole_response(answer, 1024)
    allowed = answer.value("access-control-allow-origin")
    if allowed is not None:
        yield f"Access-Control-Allow-Origin is {allowed}, expected none"
    yield from faults_of_vary(answer)


def faults_of_preflight(answer: Answer, origin: str, promise: Promise = Promise.POLICY) -> Iterator[str]:
    """Vary is not asked for: the answer to OPTIONS is not cacheable (RFC 9110 §9.3.7)."""
    if answer.status not in {200, 204}:
        yield f"status is {answer.status}, expected 200 or 204"
    if answer.body:
        yield f"the body has {len(answer.body)} bytes, expected none"
    yield from faults_of_origin(answer, origin, promise)
    methods, headers = (answer.words(f"access-control-allow-{what}") for what in ("methods", "headers"))
    if "put" not in methods or (promise is Promise.POLICY and not {"get", "post"} <= methods):
        yield f"Access-Control-Allow-Methods is {answer.value('access-control-allow-methods')}"
    if not {"content-type", "authorization"} <= headers:
        yield f"Access-Control-Allow-Headers is {answer.value('access-control-allow-headers')}"
    if promise is Promise.POLICY and answer.value("access-control-max-age") != "600":
        yield f"Access-Control-Max-Age is {answer.value('access-control-max-age')}, expected 600"


def faults_of_switch(answer: Answer) -> Iterator[str]:
    """A WebSocket has no CORS fields; what the upstream says must be all there."""
    if answer.status != 101:
        yield f"status is {answer.status}, expected 101"
    if answer.value("sec-websocket-accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=":  # RFC 6455 §1.3
        yield f"Sec-WebSocket-Accept is {answer.value('sec-websocket-accept')}"


def faults_of_events(answer: Answer) -> Iterator[str]:
    if answer.status != 200:
        yield f"status is {answer.status}, expected 200"
    if not answer.body.startswith(b"id: "):
        yield f"no event, but {answer.body[:40]!r}"
    yield from faults_of_origin(answer, ORIGIN, Promise.POLICY)


def faults_of_whole_response(answer: Answer, size: int) -> Iterator[str]:
    if answer.status != 200:
        yield f"status is {answer.status}, expected 200"
    if answer.body != body_of(size).encode():
        yield f"the body is not the upstream's: {len(answer.body)} bytes, expected {size}"
    if answer.value("x-total-count") != "4711":
        yield "the upstream's X-Total-Count did not come through"


def faults_of_origin(answer: Answer, origin: str, promise: Promise) -> Iterator[str]:
    """What a browser checks on a request with credentials, where they are possible (Fetch, #cors-check)."""
    expected = "*" if promise is Promise.ANY_ORIGIN else origin
    allowed = answer.value("access-control-allow-origin")
    if allowed != expected:
        yield f"Access-Control-Allow-Origin is {allowed}, expected {expected}"
    credentials = answer.value("access-control-allow-credentials")
    if promise is not Promise.ANY_ORIGIN and credentials != "true":
        yield f"Access-Control-Allow-Credentials is {credentials}, expected true"


def faults_of_vary(answer: Answer) -> Iterator[str]:
    if "origin" not in answer.words("vary"):
        yield "Vary lacks Origin"
