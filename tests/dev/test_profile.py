"""The configuration that `corsproxy dev` writes for itself: it loads, and it is safe."""

import pytest

from corsproxy.config.compile import load_table
from corsproxy.config.table import Table
from corsproxy.cors.decide import decide_actual
from corsproxy.dev.profile import Profile, config_text
from corsproxy.dev.target import in_order, parse_route, parse_target


def profile(*targets: str, **settings: object) -> Profile:
    parsed = [parse_route(each) if "=" in each else parse_target(each) for each in targets]
    return Profile(
        in_order(parsed or [parse_target(":5000")]), **{"port": 8010, "admin_port": 8011, **settings}
    )  # type: ignore[arg-type]


def table(wanted: Profile) -> Table:
    loaded, problems = load_table(config_text(wanted), "dev", {})
    assert loaded is not None, [problem.as_text() for problem in problems]
    assert {problem.code for problem in problems} <= {"any-exposed-with-credentials", "unverified-upstream"}
    return loaded


def test_it_listens_on_this_machine_alone() -> None:
    found = table(profile())
    assert (found.listen.host, found.listen.port) == ("localhost", 8010)
    assert found.admin is not None
    assert (found.admin.address.host, found.admin.address.port) == ("localhost", 8011)


def test_no_token_is_in_the_text_nor_asked_for() -> None:
    found = table(profile())  # without any variable: `run` serves by it as it is
    assert found.admin is not None
    assert (found.admin.token, found.admin.inspector) == ("", False)


def test_who_sits_in_a_debugger_is_waited_for() -> None:
    limits = table(profile()).routes[0].timeouts
    assert (limits.response, limits.idle) == (1800.0, 7200.0)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (b"http://localhost:5173", True),
        (b"https://app.localhost", True),
        (b"http://127.0.0.1:3000", True),
        (b"http://[::1]:8080", True),
        (b"https://shop.test", True),
        (b"https://evil.test", False),
        (b"http://localhost.evil.test", False),
        (b"null", False),
    ],
)
def test_who_may_call(origin: bytes, allowed: bool) -> None:
    policy = table(profile(origins=["https://shop.test"])).policies[0]
    decision = decide_actual(policy, origin)
    assert (decision.allowed, decision.blocks) == (allowed, not allowed)
    assert policy.credentials


def test_every_route_answers_to_names_of_this_machine_alone() -> None:
    for route in table(profile(":5000", "/auth=https://id.example.com")).routes:
        assert route.match.hosts == (b"localhost", b"*.localhost", b"127.0.0.1", b"[::1]")


def test_several_apis() -> None:
    found = table(
        profile(
            "https://api.example.com/v1", "/auth=https://id.example.com/", "/v1=https://api.example.com/v1"
        )
    )
    assert [
        (route.name, route.match.path, route.strip_prefix, route.base_path, str(route.upstream.endpoints[0]))
        for route in found.routes
    ] == [
        ("auth", b"/auth", b"/auth", b"", "https://id.example.com"),
        ("v1", b"/v1", b"/v1", b"/v1", "https://api.example.com"),
        ("api", b"/", b"", b"/v1", "https://api.example.com"),
    ]
    assert len({route.upstream for route in found.routes}) == 2


def test_two_routes_that_would_be_named_alike() -> None:
    assert [route.name for route in table(profile(":1", "/api=:2", "/a-p=:3", "/a.p=:4")).routes] == [
        "api",
        "a-p",
        "a-p-2",
        "api-2",
    ]


def test_cookies_are_for_localhost_and_guarded() -> None:
    wanted = profile(
        "https://api.example.com",
        "/b=:1",
        cookies=["theme"],
        remembered={"https://api.example.com": ["sid"], "http://localhost:1": ["other", "$x"]},
    )
    by_name = {route.name: route for route in table(wanted).routes}
    guards = {name: route.forwarded_cookies for name, route in by_name.items()}
    assert all(guard is not None and guard.learns for guard in guards.values())
    assert {name: guard.names for name, guard in guards.items() if guard} == {
        "api": {b"theme", b"sid"},
        "b": {b"theme", b"other", b"$x"},
    }
    rewriting = by_name["api"].rewriting
    assert rewriting is not None
    assert rewriting.cookies is not None
    assert (rewriting.cookies.domain, rewriting.cookies.secure) == (b"", "drop")


def test_over_https_cookies_keep_what_they_have() -> None:
    text = config_text(profile(certificate=("/c.pem", "/k.pem")))
    assert 'listen: {address: "localhost:8010", tls: {cert: "/c.pem", key: "/k.pem"}}' in text
    assert "secure: keep" in text


def test_an_insecure_origin_that_was_asked_for_is_allowed() -> None:
    policy = table(profile(origins=["http://lab.test"])).policies[0]
    assert decide_actual(policy, b"http://lab.test").allowed
    assert "dangerously" not in config_text(profile(origins=["https://shop.test", "http://localhost:1"]))


def test_a_certificate_that_is_not_checked() -> None:
    (route,) = table(profile("https://api.example.com", verify=False)).routes
    assert not route.upstream.tls.verify
    assert "tls:" not in config_text(profile(":5000", verify=False))


def test_the_api_sees_pages_as_its_own_and_no_proxy() -> None:
    (route,) = table(profile()).routes
    assert (route.upstream.origin, route.upstream.host) == ("upstream", "upstream")
    assert route.request_edits is not None
    assert route.request_edits.remove == {
        b"forwarded",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-proto",
    }


def test_each_comment_stands_once() -> None:
    comments = [line for line in config_text(profile(":1", "/b=:2", "/c=:3")).splitlines() if "#" in line]
    assert len(comments) == len(set(comments))
