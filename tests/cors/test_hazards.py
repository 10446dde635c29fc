"""What is found in a policy when it is loaded: the code, where it points, and what to write instead."""

from dataclasses import dataclass, replace

import pytest

from corsproxy.cors.compile import compile_policy
from corsproxy.cors.hazards import Hazard
from corsproxy.cors.policy import PolicySpec, Written


def entries(key: str, *texts: str) -> tuple[Written, ...]:
    return tuple(Written(text, ("policies", "web", key, at), 10 + at) for at, text in enumerate(texts))


def spec_of(origins: list[str], *, credentials: bool = False) -> PolicySpec:
    return PolicySpec(
        "web",
        where=("policies", "web"),
        allow_origins=entries("allow_origins", *origins),
        allow_credentials=credentials,
    )


APP = spec_of(["https://app.example.com"])
SECRET = replace(APP, allow_credentials=True)


def found(spec: PolicySpec) -> list[Hazard]:
    """The findings, after the promise that holds for all of them: a policy exactly when none is an error."""
    policy, hazards = compile_policy(spec)
    assert (policy is None) is any(hazard.severity == "error" for hazard in hazards)
    assert all(hazard.message and hazard.remedy for hazard in hazards)
    return hazards


@dataclass(frozen=True)
class Entry:
    says: str
    text: str
    code: str
    remedy: str
    severity: str = "error"
    credentials: bool = False


APART = "give each an entry of its own"
TWO = f"{APART}: https://a.example, https://b.example"
EXAMPLE = "write scheme://host or scheme://host:port, for example https://app.example.com"
ORIGINS = [
    Entry(
        "trap 32: a trailing slash",
        "https://app.example.com/",
        "origin-trailing-slash",
        "write https://app.example.com",
    ),
    Entry("a path", "https://app.example.com/api", "origin-path", "write https://app.example.com"),
    Entry("a query", "https://app.example.com?x=1", "origin-query", "write https://app.example.com"),
    Entry("a fragment", "https://app.example.com#top", "origin-fragment", "write https://app.example.com"),
    Entry(
        "a user name",
        "https://me:pw@app.example.com:8443",
        "origin-userinfo",
        "write https://app.example.com:8443",
    ),
    Entry("no scheme", "app.example.com", "origin-missing-scheme", "write https://app.example.com"),
    Entry(
        "no scheme, a port",
        "app.example.com:8443",
        "origin-missing-scheme",
        "write https://app.example.com:8443",
    ),
    Entry(
        "no scheme, on the own machine",
        "localhost:3000",
        "origin-missing-scheme",
        "write http://localhost:3000",
    ),
    Entry("no scheme, a pattern", "*.example.com", "origin-missing-scheme", "write https://*.example.com"),
    Entry("no scheme, a path", "app.example.com/", "origin-missing-scheme", "write https://app.example.com"),
    Entry("no scheme, an IPv6 address", "[::1]:3000", "origin-missing-scheme", "write http://[::1]:3000"),
    Entry("null in upper case", "NULL", "origin-missing-scheme", 'write "null"'),
    Entry("a scheme with a space", "ht tp://app.example.com", "origin-space", EXAMPLE),
    Entry("a scheme that begins with a digit", "1http://app.example.com", "origin-scheme", EXAMPLE),
    Entry("an empty scheme", "://app.example.com", "origin-scheme", "write https://app.example.com"),
    Entry("spaces around it", " https://app.example.com ", "origin-space", "write https://app.example.com"),
    Entry("two origins with a comma", "https://a.example,https://b.example", "origin-several", TWO),
    Entry("two origins with a space", "https://a.example https://b.example", "origin-several", TWO),
    Entry(
        "two origins, slashes, a last comma", "https://a.example/; https://b.example/,", "origin-several", TWO
    ),
    Entry(
        "two origins, one of which cannot be put right", "https://a.example,https://", "origin-several", APART
    ),
    Entry(
        "more origins than a message shows",
        ",".join(f"https://a{number}.example" for number in range(20)),
        "origin-several",
        APART,
    ),
    Entry(
        "a comma in a path", "https://a.example/x,https://b.example", "origin-path", "write https://a.example"
    ),
    Entry("nothing", "", "origin-empty", EXAMPLE),
    Entry("only spaces", "  ", "origin-empty", EXAMPLE),
    Entry(
        "a group that the caller did not know",
        "@apps",
        "unknown-group",
        "define it under origins, or write @loopback",
    ),
    Entry(
        "trap 32: letters outside ASCII",
        "https://münchen.example",
        "origin-unicode",
        "write https://xn--mnchen-3ya.example",
    ),
    Entry(
        "trap 32: letters outside ASCII behind a star",
        "https://*.münchen.example",
        "origin-unicode",
        "write https://*.xn--mnchen-3ya.example",
    ),
    Entry("letters that no host can have", "https://" + "\u200d" + ".example", "origin-unicode", EXAMPLE),
    Entry(
        "a port that is a word",
        "https://app.example.com:port",
        "origin-port",
        "write https://app.example.com",
    ),
    Entry("a port above 65535", "https://app.example.com:99999", "origin-port", EXAMPLE),
    Entry(
        "a port with leading zeros",
        "https://app.example.com:0443",
        "origin-port",
        "write https://app.example.com",
    ),
    Entry(
        "a colon without a port", "https://app.example.com:", "origin-port", "write https://app.example.com"
    ),
    Entry(
        "a star inside a label", "https://app-*.example.com", "origin-wildcard", "write https://*.example.com"
    ),
    Entry(
        "a star glued to the name", "https://*example.com", "origin-wildcard", "write https://*.example.com"
    ),
    Entry(
        "a star in the middle", "https://app.*.example.com", "origin-wildcard", "write https://*.example.com"
    ),
    Entry("two stars", "https://*.*.example.com", "origin-wildcard", "write https://*.example.com"),
    Entry("a star at the end has no safe reading", "https://app.*", "origin-wildcard", EXAMPLE),
    Entry("a star before an address", "https://*.10.0.0.1", "origin-wildcard", EXAMPLE),
    Entry("an address in short form", "http://127.1", "origin-host", EXAMPLE),
    Entry("an IPv6 address without brackets", "http://::1", "origin-port", EXAMPLE),
    Entry("no host", "https://", "origin-host", EXAMPLE),
    Entry("a host that no browser writes", "https://app..example.com", "origin-host", EXAMPLE),
    Entry("over 512 bytes", "https://" + "a" * 505, "origin-too-long", EXAMPLE),
    Entry(
        "any host, https",
        "https://*",
        "any-origin-spelling",
        'write "*" alone to allow any origin, or name the host: https://*.example.com',
    ),
    Entry(
        "any scheme",
        "*://app.example.com",
        "any-origin-spelling",
        'write "*" alone to allow any origin, or name the host: https://*.example.com',
    ),
    Entry(
        "trap 6: any origin with credentials",
        "*",
        "any-origin-with-credentials",
        "list the origins, or remove allow_credentials",
        credentials=True,
    ),
    Entry(
        "trap 6: any host with credentials",
        "https://*",
        "any-origin-with-credentials",
        "list the origins, or remove allow_credentials",
        credentials=True,
    ),
    Entry(
        "trap 6: any host and port with credentials",
        "https://*:*",
        "any-origin-with-credentials",
        "list the origins, or remove allow_credentials",
        credentials=True,
    ),
    Entry(
        "trap 6: any scheme with credentials",
        "*://*",
        "any-origin-with-credentials",
        "list the origins, or remove allow_credentials",
        credentials=True,
    ),
    Entry(
        "trap 8: null with credentials",
        "null",
        "null-with-credentials",
        'remove "null", or remove allow_credentials',
        credentials=True,
    ),
    Entry(
        "trap 8: null without credentials",
        "null",
        "null-origin",
        "list the origin of the page, or let it have one",
        "warning",
    ),
    Entry(
        "plain http with credentials",
        "http://app.example.com:8080",
        "insecure-origin-with-credentials",
        "write https://app.example.com, or set dangerously_allow_insecure_origins: true",
        credentials=True,
    ),
    Entry(
        "plain http by a pattern with credentials",
        "http://*.example.com",
        "insecure-origin-with-credentials",
        "write https://*.example.com, or set dangerously_allow_insecure_origins: true",
        credentials=True,
    ),
    Entry(
        "trap 31: a public suffix",
        "https://*.github.io",
        "public-suffix-origin",
        "name your own host under github.io, or set dangerously_allow_public_suffix_origins: true",
    ),
    Entry(
        "trap 31: a public suffix with credentials",
        "https://*.vercel.app",
        "public-suffix-origin",
        "name your own host under vercel.app, or set dangerously_allow_public_suffix_origins: true",
        credentials=True,
    ),
    Entry(
        "trap 31: a name that holds public suffixes",
        "https://*.amazonaws.com",
        "public-suffix-origin",
        "name your own host under s3.amazonaws.com, or set dangerously_allow_public_suffix_origins: true",
    ),
    Entry(
        "trap 31: a top-level domain",
        "https://*.com",
        "public-suffix-origin",
        "name your own host under com, or set dangerously_allow_public_suffix_origins: true",
    ),
    Entry(
        "trap 32: upper case",
        "https://App.Example.COM",
        "origin-canonicalised",
        "write https://app.example.com",
        "warning",
    ),
    Entry(
        "trap 32: a default port",
        "https://app.example.com:443",
        "origin-canonicalised",
        "write https://app.example.com",
        "warning",
    ),
    Entry(
        "a long IPv6 address",
        "http://[0:0:0:0:0:0:0:1]:80",
        "origin-canonicalised",
        "write http://[::1]",
        "warning",
    ),
]


@pytest.mark.parametrize("case", ORIGINS, ids=lambda case: case.says)
def test_origin_entries(case: Entry) -> None:
    hazards = found(spec_of([case.text], credentials=case.credentials))
    assert [(hazard.code, hazard.severity, hazard.remedy) for hazard in hazards] == [
        (case.code, case.severity, case.remedy)
    ]
    assert hazards[0].where == ("policies", "web", "allow_origins", 0)


@pytest.mark.parametrize("case", ORIGINS, ids=lambda case: case.says)
def test_what_a_remedy_says_to_write_is_fine(case: Entry) -> None:
    corrected = case.remedy.removeprefix("write ").partition(", or set")[0].strip('"')
    if case.remedy.startswith("write ") and case.remedy != EXAMPLE and not corrected.startswith("*"):
        codes = {hazard.code for hazard in found(spec_of([corrected], credentials=case.credentials))}
        assert codes <= {"null-origin"}  # written as it should be, and unwise all the same


FINE = [
    ["https://app.example.com", "https://*.example.com"],
    ["http://app.example.com"],  # without credentials nothing is at stake
    ["https://*.internal"],  # nobody sells names there
    ["http://localhost:*", "@loopback", "http://127.0.0.1:*", "http://[::1]:3000"],
    ["capacitor://localhost", "moz-extension://1b3f", "app://obsidian.md"],
    ["*"],
]


@pytest.mark.parametrize("origins", FINE, ids=str)
def test_fine_without_credentials(origins: list[str]) -> None:
    assert found(spec_of(origins)) == []


def test_loopback_over_http_needs_no_key_for_credentials() -> None:
    assert found(spec_of(["@loopback", "http://shop.localhost:3000"], credentials=True)) == []


def test_the_dangerous_keys_open_what_they_name() -> None:
    insecure = replace(
        spec_of(["http://app.example.com"], credentials=True), dangerously_allow_insecure_origins=True
    )
    shared = replace(spec_of(["https://*.github.io"]), dangerously_allow_public_suffix_origins=True)
    assert found(insecure) == found(shared) == []


def words(*texts: str) -> tuple[Written, ...]:
    return entries("list", *texts)


@dataclass(frozen=True)
class Other:
    says: str
    spec: PolicySpec
    code: str
    remedy: str
    severity: str = "error"


OTHERS = [
    Other(
        "a star beside other origins",
        spec_of(["*", "https://app.example.com"]),
        "any-beside-others",
        'write allow_origins: "*" alone, or remove "*"',
    ),
    Other(
        "a star beside an expression",
        replace(spec_of(["*"]), allow_origin_regex=words(r"https://a\.example")),
        "any-beside-others",
        'write allow_origins: "*" alone, or remove "*"',
    ),
    Other(
        "a star beside other methods",
        replace(APP, allow_methods=words("GET", "*")),
        "any-beside-others",
        'write allow_methods: "*" alone, or remove "*"',
    ),
    Other(
        "trap 26: a method in lower case",
        replace(APP, allow_methods=words("patch")),
        "method-case",
        "write PATCH",
    ),
    Other(
        "a method that no preflight asks for",
        replace(APP, allow_methods=words("PUT", "OPTIONS")),
        "method-needless",
        "remove OPTIONS, unless scripts send it themselves",
        "warning",
    ),
    Other(
        "a method with a space", replace(APP, allow_methods=words("GET ")), "method-malformed", "write GET"
    ),
    Other(
        "trap 24: two methods in one entry",
        replace(APP, allow_methods=words("GET;POST")),
        "method-malformed",
        "write one method an entry",
    ),
    Other(
        "an empty method",
        replace(APP, allow_methods=words("")),
        "method-malformed",
        "write one method an entry",
    ),
    Other(
        "a forbidden method", replace(APP, allow_methods=words("TRACE")), "method-forbidden", "remove TRACE"
    ),
    Other(
        "a forbidden method in lower case",
        replace(APP, allow_methods=words("connect")),
        "method-forbidden",
        "remove connect",
    ),
    Other(
        "a misspelt method",
        replace(APP, allow_methods=words("DELTE")),
        "method-not-forwardable",
        "did you mean DELETE?",
    ),
    Other(
        "a method that cannot be forwarded",
        replace(APP, allow_methods=words("FROBNICATE")),
        "method-not-forwardable",
        "remove FROBNICATE",
    ),
    Other(
        "a method twice",
        replace(APP, allow_methods=words("GET", "GET")),
        "duplicate-entry",
        "remove one of them",
        "warning",
    ),
    Other(
        "trap 24: a header with a colon",
        replace(APP, allow_headers=words("X-Id:")),
        "header-name-malformed",
        "write X-Id",
    ),
    Other(
        "two headers in one entry",
        replace(APP, allow_headers=words("X-A, X-B")),
        "header-name-malformed",
        "write one field name an entry",
    ),
    Other(
        "an exposed name with a space",
        replace(APP, expose_headers=words("X Id")),
        "header-name-malformed",
        "write one field name an entry",
    ),
    Other(
        "a header that only the browser sets",
        replace(APP, allow_headers=words("Cookie")),
        "forbidden-header-name",
        "remove Cookie",
        "warning",
    ),
    Other(
        "a header of the browser's own by prefix",
        replace(APP, allow_headers=words("Sec-Fetch-Site")),
        "forbidden-header-name",
        "remove Sec-Fetch-Site",
        "warning",
    ),
    Other(
        "trap 21: a star without Authorization",
        replace(APP, allow_headers=words("*")),
        "any-header-without-authorization",
        'write ["*", Authorization] if scripts send tokens',
        "warning",
    ),
    Other(
        "a name beside the star",
        replace(APP, allow_headers=words("*", "authorization", "X-Id")),
        "needless-beside-any",
        "remove X-Id",
        "warning",
    ),
    Other(
        "an exposed name beside the star",
        replace(APP, expose_headers=words("*", "X-Id")),
        "needless-beside-any",
        "remove X-Id",
        "warning",
    ),
    Other(
        "a header twice, in another case",
        replace(APP, allow_headers=words("X-Id", "x-id")),
        "duplicate-entry",
        "remove one of them",
        "warning",
    ),
    Other(
        "a name that is never readable",
        replace(APP, expose_headers=words("Set-Cookie")),
        "never-exposed",
        "remove Set-Cookie",
        "warning",
    ),
    Other(
        "trap 21: exposing a star with credentials",
        replace(SECRET, expose_headers=words("*")),
        "any-exposed-with-credentials",
        "list the names that scripts need",
        "warning",
    ),
    Other(
        "an origin twice, in another spelling",
        spec_of(["https://a.example", "https://a.example:443"]),
        "origin-canonicalised",
        "write https://a.example",
        "warning",
    ),
    Other(
        "trap 29: no origin at all",
        replace(APP, allow_origins=()),
        "no-origins",
        "list the origins in allow_origins, or write cors: off on the route if the upstream decides",
        "warning",
    ),
    Other(
        "trap 47: a negative max-age",
        replace(APP, max_age=-1),
        "max-age-negative",
        "write 0 to forbid caching",
    ),
    Other(
        "trap 47: a max-age that no browser keeps",
        replace(APP, max_age=86_401),
        "max-age-capped",
        "write 2h, or 24h at most",
        "warning",
    ),
    Other(
        "a dangerous key that opens nothing",
        replace(SECRET, dangerously_allow_insecure_origins=True),
        "dangerous-key-not-needed",
        "remove dangerously_allow_insecure_origins",
        "warning",
    ),
    Other(
        "a dangerous key without credentials",
        replace(spec_of(["http://a.example"]), dangerously_allow_insecure_origins=True),
        "dangerous-key-not-needed",
        "remove dangerously_allow_insecure_origins",
        "warning",
    ),
    Other(
        "a dangerous key without a public suffix",
        replace(APP, dangerously_allow_public_suffix_origins=True),
        "dangerous-key-not-needed",
        "remove dangerously_allow_public_suffix_origins",
        "warning",
    ),
]


@pytest.mark.parametrize("case", OTHERS, ids=lambda case: case.says)
def test_other_keys(case: Other) -> None:
    first = found(case.spec)[0]
    assert (first.code, first.severity, first.remedy) == (case.code, case.severity, case.remedy)


def test_duplicates_are_found_behind_their_spelling() -> None:
    hazards = found(spec_of(["https://a.example", "https://A.example:443"]))
    assert [hazard.code for hazard in hazards] == ["origin-canonicalised", "duplicate-entry"]
    assert "on line 10" in hazards[1].message


@pytest.mark.parametrize("max_age", [None, 0, 1, 86_400])
def test_trap_47_a_max_age_that_browsers_keep(max_age: int | None) -> None:
    assert found(replace(APP, max_age=max_age)) == []


def test_keys_are_named_in_the_document() -> None:
    hazards = found(replace(APP, allow_origins=(), max_age=-1))
    assert [hazard.where for hazard in hazards] == [
        ("policies", "web", "allow_origins"),
        ("policies", "web", "max_age"),
    ]


def test_everything_is_found_at_once_in_the_order_of_the_keys() -> None:
    spec = replace(
        spec_of(["https://a.example/", "null", "http://b.example"], credentials=True),
        allow_origin_regex=words(".*"),
        allow_methods=words("put", "GET"),
        allow_headers=words("X Id"),
        expose_headers=words("Set-Cookie"),
        max_age=-5,
    )
    assert [hazard.code for hazard in found(spec)] == [
        "origin-trailing-slash",
        "null-with-credentials",
        "insecure-origin-with-credentials",
        "any-origin-with-credentials",
        "method-case",
        "header-name-malformed",
        "never-exposed",
        "max-age-negative",
    ]
    assert found(spec) == found(spec)


def test_a_finding_about_a_hostile_entry_is_printable() -> None:
    (hazard,) = found(spec_of(["https://a.example\x1b[31m"]))
    assert hazard.message.isprintable()
