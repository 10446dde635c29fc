"""What the page is told: rows, details, the state, events as they come, what a pasted message is about."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import ClientResponse, ClientSession

from corsproxy.dev.inspector import Ring
from tests.dev.inspector.world import APP, World, preflight, running

PATIENCE_SECONDS = 10


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running(tmp_path) as world:
        yield world


async def shown(visitor: ClientSession, number: int) -> dict[str, Any]:
    response = await visitor.get(f"/-/exchanges/{number}")
    assert response.status == 200, await response.text()
    found: dict[str, Any] = await response.json()
    return found


async def test_a_row_says_what_happened(world: World) -> None:
    await world.send(f"Origin: {APP}", path="/api/items?page=2")
    visitor = await world.visitor()
    [row] = (await (await visitor.get("/-/exchanges")).json())["rows"]
    assert row.pop("at") > 1e9
    assert row.pop("ms") >= 0
    assert row == {
        "id": 1,
        "method": "GET",
        "asks": "GET",
        "path": "/api/items",
        "origin": APP,
        "kind": "actual",
        "outcome": "allowed",
        "reason": "allowed",
        "about": "",
        "route": "api",
        "status": 200,
        "fault": "",
    }


async def test_a_call_is_shown_with_its_preflight(world: World) -> None:
    await world.send(*preflight("PUT", "content-type"), method="OPTIONS")
    await world.send(f"Origin: {APP}", "Content-Type: application/json", method="PUT", body="{}")
    visitor = await world.visitor()
    rows = (await (await visitor.get("/-/exchanges")).json())["rows"]
    assert [row["kind"] for row in rows] == ["preflight", "actual"]
    assert (rows[0]["asks"], rows[0]["max_age"]) == ("PUT", 600)
    assert (rows[1]["preflight"], rows[1]["cached"]) == (1, False)
    found = await shown(visitor, 2)
    assert found["sent"]["outcome"] == "readable"
    assert found["now"]["preflight"]["allowed"] is True


async def test_fields_are_shown_before_and_after_without_secrets(world: World) -> None:
    secrets = ["Cookie: sid=hush-hush", "Authorization: Bearer hush-hush", "X-Api-Key: hush-hush"]
    await world.send(f"Origin: {APP}", *secrets, path="/api/items?key=hush-hush")
    visitor = await world.visitor()
    response = await visitor.get("/-/exchanges/1")
    text = await response.text()
    assert "hush-hush" not in text
    assert "top-secret" not in text  # of the Set-Cookie
    fields = json.loads(text)["fields"]
    request, answer = (
        {name.lower(): (what, before, after) for what, name, before, after in fields[side]}
        for side in ("request", "response")
    )
    assert request["host"][:2] == ("changed", "proxy.test")
    assert request["cookie"] == ("same", "sid=…", "sid=…")
    assert request["x-forwarded-proto"] == ("added", "", "http")
    assert answer["server"] == ("removed", "legacy", "")
    assert answer["access-control-allow-origin"] == ("changed", "https://long-gone.example.com", APP)
    assert answer["vary"] == ("added", "", "Origin")
    assert answer["set-cookie"][2] == "session=…; Path=/; HttpOnly"
    assert answer["link"][2] == '</api/items?page=…&key=…>; rel="next"'


async def test_what_the_script_cannot_read_is_named(world: World) -> None:
    await world.send(f"Origin: {APP}")
    hidden = (await shown(await world.visitor(), 1))["sent"]["hidden"]
    assert hidden == ["X-Node", "Link"]  # nothing of the proxy's own, nor what stands on every response


async def test_a_refusal_is_explained_to_the_end(world: World) -> None:
    await world.send(*preflight("DELETE"), method="OPTIONS")
    found = await shown(await world.visitor(), 1)
    assert (found["row"]["outcome"], found["row"]["reason"], found["row"]["about"]) == (
        "denied",
        "method-not-allowed",
        "DELETE",
    )
    assert found["detail"]["rule"] == {"line": 10, "where": "routes[0].cors.allow_methods", "text": ""}
    assert found["sent"]["outcome"] == "not-sent"
    assert [step["passed"] for step in found["sent"]["steps"]] == [False]
    assert found["sent"]["messages"][0]["kind"] == "PreflightMissingAllowOriginHeader"
    assert found["now"]["offer"]["changes"] == [
        f"add DELETE to routes[0].cors.allow_methods ({world.file}:10)"
    ]
    assert "+      allow_methods: [GET, PUT, DELETE]" in found["now"]["offer"]["diff"]
    assert found["now"]["curl"][0].startswith("curl -i -X OPTIONS http://127.0.0.1:")


async def test_credentials_that_the_policy_lacks_are_found_by_what_went_out(world: World) -> None:
    await world.send(f"Origin: {APP}", "Cookie: a=b")
    found = await shown(await world.visitor(), 1)
    assert (found["row"]["outcome"], found["row"]["blocked"]) == ("allowed", True)
    assert found["sent"]["outcome"] == "unreadable"
    assert found["sent"]["messages"][0]["kind"] == "InvalidAllowCredentials"
    assert found["now"]["reason"] == "credentials-not-allowed"


@pytest.mark.parametrize(
    ("lines", "path", "outcome"),
    [
        ([], "/api/items", "not-cors"),
        ([f"Origin: {APP}"], "/nowhere", "readable"),
        (["Origin: https://x.test"], "/api/items", "unreadable"),
        (["Origin: http://proxy.test"], "/api/items", "same-origin"),
        (["Origin: https://x.test"], "/open/", "readable"),
    ],
)
async def test_other_outcomes(world: World, lines: list[str], path: str, outcome: str) -> None:
    await world.send(*lines, path=path)
    assert (await shown(await world.visitor(), 1))["sent"]["outcome"] == outcome


async def test_a_redirect_past_the_proxy_is_where_the_call_ends(world: World) -> None:
    for target in ("https://login.test/x?secret=1", "/api/b"):
        await world.send(f"Origin: {APP}", f"X-To: {target}", path="/api/redirect")
    await world.send(
        f"Origin: {APP}", "X-To: //login.test/", "Sec-Fetch-Mode: navigate", path="/api/redirect"
    )
    visitor = await world.visitor()
    found = [await shown(visitor, number) for number in (1, 2, 3)]
    assert [each["sent"]["outcome"] for each in found] == ["leaves", "follows", "follows"]
    assert found[0]["row"]["leaves"] == "https://login.test"
    assert "follows the redirect to https://login.test, past this proxy" in found[0]["sent"]["says"]
    assert "leaves" not in found[1]["row"]


SOCKET = ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: x"]


@pytest.mark.parametrize(
    ("origin", "outcome", "says"),
    [
        (APP, "socket-failed", "the answer was 200, not 101"),
        ("https://x.test", "socket-refused", "Unexpected response code: 403"),
    ],
)
async def test_no_cors_check_applies_to_a_websocket(
    world: World, origin: str, outcome: str, says: str
) -> None:
    await world.send(f"Origin: {origin}", "Cookie: a=b", *SOCKET)
    found = await shown(await world.visitor(), 1)
    assert (found["row"]["socket"], "blocked" in found["row"]) == (True, False)
    assert (found["sent"]["outcome"], found["sent"]["steps"], found["sent"]["messages"]) == (outcome, [], [])
    assert says in found["sent"]["says"]
    assert "-H 'Upgrade: websocket'" in found["now"]["curl"][0]


async def test_a_head_that_cannot_be_read_is_a_row_with_less(world: World) -> None:
    await world.send(f"Origin: {APP}", "Transfer-Encoding: gzip")
    found = await shown(await world.visitor(), 1)
    assert (found["row"]["status"], found["fields"]) == (400, None)
    assert found["row"]["broke"].startswith("The request is not valid HTTP/1.1: ")


async def test_what_is_no_longer_kept_is_said(world: World) -> None:
    response = await (await world.visitor()).get("/-/exchanges/7")
    assert response.status == 404
    assert (await response.json())["detail"] == "this exchange is no longer kept"


async def test_the_state_of_the_proxy(world: World) -> None:
    await world.send("Origin: https://x.test")
    state = await (await (await world.visitor()).get("/-/state")).json()
    assert state["version"] == world.plane.state.version
    assert [(route["name"], route["line"]) for route in state["routes"]] == [("api", 4), ("open", 15)]
    assert [(each["origin"], each["count"]) for each in state["refused"]] == [("https://x.test", 1)]
    assert {(each["asked"], each["known"]) for each in state["upstreams"]} == {(1, 1)}
    assert (state["may_apply"], state["may_undo"], state["save_to"]) == (True, False, str(world.file))


# The playground, and messages of consoles


async def test_any_call_is_explained_without_sending_it(world: World) -> None:
    visitor = await world.visitor()
    question = {"path": "/api/items", "origin": "http://localhost:5173", "method": "PUT", "credentials": True}
    found = await (await visitor.post("/-/ask", json={"question": question})).json()
    assert (found["allowed"], found["reason"]) == (False, "origin-not-allowed")
    assert found["question"]["origin"] == "http://localhost:5173"
    assert "http://localhost:5173" in found["offer"]["diff"]
    assert world.seen == []
    assert world.ring.last == 0


@pytest.mark.parametrize(
    "question",
    [
        None,
        [],
        {},
        {"path": "x", "origin": APP},
        {"path": "/", "origin": APP, "method": "A B"},
        {"nonsense": 1},
    ],
)
async def test_a_question_that_is_none_is_refused(world: World, question: object) -> None:
    response = await (await world.visitor()).post("/-/ask", json={"question": question})
    assert response.status == 400
    assert (await response.json())["detail"]


ACCESS = "Access to fetch at '{}' from origin 'https://app.example.com' has been blocked by CORS policy: "
ITEMS = "http://proxy.test/api/items/42"


class Paste(NamedTuple):
    says: str
    text: str
    ids: list[int]
    none: str = ""


PASTES = [
    Paste(
        "a method", ACCESS.format(ITEMS) + "Method DELETE is not allowed by Access-Control-Allow-Methods", [1]
    ),
    Paste(
        "a header that only one preflight asked for",
        ACCESS.format(ITEMS) + "Request header field x-id is not allowed by Access-Control-Allow-Headers",
        [5],
    ),
    Paste(
        "a call that came, and did not fail",
        ACCESS.format(ITEMS) + "Method PUT is not allowed by Access-Control-Allow-Methods",
        [5],
    ),
    Paste(
        "nothing of that kind failed",
        ACCESS.format("http://proxy.test/api/items/43") + "No 'Access-Control-Allow-Origin' header",
        [],
        "none that failed like this",
    ),
    Paste(
        "another port of the same host",
        ACCESS.format("http://proxy.test:81/api/items/42")
        + "Method DELETE is not allowed by Access-Control-Allow-Methods",
        [],
        "did the call to http://proxy.test:81/api/items/42 come through this proxy?",
    ),
    Paste(
        "where a redirect led from here",
        ACCESS.replace("'{}'", "'https://login.test/' (redirected from 'http://proxy.test/api/redirect')")
        + "No 'Access-Control-Allow-Origin' header",
        [7],
    ),
    Paste(
        "what the browser kept to itself",
        ACCESS.format(ITEMS)
        + "Permission was denied for this request to access the `loopback` address space.",
        [],
        "never got here",
    ),
    Paste(
        "a URL that is none",
        ACCESS.format("http://[") + "No 'Access-Control-Allow-Origin'",
        [],
        "did the call",
    ),
    Paste(
        "a WebSocket",
        "WebSocket connection to 'ws://proxy.test/api/ws' failed: Error during WebSocket handshake: "
        "Unexpected response code: 403",
        [8],
    ),
]


@pytest.mark.parametrize("case", PASTES, ids=lambda case: case.says)
async def test_a_pasted_message_finds_its_exchange(world: World, case: Paste) -> None:
    path = "/api/items/42"
    await world.send(*preflight("DELETE"), method="OPTIONS", path=path)
    await world.send(*preflight("DELETE"), method="OPTIONS", path="/api/items/41")
    await world.send(*preflight("PUT"), method="OPTIONS", path=path)
    await world.send(*preflight("DELETE", origin="https://b.test"), method="OPTIONS", path=path)
    await world.send(*preflight("PUT", "x-id"), method="OPTIONS", path=path)
    await world.send(f"Origin: {APP}", path="/api/items/43")
    await world.send(f"Origin: {APP}", "X-To: https://login.test/", path="/api/redirect")
    await world.send("Origin: https://x.test", *SOCKET, path="/api/ws")
    found = await (await (await world.visitor()).post("/-/paste", json={"text": case.text})).json()
    assert found["ids"] == case.ids
    assert case.none in found["none"]


async def test_a_pasted_message_is_explained(world: World) -> None:
    text = ACCESS.format(ITEMS) + "Method DELETE is not allowed by Access-Control-Allow-Methods"
    found = await (await (await world.visitor()).post("/-/paste", json={"text": text})).json()
    assert found["message"]["kind"] == "MethodDisallowedByPreflightResponse"
    assert found["now"]["reason"] == "method-not-allowed"


async def test_a_text_that_is_no_message_is_said_to_be_none(world: World) -> None:
    response = await (await world.visitor()).post("/-/paste", json={"text": "TypeError: failed to fetch"})
    assert response.status == 422
    assert "copy it from" in (await response.json())["detail"]


# Events


class Stream:
    """One client of the events."""

    def __init__(self, response: ClientResponse) -> None:
        self.response = response
        self.last_id = ""

    async def next(self, wanted: str) -> Any:  # Any: JSON
        """The data of the next event of this name."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                block = (await self.response.content.readuntil(b"\n\n")).decode().strip()
                lines = dict(line.split(": ", 1) for line in block.split("\n"))
                self.last_id = lines.get("id", self.last_id)
                if lines.get("event") == wanted:
                    return json.loads(lines["data"])


async def stream(world: World, visitor: ClientSession, last_id: str = "") -> Stream:
    response = await visitor.get("/-/events", headers={"Last-Event-ID": last_id} if last_id else {})
    world.stack.callback(response.close)
    assert response.headers["Content-Type"] == "text/event-stream"
    return Stream(response)


def ids(event: dict[str, Any]) -> list[int]:
    return [row["id"] for row in event["rows"]]


async def test_what_is_kept_comes_first_then_what_happens(world: World) -> None:
    await world.send()
    events = await stream(world, await world.visitor())
    await events.next("begin")
    assert ids(await events.next("exchanges")) == [1]
    assert (await events.next("state"))["version"] == world.plane.state.version
    await world.send()
    assert ids(await events.next("exchanges")) == [2]


async def test_a_client_that_comes_back_hears_only_what_it_missed(world: World) -> None:
    await world.send()
    visitor = await world.visitor()
    events = await stream(world, visitor)
    await events.next("exchanges")
    events.response.close()
    await world.send()
    await world.send()
    again = await stream(world, visitor, events.last_id)
    found = await again.next("exchanges")
    assert (ids(found), found["dropped"]) == ([2, 3], 0)


async def test_a_client_of_another_run_begins_anew(world: World) -> None:
    await world.send()
    events = await stream(world, await world.visitor(), "deadbeef-17")
    await events.next("begin")
    assert ids(await events.next("exchanges")) == [1]


async def test_a_client_that_was_away_too_long_is_told_how_much_it_missed(tmp_path: Path) -> None:
    async with running(tmp_path, ring=Ring(count=3)) as world:
        await world.send()
        visitor = await world.visitor()
        events = await stream(world, visitor)
        await events.next("exchanges")
        events.response.close()
        for _ in range(5):
            await world.send()
        found = await (await stream(world, visitor, events.last_id)).next("exchanges")
        assert (ids(found), found["dropped"]) == ([4, 5, 6], 2)


async def test_a_slow_client_holds_up_nobody_and_nothing_grows(world: World) -> None:
    visitor = await world.visitor()
    slow = await stream(world, visitor)  # and never read
    quick = await stream(world, visitor)
    long = "x" * 900
    for _ in range(300):
        await world.send(f"Origin: {APP}", path=f"/open/{long}")
    seen: list[int] = []
    while not seen or seen[-1] < 300:
        seen += ids(await quick.next("exchanges"))
    assert seen == list(range(1, 301))
    assert world.ring.kept == 300
    slow.response.close()


async def test_a_silent_stream_is_kept_alive(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corsproxy.dev.inspector.events._COMMENT_SECONDS", 0.0)
    events = await stream(world, await world.visitor())
    await events.next("state")
    async with asyncio.timeout(PATIENCE_SECONDS):
        assert await events.response.content.readuntil(b"\n\n") == b": still here\n\n"


async def test_no_more_streams_than_anybody_needs(world: World) -> None:
    visitor = await world.visitor()
    for _ in range(16):
        await stream(world, visitor)
    assert (await visitor.get("/-/events")).status == 503


async def test_a_reload_is_told(world: World) -> None:
    events = await stream(world, await world.visitor())
    before = await events.next("state")
    await world.plane.apply(world.plane.text.replace("10m", "5m"))
    after = await events.next("state")
    assert after["version"] != before["version"]
    assert after["last_reload"]["ok"] is True
    assert "routes" in before
    assert "routes" not in after  # as they were: a thousand of them would be sent again and again
