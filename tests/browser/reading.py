"""Experiments about reading: who may, by which way, which headers, errors too.

Here:  rows. Requests that need no preflight, but for what carries a token.
Never: running them (test_experiments).
"""

from tests.browser.cases import ALL_NAMES, HELLO, JSON, NO_LEAVE, TOKEN, Blocked, Case, Read, Step

__all__ = ["ERRORS", "EXPOSED", "MODES", "OTHER_WAYS", "WRONG"]

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
                    "InvalidAllowCredentials",
                    "expected ‘true’ in CORS header ‘Access-Control-Allow-Credentials’",
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
    Case(
        "what is refused has happened",
        (Step("/listed/hello", NO_LEAVE, page="shop", method="POST"),),
        ("POST origin-not-allowed",),
    ),
    Case(
        "unless the policy blocks it",
        (Step("/blocking/hello", NO_LEAVE, page="shop", method="POST"),),
        ("POST origin-not-allowed",),
        reached=0,
    ),
    Case(
        "a page that the proxy serves is nobody's stranger",
        (
            Step(
                "/blocking/hello",
                Read(body="hello", names="authorization etag x-legacy-node x-total-count", type="basic"),
                page="proxy",
                method="POST",
            ),
        ),
        ("POST same-origin",),
    ),
    Case(
        "no-cors is opaque whatever the policy says",
        (Step("/listed/hello", Read(status=0, body="", type="opaque"), page="foreign", mode="no-cors"),),
        ("GET not-cors",),  # no Origin is sent
    ),
]

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
            Step("/everybody/login?user=ada", Read(body="welcome"), credentials="include"),
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

WRONG = [
    Case(
        "the upstream's own CORS admits nobody: a star is none",
        (Step("/listed/wrong/twice", NO_LEAVE, page="foreign", credentials="omit"),),
        ("GET origin-not-allowed",),
    ),
    *(
        Case(
            f"the upstream's own CORS is replaced: {kind}",
            (
                Step(
                    f"/listed/wrong/{kind}",
                    Read(body="17 in stock", names="x-total-count"),
                    credentials="include",
                ),
            ),
            ("GET allowed",),
        )
        for kind in ("twice", "foreign", "reflected")
    ),
    *(
        Case(
            f"the upstream's own CORS admits nobody: {kind}",
            (Step(f"/listed/wrong/{kind}", NO_LEAVE, page="foreign", credentials="include"),),
            ("GET origin-not-allowed",),
        )
        for kind in ("twice", "reflected")
    ),
]
