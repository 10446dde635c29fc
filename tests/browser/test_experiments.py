"""Real browsers judge: what can a script read through corsproxy, and what does the console say otherwise?

Here:  every row of the tables, run by each browser. They differ in the words of their consoles alone.
Never: what corsproxy sends (tests/cors, tests/proxy): only what a browser makes of it.
"""

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from tests.browser.asking import CACHES, COOKIES, METHODS, NULL, PREFLIGHT_CACHE, REDIRECTS
from tests.browser.browsers import Tab
from tests.browser.cases import WATCHED, Blocked, Case, Read, Step
from tests.browser.reading import ERRORS, EXPOSED, MODES, OTHER_WAYS, WRONG
from tests.browser.world import PATIENCE_SECONDS, World

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

CASES = [
    *(*MODES, *OTHER_WAYS, *EXPOSED, *ERRORS, *WRONG),
    *(*METHODS, *PREFLIGHT_CACHE, *CACHES, *NULL, *REDIRECTS, *COOKIES),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
async def test_experiment(case: Case, tab: Tab, world: World, browser: str) -> None:
    world.begin()
    page = ""
    for step in case.steps:
        if step.page != page:
            page = step.page
            await tab.visit(address(world, page))
        tab.complaints = asyncio.Queue()
        result = await tab.call("(experiment) => run(experiment)", experiment(world, case, step))
        await judge(step.gets, result, tab, browser)
    assert tuple(await world.seen(len(case.seen))) == case.seen
    asked = sum(not line.startswith("preflight") for line in case.seen)
    assert len(world.reached) == (asked if case.reached is None else case.reached), world.reached


def address(world: World, page: str) -> str:
    """Where a page is. That of the proxy's own origin comes from the upstream, through it."""
    return f"{world.origins['proxy']}/blocking/page/" if page == "proxy" else f"{world.origins[page]}/"


def experiment(world: World, case: Case, step: Step) -> dict[str, object]:
    """A step as the page takes it. A query of its own keeps what one case left in a cache from the next."""
    path = step.path
    for name in ("proxy elsewhere", "upstream"):
        path = path.replace(quote(f"{{{name}}}", safe=""), quote(world.origins[name], safe=""))
    mark = f"{'&' if '?' in path else '?'}case={CASES.index(case)}"
    return {
        "way": step.way,
        "url": world.origins["proxy"] + path + mark,
        "method": step.method,
        "headers": step.headers,
        "credentials": step.credentials,
        "mode": step.mode,
        "body": step.body,
    }


async def judge(expected: Read | Blocked, result: dict[str, Any], tab: Tab, browser: str) -> None:
    """Compare what the script could read, or what the console says, with what was expected."""
    if isinstance(expected, Blocked):
        assert result == {"error": "TypeError"}
        async with asyncio.timeout(PATIENCE_SECONDS):  # the console speaks a little later than the script
            complaint = await tab.complaints.get()
        if browser == "chromium":
            assert complaint == expected.chromium
        else:
            assert complaint.startswith(expected.firefox)
        return
    assert "error" not in result, (
        result,
        [tab.complaints.get_nowait() for _ in range(tab.complaints.qsize())],
    )
    assert (result["status"], result["type"]) == (expected.status, expected.type)
    assert {name.lower() for name in result["headers"]} & WATCHED == set(expected.names.split())
    if expected.body is not None:
        assert result["body"] == expected.body
