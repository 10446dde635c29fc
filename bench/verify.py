"""Before any figure: does this proxy do the same work as the others?

Here:  one HTTP exchange at a time, and what is wrong with its answer, as sentences.
Never: load, time, processes. A faster wrong answer is not a result.
"""

import http.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.load import BODY, LOADS, ORIGIN, Load

__all__ = ["Answer", "exchange", "faults_of_load", "faults_of_policy", "is_serving"]

PREVIEW = "https://pr-7.preview.example.com"  # admitted by the pattern
STRANGER = "https://app.example.com.evil.test"  # admitted by nothing, but by a careless regular expression


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


def exchange(port: int, method: str, fields: Mapping[str, str], body: str = "") -> Answer:
    """Send one request on a connection of its own. Raises OSError or http.client.HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, "/", body or None, dict(fields))
        response = connection.getresponse()
        names = tuple((name.lower(), value) for name, value in response.getheaders())
        return Answer(response.status, names, response.read())
    finally:
        connection.close()


def is_serving(port: int) -> bool:
    """True once a GET comes back from the upstream; before that, some proxies answer 404 or 503."""
    try:
        return exchange(port, "GET", {}).status == 200
    except (OSError, http.client.HTTPException):
        return False


def faults_of_policy(port: int) -> list[str]:
    """What a proxy does wrong; empty when its policy is the one that all peers must have."""
    preflight = LOADS["preflight"]
    from_preview = {**preflight.fields, "Origin": PREVIEW}
    checks = {
        "GET, listed origin": faults_of_actual(exchange(port, "GET", {"Origin": ORIGIN}), ORIGIN),
        "GET, origin of the pattern": faults_of_actual(exchange(port, "GET", {"Origin": PREVIEW}), PREVIEW),
        "GET, unlisted origin": faults_of_refused(exchange(port, "GET", {"Origin": STRANGER})),
        "preflight, listed origin": faults_of_load(port, preflight),
        "preflight, origin of the pattern": faults_of_preflight(
            exchange(port, preflight.method, from_preview), PREVIEW
        ),
    }
    return [f"{what}: {fault}" for what, faults in checks.items() for fault in faults]


def faults_of_load(port: int, load: Load) -> list[str]:
    """Send the request of a load once and say what is wrong with its answer."""
    answer = exchange(port, load.method, load.fields, load.body)
    return list(
        faults_of_preflight(answer, ORIGIN) if load.is_preflight else faults_of_actual(answer, ORIGIN)
    )


def faults_of_actual(answer: Answer, origin: str) -> Iterator[str]:
    yield from faults_of_whole_response(answer)
    yield from faults_of_origin(answer, origin)
    if "x-total-count" not in answer.words("access-control-expose-headers"):
        yield "Access-Control-Expose-Headers lacks X-Total-Count"
    yield from faults_of_vary(answer)


def faults_of_refused(answer: Answer) -> Iterator[str]:
    """An unlisted origin still gets the response, with Vary, but no leave to read it."""
    yield from faults_of_whole_response(answer)
    allowed = answer.value("access-control-allow-origin")
    if allowed is not None:
        yield f"Access-Control-Allow-Origin is {allowed}, expected none"
    yield from faults_of_vary(answer)


def faults_of_preflight(answer: Answer, origin: str) -> Iterator[str]:
    """Vary is not asked for: the answer to OPTIONS is not cacheable (RFC 9110 §9.3.7)."""
    if answer.status not in {200, 204}:
        yield f"status is {answer.status}, expected 200 or 204"
    if answer.body:
        yield f"the body has {len(answer.body)} bytes, expected none"
    yield from faults_of_origin(answer, origin)
    if not {"get", "put", "post"} <= answer.words("access-control-allow-methods"):
        yield f"Access-Control-Allow-Methods is {answer.value('access-control-allow-methods')}"
    if not {"content-type", "authorization"} <= answer.words("access-control-allow-headers"):
        yield f"Access-Control-Allow-Headers is {answer.value('access-control-allow-headers')}"
    if answer.value("access-control-max-age") != "600":
        yield f"Access-Control-Max-Age is {answer.value('access-control-max-age')}, expected 600"


def faults_of_whole_response(answer: Answer) -> Iterator[str]:
    if answer.status != 200:
        yield f"status is {answer.status}, expected 200"
    if answer.body != BODY.encode():
        yield f"the body is not the upstream's: {len(answer.body)} bytes, expected {len(BODY)}"
    if answer.value("x-total-count") != "4711":
        yield "the upstream's X-Total-Count did not come through"


def faults_of_origin(answer: Answer, origin: str) -> Iterator[str]:
    """The CORS check of a browser for a request with credentials (Fetch, #cors-check)."""
    allowed = answer.value("access-control-allow-origin")
    if allowed != origin:
        yield f"Access-Control-Allow-Origin is {allowed}, expected {origin}"
    credentials = answer.value("access-control-allow-credentials")
    if credentials != "true":
        yield f"Access-Control-Allow-Credentials is {credentials}, expected true"


def faults_of_vary(answer: Answer) -> Iterator[str]:
    if "origin" not in answer.words("vary"):
        yield "Vary lacks Origin"
