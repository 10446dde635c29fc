"""Every trap of docs/traps.md has its tests: the table is whole, and what it names exists.

Here:  trap number to tests, by file and name: a function, or a row of a table by what it says.
Never: the tests.
"""

import ast
import re
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

from tests.docs.pages import page, rows

TESTS = Path(__file__).parent
LAST = 50

SHOWN: dict[int, tuple[str, ...]] = {
    1: (
        "cors/test_regexes.py::trap 1: an open end",
        "cors/test_origins.py::trap 1: no prefix match",
    ),
    2: (
        "cors/test_regexes.py::trap 2: an open end in one alternative",
        "cors/test_origins.py::trap 2: alternatives are anchored one and all",
    ),
    3: (
        "cors/test_origins.py::trap 3: no suffix without a label boundary",
        "cors/test_origins.py::trap 3: a sibling in one tree",
        "cors/test_regexes.py::trap 3: no label boundary",
        "proxy/test_routing.py::trap 3: a wildcard ends at a label",
    ),
    4: (
        "cors/test_regexes.py::trap 4: an unescaped dot",
        "cors/test_regexes.py::trap 4: as documentation has it",
    ),
    5: (
        "cors/test_origins.py::trap 5: any port, but this host",
        "cors/test_regexes.py::trap 5: an open end behind localhost",
    ),
    6: (
        "cors/test_hazards.py::trap 6: any origin with credentials",
        "cors/test_hazards.py::trap 6: any host with credentials",
        "cors/test_regexes.py::test_trap_6_a_universal_expression_with_credentials",
    ),
    7: (
        "cors/test_properties.py::test_a_star_never_stands_beside_credentials",
        "browser/reading.py::a plain star is not for credentials",
    ),
    8: (
        "cors/test_hazards.py::trap 8: null with credentials",
        "cors/test_origins.py::trap 8: null needs its rule",
        "cors/test_decide.py::trap 8: null",
        "browser/asking.py::a sandboxed frame is null",
    ),
    9: (
        "cors/test_decide.py::test_trap_9_vary_names_origin_on_every_response_unless_the_answer_is_a_plain_star",
        "proxy/test_response.py::trap 9: no Origin still varies",
        "browser/asking.py::Vary keeps what one origin got from another of the same site",
    ),
    10: (
        "cors/test_fields.py::trap 10: the upstream's own tokens stay, ours is added",
        "proxy/test_response.py::trap 10: Vary on several lines stays so",
    ),
    11: (
        "proxy/test_response.py::trap 11: the upstream's lines go, in any case and number",
        "cors/test_properties.py::test_a_decision_is_always_made_and_always_clean",
    ),
    12: (
        "proxy/test_response.py::trap 12: they go for an origin that is not allowed",
        "proxy/test_response.py::trap 12: they go when there is no Origin",
    ),
    13: (
        "cors/test_decide.py::trap 13: an unlisted origin gets nothing, credentials included",
        "proxy/test_response.py::trap 13: no credentials are added to what an upstream reflects",
    ),
    14: ("proxy/test_response.py::test_whatever_an_upstream_sends_the_policy_owns_the_cors_fields",),
    15: ("proxy/test_traps.py::test_an_upstream_cannot_spoil_a_preflight",),
    16: ("proxy/test_traps.py::test_an_upstream_cannot_spoil_a_preflight",),
    17: (
        "proxy/test_request.py::trap 17: OPTIONS without Origin",
        "proxy/test_request.py::trap 17: OPTIONS without a requested method",
        "proxy/test_traps.py::test_17_any_other_options_is_the_upstreams",
    ),
    18: (
        "cors/test_decide.py::trap 18: without asked headers it is a preflight all the same",
        "proxy/test_request.py::trap 18: no request headers are needed",
    ),
    19: (
        "proxy/test_routing.py::trap 19: headers are not asked of a preflight",
        "proxy/test_routing.py::trap 19: methods are asked of a preflight",
    ),
    20: (
        "proxy/test_routing.py::trap 20: a method of the route",
        "proxy/test_routing.py::trap 20: a method of no route",
    ),
    21: (
        "cors/test_decide.py::trap 21: a star is not Authorization",
        "cors/test_decide.py::trap 21: with credentials the asked names are echoed",
        "cors/test_hazards.py::trap 21: a star without Authorization",
        "browser/asking.py::a star is not Authorization",
    ),
    22: (
        "cors/test_decide.py::trap 22: upper case, spaces, unsorted",
        "cors/test_fields.py::trap 22: re-cased and re-spaced on the way",
    ),
    23: (
        "cors/test_decide.py::trap 23: accept is asked for when its value is odd, and must be listed then",
        "browser/asking.py::a long value makes a safelisted header unsafe",
    ),
    24: (
        "cors/test_hazards.py::trap 24: two methods in one entry",
        "cors/test_hazards.py::trap 24: a header with a colon",
        "cors/test_properties.py::test_a_decision_is_always_made_and_always_clean",
    ),
    25: (
        "cors/test_decide.py::trap 25: garbage in the list is refused",
        "cors/test_decide.py::trap 25: control bytes do not reach the log",
        "cors/test_fields.py::test_what_is_shown_of_a_value_is_printable_and_short",
    ),
    26: (
        "cors/test_decide.py::trap 26: browsers leave patch in lower case, and it is another method",
        "cors/test_hazards.py::trap 26: a method in lower case",
        "browser/asking.py::patch is not PATCH to a browser",
    ),
    27: ("proxy/test_traps.py::test_27_every_status_of_the_upstream_carries_the_fields",),
    28: (
        "proxy/test_faults.py::test_a_response_that_cannot_be_used_is_a_502_that_scripts_can_read",
        "browser/reading.py::a 502 of the proxy's says what went wrong",
        "browser/reading.py::a 404 of the proxy's, which no route takes",
    ),
    29: (
        "cors/test_hazards.py::trap 29: no origin at all",
        "cors/test_origins.py::trap 29: an empty list admits nobody",
    ),
    30: (
        "cors/test_decide.py::trap 30: two Origin lines",
        "cors/test_origins.py::trap 30: two origins in one field",
        "cors/test_properties.py::test_only_a_well_formed_origin_is_ever_echoed",
    ),
    31: (
        "cors/test_hazards.py::trap 31: a public suffix",
        "cors/test_regexes.py::trap 31: tenants of one host",
    ),
    32: (
        "cors/test_hazards.py::trap 32: a trailing slash",
        "cors/test_hazards.py::trap 32: upper case",
        "cors/test_hazards.py::trap 32: a default port",
        "cors/test_hazards.py::trap 32: letters outside ASCII",
    ),
    33: (
        "cors/test_origins.py::trap 33: a browser extension",
        "cors/test_origins.py::trap 33: an app shell",
    ),
    34: (
        "cors/test_decide.py::trap 34: block spares the page's own origin",
        "browser/reading.py::a page that the proxy serves is nobody's stranger",
    ),
    35: ("proxy/test_traps.py::test_35_a_blocked_request_is_told_so",),
    36: (
        "proxy/test_traps.py::test_36_a_refused_request_is_forwarded_unless_blocked",
        "cors/test_decide.py::trap 36: on_denied: block asks no upstream",
        "browser/reading.py::what is refused has happened",
    ),
    37: (
        "proxy/test_routing.py::trap 37: dot segments lead to another route",
        "proxy/test_routing.py::trap 37: an encoded slash",
        "proxy/test_routing.py::trap 37: for a preflight too",
    ),
    38: (
        "proxy/test_rewriting.py::test_redirects",
        "browser/asking.py::trap 38: a redirect to the upstream's own address comes back to the proxy",
    ),
    39: (
        "proxy/test_traps.py::test_39_a_redirect_is_handed_on_never_followed",
        "browser/asking.py::a redirect within the proxy",
    ),
    40: ("proxy/test_traps.py::test_40_no_request_names_its_own_upstream",),
    41: (
        "proxy/test_rewriting.py::test_cookies_are_rewritten_one_by_one",
        "browser/asking.py::trap 41: a cookie of one route stays away from the next",
    ),
    42: (
        "http/test_own_cookies.py::trap 42: a cookie of another program stays",
        "proxy/test_cookie_guard.py::test_trap_42_only_what_the_upstream_has_set_or_the_route_lists_goes_on",
        "proxy/test_cookie_guard.py::test_trap_42_one_upstream_never_gets_the_cookies_of_another",
        "dev/test_run.py::test_trap_42_cookies_of_other_programs_stay_and_it_is_said_once",
        "browser/test_dev.py::test_a_login_with_cookies_at_a_remote_api",
    ),
    43: (
        (
            "proxy/test_request.py::"
            "trap 43: Origin and the fields of a preflight cross, the upstream may look at them"
        ),
        "proxy/test_cookie_guard.py::test_a_page_that_the_policy_allows_passes_for_one_of_the_upstream",
        "proxy/test_cookie_guard.py::test_one_that_it_does_not_allow_keeps_its_fields",
    ),
    44: ("proxy/test_tunnel.py::trap 44: a foreign origin may not open one",),
    45: ("proxy/test_response.py::test_a_ready_block_does_not_change_with_use",),
    46: (
        "cors/test_origins.py::trap 46: 513 bytes",
        "cors/test_decide.py::trap 46: 8 KiB of names are enough",
        "cors/test_regexes.py::trap 46: too long",
        "cors/test_linear.py::test_twice_the_input_is_at_most_twice_the_work",
    ),
    47: (
        "cors/test_decide.py::trap 47: a max-age of 0 is sent",
        "cors/test_decide.py::trap 47: no max-age is left out",
        "cors/test_hazards.py::trap 47: a max-age that no browser keeps",
        "browser/asking.py::max_age 0 asks each time",
    ),
    48: (
        "cors/test_decide.py::trap 48: a private network, asked and allowed",
        "cors/test_decide.py::trap 48: a private network, asked but not allowed, is never `false`",
    ),
    49: (
        "proxy/test_response.py::trap 49: none adds to the policy",
        "cors/test_fields.py::test_the_policy_owns_the_whole_prefix",
    ),
    50: (
        "proxy/test_traps.py::test_50_http2_with_prior_knowledge_does_not_pass",
        "proxy/test_request.py::h2c is not asked of the upstream",
    ),
}

PAGE = {int(number): (does, shown) for number, _, does, shown in rows(page("docs/traps.md"))}


@cache
def names_in(file: str) -> frozenset[str]:
    """The test functions of a file and the rows of its tables, which begin with what they say."""
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return frozenset(chain.from_iterable(map(names_of, ast.walk(tree))))


def names_of(node: ast.AST) -> list[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name.startswith("test_"):
            return [name]
        case ast.Call(func=ast.Name(), args=[ast.Constant(value=str(says)), *_]):
            return [says]
    return []


def test_the_table_is_whole() -> None:
    assert sorted(SHOWN) == list(range(1, LAST + 1))
    assert list(PAGE) == list(range(1, LAST + 1))


@pytest.mark.parametrize("number", SHOWN)
def test_what_shows_a_trap_exists(number: int) -> None:
    assert SHOWN[number]
    for shown in SHOWN[number]:
        file, _, name = shown.partition("::")
        assert name in names_in(file), shown


@pytest.mark.parametrize("number", SHOWN)
def test_the_page_names_the_files(number: int) -> None:
    does, shown = PAGE[number]
    assert does
    files = dict.fromkeys(each.partition("::")[0] for each in SHOWN[number])
    assert re.findall(r"`?tests/([^`]+\.py)`?", shown) == list(files)
