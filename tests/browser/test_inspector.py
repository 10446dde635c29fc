"""The inspector in a real browser: from a refusal to an allowed call, under load, and under attack."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.browser.browsers import CHROMIUM_FLAGS, Tab, find_program
from tests.dev.inspector.world import APP, World, preflight, running

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

PATIENCE_MS = 15_000
NOTHING = "\0"  # what no console says
ROWS_AT_ONCE = 120  # elements, far below the rows that are kept


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator["Browser"]:
    from playwright.async_api import async_playwright  # here: a run without these tests does without it

    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(
            executable_path=find_program("chromium"), args=CHROMIUM_FLAGS
        )
        yield launched
        await launched.close()


@pytest_asyncio.fixture(loop_scope="session")
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running(tmp_path) as world:
        yield world


@asynccontextmanager
async def opened(
    chromium: "Browser", world: World, *, expected: str = NOTHING, **how: Any
) -> AsyncIterator["Page"]:  # Any: as Playwright's
    """The inspector in a window of its own, whose console says nothing until the end but what is expected."""
    complaints: list[str] = []
    context = await chromium.new_context(**how)
    context.set_default_timeout(PATIENCE_MS)
    page = await context.new_page()
    page.on("console", lambda message: expected in message.text or complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.add_init_script(
        "addEventListener('securitypolicyviolation', (event) => console.error(event.violatedDirective))"
    )
    await page.goto(world.home + world.gate.entrance)
    await page.get_by_text("live", exact=True).wait_for()
    assert page.url == f"{world.home}/-/"
    yield page
    assert complaints == []
    await context.close()


@asynccontextmanager
async def script_page(chromium: "Browser") -> AsyncIterator[tuple["Page", str]]:
    """A page of another origin, whose scripts call the API; and its origin."""
    app = web.Application()
    app.router.add_get("/", _blank)
    async with TestServer(app, host="localhost") as server:
        origin = f"http://localhost:{server.port}"
        context = await chromium.new_context()
        page = await context.new_page()
        await page.goto(origin)
        yield page, origin
        await context.close()


async def _blank(_: web.Request) -> web.Response:
    return web.Response(text="<!doctype html><title>app</title>", content_type="text/html")


CALL = (
    """(url) => fetch(url, { method: "DELETE" }).then((response) => response.status, (error) => error.name)"""
)


async def test_from_a_refusal_to_an_allowed_call_and_into_the_file(chromium: "Browser", world: World) -> None:
    api = f"http://{world.proxy}/api/items/42"
    async with script_page(chromium) as (app, origin), opened(chromium, world) as page:
        assert await app.evaluate(CALL, api) == "TypeError"
        row = page.get_by_role("option", name=f"preflight for DELETE /api/items/42 from {origin}, refused")
        await row.click()
        detail = page.get_by_role("article", name="The chosen exchange")
        await detail.get_by_text(f"allow_origins does not list {origin}.").wait_for()
        text = await detail.inner_text()
        assert "corsproxy.yaml:9" in text
        assert "PreflightMissingAllowOriginHeader" in text
        await detail.get_by_role("button", name="Apply").click()
        await detail.get_by_text("It serves now, in memory.").wait_for()
        assert await app.evaluate(CALL, api) == 200
        # By its beginning: the row of the preflight says the same behind "preflight for".
        beginning = f"DELETE /api/items/42 from {origin}, allowed"
        await page.locator(f'[role=option][aria-label^="{beginning}"]').wait_for()
        await page.get_by_role("button", name="Save …", exact=True).click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_text("allow_methods: [GET, PUT, DELETE]").wait_for()
        await dialog.get_by_role("button", name="Save", exact=True).click()
        await dialog.get_by_text("holds what serves now").wait_for()
        await page.keyboard.press("Escape")
        await page.get_by_text("What serves was changed in memory").wait_for(state="detached")
        await detail.get_by_role("heading", name="Applied and saved").wait_for()
    saved = world.file.read_text(encoding="utf-8")
    assert f'["https://app.example.com", {origin}]  # and no other' in saved


async def test_a_change_is_taken_back(chromium: "Browser", world: World) -> None:
    await world.send(*preflight("DELETE"), method="OPTIONS")
    before = world.plane.text
    async with opened(chromium, world) as page:
        await page.get_by_role("option").first.click()
        await page.get_by_role("button", name="Apply").click()
        await page.get_by_role("button", name="Take back").click()
        await page.get_by_text("What serves was changed in memory").wait_for(state="detached")
    assert world.plane.text == before


async def test_a_pasted_message_leads_to_its_exchange(chromium: "Browser", world: World) -> None:
    await world.send(*preflight("DELETE"), method="OPTIONS")
    message = (
        f"Access to fetch at 'http://proxy.test/api/items' from origin '{APP}' has been blocked by CORS "
        "policy: Method DELETE is not allowed by Access-Control-Allow-Methods in preflight response."
    )
    async with opened(chromium, world) as page:
        await page.keyboard.press("2")
        await page.get_by_role("textbox", name="Paste a message from the console").fill(message)
        await page.get_by_role("button", name="Find it").click()
        await page.get_by_role("listitem").filter(has_text="open path is /open").wait_for()
        assert await page.evaluate(OVERFLOW) == []
        await page.get_by_role("button", name="exchange 1").click()
        await page.get_by_role("heading", name="DELETE /api/items").wait_for()


SHOWN = """async (link) => {
  const settled = (condition) => new Promise((resolve) => {
    const look = () => condition() && resolve();
    new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true });
    look();
  });
  await settled(() => document.querySelector(".row"));
  document.querySelector(".row").click();
  await settled(() => document.querySelector(".detail .offer"));
  return document.querySelector(".detail").innerText;
}"""


async def test_every_browser_shows_it(tab: Tab, world: World) -> None:
    await world.send(*preflight("DELETE"), method="OPTIONS")
    await tab.visit(world.home + world.gate.entrance)
    text = await tab.call(SHOWN)
    assert "allow_methods does not allow DELETE." in text
    assert "allow_methods: [GET, PUT, DELETE]" in text


# Under load


async def flood(world: World, count: int, per_second: int) -> None:
    """Preflights over one connection, in small groups, at this pace."""
    reader, writer = await asyncio.open_connection(world.proxy.host, world.proxy.port)
    group = per_second // 50
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in range(0, count, group):
        for at in range(number, number + group):
            lines = [
                f"OPTIONS /api/items/{at} HTTP/1.1",
                "Host: h",
                *preflight("PUT" if at % 3 else "DELETE"),
            ]
            writer.write("\r\n".join([*lines, "", ""]).encode())
        await writer.drain()
        for _ in range(group):
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"Content-Length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
        await asyncio.sleep(max(0.0, began + (number + group) / per_second - loop.time()))
    writer.close()
    await writer.wait_closed()


WEIGHT = """() => ({
  rows: document.querySelectorAll(".row").length,
  nodes: document.getElementsByTagName("*").length,
  newest: Number(document.querySelector(".row")?.id.replace("row-", "")),
})"""


async def weigh(page: "Page") -> tuple[int, dict[str, int]]:
    """Bytes of the page's heap after a collection, and what it holds."""
    devtools = await page.context.new_cdp_session(page)
    await devtools.send("HeapProfiler.enable")
    await devtools.send("HeapProfiler.collectGarbage")
    usage = await devtools.send("Runtime.getHeapUsage")
    await devtools.detach()
    return int(usage["usedSize"]), await page.evaluate(WEIGHT)


async def newest(page: "Page", number: int) -> None:
    """Wait until the page shows this exchange on top."""
    await page.locator(f".row:first-child#row-{number}").wait_for()


async def test_a_thousand_a_second_leave_no_trace_in_memory(chromium: "Browser", world: World) -> None:
    async with opened(chromium, world) as page:
        await flood(world, 3000, 1000)  # more than are kept: from here on nothing may grow
        await newest(page, 3000)
        before, held = await weigh(page)
        await flood(world, 5000, 1000)
        await newest(page, 8000)
        after, holds = await weigh(page)
        assert after < before + 1_500_000, (before, after)
        assert holds["rows"] <= ROWS_AT_ONCE
        assert holds["nodes"] <= held["nodes"] + 50
        assert world.ring.kept <= 500
        await page.get_by_text("500 · older ones have left").wait_for()


async def test_while_it_pours_the_chosen_row_stays_in_sight(chromium: "Browser", world: World) -> None:
    await flood(world, 200, 2000)
    async with opened(chromium, world) as page:
        await newest(page, 200)
        row = page.locator("#row-150")
        await page.locator("#list").evaluate("(list) => (list.scrollTop = 45 * 37)")
        before = await row.bounding_box()
        await flood(world, 300, 1000)
        await page.get_by_text("500", exact=True).wait_for()
        assert await row.bounding_box() == before


async def test_what_comes_while_paused_waits(chromium: "Browser", world: World) -> None:
    await world.send()
    async with opened(chromium, world) as page:
        await newest(page, 1)
        await page.keyboard.press("p")
        await world.send()
        await page.get_by_text("1 · 1 wait").wait_for()
        await page.keyboard.press("p")
        await newest(page, 2)


# Under attack

MARKUP = "<svg/onload=window.pwned=1>"
BREAKOUT = "\"'><img/src=x/onerror=window.pwned=1>`${window.pwned=1}{{window.pwned=1}}"

# Names of routes and policies are plain words, or the file does not load; values and the file's name are not.
HOSTILE_CONFIG = """\
listen: 127.0.0.1:0
routes:
  - match: {{path: /api}}
    upstream: http://127.0.0.1:{upstream}
    cors: {{allow_origins: ["https://app.example.com"]}}
    response_headers: {{set: {{X-Evil: 'MARKUP'}}}}
""".replace("MARKUP", MARKUP)


async def attack(world: World) -> None:
    """Markup wherever a client can put it."""
    for evil in (MARKUP, BREAKOUT):
        target = evil.replace(" ", "")
        await world.send(f"Origin: {evil}", f"X-Evil: {evil}", path=f"/api/{target}?{target}={target}")
        await world.send(*preflight(evil, origin=evil), method="OPTIONS", path=f"/api/{target}")
        await world.send(*preflight(evil), method="OPTIONS", path=f"/api/{target}")
        await world.send(*preflight("PUT", evil), method="OPTIONS", path=f"/{target}")
        await world.send(f"Origin: {APP}", f"Cookie: {evil}={evil}", f"X-Request-Id: {evil}", path="/api")
        await world.send(f"Origin: {APP}", f"Referer: javascript:{evil}", path=f"/{target}")


async def test_markup_is_text_in_every_view(chromium: "Browser", tmp_path: Path) -> None:
    folder = tmp_path / MARKUP.replace("/", " ")
    folder.mkdir()
    async with running(folder, config=HOSTILE_CONFIG) as world:
        await attack(world)
        # A browser's console lists failed requests: what was asked here is no call that a browser can make.
        async with opened(chromium, world, expected="status of 400 (Bad Request)") as page:
            for number in range(1, world.ring.last + 1):
                await page.locator(f"#row-{number}").click()
                await page.get_by_text(
                    re.compile(rf"^(preflight|call of a script|request) {number}$")
                ).wait_for()
                if await (ask := page.get_by_role("button", name="Ask about it")).count():
                    await ask.click()
                    await page.get_by_role("heading", name="Ask about a call").wait_for()
                    await page.keyboard.press("1")
            await page.keyboard.press("2")
            for name in ("path", "origin", "headers", "host"):
                await page.locator(f"input[name={name}]").fill(f"/{MARKUP}" if name == "path" else MARKUP)
            await page.get_by_role("button", name="Explain").click()
            await page.get_by_role("alert").wait_for()
            paste = f"Access to fetch at 'http://h/{MARKUP}' from origin '{MARKUP}' has been blocked by CORS policy: No 'Access-Control-Allow-Origin'"  # noqa: E501 - as a browser writes it
            await page.get_by_role("textbox", name="Paste a message from the console").fill(paste)
            await page.get_by_role("button", name="Find it").click()
            await page.get_by_text("MissingAllowOriginHeader").first.wait_for()
            await page.keyboard.press("Escape")
            await page.get_by_role("link", name="State").click()
            await page.get_by_role("table").first.wait_for()
            assert MARKUP in await page.inner_text("main")
            assert await page.evaluate(
                "[window.pwned, document.querySelectorAll('#app svg, #app img, #app script').length]"
            ) == [None, 0]


# By keyboard, on a small screen, without a mouse


async def test_everything_is_reached_by_keyboard(chromium: "Browser", world: World) -> None:
    for method in ("GET", "DELETE"):
        await world.send(*preflight(method), method="OPTIONS")
    async with opened(chromium, world) as page:
        await newest(page, 2)
        await page.keyboard.press("j")
        await page.keyboard.press("j")
        assert await page.evaluate("document.activeElement.getAttribute('aria-activedescendant')") == "row-1"
        await page.keyboard.press("k")
        await page.keyboard.press("Enter")
        await page.get_by_role("heading", name="DELETE /api/items").wait_for()
        await page.locator(".detail h2:focus").wait_for()
        await page.keyboard.press("j")
        await page.get_by_role("heading", name="GET /api/items").wait_for()
        await page.keyboard.press("Escape")
        await page.locator("#list:focus").wait_for()
        assert await page.locator(".detail").count() == 0
        await page.keyboard.press("/")
        await page.locator("#filter:focus").wait_for()
        await page.keyboard.type("outcome:refused")
        await page.get_by_text("1 of 2", exact=True).wait_for()
        await page.keyboard.press("Escape")
        await page.get_by_text("2", exact=True).wait_for()
        await page.keyboard.press("?")
        await page.get_by_role("dialog", name="Keys and filters").wait_for()
        await page.keyboard.press("Escape")
        await page.get_by_role("dialog").wait_for(state="detached")


FILTERS = {
    "outcome:refused": [2],
    "-outcome:refused": [1, 3],
    "status:4xx": [2],
    "status:2": [1, 3],
    "kind:preflight": [1, 2],
    "method:delete": [2],
    "route:open": [3],
    "origin:b.test": [3],
    "path:/api reason:method": [2],
    "DELETE items": [2],
    "has:note": [],
    "nothing:like": [],
    "constructor:x": [],
}


async def test_filters(chromium: "Browser", world: World) -> None:
    for method in ("PUT", "DELETE"):
        await world.send(*preflight(method), method="OPTIONS")
    await world.send("Origin: https://b.test", path="/open/x")
    async with opened(chromium, world) as page:
        await newest(page, 3)
        for text, wanted in FILTERS.items():
            await page.locator("#filter").fill(text)
            await page.get_by_text(f"{len(wanted)} of 3" if len(wanted) < 3 else "3", exact=True).wait_for()
            shown = await page.evaluate("Array.from(document.querySelectorAll('.row'), (row) => row.id)")
            assert sorted(shown) == [f"row-{number}" for number in wanted], text
        await page.locator("#filter").fill("nothing:like")
        await page.get_by_text("No exchange fits the filter").wait_for()
        await page.get_by_role("button", name="Show all").click()
        await newest(page, 3)


async def test_what_the_browser_blocks_is_among_the_refused(chromium: "Browser", world: World) -> None:
    await world.send("Origin: https://b.test", path="/open/x")
    await world.send("Origin: https://b.test", "Cookie: sid=1", path="/open/y")
    async with opened(chromium, world) as page:
        await newest(page, 2)
        await page.get_by_role("button", name="Refused").click()
        await page.get_by_text("1 of 2", exact=True).wait_for()
        assert await page.locator(".row .path").all_inner_texts() == ["/open/y"]


async def test_it_fits_a_small_screen(chromium: "Browser", world: World) -> None:
    for method in ("PUT", "DELETE"):
        await world.send(
            *preflight(method, origin=f"https://{'a-long-name-' * 5}.example.com"), method="OPTIONS"
        )
    await world.send(f"Origin: {APP}", path=f"/api/{'a-long-path-' * 20}")
    async with opened(chromium, world, viewport={"width": 360, "height": 640}) as page:
        await newest(page, 3)
        for number in (1, 2, 3):
            await page.locator(f"#row-{number}").click()
            await page.get_by_role("heading", name="Again").wait_for()
            assert await page.evaluate(OVERFLOW) == []
            await page.get_by_role("button", name="Close").click()
        for view in ("Ask", "State", "Exchanges"):
            await page.get_by_role("link", name=view, exact=True).click()
            assert await page.evaluate(OVERFLOW) == []


# Elements that stick out of the window, but for those in a box that scrolls by itself.
OVERFLOW = """() => Array.from(document.querySelectorAll("#app *"))
  .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
  .filter((element) => !element.closest("pre, .scroll, .row, .hidden, .skip"))
  .map((element) => `${element.tagName}.${element.className}`)"""


async def test_large_letters_get_high_rows_and_two_lines_sooner(chromium: "Browser", world: World) -> None:
    await world.send(*preflight("DELETE"), method="OPTIONS")
    async with opened(chromium, world, viewport={"width": 900, "height": 640}) as page:
        await newest(page, 1)
        await page.locator(".list.tight").wait_for()  # 900 pixels are less than the columns need
        await page.set_viewport_size({"width": 1000, "height": 640})
        await page.locator(".list:not(.tight)").wait_for()
        await page.evaluate("document.documentElement.style.fontSize = '24px'")
        await page.set_viewport_size({"width": 1001, "height": 640})
        await page.locator(".list.tight").wait_for()
        heights = await page.evaluate(
            "[document.querySelector('.row').offsetHeight, document.querySelector('.space').offsetHeight]"
        )
        assert heights == [87, 87]


async def test_the_list_is_walked_by_the_page(chromium: "Browser", world: World) -> None:
    await flood(world, 200, 2000)
    active = "document.querySelector('#list').getAttribute('aria-activedescendant')"
    async with opened(chromium, world) as page:
        await newest(page, 200)
        await page.locator("#list").focus()
        for key, expected in {"End": 1, "Home": 200}.items():
            await page.keyboard.press(key)
            await page.locator(f"#row-{expected}[aria-selected=true]").wait_for()
        await page.keyboard.press("PageDown")
        await page.locator("#row-200[aria-selected=false]").wait_for()
        further = await page.evaluate(active)
        assert 170 < int(further.removeprefix("row-")) < 195
        await page.keyboard.press("PageUp")
        await page.locator("#row-200[aria-selected=true]").wait_for()
        await page.locator("#list").evaluate("(list) => (list.scrollTop = list.scrollHeight)")
        await page.locator("#row-1").wait_for()
        assert await page.evaluate(active) == "row-200"
        assert await page.locator("#row-200").count() == 1


async def test_a_page_that_nobody_sees_takes_no_connection(chromium: "Browser", world: World) -> None:
    await world.send()
    hide = (
        "(hidden) => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }"
    )
    async with opened(chromium, world) as page:
        await newest(page, 1)
        async with page.expect_event("requestfailed", lambda request: request.url.endswith("/events")):
            await page.evaluate(hide, True)
        await world.send()
        async with page.expect_request("**/events?after=*-1"):
            await page.evaluate(hide, False)
        await newest(page, 2)
        assert await page.locator(".row").count() == 2


async def test_a_page_of_another_run_says_what_to_open(chromium: "Browser", world: World) -> None:
    await world.send()
    async with opened(chromium, world, expected="") as page:
        await newest(page, 1)
        await page.context.clear_cookies()
        await page.get_by_role("button", name="Clear").click()
        says = "corsproxy was started again: open the link that it printed."
        await page.get_by_role("alert").filter(has_text=says).wait_for()
        await world.restart_admin()
        await page.get_by_role("alert").filter(has_text="What is shown here is from before.").wait_for()


async def test_it_comes_back_when_the_connection_was_lost(chromium: "Browser", world: World) -> None:
    await world.send()
    async with opened(chromium, world, expected="net::ERR_") as page:
        await newest(page, 1)
        await world.restart_admin()
        await world.send()
        await newest(page, 2)
        await page.get_by_text("live", exact=True).wait_for()


async def test_without_its_cookie_it_says_what_to_open(chromium: "Browser", world: World) -> None:
    async with opened(chromium, world, expected="status of 401") as page:
        await page.context.clear_cookies()
        await page.reload()
        assert "Open the one with ?t=" in await page.inner_text("body")
