"""One world and one browser for all experiments of a run: a browser takes a second or more to start."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.browser.browsers import BROWSERS, Tab
from tests.browser.world import World, running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def world() -> AsyncIterator[World]:
    async with running() as world:
        yield world


@pytest.fixture(scope="session", params=BROWSERS)
def browser(request: pytest.FixtureRequest) -> str:
    """The name of the judge."""
    return str(request.param)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def tab(browser: str) -> AsyncIterator[Tab]:
    async with BROWSERS[browser]() as tab:
        yield tab
