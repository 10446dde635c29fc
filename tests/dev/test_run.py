"""The dev proxy on real sockets: what pages get, what the API gets, and what is said about it."""

import json
import socket
from pathlib import Path
from typing import NamedTuple

import pytest
from aiohttp import ClientSession

from corsproxy.config.compile import load_table
from corsproxy.dev.hints import network_access_hint
from corsproxy.dev.parity import Judge
from corsproxy.dev.places import port_of, take_port
from corsproxy.dev.profile import Profile
from corsproxy.dev.run import DevError, Wish, cookie_names_of, dev
from corsproxy.dev.target import parse_target
from corsproxy.dev.terminal import Terminal
from tests.dev.running import PAGE, running
from tests.wire import Upstream, Wire, answers, ask, ok, sent_lines, upstream

LOGIN = ok(
    b"{}",
    "Set-Cookie: sid=1; Domain=api.example.com; Path=/; Secure; HttpOnly; SameSite=None; Partitioned",
    "Set-Cookie: __Host-csrf=1; Path=/; Secure",
    "Access-Control-Allow-Origin: *",
    "X-Total-Count: 3",
)


# What pages get


async def test_a_page_of_this_machine_may_call_with_cookies() -> None:
    async with upstream(answers(LOGIN)) as api, running(f":{api.port}") as front:
        preflight = await front.ask(
            "/login",
            PAGE,
            "Access-Control-Request-Method: PATCH",
            "Access-Control-Request-Headers: authorization,x-anything",
            method="OPTIONS",
        )
        answer = await front.ask("/login", PAGE, method="POST")
    assert preflight.status == 204
    assert preflight.one("Access-Control-Allow-Headers") == "authorization,x-anything"
    assert preflight.one("Access-Control-Allow-Methods") == "PATCH"
    assert answer.all("Access-Control-Allow-Origin") == ["http://localhost:5173"]
    assert answer.one("Access-Control-Allow-Credentials") == "true"
    assert "x-total-count" in (answer.one("Access-Control-Expose-Headers") or "")
    assert answer.all("Set-Cookie") == [
        "sid=1; Path=/; HttpOnly; SameSite=Lax",
        "__Host-csrf=1; Path=/; Secure",
    ]


async def test_both_addresses_of_localhost_are_listened_on() -> None:
    async with upstream(answers(ok())) as api, running(f":{api.port}") as front:
        ports = {address.port for address in front.place.plane.addresses}
        hosts = {address.host for address in front.place.plane.addresses}
    assert len(ports) == 1
    expected = {info[4][0] for info in socket.getaddrinfo("localhost", 1, type=socket.SOCK_STREAM)}
    assert hosts == expected <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]"])
async def test_redirects_come_back_by_whatever_name_the_api_calls_this_machine(name: str) -> None:
    async with upstream(answers(b"")) as api:
        location = f"Location: http://{name}:{api.port}/next"
        api.behaviour = answers(f"HTTP/1.1 302 Found\r\n{location}\r\nContent-Length: 0\r\n\r\n".encode())
        async with running(f"http://127.0.0.1:{api.port}") as front:
            assert (await front.ask("/first")).one("Location") == f"http://{front.host}/next"


async def test_redirects_come_back() -> None:
    async with upstream(answers(b"")) as api:
        location = f"Location: http://localhost:{api.port}/v1/next"
        api.behaviour = answers(f"HTTP/1.1 302 Found\r\n{location}\r\nContent-Length: 0\r\n\r\n".encode())
        async with running(f"http://localhost:{api.port}/v1") as front:
            answer = await front.ask("/first")
            assert answer.one("Location") == f"http://{front.host}/next"
    assert api.requests[0].first_line == "GET /v1/first HTTP/1.1"


async def test_the_api_is_asked_as_if_by_a_page_of_its_own() -> None:
    async with upstream(answers(ok())) as api, running(f":{api.port}") as front:
        await front.ask(
            "/a?b", PAGE, "Referer: http://localhost:5173/x", "Sec-Fetch-Site: same-site", method="POST"
        )
    own = f"localhost:{api.port}"
    lines = [line for line in sent_lines(api.requests[0]) if not line.startswith("X-Request-Id")]
    assert lines == [
        f"Host: {own}",
        f"Origin: http://{own}",
        f"Referer: http://{own}/",
        "Sec-Fetch-Site: same-origin",
    ]


async def test_routes_go_elsewhere_with_or_without_their_prefix() -> None:
    async with (
        upstream(answers(ok())) as api,
        upstream(answers(ok())) as plain,
        upstream(answers(ok())) as stripped,
        running(f":{api.port}", f"/a=:{plain.port}", f"/b=localhost:{stripped.port}/deep") as front,
    ):
        for path in ("/x", "/a/x", "/b/x"):
            assert (await front.ask(path)).status == 200
    assert [server.requests[0].first_line for server in (api, plain, stripped)] == [
        "GET /x HTTP/1.1",
        "GET /a/x HTTP/1.1",
        "GET /deep/x HTTP/1.1",
    ]


async def test_websockets_pass_for_pages_of_this_machine_alone() -> None:
    async def switches(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        await wire.send(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhi"
        )
        await wire.rest()

    asks = ("Connection: Upgrade", "Upgrade: websocket")
    async with upstream(switches) as api, running(f"ws://localhost:{api.port}") as front:
        assert (await front.ask("/", *asks, "Origin: https://evil.test")).status == 403
        assert (await front.ask("/", *asks, PAGE)).status == 101
    assert len(api.requests) == 1
    assert api.requests[0].one("Origin") == f"http://localhost:{api.port}"


@pytest.mark.parametrize("host", ["evil.test:{port}", "localhost.evil.test:{port}", "192.168.1.1:{port}"])
async def test_a_name_that_a_page_could_point_here_reaches_nothing(host: str) -> None:
    async with upstream(answers(ok())) as api, running(f":{api.port}") as front:
        name = host.format(port=front.place.profile.port)
        answer = await front.ask("/", f"Origin: http://{name}", "Sec-Fetch-Site: same-origin", host=name)
        assert answer.status == 421
        assert json.loads(answer.body)["reason"] == "host-unknown"
        assert answer.one("Access-Control-Allow-Origin") is None
        assert f"asked as {name}, which is not this machine's name" in front.said()
    assert api.requests == []


@pytest.mark.parametrize("name", ["localhost", "app.localhost", "127.0.0.1", "[::1]"])
async def test_names_of_this_machine_do(name: str) -> None:
    async with upstream(answers(ok())) as api, running(f":{api.port}") as front:
        assert (await front.ask("/", host=f"{name}:{front.place.profile.port}")).status == 200


async def test_the_api_is_never_chosen_by_a_client() -> None:
    async with upstream(answers(ok())) as api, running(f":{api.port}") as front:
        request = f"GET http://localhost:{api.port + 1}/x HTTP/1.1\r\nHost: localhost\r\n\r\n"
        assert (await ask(front.address, request.encode())).status == 200
    assert api.requests[0].one("Host") == f"localhost:{api.port}"


# Cookies


async def test_trap_42_cookies_of_other_programs_stay_and_it_is_said_once() -> None:
    async with upstream(answers(LOGIN)) as api, running(f":{api.port}", cookies=["theme"]) as front:
        sends = ("Cookie: sid=1; other=2; theme=dark", PAGE)
        for _ in range(3):
            await front.ask("/login", *sends)
        text = front.said()
        names = cookie_names_of(front.place.plane)
    assert [message.all("Cookie") for message in api.requests] == [
        ["theme=dark"],
        ["sid=1; theme=dark"],
        ["sid=1; theme=dark"],
    ]
    assert text.count("cookie other stays here: ") == 1
    assert "--cookie other" in text
    assert "cookie sid stays" not in text  # it is set by this very answer
    assert names == {f"http://localhost:{api.port}": ["sid", "__Host-csrf"]}


async def test_names_of_earlier_runs_are_known() -> None:
    async with upstream(answers(ok())) as api:
        remembered = {f"http://localhost:{api.port}": ["sid"]}
        async with running(f":{api.port}", remembered=remembered) as front:
            await front.ask("/", "Cookie: sid=1; other=2")
    assert api.requests[0].all("Cookie") == ["sid=1"]


# What is said


class Said(NamedTuple):
    says: str
    lines: tuple[str, ...]
    expected: tuple[str, ...]
    response: bytes = ok()
    method: str = "GET"


HINTS = [
    Said("an allowed call is one line", (PAGE,), ("GET      /x  ✓ 200",)),
    Said(
        "a preflight says what is asked for",
        (PAGE, "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: content-type"),
        ("preflight ✓ 204", "PUT content-type"),
        method="OPTIONS",
    ),
    Said("the API's own CORS fields were replaced", (PAGE,), ("replaced the API's own CORS fields",), LOGIN),
    Said(
        "another origin: the flag that allows it",
        ("Origin: https://evil.test",),
        ("✗ 403", "only pages of this machine are", "→ to allow it: --origin https://evil.test\n"),
    ),
    Said("a page without origin", ("Origin: null",), ('no origin ("null")', "python -m http.server")),
    Said("no origin at all", ("Origin: HTTP://x/",), ("no browser sends 'HTTP://x/'",)),
    Said(
        "Safari and Secure", (PAGE,), ("cookie __Host-csrf will not work in Safari: Safari", "--https"), LOGIN
    ),
    Said(
        "a redirect that leaves the proxy",
        (PAGE,),
        ("leads to https://login.test, past the proxy", "--route /somewhere=https://login.test"),
        b"HTTP/1.1 302 Found\r\nLocation: https://login.test/x?secret\r\nContent-Length: 0\r\n\r\n",
    ),
    Said(
        "a page of elsewhere that was allowed",
        ("Origin: https://shop.test",),
        ("Chromium asks the user before it may call localhost", "say yes to the prompt"),
    ),
    Said(
        "a page of elsewhere without TLS",
        ("Origin: http://lab.test",),
        ("no secure page: Chromium does not let it call localhost", "serve the page over https"),
    ),
]


@pytest.mark.parametrize("case", HINTS, ids=lambda case: case.says)
async def test_what_is_said(case: Said) -> None:
    origins = ["https://shop.test", "http://lab.test"]
    async with upstream(answers(case.response)) as api, running(f":{api.port}", origins=origins) as front:
        await front.ask("/x?secret=1", *case.lines, method=case.method)
        text = front.said()
    for expected in case.expected:
        assert expected in text
    assert "secret" not in text


async def test_an_api_that_is_down_is_no_cors_error() -> None:
    with take_port(20000) as taken:
        port = port_of(taken)
    async with running(f":{port}") as front:
        answer = await front.ask("/x", PAGE)
        assert answer.status == 502
        assert answer.one("Access-Control-Allow-Origin") == "http://localhost:5173"
        assert "→ is the API running?" in front.said()


async def test_plain_http_on_a_port_of_https_is_thought_of() -> None:
    async def resets(server: Upstream, wire: Wire) -> None:
        await server.request(wire)
        linger_zero = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        wire.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_zero)
        wire.abort()

    async with upstream(resets) as api, running(f":{api.port}") as front:
        assert (await front.ask("/x", PAGE)).status == 502
        text = front.said()
    assert "broke-off: the connection was reset" in text
    assert "→ did the API end, or does it speak https there?" in text


async def test_quiet_says_what_needs_attention() -> None:
    async with upstream(answers(ok())) as api, running(f":{api.port}", form="quiet") as front:
        await front.ask("/x", PAGE)
        assert front.said() == ""
        await front.ask("/x", "Origin: https://evil.test")
        assert "--origin https://evil.test" in front.said()


async def test_json_is_one_object_a_line() -> None:
    async with upstream(answers(LOGIN)) as api, running(f":{api.port}", form="json") as front:
        await front.ask("/x?secret=1", PAGE, "Cookie: other=secret")
        (line,) = front.said().splitlines()
    entry = json.loads(line)
    assert (entry["path"], entry["status"], entry["reason"]) == ("/x", 200, "allowed")
    assert [hint["topic"] for hint in entry["hints"]] == ["cookie", "cookie"]
    assert "secret" not in line


async def test_json_says_of_an_exchange_what_was_known_before_it() -> None:
    origin = "https://shop.test"
    async with (
        upstream(answers(ok())) as api,
        running(f":{api.port}", form="json", origins=[origin]) as front,
    ):
        front.terminal.tell([network_access_hint(origin)])  # as the command does at its start
        await front.ask("/x", f"Origin: {origin}")
        entry = json.loads(front.said())
    assert [hint["topic"] for hint in entry["hints"]] == ["network-access"]


async def test_colours_are_for_terminals() -> None:
    async with upstream(answers(ok())) as api:
        for form, coloured in (("pretty", False), ("coloured", True)):
            async with running(f":{api.port}", form=form) as front:  # type: ignore[arg-type]
                await front.ask("/x", "Origin: https://evil.test")
                assert ("\033[" in front.said()) is coloured


async def test_with_a_file_the_line_is_named_and_the_file_can_be_edited(tmp_path: Path) -> None:
    file = tmp_path / "dev.yaml"
    async with upstream(answers(ok())) as api, running(f":{api.port}", save_to=file) as front:
        await front.ask("/x", "Origin: https://evil.test")
        text = front.said()
        written = file.read_text(encoding="utf-8")
        line = next(at for at, each in enumerate(written.splitlines(), 1) if "allow_origins" in each)
        assert f"or add it to policies.dev.allow_origins ({file}:{line})" in text
        await front.ask("/x", "Origin: http://evil.test")
        assert "→ to allow it: --origin http://evil.test\n" in front.said()
        edited = written.replace('"@loopback"', '"@loopback", "https://evil.test"')
        file.write_text(edited, encoding="utf-8")
        assert (await front.place.plane.reload()).ok
        assert (await front.ask("/x", "Origin: https://evil.test")).status == 200


@pytest.mark.parametrize(
    ("edit", "asks", "says"),
    [
        (
            'allow_methods: "*"',
            ["Access-Control-Request-Method: patch"],
            "→ write PATCH in upper case: fetch does not upper-case patch\n",
        ),
        (
            "allow_methods: [GET]",
            ["Access-Control-Request-Method: PUT"],
            "→ to allow it: add PUT to policies.dev.allow_methods ({place})\n",
        ),
        (
            'allow_methods: "*"',
            ["Access-Control-Request-Method: TRACE"],
            'method TRACE cannot be allowed: "TRACE" is forbidden to scripts',
        ),
        (
            "allow_headers: [content-type]",
            ["Access-Control-Request-Method: GET", "Access-Control-Request-Headers: x-one"],
            "→ to allow it: add x-one to policies.dev.allow_headers ({place})\n",
        ),
    ],
    ids=["a method in the wrong case", "one that is not listed", "one that no script may use", "a header"],
)
async def test_what_a_preflight_asks_too_much_is_said_with_what_helps(
    edit: str, asks: list[str], says: str, tmp_path: Path
) -> None:
    file = tmp_path / "dev.yaml"
    key = edit.partition(":")[0]
    async with upstream(answers(ok())) as api, running(f":{api.port}", save_to=file) as front:
        written = file.read_text(encoding="utf-8")
        at, line = next(
            (at, each.strip()) for at, each in enumerate(written.splitlines(), 1) if f" {key}:" in each
        )
        file.write_text(written.replace(line, edit), encoding="utf-8")
        assert (await front.place.plane.reload()).ok
        await front.ask("/x", PAGE, *asks, method="OPTIONS")
        assert says.format(place=f"{file}:{at}") in front.said()


# The inspector


async def test_the_inspector_sees_it_and_needs_its_link() -> None:
    async with upstream(answers(ok())) as api, running(f":{api.port}") as front, ClientSession() as session:
        await front.ask("/seen", PAGE)
        home = front.place.inspector.partition("?")[0]
        for page in ("exchanges", "config", "origins"):
            assert (await session.get(home + page)).status == 401
        assert (await session.get(front.place.inspector)).status == 200
        listed = await session.get(f"{home}exchanges")
        assert listed.status == 200
        assert "/seen" in await listed.text()


async def test_a_row_says_how_many_notes_there_are() -> None:
    redirect = b"HTTP/1.1 302 Found\r\nLocation: https://login.test/\r\nContent-Length: 0\r\n\r\n"
    async with (
        upstream(answers(redirect)) as api,
        running(f":{api.port}") as front,
        ClientSession() as session,
    ):
        await front.ask("/x", PAGE)
        await front.ask("/x")
        await front.ask("/x", "Transfer-Encoding: gzip")  # of which the row itself says all there is
        await session.get(front.place.inspector)
        home = front.place.inspector.partition("?")[0]
        rows = (await (await session.get(f"{home}exchanges")).json())["rows"]
        assert [row.get("notes") for row in rows] == [1, None, None]


async def test_the_inspector_agrees_with_the_terminal_about_a_page_without_tls() -> None:
    async with upstream(answers(ok())) as api, running(f":{api.port}") as front, ClientSession() as session:
        await front.ask("/x", "Origin: http://shop.test:5173")
        assert "--origin http://shop.test:5173" in front.said()
        await session.get(front.place.inspector)
        home = front.place.inspector.partition("?")[0]
        found = await (await session.get(f"{home}exchanges/1")).json()
        assert found["now"]["offer"]["advice"].endswith(
            "or start corsproxy with --origin http://shop.test:5173"
        )


async def test_a_change_from_the_inspector_is_said_and_not_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with upstream(answers(ok())) as api, running(f":{api.port}") as front, ClientSession() as session:
        await front.ask("/x", "Origin: https://shop.test")
        await session.get(front.place.inspector)
        home, key = front.place.inspector.partition("?")[0], {"X-Corsproxy-Inspector": "1"}
        version = front.place.plane.state.version
        assert (await session.post(f"{home}apply", json={"id": 1, "version": version}, headers=key)).ok
        assert (await session.post(f"{home}undo", json={}, headers=key)).ok
    assert [line.partition(" (")[0] for line in front.told()] == [
        "changed from the inspector: add https://shop.test to policies.dev.allow_origins",
        "changed from the inspector: the last change was taken back",
    ]
    assert caplog.messages == []


# Ports


async def test_a_taken_port_is_skipped_unless_it_must_be_that_one() -> None:
    with take_port(21000) as taken:
        port = port_of(taken)
        async with running(":1", port=port) as front:
            assert front.place.profile.port > port
        wish = Wish(
            Profile([parse_target(":1")], port),
            Terminal(lambda _: None, "pretty"),
            front.journal,
            None,  # type: ignore[arg-type]  # it does not get as far as to say anything
            {},
            strict_port=True,
        )
        with pytest.raises(DevError, match=f"port {port} is taken"):
            async with dev(wish):
                pass


async def test_the_port_of_an_api_that_is_not_started_yet_is_left_to_it() -> None:
    with take_port(21500) as taken:
        port = port_of(taken)
    async with running(f"http://127.0.0.1:{port}", port=port) as front:
        assert front.place.profile.port > port


async def test_what_does_not_load_is_said_without_a_traceback() -> None:
    with pytest.raises(DevError, match="holds a path") as caught:
        async with running(":1", origins=["https://shop.test/x"]):
            pass
    assert "write https://shop.test" in str(caught.value)


# Production

PRODUCTION = """\
routes:
  - upstream: http://127.0.0.1:9000
    match: {hosts: [api.example.com]}
    cors:
      allow_origins: [https://app.example.com]
      allow_headers: [content-type]
  - upstream: http://127.0.0.1:9000
    match: {hosts: [other.example.com]}
    cors: off
"""


def production() -> Judge:
    table, problems = load_table(PRODUCTION, "prod.yaml", {})
    assert table is not None, problems
    return Judge(table, b"https://app.example.com")


PARITY = [
    Said("what production allows", (PAGE,), ()),
    Said("what is no call of a script", (), ()),
    Said("what is refused here already", ("Origin: https://evil.test",), ()),
    Said(
        "cookies",
        (PAGE, "Cookie: sid=1"),
        (
            "the call fails with credentials-not-allowed",
            "set routes[0].cors.allow_credentials to true (prod.yaml:4)",
        ),
    ),
    Said(
        "a method",
        (PAGE, "Access-Control-Request-Method: DELETE"),
        ("the preflight fails with method-not-allowed: DELETE (prod.yaml:4)",),
        method="OPTIONS",
    ),
    Said(
        "a header",
        (PAGE, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type,x-id"),
        (
            "the preflight fails with header-not-allowed: x-id",
            "add x-id to routes[0].cors.allow_headers (prod.yaml:6)",
        ),
        method="OPTIONS",
    ),
    Said(
        "another page than that of production",
        ("Origin: https://shop.test",),
        ("origin-not-allowed: https://shop.test",),
    ),
]


@pytest.mark.parametrize("case", PARITY, ids=lambda case: case.says)
async def test_what_production_says(case: Said) -> None:
    judge = production()
    async with (
        upstream(answers(ok())) as api,
        running(f":{api.port}", judge=judge, origins=["https://shop.test"]) as front,
    ):
        await front.ask("/x", *case.lines, method=case.method)
        text = front.said()
    assert ("would fail in production" in text) is bool(case.expected)
    assert judge.failed.total() == bool(case.expected)
    for expected in case.expected:
        assert expected in text


async def test_a_call_and_its_preflight_are_one_call() -> None:
    judge = production()
    asks = ("Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: x-id")
    async with upstream(answers(ok())) as api, running(f":{api.port}", judge=judge) as front:
        await front.ask("/a", PAGE)
        await front.ask("/b", PAGE, *asks, method="OPTIONS")
        await front.ask("/b", PAGE, "X-Id: 1", method="PUT")
        assert (judge.judged, judge.failed.total()) == (2, 1)
        await front.ask("/b", PAGE, "X-Id: 1", method="PUT")  # the browser has the preflight in its cache
        assert (judge.judged, judge.failed.total()) == (3, 2)
        await front.ask("/b", PAGE, *asks, method="OPTIONS")
        await front.ask("/b", PAGE, "Cookie: a=b", method="PUT")  # this one fails in another way as well
    assert judge.judged == 4
    assert [objection.call for objection in judge.failed] == ["PUT /b", "PUT /b"]
    assert [count for _, count in judge.failed.most_common()] == [2, 1]


BESIDE_AN_OPEN_ROUTE = PRODUCTION.replace("    match: {hosts: [other.example.com]}\n", "")


async def test_the_first_host_of_the_file_is_asked_though_another_route_takes_any() -> None:
    table, problems = load_table(BESIDE_AN_OPEN_ROUTE, "prod.yaml", {})
    assert table is not None, problems
    judge = Judge(table, b"https://app.example.com")
    assert judge.asked_host == b"api.example.com"
    async with upstream(answers(ok())) as api, running(f":{api.port}", judge=judge) as front:
        await front.ask("/x", PAGE, "Cookie: sid=1")
        assert "credentials-not-allowed" in front.said()


async def test_what_production_leaves_to_the_api_is_not_said_to_work() -> None:
    table, problems = load_table(BESIDE_AN_OPEN_ROUTE, "prod.yaml", {})
    assert table is not None, problems
    judge = Judge(table, b"https://app.example.com", b"elsewhere.example.com")
    async with upstream(answers(ok())) as api, running(f":{api.port}", judge=judge) as front:
        for _ in range(2):
            await front.ask("/x", PAGE)
        assert "production" not in front.said()
    assert (judge.judged, judge.undecided) == (0, 2)


async def test_production_is_in_the_json_too() -> None:
    async with (
        upstream(answers(ok())) as api,
        running(f":{api.port}", judge=production(), form="json") as front,
    ):
        await front.ask("/x", PAGE, "Cookie: sid=1")
        assert "credentials-not-allowed" in json.loads(front.said())["production"]["says"]
