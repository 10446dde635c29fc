"""Changing the text of a configuration: the new characters, and every other one as it was."""

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corsproxy.config.compile import load_table
from corsproxy.config.findings import Findings
from corsproxy.config.yaml import read_yaml
from corsproxy.cors.browser import Call
from corsproxy.cors.remedy import Change, Key
from corsproxy.dev.inspector.offer import make_offer
from corsproxy.dev.inspector.patch import PatchError, difference, patched
from corsproxy.proxy.explain import Question, explain

CORS = ("routes", 0, "cors")


class Case(NamedTuple):
    says: str
    key: Key
    value: str | bool | tuple[str, ...]
    before: str
    after: str
    adds: bool = True


CASES = [
    Case("a list in one line", "allow_methods", "PUT", "allow_methods: [GET]", "allow_methods: [GET, PUT]"),
    Case(
        "its comment stays",
        "allow_methods",
        "PUT",
        "allow_methods: [GET]  # to read",
        "allow_methods: [GET, PUT]  # to read",
    ),
    Case("a comma at the end", "allow_methods", "PUT", "allow_methods: [GET,]", "allow_methods: [GET, PUT,]"),
    Case(
        "an entry a line",
        "allow_methods",
        "PUT",
        "allow_methods:\n        - GET  # to read\n        - HEAD\n      max_age: 5s",
        "allow_methods:\n        - GET  # to read\n        - HEAD\n        - PUT\n      max_age: 5s",
    ),
    Case(
        "entries that are not indented further",
        "allow_methods",
        "PUT",
        "allow_methods:\n      - GET\n      # the last\n      - HEAD # of two",
        "allow_methods:\n      - GET\n      # the last\n      - HEAD # of two\n      - PUT",
    ),
    Case(
        "brackets over several lines",
        "allow_methods",
        "PUT",
        "allow_methods: [\n        GET,  # to read\n        HEAD,  # likewise\n      ]",
        "allow_methods: [\n        GET,  # to read\n        HEAD,  # likewise\n        PUT,\n      ]",
    ),
    Case(
        "brackets over several lines, without a comma at the end",
        "allow_methods",
        "PUT",
        "allow_methods: [\n        GET,\n        HEAD  # likewise\n      ]",
        "allow_methods: [\n        GET,\n        HEAD,  # likewise\n        PUT,\n      ]",
    ),
    Case(
        "an origin is written plain where YAML lets it",
        "allow_origins",
        "http://localhost:5173",
        'allow_origins: ["https://a.test"]',
        'allow_origins: ["https://a.test", http://localhost:5173]',
    ),
    Case(
        "and quoted where not",
        "allow_origins",
        "null",
        'allow_origins: ["https://a.test"]',
        "allow_origins: [\"https://a.test\", 'null']",
    ),
    Case(
        "a key that is not there",
        "allow_methods",
        ("PUT",),
        "allow_origins: [https://a.test] # us\n      max_age: 5s",
        "allow_origins: [https://a.test] # us\n      allow_methods: [PUT]\n      max_age: 5s",
        adds=False,
    ),
    Case(
        "behind a list with an entry a line",
        "allow_methods",
        ("PUT",),
        "max_age: 5s\n      allow_origins:\n        - https://a.test # us",
        "max_age: 5s\n      allow_origins:\n        - https://a.test # us\n      allow_methods: [PUT]",
        adds=False,
    ),
    Case(
        "a key with another value",
        "allow_credentials",
        True,
        "allow_origins: [https://a.test]\n      allow_credentials: false  # for now",
        "allow_origins: [https://a.test]\n      allow_credentials: true  # for now",
        adds=False,
    ),
    Case(
        "an empty list",
        "allow_headers",
        ("x-id",),
        "allow_headers: []  # none",
        "allow_headers: [x-id]  # none",
        adds=False,
    ),
    Case(
        "a star gets company",
        "allow_headers",
        ("*", "authorization"),
        'allow_headers: "*"',
        "allow_headers: ['*', authorization]",
        adds=False,
    ),
    Case(
        "a star on a line of its own, too",
        "allow_headers",
        ("*", "authorization"),
        'allow_headers:\n        - "*"',
        'allow_headers:\n        - "*"\n        - authorization',
        adds=False,
    ),
]


def whole(policy: str) -> str:
    return f"listen: 127.0.0.1:0\nroutes:\n  - upstream: http://h.test\n    cors:\n      {policy}\n"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
@pytest.mark.parametrize("tail", ["", "    name: api # last\n"], ids=["at the end", "with more behind"])
def test_blocks(case: Case, tail: str) -> None:
    change = Change(case.key, (*CORS, case.key), 5, case.value, case.adds)
    assert patched(whole(case.before) + tail, [change]) == whole(case.after) + tail


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{allow_origins: [https://a.test]}", "{allow_origins: [https://a.test], allow_methods: [PUT]}"),
        ("{max_age: 5s}  # short", "{max_age: 5s, allow_methods: [PUT]}  # short"),
        ("{}", "{allow_methods: [PUT]}"),
    ],
)
def test_policies_in_one_line(before: str, after: str) -> None:
    text = "routes:\n  - {upstream: http://h.test, cors: %s}\n"
    change = Change("allow_methods", (*CORS, "allow_methods"), 2, ("PUT",), adds=False)
    assert patched(text % before.partition("  #")[0], [change]) == text % after.partition("  #")[0]


def test_a_group_of_origins() -> None:
    text = "origins:\n  apps: [https://a.test] # ours\nroutes: []\n"
    change = Change("allow_origins", ("origins", "apps"), 2, "https://b.test", adds=True)
    assert (
        patched(text, [change]) == "origins:\n  apps: [https://a.test, https://b.test] # ours\nroutes: []\n"
    )


def test_a_file_without_an_end_of_line() -> None:
    text = whole("allow_methods: [GET]").rstrip()
    change = Change("allow_credentials", (*CORS, "allow_credentials"), 5, value=True, adds=False)
    assert patched(text, [change]).splitlines()[-1] == "      allow_credentials: true"


@pytest.mark.parametrize(
    "change",
    [
        Change("allow_methods", ("routes", 7, "cors", "allow_methods"), 0, "PUT", adds=True),
        Change("allow_methods", ("policies", "web", "allow_methods"), 0, ("PUT",), adds=False),
        Change("allow_methods", ("listen",), 0, "PUT", adds=True),
    ],
    ids=["no such route", "no such policy", "no list"],
)
def test_a_place_that_is_not_there_is_not_guessed(change: Change) -> None:
    with pytest.raises(PatchError, match="by hand"):
        patched(whole("allow_methods: [GET]"), [change])


def test_a_difference_says_what_changes() -> None:
    assert difference("a\nb\n", "a\nc\n", "x.yaml").splitlines() == [
        "--- x.yaml",
        "+++ x.yaml (changed)",
        "@@ -1,2 +1,2 @@",
        " a",
        "-b",
        "+c",
    ]
    assert difference("a\n", "a\n", "x.yaml") == ""


def test_a_difference_shows_no_secrets() -> None:
    before = "admin: {address: 127.0.0.1:8081, token: abc}\nlisten: 127.0.0.1:8080\n"
    shown = difference(before, before.replace("8080", "8090"), "x.yaml")
    assert "+listen: 127.0.0.1:8090" in shown
    assert "token: ***" in shown
    assert "abc" not in shown
    secret_alone = difference(before, before.replace("abc", "xyz"), "x.yaml").splitlines()
    assert secret_alone[2:] == ["what differs is a secret, and is not shown"]


# What holds for every layout: the document means what it meant, and the call goes through.

ORIGINS = st.sampled_from(["https://new.example.com", "http://localhost:5173", "moz-extension://abc"])
METHODS = st.sampled_from(["GET", "PUT", "PATCH", "M-SEARCH"])
HEADERS = st.lists(st.sampled_from(["x-id", "authorization", "content-type", "null", "x#y"]), unique=True)
LAYOUTS = st.sampled_from(
    [
        'allow_origins: ["https://old.test"]',
        "allow_origins:\n      - https://old.test\n      allow_methods: [GET]\n      allow_headers: []",
        "max_age: 5s\n      allow_methods:\n      - GET\n      allow_origins: [https://old.test] # x",
        'allow_headers: "*"\n      allow_origins:\n        [\n         https://old.test, # x\n        ]',
        "allow_origins: ['@apps']\n      allow_credentials: false # y",
    ]
)


@given(layout=LAYOUTS, origin=ORIGINS, method=METHODS, headers=HEADERS, credentials=st.booleans())
def test_what_is_offered_helps_and_keeps_the_rest(
    layout: str, origin: str, method: str, headers: list[str], credentials: bool
) -> None:
    text = f"# top\norigins:\n  apps: [https://old.test]\n{whole(layout)}    name: api # end\n"
    table, problems = load_table(text, "a.yaml", {})
    assert table, problems
    names = tuple((name.encode(), None) for name in headers)
    question = Question(Call(origin.encode(), method.encode(), names, credentials), b"/", b"h.test")
    found = explain(table, question)
    offer = make_offer(found, table, text, {})
    if found.allowed:
        assert not offer.text
        return
    assert offer.text, offer
    again, _ = load_table(offer.text, "a.yaml", {})
    assert again is not None
    assert explain(again, question).allowed
    for comment in ("# top", "# end", "# x", "# y"):
        assert (comment in offer.text) == (comment in text)
    before, after = read_yaml(text, Findings("")), read_yaml(offer.text, Findings(""))
    assert before is not None
    assert after is not None
    assert {**after, "routes": 0, "origins": 0} == {**before, "routes": 0, "origins": 0}


def test_an_unsafe_change_is_not_offered() -> None:
    text = whole("allow_origins: [https://example.com]")
    table, _ = load_table(text, "a.yaml", {})
    assert table
    call = Call(b"https://example.com.evil.test")
    offer = make_offer(explain(table, Question(call, b"/", b"h.test")), table, text, {})
    assert (offer.text, offer.diff) == ("", "")
    assert "looks like example.com" in offer.caution
