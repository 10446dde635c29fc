"""Real browsers judge: what can a script read through corsproxy, and what does the console say where it cannot?

Here:  a table of experiments; every row is run by each browser. Where two browsers differ, the row says why.
Never: what corsproxy sends (tests/cors, tests/proxy): only what a browser makes of it.
"""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

import pytest

from tests.browser.browsers import Tab
from tests.browser.world import World

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PATIENCE_SECONDS = 10

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
NO_LEAVE_TO_ASK = Blocked("PreflightMissingAllowOriginHeader", "CORS header ‘Access-Control-Allow-Origin’ missing")
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
    differs: dict[str, tuple[str, ...]] = field(default_factory=dict)  # `seen`, by browser
    because: str = ""  # why they differ


JSON = {"Content-Type": "application/json"}
TOKEN = {"Authorization": "Bearer xyz"}

MODES = [
    Case("no credentials", (Step("/listed/hello", HELLO, credentials="omit"),), ("GET allowed",)),
    Case("credentials for the same origin", (Step("/listed/hello", HELLO),), ("GET allowed",)),
    Case(
        "credentials wherever it goes",
        (Step("/listed/hello", HELLO, credentials="include"),),
        ("GET allowed",),
    ),
    Case(
        "a plain star reads without credentials",
        (Step("/open/hello", Read(names="authorization etag x-legacy-node x-total-count")),),
        ("GET allowed",),
    ),
    Case(
        "a plain star is not for credentials",
        (
            Step(
                "/open/hello",
                Blocked(
                    "WildcardOriginNotAllowed",
                    "Credential is not supported if the CORS header ‘Access-Control-Allow-Origin’ is ‘*’",
                ),
                credentials="include",
            ),
        ),
        ("GET allowed",),  # the proxy cannot see the mode (Fetch, #cors-protocol-and-credentials)
    ),
    Case(
        "credentials that the policy does not allow",
        (
            Step(
                "/silent/hello",
                Blocked(
                    "InvalidAllowCredentials", "expected ‘true’ in CORS header ‘Access-Control-Allow-Credentials’"
                ),
                credentials="include",
            ),
        ),
        ("GET allowed",),
    ),
    Case(
        "another port is another origin",
        (Step("/silent/hello", NO_LEAVE, page="admin"),),
        ("GET origin-not-allowed",),
    ),
    Case(
        "an address is another origin than its name",
        (Step("/listed/hello", NO_LEAVE, page="foreign"),),
        ("GET origin-not-allowed",),
    ),
    Case("a pattern admits a label", (Step("/pattern/hello", HELLO, page="shop"),), ("GET allowed",)),
    Case(
        "a pattern leaves its own name out",
        (Step("/pattern/hello", NO_LEAVE),),
        ("GET origin-not-allowed",),
    ),
    Case("what is refused has happened", (Step("/listed/hello", NO_LEAVE, page="shop", method="POST"),), ("POST origin-not-allowed",)),
    Case(
        "unless the policy blocks it",
        (Step("/blocking/hello", NO_LEAVE, page="shop", method="POST"),),
        ("POST origin-not-allowed",),
        reached=0,
    ),
    Case(
        "a page that the proxy serves is nobody's stranger",
        (Step("/blocking/hello", Read(body="hello", names="authorization etag x-legacy-node x-total-count", type="basic"), page="proxy", method="POST"),),
        ("POST same-origin",),
    ),
    Case(
        "no-cors is opaque whatever the policy says",
        (Step("/listed/hello", Read(status=0, body="", type="opaque"), page="foreign", mode="no-cors"),),
        ("GET not-cors",),  # no Origin is sent
    ),
]  # fmt: skip

OTHER_WAYS = [
    Case(
        "XMLHttpRequest without credentials",
        (Step("/listed/hello", Read(body="hello", names="x-total-count", type="xhr"), way="xhr"),),
        ("GET allowed",),
    ),
    Case(
        "XMLHttpRequest with credentials",
        (
            Step(
                "/listed/hello",
                Read(body="hello", names="x-total-count", type="xhr"),
                way="xhr",
                credentials="include",
            ),
        ),
        ("GET allowed",),
    ),
    Case(
        "XMLHttpRequest that asks first",
        (
            Step(
                "/listed/hello",
                Read(body="{}", names="x-total-count", type="xhr"),
                way="xhr",
                method="PUT",
                headers=JSON,
                body="{}",
                credentials="include",
            ),
        ),
        ("preflight allowed", "PUT allowed"),
    ),
    Case(
        "XMLHttpRequest of a stranger",
        (Step("/listed/hello", NO_LEAVE, page="foreign", way="xhr", credentials="include"),),
        ("GET origin-not-allowed",),
    ),
    Case(
        "EventSource without credentials",
        (Step("/listed/events", Read(status=0, body="for nobody", type="event"), way="eventsource"),),
        ("GET allowed",),
    ),
    Case(
        "EventSource with credentials",
        (
            Step("/everybody/login", Read(body="welcome"), credentials="include"),
            Step(
                "/everybody/events",
                Read(status=0, body="for ada", type="event"),
                way="eventsource",
                credentials="include",
            ),
        ),
        ("GET allowed", "GET allowed"),
    ),
    Case(
        "EventSource of a stranger",
        (Step("/listed/events", NO_LEAVE, page="foreign", way="eventsource", credentials="include"),),
        ("GET origin-not-allowed",),
    ),
]

ALL_NAMES = "authorization etag x-legacy-node x-total-count"
EXPOSED = [
    Case("a list exposes what it names", (Step("/listed/hello", HELLO),), ("GET allowed",)),
    Case("no list exposes nothing", (Step("/hiding/hello", Read(names="")),), ("GET allowed",)),
    Case("a star exposes all but cookies", (Step("/open/hello", Read(names=ALL_NAMES)),), ("GET allowed",)),
    Case(
        "a star exposes all to a request with a token",
        (Step("/open/hello", Read(names=ALL_NAMES), headers=TOKEN),),
        ("preflight allowed", "GET allowed"),
    ),
    Case(
        "a star exposes all to a request with credentials",
        (Step("/exposing/hello", Read(names=ALL_NAMES), credentials="include"),),
        ("GET allowed",),
    ),
    Case(
        "a star exposes all to a request with credentials and a token",
        (Step("/exposing/hello", Read(names=ALL_NAMES), credentials="include", headers=TOKEN),),
        ("preflight allowed", "GET allowed"),
    ),
]

METHODS = [
    *(
        Case(
            f"{method} asks first",
            (Step("/listed/hello", Read(body="{}", names="x-total-count"), method=method, headers=JSON, body="{}"),),
            ("preflight allowed", f"{method} allowed"),
        )
        for method in ("PUT", "DELETE", "PATCH")
    ),
    Case(
        "put is PUT to a browser",
        (Step("/listed/hello", HELLO, method="put"),),
        ("preflight allowed", "PUT allowed"),
    ),
    Case(
        "patch is not PATCH to a browser",
        (Step("/listed/hello", NO_LEAVE_TO_ASK, method="patch"),),
        ("preflight method-not-allowed",),
    ),
    Case(
        "a star allows DELETE",
        (Step("/open/hello", Read(names=ALL_NAMES), method="DELETE"),),
        ("preflight allowed", "DELETE allowed"),
    ),
    Case(
        "a method that is not listed",
        (Step("/silent/hello", NO_LEAVE_TO_ASK, method="DELETE"),),
        ("preflight method-not-allowed",),
    ),
    Case(
        "diagnostics let the console name the method",
        (
            Step(
                "/diagnosing/hello",
                Blocked(
                    "MethodDisallowedByPreflightResponse",
                    "Did not find method in CORS header ‘Access-Control-Allow-Methods’",
                ),
                method="DELETE",
            ),
        ),
        ("preflight method-not-allowed",),
    ),
    Case(
        "POST needs no listing",
        (Step("/silent/hello", Read(body="x"), method="POST", body="x"),),
        ("POST allowed",),
    ),
    Case(
        "a header that is not listed",
        (Step("/listed/hello", NO_LEAVE_TO_ASK, headers={"X-Odd": "1"}),),
        ("preflight header-not-allowed",),
    ),
    Case(
        "diagnostics let the console name the header",
        (
            Step(
                "/diagnosing/hello",
                Blocked(
                    "HeaderDisallowedByPreflightResponse",
                    "header ‘x-odd’ is not allowed according to header ‘Access-Control-Allow-Headers’",
                ),
                headers={"X-Odd": "1"},
            ),
        ),
        ("preflight header-not-allowed",),
    ),
    Case(
        "a long value makes a safelisted header unsafe",
        (Step("/silent/hello", NO_LEAVE_TO_ASK, headers={"Accept": "a" * 129}),),
        ("preflight header-not-allowed",),
    ),
    Case(
        "a star is any header",
        (Step("/tokenless/hello", Read(), headers={"X-Odd": "1"}),),
        ("preflight allowed", "GET allowed"),
    ),
    Case(
        "a star is not Authorization",
        (Step("/tokenless/hello", NO_LEAVE_TO_ASK, headers=TOKEN),),
        ("preflight header-not-allowed",),
    ),
    Case(
        "a stranger may not even ask",
        (Step("/listed/hello", NO_LEAVE_TO_ASK, page="foreign", method="PUT"),),
        ("preflight origin-not-allowed",),
    ),
]

PUT = Step("/listed/hello", HELLO, method="PUT")
PUT_WITH = Step("/listed/hello", HELLO, method="PUT", credentials="include")
PREFLIGHT_CACHE = [
    Case("max_age spares the second question", (PUT, PUT), ("preflight allowed", "PUT allowed", "PUT allowed")),
    Case(
        "max_age 0 asks each time",
        (Step("/forgetful/hello", HELLO, method="PUT"),) * 2,
        ("preflight allowed", "PUT allowed") * 2,
    ),
    Case(
        "without max_age an answer is kept for a few seconds",
        (Step("/silent/hello", Read(), method="PUT"),) * 2,
        ("preflight allowed", "PUT allowed", "PUT allowed"),
    ),
    Case(
        "an answer without credentials is none with credentials",
        (PUT, PUT_WITH),
        ("preflight allowed", "PUT allowed") * 2,
    ),
    Case(
        "an answer for one origin is none for another",
        (PUT, Step("/listed/hello", HELLO, method="PUT", page="admin")),
        ("preflight allowed", "PUT allowed") * 2,
    ),
    Case(
        "one answer is good for every method and header that it lists",
        (PUT, Step("/listed/hello", HELLO, method="DELETE", headers=TOKEN)),
        ("preflight allowed", "PUT allowed", "DELETE allowed"),
    ),
]

KEPT = Step("/listed/cacheable", Read(body="kept"))
CACHES = [
    Case("a cacheable response is kept", (KEPT, KEPT), ("GET allowed",)),
    Case(
        "Vary keeps what one origin got from another of the same site",
        (KEPT, Step("/listed/cacheable", Read(body="kept"), page="admin")),
        ("GET allowed", "GET allowed"),
    ),
    Case(
        "Vary keeps what was loaded without CORS from a script",
        (
            Step("/listed/cacheable", Read(status=0, body="", type="opaque"), mode="no-cors"),
            Step("/listed/cacheable", Read(body="kept")),
        ),
        ("GET not-cors", "GET allowed"),
    ),
    Case(
        "a plain star needs no second look",
        (
            Step("/open/cacheable", Read(body="kept")),
            Step("/open/cacheable", Read(body="kept"), page="admin"),
        ),
        ("GET allowed",),
        differs={"firefox": ("GET allowed", "GET allowed")},
        because="Firefox keeps a cache for each origin of the top page, port included",
    ),
]

NULL = [
    Case(
        "a sandboxed frame is null",
        (Step("/listed/hello", NO_LEAVE, way="sandbox"),),
        ("GET null-not-allowed",),
    ),
    Case(
        "a sandboxed frame may not ask",
        (Step("/listed/hello", NO_LEAVE_TO_ASK, way="sandbox", method="PUT"),),
        ("preflight null-not-allowed",),
    ),
    Case(
        "a policy may allow null",
        (Step("/sandboxed/hello", Read(), way="sandbox", method="PUT"),),
        ("preflight allowed", "PUT allowed"),
    ),
    Case("a star allows null", (Step("/open/hello", Read(names=ALL_NAMES), way="sandbox"),), ("GET allowed",)),
]


def redirect(policy: str, to: str) -> str:
    return f"/{policy}/redirect?to={quote(to, safe='')}"


REDIRECTS = [
    Case(
        "a redirect within the proxy",
        (Step(redirect("listed", "/listed/hello"), HELLO, credentials="include"),),
        ("GET allowed", "GET allowed"),
    ),
    Case(
        "a redirect of a PUT asks again",
        (Step(redirect("listed", "/listed/hello?again"), HELLO, method="PUT"),),
        ("preflight allowed", "PUT allowed", "preflight allowed", "PUT allowed"),
    ),
    Case(
        "a redirect to a third origin makes the page null",
        (Step(redirect("listed", "{proxy elsewhere}/listed/hello"), NO_LEAVE),),
        ("GET allowed", "GET null-not-allowed"),
    ),
    Case(
        "a redirect to a third origin that lets anybody read",
        (Step(redirect("listed", "{proxy elsewhere}/open/hello"), Read(names=ALL_NAMES)),),
        ("GET allowed", "GET allowed"),
    ),
    Case(
        "a redirect that the page may not read is not followed",
        (Step(redirect("listed", "/open/hello"), NO_LEAVE, page="foreign"),),
        ("GET origin-not-allowed",),
    ),
]

ERRORS = [
    *(
        Case(
            f"a {status} of the upstream's",
            (Step(f"/listed/status/{status}", Read(status, "a reason"), credentials="include"),),
            ("GET allowed",),
        )
        for status in (401, 404, 500, 503)
    ),
    Case(
        "a 502 of the proxy's says what went wrong",
        (Step("/listed/gone", Read(502, names="proxy-status"), credentials="include"),),
        ("GET allowed",),
        reached=0,
    ),
    Case(
        "a 504 of the proxy's says what went wrong",
        (Step("/listed/never", Read(504, names="proxy-status"), credentials="include"),),
        ("GET allowed",),
        reached=0,
    ),
    Case(
        "a 404 of the proxy's, which no route takes",
        (Step("/nowhere", Read(404, names="proxy-status"), credentials="include"),),
        ("GET no-route",),
        reached=0,
    ),
    Case(
        "an error that a stranger may not read",
        (Step("/listed/status/500", NO_LEAVE, page="foreign"),),
        ("GET origin-not-allowed",),
    ),
]

WHO = Step("/everybody/me", Read(body="ada"), credentials="include")
COOKIES = [
    Case(
        "cookies go where the mode and their site let them",
        (
            Step("/everybody/login", Read(body="welcome"), credentials="include"),
            WHO,
            Step("/everybody/me", Read(body="nobody"), credentials="same-origin"),
            Step("/everybody/me", Read(body="nobody"), credentials="omit"),
            Step("/everybody/me", Read(body="ada"), credentials="include", page="admin"),
            # Another site: SameSite=Lax keeps it at home, whatever CORS says.
            Step("/everybody/me", Read(body="nobody"), credentials="include", page="foreign"),
        ),
        ("GET allowed",) * 6,
    ),
    Case(
        "a cookie of a response that no script may read is kept all the same",
        (Step("/listed/login", NO_LEAVE, credentials="include", page="shop"), WHO),
        ("GET origin-not-allowed", "GET allowed"),
        because="",
    ),
]

WRONG = [
    *(
        Case(
            f"the upstream's own CORS is replaced: {kind}",
            (Step(f"/listed/wrong/{kind}", Read(body="17 in stock", names="x-total-count"), credentials="include"),),
            ("GET allowed",),
        )
        for kind in ("twice", "foreign", "reflected")
    ),
    *(
        Case(
            f"the upstream's own CORS admits nobody: {kind}",
            (Step(f"/listed/wrong/{kind}", NO_LEAVE, page="foreign", credentials=credentials),),
            ("GET origin-not-allowed",),
        )
        for kind, credentials in (("twice", "omit"), ("reflected", "include"))
    ),
]  # fmt: skip

CASES = [
    *MODES, *OTHER_WAYS, *EXPOSED, *METHODS, *PREFLIGHT_CACHE, *CACHES, *NULL, *REDIRECTS, *ERRORS, *COOKIES, *WRONG
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
async def test_experiment(case: Case, tab: Tab, world: World, browser: str) -> None:
    world.begin()
    page = ""
    for step in case.steps:
        if step.page != page:
            page = step.page
            await tab.visit(address(world, page))
            world.exchanges[:] = [each for each in world.exchanges if b"/page/" not in each.path]
        while not tab.complaints.empty():
            tab.complaints.get_nowait()
        result = await tab.call("(experiment) => run(experiment)", experiment(world, step, str(CASES.index(case))))
        await judge(step.gets, result, tab, browser)
    assert tuple(world.seen) == case.differs.get(browser, case.seen)
    asked = sum(not line.startswith("preflight") for line in world.seen)
    assert len(reached(world)) == (asked if case.reached is None else case.reached), world.reached


def reached(world: World) -> list[str]:
    return [line for line in world.reached if "/page/" not in line]


def address(world: World, page: str) -> str:
    """Where a page is. That of the proxy's own origin comes from the upstream, through it."""
    return f"{world.origins['proxy']}/blocking/page/" if page == "proxy" else f"{world.origins[page]}/"


def experiment(world: World, step: Step, number: str) -> dict[str, object]:
    """A step as the page takes it. A query of its own keeps what one case left in a cache from the next."""
    path = step.path.replace(quote("{proxy elsewhere}", safe=""), quote(world.origins["proxy elsewhere"], safe=""))
    mark = f"{'&' if '?' in path else '?'}case={number}"
    return {
        "way": step.way,
        "url": world.origins["proxy"] + path + mark,
        "method": step.method,
        "headers": step.headers,
        "credentials": step.credentials,
        "mode": step.mode,
        "body": step.body,
    }


async def judge(expected: Read | Blocked, result: dict[str, Any], tab: Tab, browser: str) -> None:
    """Compare what the script could read, or what the console says, with what was expected."""
    if isinstance(expected, Blocked):
        assert result == {"error": "TypeError"}
        async with asyncio.timeout(PATIENCE_SECONDS):
            complaint = await tab.complaints.get()
        if browser == "chromium":
            assert complaint == expected.chromium
        else:
            assert complaint.startswith(expected.firefox)
        return
    assert "error" not in result, (result, [tab.complaints.get_nowait() for _ in range(tab.complaints.qsize())])
    assert (result["status"], result["type"]) == (expected.status, expected.type)
    assert {name.lower() for name in result["headers"]} & WATCHED == set(expected.names.split())
    if expected.body is not None:
        assert result["body"] == expected.body
