"""`python -m tests.browser.screenshots`: the pictures in docs/images, of inspector and demo page.

Here:  what is to be seen on each, in both colour schemes, and a bound on their size.
Never: expectations (the tests have them).
"""

import asyncio
import tempfile
from contextlib import chdir
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

from corsproxy.dev.demo import demo
from tests.browser.browsers import CHROMIUM_FLAGS, find_program
from tests.dev.inspector.world import APP, World, preflight, running

FOLDER = Path(__file__).parents[2] / "docs" / "images"
MOST_BYTES = 200_000
WINDOW = {"width": 1240, "height": 780}
STRANGER = "https://shop.example.org"
DEMO_PORT = 8880


async def traffic(world: World) -> None:
    """A morning at the API: calls that work, and some that do not."""
    item, json = "/api/items/42", "Content-Type: application/json"
    for _ in range(2):
        await world.send(path="/api/health")
        await world.send(f"Origin: {APP}", path="/api/items?page=2")
        await world.send(*preflight("PUT", "content-type"), method="OPTIONS", path=item)
        await world.send(f"Origin: {APP}", json, method="PUT", path=item, body='{"name": "Lamp"}')
        await world.send(f"Origin: {STRANGER}", path="/api/items")
        await world.send("Origin: null", path="/api/me")
        await world.send(f"Origin: {APP}", "Cookie: session=1", path="/api/me")
        await world.send(f"Origin: {APP}", path="/apis/items")
        await world.send(f"Origin: {STRANGER}", path="/open/prices")
        await world.send(*preflight("DELETE", "x-csrf"), method="OPTIONS", path=item)
        await world.send(f"Origin: {APP}", json, method="PUT", path=item, body='{"name": "Lamp"}')


async def show_inspector(page: Page, world: World, scheme: str) -> None:
    await page.goto(world.home + world.gate.entrance)
    await page.locator(f".row:first-child#row-{world.ring.last}").wait_for()
    await take(page, f"inspector-list-{scheme}")
    await page.get_by_role("option", name="preflight for DELETE").first.click()
    await page.get_by_role("button", name="Apply").wait_for()
    await page.mouse.move(0, 0)
    await take(page, f"inspector-{scheme}")


async def show_demo(page: Page, scheme: str) -> None:
    async with demo(DEMO_PORT) as places:
        await page.goto(places.page)
        await page.get_by_role("button", name="Run all").click()
        await page.get_by_text("Answers a script could read").wait_for()
        await page.evaluate("scrollTo(0, 0)")
        await take(page, f"demo-{scheme}")
        await page.locator("#preflight").scroll_into_view_if_needed()
        await page.locator("#preflight").evaluate("(article) => article.scrollIntoView()")
        await take(page, f"demo-experiment-{scheme}")


async def take(page: Page, name: str) -> None:
    path = FOLDER / f"{name}.png"
    await page.screenshot(path=path, animations="disabled")
    size = path.stat().st_size
    print(f"{path.name}  {size:,} bytes")  # noqa: T201 - it is a command
    if size > MOST_BYTES:
        raise SystemExit(f"{path.name} is larger than {MOST_BYTES:,} bytes")


async def take_all(browser: Browser, world: World) -> None:
    for scheme in ("light", "dark"):
        context = await browser.new_context(color_scheme=scheme, viewport=WINDOW, reduced_motion="reduce")
        page = await context.new_page()
        await show_inspector(page, world, scheme)
        await show_demo(page, scheme)
        await context.close()


async def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):  # so that the file is shown without folders
        async with running(Path()) as world, async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=find_program("chromium"), args=CHROMIUM_FLAGS
            )
            await traffic(world)
            await take_all(browser, world)
            await browser.close()


if __name__ == "__main__":
    asyncio.run(main())
