"""What a file comes to, written out: the same to load, and with nothing in it that is secret."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from corsproxy.config.compile import load_table
from corsproxy.config.effective import MASK, effective, effective_yaml
from corsproxy.config.overrides import Overrides
from corsproxy.config.table import Address, Route, Table
from corsproxy.http.edits import HeaderEdits

EXAMPLE = (Path(__file__).parents[2] / "config.example.yaml").read_text(encoding="utf-8")

SECRETS = """\
listen: 127.0.0.1:8080
admin: {address: 127.0.0.1:8081, token: abcdefghijklmnop}
upstreams:
  api:
    endpoints: ["http://${API_HOST}:9000", http://127.0.0.1:9001]
    health: {path: "/healthz?token=abc"}
routes:
  - upstream: api
    cors: off
    match: {headers: {x-api-key: abc, x-tenant: blue}}
    request_headers: {set: {Authorization: Basic abc, X-Env: prod}, add: {X-From: "${FROM}"}}
    response_headers: {set: {Set-Cookie: a=abc}}
"""
ENV = {"API_HOST": "10.0.0.1", "FROM": "abc"}


def test_the_example_written_out_is_the_example() -> None:
    first = effective_yaml(EXAMPLE, "f", {})
    table, problems = load_table(first, "f", {})
    assert table is not None
    assert problems == []
    assert effective_yaml(first, "f", {}) == first


def test_defaults_groups_presets_and_copied_policies_are_written_out() -> None:
    text = """
origins: {apps: [https://a.test, https://b.test]}
policies:
  base: {allow_origins: ["@apps"], allow_headers: ["@grpc-web", x-grpc-web], max_age: 600}
  web: {extends: base, allow_credentials: true}
timeouts: {response: 90}
routes: [{upstream: "http://127.0.0.1:9000", cors: web, timeouts: {idle: 1m}}]
"""
    found = effective(text, "f", {})
    web, route = found["policies"]["web"], found["routes"][0]
    assert web["allow_origins"] == ["https://a.test", "https://b.test"]
    assert web["allow_headers"] == [
        "Content-Type",
        "X-Grpc-Web",
        "X-User-Agent",
        "Grpc-Timeout",
        "x-grpc-web",
    ]
    assert (web["max_age"], web["allow_credentials"], "extends" in web) == ("10m", True, False)
    assert (route["name"], route["match"]["path"]) == ("route-1", "/")
    assert route["timeouts"] == {"connect": "5s", "response": "90s", "idle": "1m"}
    assert found["limits"]["request_head"] == "32KiB"
    assert "origins" not in found


def test_no_secret_is_in_it() -> None:
    table, _ = load_table(SECRETS, "f", ENV)
    assert table is not None
    text = effective_yaml(SECRETS, "f", ENV)
    assert "abc" not in text
    found = yaml.safe_load(text)
    assert found["admin"]["token"] == MASK
    assert found["upstreams"]["api"]["endpoints"] == ["http://${API_HOST}:9000", "http://127.0.0.1:9001"]
    assert found["upstreams"]["api"]["health"]["path"] == f"/healthz?{MASK}"
    route = found["routes"][0]
    assert route["match"]["headers"] == {"x-api-key": MASK, "x-tenant": "blue"}
    assert route["request_headers"]["set"] == {"Authorization": MASK, "X-Env": "prod"}
    assert route["request_headers"]["add"] == {"X-From": "${FROM}"}
    assert route["response_headers"]["set"] == {"Set-Cookie": MASK}


@given(st.floats(min_value=0, max_value=1e6), st.integers(min_value=0, max_value=2**50))
def test_durations_and_sizes_mean_the_same_written_out(seconds: float, size: int) -> None:
    routes = "routes: [{upstream: 'http://127.0.0.1:9000', cors: off}]"
    text = f"timeouts: {{idle: {seconds:.6f}}}\nlimits: {{request_body: {size}}}\n{routes}\n"
    before, problems = load_table(text, "f", {})
    if before is None:  # 0 is no time limit
        assert [problem.code for problem in problems] == ["out-of-range"]
        return
    after, _ = load_table(effective_yaml(text, "f", {}), "f", {})
    assert after is not None
    assert (after.timeouts, after.limits) == (before.timeouts, before.limits)


ONE_VALUE = """
routes:
  - name: "{1}"
    upstream: http://127.0.0.1:9000
    cors: off
    match: {{headers: {{x-version: "{0}"}}}}
    response_headers: {{set: {{X-V: "{0}"}}, remove: ["x$$$$y"]}}
"""


@pytest.mark.parametrize("text", ["08", "09", "0o10", "0_9", "012", "on", "1.", "1e5", "0:30", "~"])
def test_text_stays_text(text: str) -> None:
    name = "08" if set(text) & {":", "~"} else text  # those two are none for names
    source = ONE_VALUE.format(text, name)
    table, problems = load_table(effective_yaml(source, "f", {}), "f", {})
    assert [problem.message for problem in problems if problem.severity == "error"] == []
    assert table is not None
    route = effective(effective_yaml(source, "f", {}), "f", {})["routes"][0]
    assert (table.routes[0].name, route["match"]["headers"]["x-version"]) == (name, text)
    assert _edits(table) == HeaderEdits(set=((b"X-V", text.encode()),), remove=frozenset({b"x$$y"}))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("cost $$$$5", "cost $$5"),
        ("cost $$5", "cost $5"),
        ("$${X}", "${X}"),
        ("$${X} costs $$$$5", "${X} costs $$5"),
        ("^a$", "^a$"),
        ("${X} $$$$", "@apps $$"),
    ],
)
def test_a_dollar_sign_stays_one(written: str, value: str) -> None:
    source = ONE_VALUE.format(written, "a")
    once = effective_yaml(source, "f", {"X": "@apps"})
    table, _ = load_table(once, "f", {"X": "@apps"})
    assert table is not None
    assert _edits(table).set == ((b"X-V", value.encode()),)
    assert effective_yaml(once, "f", {"X": "@apps"}) == once


@pytest.mark.parametrize("entry", ["${X}", "@${Y}"])
@pytest.mark.parametrize("inline", [True, False])
def test_a_group_that_the_environment_names_is_kept(entry: str, inline: bool) -> None:
    policy = f'{{allow_origins: ["{entry}", "@others"], allow_headers: ["@${{Z}}"]}}'
    text = f"""
origins: {{apps: [https://a.test], others: [https://b.test]}}
policies: {{web: {"{allow_origins: ['@apps']}" if inline else policy}}}
routes:
  - {{upstream: "http://127.0.0.1:9000", cors: {policy if inline else "web"}, match: {{path: /a}}}}
  - {{upstream: "http://127.0.0.1:9000", cors: web}}
"""
    env = {"X": "@apps", "Y": "apps", "Z": "mcp"}
    before, after = _both(text, env)
    assert effective(text, "f", env)["origins"] == {"apps": ["https://a.test"]}
    assert list(map(_allowed, after.routes)) == list(map(_allowed, before.routes))
    assert _allowed(after.routes[0])[0] == ["https://a.test", "https://b.test"]


def test_small_numbers_are_written_without_an_exponent() -> None:
    text = "timeouts: {connect: 0.0000015}\n" + ONE_VALUE.format("x", "a")
    before, after = _both(text, {})
    assert after.timeouts == before.timeouts


def _both(text: str, env: dict[str, str]) -> tuple[Table, Table]:
    """What a text comes to, and what it comes to written out."""
    before, after = load_table(text, "f", env)[0], load_table(effective_yaml(text, "f", env), "f", env)[0]
    assert before is not None
    assert after is not None
    return before, after


def _edits(table: Table) -> HeaderEdits:
    rewriting = table.routes[0].rewriting
    assert rewriting is not None
    assert rewriting.edits is not None
    return rewriting.edits


def _allowed(route: Route) -> tuple[list[str], list[str]]:
    assert route.policy is not None
    spec = route.policy.spec
    return [each.text for each in spec.allow_origins], [each.text for each in spec.allow_headers]


def test_a_text_that_does_not_load_has_none() -> None:
    with pytest.raises(ValueError, match="holds no configuration"):
        effective("[", "f", {})


WRITTEN = """
listen: 127.0.0.1:8080
admin: {address: 127.0.0.1:8081, token: "${TOKEN}"}
workers: 2
log: {format: json}
routes: [{upstream: "http://127.0.0.1:9000", cors: off}]
"""


@pytest.mark.parametrize(
    ("overrides", "differs"),
    [
        (Overrides(), {}),
        (Overrides(listen=Address(path="/run/s")), {"listen": "unix:/run/s"}),
        (Overrides(admin_off=True), {"admin": "off"}),
        (Overrides(workers=0, log_format="combined"), {"workers": "auto", "log": "combined"}),
    ],
    ids=["nothing", "listen", "no admin", "workers and log"],
)
def test_what_serves_stands_in_place_of_what_is_written(
    overrides: Overrides, differs: dict[str, object]
) -> None:
    env = {"TOKEN": "abcdefghijklmnop"}
    table, _ = load_table(WRITTEN, "f", env, overrides)
    found = effective(WRITTEN, "f", env, table)
    found["log"] = found["log"]["format"]
    own = effective(WRITTEN, "f", env)
    assert found == {**own, "log": own["log"]["format"], **differs}


def test_an_admin_listener_that_is_elsewhere_shows_no_token() -> None:
    overrides = Overrides(admin=Address("127.0.0.1", 1))
    table, _ = load_table(SECRETS, "f", ENV, overrides)
    assert effective(SECRETS, "f", ENV, table)["admin"] == {
        "address": "127.0.0.1:1",
        "token": MASK,
        "inspector": False,
        "ready_needs_upstream": False,
        "hosts": [],
    }
    assert "abcdefghijklmnop" not in effective_yaml(SECRETS, "f", ENV, table)


def test_addresses_that_would_be_a_mistake_in_the_file_are_not_shown() -> None:
    text = WRITTEN.replace("9000", "8080")
    overrides = Overrides(listen=Address("127.0.0.1", 1))
    table, _ = load_table(text, "f", {"TOKEN": "abcdefghijklmnop"}, overrides)
    assert effective(text, "f", {"TOKEN": "abcdefghijklmnop"}, table)["listen"] == "127.0.0.1:1"
