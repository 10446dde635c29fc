"""What a file becomes: every key that is honoured, found again in the table."""

import re
from dataclasses import fields

import pytest

from corsproxy.config.compile import load_table
from corsproxy.config.model import Policy
from corsproxy.config.table import Address, AdminListener, Drain, Endpoint, Limits, Log, Table, Timeouts
from corsproxy.cors.policy import PolicySpec


def table_of(text: str, env: dict[str, str] | None = None) -> Table:
    table, problems = load_table(text, "corsproxy.yaml", env or {})
    assert table is not None, [problem.as_text() for problem in problems]
    return table


FULL = table_of("""\
listen: 0.0.0.0:8080
admin: off
log: {level: debug, format: json, access: false}
drain: {delay: 1s, timeout: 2m}
timeouts: {connect: 250ms, response: 1m, idle: 5, client_head: 3s, keepalive: 1h}
limits: {request_head: 16KiB, request_fields: 50, request_body: 10MB, in_flight: 7, connections: 99}
origins:
  apps: [https://app.example.com, https://two.example.com]
policies:
  base:
    allow_origins: ["@apps", "@loopback"]
    allow_credentials: true
    max_age: 10m
  web:
    extends: base
    allow_methods: [PUT]
    expose_headers: [X-Total]
upstreams:
  legacy: {endpoints: [https://Legacy.Example:8443/base/], host: preserve, max_connections: 5, retries: 0}
routes:
  - name: one
    match:
      path: /api%41
      hosts: ["*.Example.com", "[::1]"]
      methods: [GET, PUT]
      headers: {X-Tenant: Blue}
    upstream: legacy
    strip_prefix: /apiA
    cors: web
    timeouts: {idle: 9s}
    limits: {in_flight: 0}
  - match: {path_exact: /health}
    upstream: http://[::1]:9000/v1/
    cors: {extends: web, allow_origins: "*", allow_credentials: false}
  - match: {path_regex: '/v\\d+/.*'}
    upstream: http+unix:///run/api.sock
    cors: off
  - upstream: http://[::1]:9000
    cors: base
""")


def test_the_process() -> None:
    assert (FULL.listen, FULL.admin, FULL.file) == (Address("0.0.0.0", 8080), None, "corsproxy.yaml")
    assert FULL.log == Log("debug", "json", access=False)
    assert FULL.drain == Drain(1.0, 120.0)
    assert FULL.timeouts == Timeouts(0.25, 60.0, 5.0, 3.0, 3600.0)
    assert FULL.limits == Limits(16384, 50, 10_000_000, 7, 99)


def test_a_match_is_in_the_form_that_requests_are_compared_in() -> None:
    match = FULL.routes[0].match
    assert match.path == b"/apiA"
    assert match.hosts == (b"*.example.com", b"[::1]")
    assert match.methods == {b"GET", b"PUT"}
    assert match.headers == ((b"x-tenant", b"Blue"),)
    assert FULL.routes[1].match.path_exact == b"/health"
    assert FULL.routes[2].match.path_regex == re.compile(rb"/v\d+/.*")


def test_routes_carry_their_place() -> None:
    assert [(route.name, route.index, route.line) for route in FULL.routes] == [
        ("one", 0, 21), ("route-2", 1, 32), ("route-3", 2, 35), ("route-4", 3, 38),
    ]  # fmt: skip


def test_upstreams() -> None:
    legacy, by_url, socket, again = (route.upstream for route in FULL.routes)
    assert legacy.endpoints == (Endpoint("https", "legacy.example", 8443),)
    assert (legacy.name, legacy.host, legacy.max_connections, legacy.retries) == ("legacy", "preserve", 5, 0)
    assert socket.endpoints == (Endpoint("http", "", 0, "/run/api.sock"),)
    assert by_url.endpoints == (Endpoint("http", "::1", 9000),)
    assert again is by_url, "two routes to one address share their connections"
    assert [route.base_path for route in FULL.routes] == [b"/base", b"/v1", b"", b""]
    assert FULL.routes[0].strip_prefix == b"/apiA"


def test_what_a_route_does_not_say_comes_from_the_top() -> None:
    assert FULL.routes[0].timeouts == Timeouts(0.25, 60.0, 9.0, 3.0, 3600.0)
    assert FULL.routes[0].limits == Limits(16384, 50, 10_000_000, 0, 99)
    assert (FULL.routes[1].timeouts, FULL.routes[1].limits) == (FULL.timeouts, FULL.limits)


def test_policies_are_compiled_once_and_in_file_order() -> None:
    assert [policy.name for policy in FULL.policies] == ["base", "web", "route route-2"]
    assert FULL.routes[0].policy is FULL.policies[1]
    assert FULL.routes[1].policy is FULL.policies[2]
    assert FULL.routes[2].policy is None
    assert FULL.routes[3].policy is FULL.policies[0]


def test_extends_copies_and_replaces() -> None:
    base, web, inline = (policy.spec for policy in FULL.policies)
    assert [written.text for written in web.allow_origins] == [
        "https://app.example.com", "https://two.example.com", "@loopback",
    ]  # fmt: skip
    assert (web.max_age, web.allow_credentials) == (600, True)
    assert [written.text for written in web.allow_methods] == ["PUT"]
    assert [written.text for written in base.allow_methods] == ["GET", "HEAD", "POST"]
    assert ([written.text for written in inline.allow_origins], inline.allow_credentials) == (["*"], False)


def test_entries_of_a_group_know_their_own_lines() -> None:
    first = FULL.policies[0].spec.allow_origins[0]
    assert (first.where, first.line) == (("origins", "apps", 0), 8)
    star = FULL.policies[2].spec.allow_origins[0]
    assert (star.where, star.line) == (("routes", 1, "cors", "allow_origins"), 34)


def test_the_smallest_file_has_safe_defaults() -> None:
    table = table_of("routes:\n  - {upstream: http://127.0.0.1:9000, cors: off}\n")
    assert table.listen == Address("127.0.0.1", 8080)
    assert table.admin == AdminListener(Address("127.0.0.1", 8081))
    assert (table.log, table.drain, table.timeouts, table.limits) == (Log(), Drain(), Timeouts(), Limits())


def test_each_policy_key_reaches_the_rules() -> None:
    keys = set(Policy.model_fields) - {"extends"}
    assert keys == {field.name for field in fields(PolicySpec)} - {"name", "where", "line"}


ODD = {
    "allow_private_network": True,
    "timing_allow_origin": True,
    "cross_origin_resource_policy": "same-site",
    "preflight_status": 200,
    "on_denied": "block",
    "upstream_cors": "merge_expose",
    "mode": "report_only",
    "diagnostics": True,
    "dangerously_allow_insecure_origins": True,
    "dangerously_allow_public_suffix_origins": True,
    "max_age": 7,
}


@pytest.mark.parametrize("key", ODD)
def test_policy_value(key: str) -> None:
    value = ODD[key]
    written = str(value).lower() if isinstance(value, bool) else value
    text = f"""\
routes:
  - upstream: http://127.0.0.1:9000
    cors: {{allow_origins: [https://app.example.com], {key}: {written}}}
"""
    policy = table_of(text).routes[0].policy
    assert policy is not None
    assert getattr(policy.spec, key) == value


def test_variables_take_the_type_of_their_key() -> None:
    text = """\
listen: ${HOST:-127.0.0.1}:${PORT}
log:
  access: ${ACCESS}
limits: {in_flight: "${MANY}", request_body: "${BODY}"}
timeouts:
  idle: ${IDLE}
routes:
  - name: n-${MANY}
    upstream: http://127.0.0.1:9000
    cors: off
    match: {headers: {x-n: "${MANY}", x-d: $$1}}
"""
    table = table_of(text, {"PORT": "80", "ACCESS": "off", "MANY": "42", "BODY": "1KiB", "IDLE": "3"})
    assert str(table.listen) == "127.0.0.1:80"
    assert table.log.access is False
    assert (table.limits.in_flight, table.limits.request_body, table.timeouts.idle) == (42, 1024, 3.0)
    assert table.routes[0].name == "n-42"
    assert table.routes[0].match.headers == ((b"x-n", b"42"), (b"x-d", b"$1"))


def test_a_variable_that_has_the_wrong_type_is_refused() -> None:
    text = "limits: {in_flight: '${MANY}'}\nroutes: [{upstream: http://127.0.0.1:9000, cors: off}]\n"
    _, problems = load_table(text, "f", {"MANY": "lots"})
    assert [(problem.code, problem.where) for problem in problems] == [("wrong-type", "limits.in_flight")]
