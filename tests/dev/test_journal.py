"""What a run has seen: counted, kept between runs, and made into a policy for production."""

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corsproxy.config.compile import load_table
from corsproxy.cors.browser import is_forbidden_request_header
from corsproxy.dev.journal import _MOST, Journal, SeenRoute, _add
from corsproxy.dev.learned import policy_from
from corsproxy.dev.state import State, StateError
from tests.dev.running import PAGE, running
from tests.wire import answers, ok, upstream

PREFLIGHT = (PAGE, "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: content-type,x-id")


async def seen() -> Journal:
    """A run with a preflight, three calls, a navigation and a refusal."""
    response = ok(b"", "X-Total-Count: 1", "Server: x", "Set-Cookie: a=1", "Content-Type: text/plain")
    async with upstream(answers(response)) as api, running(f":{api.port}", f"/auth=:{api.port}/") as front:
        await front.ask("/items/1?secret=1", *PREFLIGHT, method="OPTIONS")
        await front.ask("/items/1", PAGE, "Cookie: sid=secret", method="PUT")
        await front.ask("/items/2", PAGE, "X-Id: secret", method="PUT")
        await front.ask("/auth/login", PAGE, method="POST")
        await front.ask("/page")
        await front.ask("/items", "Origin: https://evil.test")
        return front.journal


async def test_what_is_counted() -> None:
    journal = await seen()
    assert journal.exchanges == 5
    assert journal.origins == {"http://localhost:5173": 3}
    assert journal.methods == {"PUT": 2, "POST": 1}
    assert journal.headers == {"content-type": 1, "x-id": 1}
    assert journal.exposable == {"x-total-count": 3}
    assert journal.with_cookies == 1
    assert {route.name: dict(route.segments) for route in journal.routes} == {
        "auth": {"/auth": 1},
        "api": {"/items": 3, "/page": 1},
    }


async def test_it_survives_the_way_to_a_file_and_holds_no_value(tmp_path: Path) -> None:
    journal = await seen()
    state = State({"XDG_STATE_HOME": str(tmp_path)})
    state.save_journal(journal)
    assert state.load_journal() == journal
    assert "secret" not in "".join(path.read_text(encoding="utf-8") for path in state.folder.iterdir())


async def test_the_policy_allows_what_was_seen_and_loads_without_a_word() -> None:
    text = policy_from(await seen())
    table, problems = load_table(text, "f", {})
    assert problems == []
    assert table is not None
    (policy,) = table.policies
    assert policy.methods == {b"GET", b"HEAD", b"POST", b"PUT"}
    assert policy.headers == {b"content-type", b"x-id"}
    assert policy.credentials
    assert policy.expose_value == b""
    assert [(route.name, route.match.path, route.strip_prefix) for route in table.routes] == [
        ("auth", b"/auth", b"/auth"),
        ("api", b"/", b""),
    ]
    for words in (
        "https://app.example.com  # put in yours; the run saw http://localhost:5173 (3)",
        "allow_methods: [PUT, POST]  # PUT 2, POST 1",
        "- content-type  # asked for by 1 preflight",
        "#   - x-total-count  # on 3 responses",
        "allow_credentials: true  # 1 call sent cookies",
        "# /items (3), /page (1)",
    ):
        assert words in text


names = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "S")), min_size=1, max_size=12)
tokens = (
    st.just("*")
    | st.just("cookie")
    | st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True).map(str.lower)
)


@given(
    st.dictionaries(tokens, st.integers(1, 9), max_size=5),
    st.dictionaries(names, st.integers(1, 9), max_size=5),
    st.sampled_from(["", "https://app.test", "http://localhost:3000"]),
    st.integers(0, 3),
)
def test_whatever_was_seen_the_policy_loads(
    headers: dict[str, int], words: dict[str, int], as_origin: str, cookies: int
) -> None:
    route = SeenRoute("a-b", "/a$b", "https://api.test/v1", True, Counter(words))
    journal = Journal([route], as_origin, 9, Counter(words), Counter({"GET": 1, "PATCH": 1, "X": 1}))
    journal.headers, journal.exposable, journal.with_cookies = Counter(headers), Counter(headers), cookies
    table, problems = load_table(policy_from(journal), "f", {})
    assert table is not None, [problem.as_text() for problem in problems]
    assert table.policies[0].headers == {
        name.encode() for name in headers if not is_forbidden_request_header(name.encode()) and name != "*"
    }
    assert not table.policies[0].any_header
    assert table.routes[0].match.path == b"/a$b"
    assert Journal.from_json(json.loads(json.dumps(journal.as_json()))) == journal


def test_what_clients_send_fills_no_memory() -> None:
    journal = Journal([])
    _add(journal.headers, (f"x-{number}" for number in range(_MOST * 2)))
    _add(journal.headers, ["x-0"])
    assert len(journal.headers) == _MOST
    assert journal.headers["x-0"] == 2


# The state folder


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 2}', '{"version": 1, "routes": 3}', "\x00"])
def test_a_file_that_is_no_journal(text: str, tmp_path: Path) -> None:
    state = State({"XDG_STATE_HOME": str(tmp_path)})
    state.folder.mkdir()
    (state.folder / "last-run.json").write_text(text, encoding="utf-8")
    with pytest.raises(StateError, match="cannot be used"):
        state.load_journal()


def test_no_run_yet(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="no run of `corsproxy dev`"):
        State({"XDG_STATE_HOME": str(tmp_path)}).load_journal()


def test_names_of_cookies_are_kept_by_api_the_newest_last(tmp_path: Path) -> None:
    state = State({"XDG_STATE_HOME": str(tmp_path)})
    state.save_cookie_names({"https://a.test": ["sid", "csrf"], "https://b.test": []})
    state.save_cookie_names({"https://a.test": ["sid", *(f"c{number}" for number in range(63))]})
    known = state.cookie_names()
    assert list(known) == ["https://a.test"]
    assert len(known["https://a.test"]) == 64
    assert "sid" not in known["https://a.test"]  # the oldest goes first
    assert known["https://a.test"][-1] == "c62"


def test_a_file_of_names_that_cannot_be_read_is_forgotten(tmp_path: Path) -> None:
    state = State({"XDG_STATE_HOME": str(tmp_path)})
    state.folder.mkdir()
    (state.folder / "cookies.json").write_text("[1]", encoding="utf-8")
    assert state.cookie_names() == {}


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "corsproxy").write_text("", encoding="utf-8")
    with pytest.raises(StateError, match="cannot keep"):
        State({"XDG_STATE_HOME": str(tmp_path)}).save_cookie_names({"https://a.test": ["sid"]})


@pytest.mark.parametrize(
    ("env", "folder"),
    [
        ({"XDG_STATE_HOME": "/s", "HOME": "/h"}, "/s/corsproxy"),
        ({"HOME": "/h"}, "/h/.local/state/corsproxy"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/corsproxy"),
    ],
)
def test_where_it_is(env: dict[str, str], folder: str) -> None:
    assert State(env).folder == Path(folder)
