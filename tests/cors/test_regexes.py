"""Which regular expressions are safe to admit origins with, and the example that shows when one is not."""

from typing import NamedTuple

import pytest

from corsproxy.cors.compile import compile_policy
from corsproxy.cors.hazards import Hazard
from corsproxy.cors.origins import is_well_formed
from corsproxy.cors.policy import PolicySpec, Written


def compiled(regex: str, **keys: bool) -> tuple[bool, list[Hazard]]:
    policy, hazards = compile_policy(PolicySpec("p", allow_origin_regex=(Written(regex),), **keys))
    return policy is not None, hazards


SAFE = [
    r"https://app\.example\.com",
    r"^https://app\.example\.com$",
    r"https://(www\.|app\.)?example\.com",
    r"https://example\.(com|org)",
    r"https?://app\.example\.com(:\d+)?",
    r"https://[a-z0-9-]+\.example\.com",
    r"https://[^.]+\.example\.com",
    r"https://\w+\.example\.com",
    r"https://.*\.example\.com",
    r"https://.+\.example\.com:\d{2,5}",
    r"https://([a-z0-9-]+\.)*example\.com",
    r"https://([a-z]([a-z0-9-]*[a-z0-9])?\.)+example\.com",
    r"https://pr-\d+\.example\.com",
    r"https://[0-9a-f]{8}\.preview\.example\.com",
    r"https://a\.example\.com|https://b\.example\.org",
    r"https://(.*\.example\.com|app\.example\.org)",
    r"https://app[12]\.example\.com",
    r"http://localhost:\d+",
    r"http://192\.168\.\d{1,3}\.\d{1,3}(:\d+)?",
    r"moz-extension://[0-9a-f-]{36}",
    r"https://(?:a|b)\.example\.com",
    r"https://(?>a|b)\.example\.com",
]


@pytest.mark.parametrize("regex", SAFE)
def test_safe(regex: str) -> None:
    assert compiled(regex) == (True, [])


class Wide(NamedTuple):
    says: str
    regex: str
    shows: str  # the origin in the message
    remedy: str


PIN = r"pin the whole host, as in https://[a-z0-9-]+\.example\.com, or use the pattern https://*.example.com"
WIDE = [
    Wide(
        "trap 4: an unescaped dot",
        r"https://app.example\.com",
        "https://appxexample.com",
        r"write https://app\.example\.com",
    ),
    Wide(
        "trap 4: an unescaped dot before the last label",
        r"https://app\.example.com",
        "https://app.examplexcom",
        r"write https://app\.example\.com",
    ),
    Wide(
        "trap 4: as documentation has it",
        r".*\.test.com$",
        "https://evil.testxcom",
        r"write https://([a-z0-9-]+\.)+test\.com$",
    ),
    Wide("a dot that may be gone", r"https://app\.?example\.com", "https://appexample.com", PIN),
    Wide(
        "trap 1: an open end",
        r"https://app\.example\.com.*",
        "https://app.example.com.evil.test",
        r"write https://app\.example\.com",
    ),
    Wide(
        "trap 2: an open end in one alternative",
        r"https://a\.example|https://b\.example.*",
        "https://b.example.evil.test",
        r"write https://a\.example|https://b\.example",
    ),
    Wide(
        "trap 3: no label boundary",
        r"https://.*example\.com",
        "https://evilexample.com",
        r"write https://([a-z0-9-]+\.)+example\.com",
    ),
    Wide(
        "trap 3: no label boundary, a class",
        r"https://[a-z]+example\.com",
        "https://evilexample.com",
        r"write https://([a-z0-9-]+\.)+example\.com",
    ),
    Wide(
        "trap 3: no label boundary, a dash", r"https://[a-z-]*-example\.com", "https://evil-example.com", PIN
    ),
    Wide(
        "an open scheme",
        r".*\.example\.com",
        "http://evil.example.com",
        r"write https://([a-z0-9-]+\.)+example\.com",
    ),
    Wide("an open scheme before a pinned host", r".+://app\.example\.com", "http://app.example.com", PIN),
    Wide("an open top level", r"https://example\.[a-z]+", "https://example.evil", PIN),
    Wide("an open top level of two letters", r"https://example\.[a-z]{2}", "https://example.ev", PIN),
    Wide("an open second level", r"https://[a-z]+\.com", "https://evil.com", PIN),
    Wide("an open digit in the name that is registered", r"https://shop\d\.com", "https://shop7.com", PIN),
    Wide("a repeated letter", r"https://a+pp\.com", "https://aaapp.com", PIN),
    Wide(
        "trap 5: an open end behind localhost",
        r"http://localhost.*",
        "http://localhost.evil.test",
        "write http://localhost",
    ),
    Wide("an open address", r"https://8\.8\.8\.\d", "https://8.8.8.7", PIN),
    Wide("a range of one letter", r"https://[q-s]\.com", "https://s.com", PIN),
    Wide(
        "a pattern in the wrong list",
        "https://*.example.com",
        "https://xexamplexcom",
        "write https://*.example.com in allow_origins: here the * repeats the slash before it",
    ),
]


@pytest.mark.parametrize("case", WIDE, ids=lambda case: case.says)
def test_a_look_alike_is_shown(case: Wide) -> None:
    loads, (hazard,) = compiled(case.regex)
    assert (loads, hazard.code, hazard.remedy) == (False, "regex-lookalike", case.remedy)
    assert f"also matches {case.shows}," in hazard.message
    assert is_well_formed(case.shows.encode())


@pytest.mark.parametrize("case", WIDE, ids=lambda case: case.says)
def test_a_corrected_expression_is_safe(case: Wide) -> None:
    if case.remedy.startswith("write ") and "allow_origins" not in case.remedy:
        assert compiled(case.remedy.removeprefix("write ")) == (True, [])


class Refused(NamedTuple):
    says: str
    regex: str
    code: str
    message: str


REFUSED = [
    Refused("empty", "", "regex-empty", "is empty"),
    Refused("trap 46: too long", "https://" + "a" * 1024, "regex-too-long", "1024 characters"),
    Refused("letters outside ASCII", "https://münchen\\.example", "regex-unicode", "punycode"),
    Refused("an open group", "https://(app", "regex-malformed", "unterminated subpattern"),
    Refused("a repeat of nothing", "*", "regex-malformed", "nothing to repeat"),
    Refused("a bracket in a class", "https://[[a]", "regex-malformed", "nested set"),
    Refused("a count beyond all bounds", "https://a{2,99999999999}", "regex-malformed", "too large"),
    Refused("nested beyond all bounds", "(" * 500 + ")" * 500, "regex-malformed", "nested too deeply"),
    Refused("a look-ahead", r"https://(?!evil)[a-z]+\.example\.com", "regex-unsupported", "look-around"),
    Refused("a back-reference", r"https://(a)\1\.example\.com", "regex-unsupported", "back-reference"),
    Refused("a flag", r"(?i)https://app\.example\.com", "regex-unsupported", "lower case already"),
    Refused(
        "a flag in a group", r"https://(?i:app)\.example\.com", "regex-unsupported", "lower case already"
    ),
    Refused(
        "more spellings than can be checked",
        "https://" + "[ab]" * 9 + r"\.example\.com",
        "regex-unsupported",
        "256 alternatives",
    ),
    Refused(
        "more open places than can be checked",
        "https://" + "[a-z]" * 65 + r"\.example\.com",
        "regex-unsupported",
        "64 open places",
    ),
    Refused("no scheme", r"app\.example\.com", "regex-matches-nothing", "matches no origin"),
    Refused("a trailing slash", r"https://app\.example\.com/", "regex-matches-nothing", "matches no origin"),
    Refused("upper case", r"https://APP\.example\.com", "regex-matches-nothing", "matches no origin"),
    Refused("null", "null", "regex-matches-nothing", "matches no origin"),
    Refused("any origin", ".*", "any-origin-spelling", "every origin"),
    Refused("any https origin", "https://.*", "any-origin-spelling", "every origin"),
    Refused("any host in disguise", r"https?://[^/]+", "any-origin-spelling", "every origin"),
    Refused(
        "trap 31: tenants of one host",
        r"https://pr-\d+-acme\.vercel\.app",
        "public-suffix-origin",
        "under vercel.app",
    ),
    Refused("a repeat in a repeat", r"https://(a+)+\.example\.com", "regex-backtracking", "itself repeated"),
    Refused(
        "a repeat in a counted repeat",
        r"https://([a-z]+){2,9}\.example\.com",
        "regex-backtracking",
        "itself repeated",
    ),
    Refused(
        "optional parts in a repeat", r"https://(a?b?)*\.example\.com", "regex-backtracking", "may be empty"
    ),
    Refused("a star in a star", r"https://(a*)*\.example\.com", "regex-backtracking", "may be empty"),
    Refused("alternatives that overlap", r"https://(ab|a|b)*\.example\.com", "regex-backtracking", "overlap"),
    Refused("the same twice in a repeat", r"https://(a|a)*\.example\.com", "regex-backtracking", "overlap"),
    Refused("the same twice, counted", r"https://(a|a){30}\.example\.com", "regex-backtracking", "overlap"),
    Refused(
        "two repeats without a boundary in a repeat",
        r"https://([a-z]+[a-z]+\.)*example\.com",
        "regex-backtracking",
        "overlap",
    ),
    Refused(
        "three open repeats in a row", r"https://.*.*.*\.example\.com", "regex-backtracking", "open repeats"
    ),
    Refused(
        "a group too large to repeat",
        "https://(" + "|".join(f"{a}{b}x" for a in "abcde" for b in "abcde") + r")*\.example\.com",
        "regex-backtracking",
        "more than 64",
    ),
    Refused(
        "counts that multiply",
        r"https://((a{60}b){60}c)\.example\.com",
        "regex-backtracking",
        "512 characters",
    ),
    Refused(
        "counts that multiply nothing",
        "https://app" + "(" * 20 + ")" + "{64})" * 19 + r"{64}\.example\.com",
        "regex-backtracking",
        "may be empty",
    ),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.says)
def test_refused(case: Refused) -> None:
    loads, hazards = compiled(case.regex)
    assert (loads, [hazard.code for hazard in hazards]) == (False, [case.code])
    assert case.message in hazards[0].message


@pytest.mark.parametrize(
    "regex", [".*", "https://.*", "https?://[^/]+", ".+://.+", r"https://[a-z0-9.-]+(:\d+)?"]
)
def test_trap_6_a_universal_expression_with_credentials(regex: str) -> None:
    loads, hazards = compiled(regex, allow_credentials=True)
    assert (loads, [hazard.code for hazard in hazards]) == (False, ["any-origin-with-credentials"])


def test_plain_http_with_credentials_needs_its_key() -> None:
    regex = r"https?://app\.example\.com(:\d+)?"
    _, (hazard,) = compiled(regex, allow_credentials=True)
    assert hazard.code == "insecure-origin-with-credentials"
    assert hazard.remedy == "write https://app.example.com, or set dangerously_allow_insecure_origins: true"
    assert compiled(regex, allow_credentials=True, dangerously_allow_insecure_origins=True) == (True, [])


def test_tenants_of_one_host_need_their_key() -> None:
    regex = r"https://pr-\d+-acme\.vercel\.app"
    assert compiled(regex, dangerously_allow_public_suffix_origins=True) == (True, [])


@pytest.mark.parametrize(
    ("regex", "suffix"),
    [
        (r"https://.*\.amazonaws\.com", "s3.amazonaws.com"),
        (r"https://([a-z0-9-]+\.)+amazonaws\.com", "s3.amazonaws.com"),
        (r"https://[a-z0-9.-]+\.core\.windows\.net", "web.core.windows.net"),
    ],
)
def test_an_expression_that_reaches_below_a_shared_name(regex: str, suffix: str) -> None:
    loads, (hazard,) = compiled(regex)
    assert (loads, hazard.code) == (False, "public-suffix-origin")
    assert f"anyone can have a name under {suffix} " in hazard.message
    assert compiled(regex, dangerously_allow_public_suffix_origins=True) == (True, [])


def test_one_that_stays_above_them_is_one_owner_s() -> None:
    assert compiled(r"https://[a-z]+\.amazonaws\.com") == (True, [])


APPS = ["(chrome|moz)-extension://.*", "app://.+", "chrome-extension://[a-p]{32}", "capacitor://[a-z.]+"]


@pytest.mark.parametrize("regex", APPS)
def test_any_app_with_credentials_needs_its_key(regex: str) -> None:
    loads, hazards = compiled(regex, allow_credentials=True)
    assert (loads, [hazard.code for hazard in hazards]) == (False, ["any-app-with-credentials"])
    assert compiled(regex) == (True, [])
    keys = {"allow_credentials": True, "dangerously_allow_public_suffix_origins": True}
    assert compiled(regex, **keys) == (True, [])


def test_apps_that_are_spelled_out_need_none() -> None:
    assert compiled("capacitor://localhost|app://(one|two)", allow_credentials=True) == (True, [])


@pytest.mark.parametrize(
    ("regex", "shows"),
    [
        (r"https://www[1-4]?example\.com", "https://www4example.com"),
        (r"https://app\.example[1-3]?\.com", "https://app.example3.com"),
        (r"https://(dev-|stage-)*example\.org", "https://dev-dev-example.org"),
        (r"https://(dev-)+example\.com", "https://dev-dev-dev-example.com"),
        (r"https://[a-z0-9]+-.\.?example\.net", "https://a-xexample.net"),
        (r"https://[a-c]{2}-example\.com", "https://cc-example.com"),
    ],
)
def test_what_a_choice_admits_beside_its_plainest(regex: str, shows: str) -> None:
    loads, hazards = compiled(regex)
    assert (loads, hazards[0].code) == (False, "regex-lookalike")
    assert f"also matches {shows}," in hazards[0].message


def test_the_key_for_tenants_opens_no_top_level() -> None:
    loads, hazards = compiled(r"https://[a-z]+\.com", dangerously_allow_public_suffix_origins=True)
    assert (loads, hazards[0].code) == (False, "regex-lookalike")


def test_loopback_over_http_needs_no_key() -> None:
    assert compiled(r"http://localhost(:\d+)?", allow_credentials=True) == (True, [])
