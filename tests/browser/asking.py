"""Experiments about what goes around a request: preflights, caches, frames, redirects, cookies.

Here:  rows.
Never: running them (test_experiments).
"""

from urllib.parse import quote

from tests.browser.cases import (
    ALL_NAMES,
    HELLO,
    JSON,
    NO_LEAVE,
    NO_LEAVE_TO_ASK,
    TOKEN,
    Blocked,
    Case,
    Read,
    Step,
)

__all__ = ["CACHES", "COOKIES", "METHODS", "NULL", "PREFLIGHT_CACHE", "REDIRECTS"]

METHODS = [
    *(
        Case(
            f"{method} asks first",
            (
                Step(
                    "/listed/hello",
                    Read(body="{}", names="x-total-count"),
                    method=method,
                    headers=JSON,
                    body="{}",
                ),
            ),
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
    Case(
        "max_age spares the second question", (PUT, PUT), ("preflight allowed", "PUT allowed", "PUT allowed")
    ),
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
    Case(
        "a star allows null", (Step("/open/hello", Read(names=ALL_NAMES), way="sandbox"),), ("GET allowed",)
    ),
]


def redirect(policy: str, to: str) -> str:
    return f"/{policy}/redirect?to={quote(to, safe='')}"


REDIRECTS = [
    Case(
        "a redirect within the proxy",
        (Step(redirect("listed", "/hello"), HELLO, credentials="include"),),
        ("GET allowed", "GET allowed"),
    ),
    Case(
        "trap 38: a redirect to the upstream's own address comes back to the proxy",
        (Step(redirect("listed", "{upstream}/hello"), HELLO, credentials="include"),),
        ("GET allowed", "GET allowed"),
    ),
    Case(
        "a redirect of a PUT asks again",
        (Step(redirect("listed", "/hello?again"), HELLO, method="PUT"),),
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

COOKIES = [
    Case(
        "cookies go where the mode and their site let them",
        (
            Step("/everybody/login?user=bob", Read(body="welcome"), credentials="include"),
            Step("/everybody/me", Read(body="bob"), credentials="include"),
            Step("/everybody/me", Read(body="nobody"), credentials="same-origin"),
            Step("/everybody/me", Read(body="nobody"), credentials="omit"),
            Step("/everybody/me", Read(body="bob"), credentials="include", page="admin"),
            # Another site: SameSite=Lax keeps it at home, whatever CORS says.
            Step("/everybody/me", Read(body="nobody"), credentials="include", page="foreign"),
        ),
        ("GET allowed",) * 6,
    ),
    Case(
        "a cookie of a response that no script may read is kept all the same",
        (
            Step("/private/login?user=eve", NO_LEAVE, credentials="include", page="admin"),
            Step("/private/me", Read(body="eve"), credentials="include"),
        ),
        ("GET origin-not-allowed", "GET allowed"),
    ),
    Case(
        "trap 41: a cookie of one route stays away from the next",
        (
            Step("/everybody/login?user=fay", Read(body="welcome"), credentials="include"),
            Step("/everybody/me", Read(body="fay"), credentials="include"),
            Step("/exposing/me", Read(body="nobody"), credentials="include"),
        ),
        ("GET allowed",) * 3,
    ),
    Case(
        "a cookie is not kept when the request was made without credentials",
        (
            Step("/everybody/login?user=dan", Read(body="welcome"), credentials="include"),
            Step("/everybody/login?user=eve", Read(body="welcome"), credentials="omit"),
            Step("/everybody/me", Read(body="dan"), credentials="include"),
        ),
        ("GET allowed",) * 3,
    ),
]
