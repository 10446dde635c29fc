"""Who gets in, and what browsers are told about the page."""

import hashlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from corsproxy.dev.inspector import Gate
from corsproxy.dev.inspector.pages import STATIC
from tests.dev.inspector.world import TOKEN, World, running

READING = ["/-/events", "/-/state", "/-/exchanges", "/-/exchanges/1", "/-/static/app.js"]
ACTIONS = ["ask", "paste", "apply", "undo", "save", "replay", "clear"]
# The file of the npm package htm 3.1.1, `preact/standalone.module.js`, byte for byte.
VENDORED = "72284e8e9079c87817145df1110f74e8a2aa040b2fc384922e18dfcb46fc1fd7"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running(tmp_path) as world:
        yield world


@pytest.mark.parametrize("path", READING)
async def test_nothing_is_shown_to_a_stranger(world: World, path: str) -> None:
    response = await (await world.stranger()).get(path)
    assert response.status == 401


@pytest.mark.parametrize("action", ACTIONS)
async def test_nothing_is_done_for_a_stranger(world: World, action: str) -> None:
    headers = {"X-Corsproxy-Inspector": "1"}
    response = await (await world.stranger()).post(f"/-/{action}", json={}, headers=headers)
    assert response.status == 401


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_cookie_alone_changes_nothing(world: World, action: str) -> None:
    """A form of another page could send it, were it not SameSite=Strict; it cannot send the header."""
    cookie = (await world.visitor()).headers["Cookie"]
    response = await (await world.stranger()).post(f"/-/{action}", json={}, headers={"Cookie": cookie})
    assert response.status == 403


async def test_the_link_becomes_a_cookie_and_a_clean_url(world: World) -> None:
    response = await (await world.stranger()).get(f"/-/?t={TOKEN}", allow_redirects=False)
    assert (response.status, response.headers["Location"]) == (303, "/-/")
    cookie = response.headers["Set-Cookie"]
    assert {"HttpOnly", "Path=/-/", "SameSite=Strict"} <= set(cookie.split("; "))
    assert TOKEN not in cookie
    assert str(world.admin.address.port) in cookie.partition("=")[0]


@pytest.mark.parametrize("link", ["/-/", "/-/?t=", "/-/?t=0123456789abcdeX", "/-/?t=é"])
async def test_another_link_says_in_words_what_to_open(world: World, link: str) -> None:
    response = await (await world.stranger()).get(link)
    assert response.status == 401
    assert "?t=" in await response.text()


async def test_who_is_in_already_stays_in(world: World) -> None:
    response = await (await world.visitor()).get("/-/?t=another", allow_redirects=False)
    assert response.status == 200


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://localhost:5173"}, {"Sec-Fetch-Site": "same-site"}, {"Sec-Fetch-Site": "cross-site"}],
    ids=["an origin", "same-site", "cross-site"],
)
async def test_a_page_of_another_origin_is_turned_away_with_the_cookie(
    world: World, headers: dict[str, str]
) -> None:
    response = await (await world.visitor()).post("/-/clear", json={}, headers=headers)
    assert response.status == 403


async def test_who_follows_a_link_of_another_page_is_told_how_to_come_in(world: World) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate"}
    response = await (await world.stranger()).get(f"/-/?t={TOKEN}", headers=link)
    assert response.status == 403
    assert "paste the address into the address bar" in (await response.json())["detail"]


async def test_another_host_is_turned_away_with_the_cookie(world: World) -> None:
    response = await (await world.visitor()).get("/-/state", headers={"Host": "evil.test"})
    assert response.status == 421


@pytest.mark.parametrize("path", ["/-/", "/-/static/app.js", "/-/static/base.css"])
async def test_what_a_browser_is_told(world: World, path: str) -> None:
    response = await (await world.visitor()).get(path)
    assert response.status == 200
    policy = response.headers["Content-Security-Policy"].split("; ")
    assert {
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    } <= set(policy)
    assert not {"'unsafe-inline'", "'unsafe-eval'", "*"} & {word for part in policy for word in part.split()}
    assert response.headers["Referrer-Policy"] == "no-referrer"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Cache-Control"] == "no-store"
    assert not [name for name in response.headers if name.startswith("Access-Control-")]


@pytest.mark.parametrize(
    ("content", "status"),
    [
        ("not JSON", 400),
        ("[]", 400),
        ("[" * 60_000, 400),
        ('{"id": true}', 400),
        ('{"id": "1"}', 400),
        ('{"id": 99}', 404),
        ('{"text": "' + "x" * 70_000 + '"}', 400),
    ],
    ids=["no JSON", "no object", "too deep", "true", "text", "gone", "too long"],
)
async def test_a_body_that_is_none_is_refused_in_words(world: World, content: str, status: int) -> None:
    headers = {"Content-Type": "application/json"}
    response = await (await world.visitor()).post("/-/replay", data=content, headers=headers)
    assert response.status == status
    assert (await response.json())["detail"]


def test_there_is_no_inspector_without_a_token() -> None:
    with pytest.raises(ValueError, match="token"):
        Gate("")


# The files


def test_nothing_is_inline_and_nothing_comes_from_elsewhere() -> None:
    text = (STATIC / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", text) == []
    loaded = re.findall(r'<(?:script|link)\b[^>]*?\b(?:src|href)="([^"]*)"', text)
    assert [url for url in loaded if not url.startswith(("static/", "data:image/svg+xml,"))] == []
    for url in loaded:
        assert not url.startswith("static/") or (STATIC / url.removeprefix("static/")).is_file()


def scripts() -> list[Path]:
    return sorted(Path(str(STATIC)).glob("*.js"))


@pytest.mark.parametrize("script", scripts(), ids=lambda path: path.name)
def test_scripts_load_each_other_only_and_make_no_html_of_text(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    for name in re.findall(r'from "([^"]+)"', text):
        assert (script.parent / name).is_file(), name
    assert re.findall(r"innerHTML|outerHTML|insertAdjacent|\beval\(|new Function|document\.write", text) == []


def test_the_library_is_the_published_one_with_its_licences() -> None:
    vendor = STATIC / "vendor"
    content = (vendor / "htm-preact-3.1.1.js").read_bytes()
    assert hashlib.sha256(content).hexdigest() == VENDORED
    assert "Apache License" in (vendor / "LICENSE.htm").read_text(encoding="utf-8")
    assert "The MIT License" in (vendor / "LICENSE.preact").read_text(encoding="utf-8")
