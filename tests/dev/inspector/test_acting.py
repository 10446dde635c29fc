"""What the page's buttons do: apply, take back, save, replay; and what they refuse to do."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.dev.inspector.world import APP, World, preflight, running


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running(tmp_path) as world:
        yield world


async def act(visitor: ClientSession, action: str, *, status: int = 200, **body: object) -> dict[str, Any]:
    response = await visitor.post(f"/-/{action}", json=body)
    assert response.status == status, await response.text()
    answer: dict[str, Any] = await response.json()
    return answer


async def refuse(world: World) -> None:
    """One preflight that the policy refuses: exchange 1."""
    answer = await world.send(*preflight("DELETE"), method="OPTIONS")
    assert answer.status == 403


# Apply


async def test_an_applied_change_lets_the_call_through_at_once(world: World) -> None:
    await refuse(world)
    visitor = await world.visitor()
    before, version = world.file.read_text(encoding="utf-8"), world.plane.state.version
    state = await act(visitor, "apply", id=1, version=version)
    assert state["may_undo"] is True
    assert state["version"] == world.plane.state.version != version
    answer = await world.send(*preflight("DELETE"), method="OPTIONS")
    assert answer.status == 204
    assert world.plane.text == before.replace("[GET, PUT]", "[GET, PUT, DELETE]")
    assert world.file.read_text(encoding="utf-8") == before


async def test_a_call_that_was_only_asked_about_can_be_allowed_too(world: World) -> None:
    visitor = await world.visitor()
    question = {"path": "/api/x", "origin": "http://localhost:5173", "credentials": True}
    await act(visitor, "apply", question=question, version=world.plane.state.version)
    answer = await world.send("Origin: http://localhost:5173", path="/api/x")
    assert answer.one("Access-Control-Allow-Origin") == "http://localhost:5173"
    assert answer.one("Access-Control-Allow-Credentials") == "true"


async def test_a_change_that_was_offered_for_another_configuration_is_not_made(world: World) -> None:
    await refuse(world)
    version = world.plane.state.version
    await world.plane.apply(world.plane.text.replace("10m", "5m"))
    answer = await act(await world.visitor(), "apply", status=409, id=1, version=version)
    assert "changed since" in answer["detail"]


async def test_what_is_allowed_already_has_nothing_to_apply(world: World) -> None:
    await world.send(f"Origin: {APP}")
    version = world.plane.state.version
    assert (
        "nothing to change"
        in (await act(await world.visitor(), "apply", status=409, id=1, version=version))["detail"]
    )


async def test_what_cors_has_no_say_in_cannot_be_applied(world: World) -> None:
    await world.send()
    answer = await act(await world.visitor(), "apply", status=409, id=1, version=world.plane.state.version)
    assert "no Origin" in answer["detail"]


async def test_changes_are_taken_back_one_by_one(world: World) -> None:
    visitor = await world.visitor()
    texts = [world.plane.text]
    for method in ("DELETE", "PATCH"):
        question = {"path": "/api", "origin": APP, "method": method}
        await act(visitor, "apply", question=question, version=world.plane.state.version)
        texts.append(world.plane.text)
    assert (await act(visitor, "undo"))["may_undo"] is True
    assert world.plane.text == texts[1]
    assert (await act(visitor, "undo"))["may_undo"] is False
    assert world.plane.text == texts[0]
    await act(visitor, "undo", status=409)


async def test_what_came_from_elsewhere_is_not_taken_back(world: World) -> None:
    await refuse(world)
    visitor = await world.visitor()
    await act(visitor, "apply", id=1, version=world.plane.state.version)
    await world.plane.apply(world.plane.text.replace("10m", "5m"))
    await act(visitor, "undo", status=409)


@pytest.mark.parametrize("action", ["apply", "undo", "save"])
async def test_where_the_inspector_only_looks_it_changes_nothing(tmp_path: Path, action: str) -> None:
    async with running(tmp_path, may_apply=False) as world:
        await refuse(world)
        text = world.plane.text
        body: dict[str, object] = {"id": 1, "version": world.plane.state.version, "mark": "x"}
        await act(await world.visitor(), action, status=403, **body)
        assert world.plane.text == text == world.file.read_text(encoding="utf-8")


# Save


async def test_the_difference_comes_before_the_writing(world: World) -> None:
    await refuse(world)
    visitor = await world.visitor()
    await act(visitor, "apply", id=1, version=world.plane.state.version)
    before = world.file.read_text(encoding="utf-8")
    draft = await act(visitor, "save")
    assert "-      allow_methods: [GET, PUT]\n+      allow_methods: [GET, PUT, DELETE]" in draft["diff"]
    assert world.file.read_text(encoding="utf-8") == before
    saved = await act(visitor, "save", mark=draft["mark"])
    assert saved["diff"] == ""
    text = world.file.read_text(encoding="utf-8")
    assert text == world.plane.text
    assert "# and no other" in text
    assert (await (await visitor.get("/-/state")).json())["may_undo"] is False


async def test_a_file_that_changed_meanwhile_is_not_written_over(world: World) -> None:
    await refuse(world)
    visitor = await world.visitor()
    await act(visitor, "apply", id=1, version=world.plane.state.version)
    draft = await act(visitor, "save")
    changed = world.file.read_text(encoding="utf-8") + "# by somebody else\n"
    world.file.write_text(changed, encoding="utf-8")
    answer = await act(visitor, "save", status=409, mark=draft["mark"])
    assert "look again" in answer["detail"]
    assert world.file.read_text(encoding="utf-8") == changed


async def test_a_configuration_that_changed_meanwhile_is_not_written(world: World) -> None:
    visitor = await world.visitor()
    draft = await act(visitor, "save")
    await world.plane.apply(world.plane.text.replace("10m", "5m"))
    before = world.file.read_text(encoding="utf-8")
    await act(visitor, "save", status=409, mark=draft["mark"])
    assert world.file.read_text(encoding="utf-8") == before


async def test_mode_and_line_ends_of_the_file_stay(world: World) -> None:
    visitor = await world.visitor()
    content = world.file.read_bytes().replace(b"\n", b"\r\n")
    world.file.write_bytes(content)
    world.file.chmod(0o640)
    await world.plane.apply(world.plane.text.replace("10m", "5m"))
    draft = await act(visitor, "save")
    assert draft["diff"].count("\n+ ") == 1
    await act(visitor, "save", mark=draft["mark"])
    assert world.file.read_bytes() == content.replace(b"10m", b"5m")
    assert world.file.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in world.file.parent.iterdir()] == [world.file.name]


async def test_a_file_that_cannot_be_written_is_said(world: World) -> None:
    visitor = await world.visitor()
    world.file.unlink()
    world.file.mkdir()
    assert "cannot read" in (await act(visitor, "save", status=409))["detail"]


# Replay


async def test_a_preflight_is_sent_again(world: World) -> None:
    await refuse(world)
    visitor = await world.visitor()
    answer = await act(visitor, "replay", id=1)
    assert answer["status"] == "HTTP/1.1 403 Forbidden"
    assert world.ring.last == 2
    await act(visitor, "apply", id=1, version=world.plane.state.version)
    again = await act(visitor, "replay", id=1)
    assert again["status"] == "HTTP/1.1 204 No Content"
    assert ["Access-Control-Allow-Methods", "GET, PUT, DELETE"] in again["fields"]


async def test_a_call_is_sent_again_without_its_secrets(world: World) -> None:
    await world.send(f"Origin: {APP}", "Cookie: sid=1", "X-Plain: yes", path="/api/items?page=2")
    answer = await act(await world.visitor(), "replay", id=1)
    assert answer["status"] == "HTTP/1.1 200 OK"
    assert answer["left_out"] == ["query", "Cookie"]
    assert world.seen == ["GET /api/items?page=2", "GET /api/items"]
    detail = await (await (await world.visitor()).get("/-/exchanges/2")).json()
    names = [name.lower() for name, _ in detail["detail"]["request"]["before"]]
    assert "cookie" not in names
    assert "x-plain" in names


async def test_what_changes_something_is_sent_again_only_on_demand(world: World) -> None:
    await world.send(f"Origin: {APP}", method="DELETE")
    visitor = await world.visitor()
    assert "confirm" in (await act(visitor, "replay", status=409, id=1))["detail"]
    assert len(world.seen) == 1
    await act(visitor, "replay", id=1, confirmed=True)
    assert world.seen == ["DELETE /api/items"] * 2


async def test_a_body_that_was_never_kept_cannot_be_sent_again(world: World) -> None:
    await world.send(f"Origin: {APP}", method="PUT", body="{}")
    answer = await act(await world.visitor(), "replay", status=409, id=1, confirmed=True)
    assert "never kept" in answer["detail"]
    assert len(world.seen) == 1


async def test_a_path_with_a_token_cannot_be_sent_again(world: World) -> None:
    await world.send(path="/api/reset/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNry")
    assert "never kept" in (await act(await world.visitor(), "replay", status=409, id=1))["detail"]


async def test_a_replay_goes_to_the_proxy_whatever_the_host_says(world: World) -> None:
    """The Host is the client's own; the connection leads to the listener, which it chose by its table."""
    other = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = other.sockets[0].getsockname()[1]
    try:
        await world.send(path=f"http://127.0.0.1:{port}/api/items")
        answer = await act(await world.visitor(), "replay", id=1)
    finally:
        other.close()
    assert answer["status"] == "HTTP/1.1 200 OK"
    assert world.seen == ["GET /api/items"] * 2


async def test_the_list_can_be_emptied(world: World) -> None:
    await world.send()
    visitor = await world.visitor()
    await act(visitor, "clear")
    assert (await (await visitor.get("/-/exchanges")).json()) == {"rows": []}
