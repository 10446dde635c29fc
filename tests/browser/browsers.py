"""The judges: Chromium and Firefox, each with a tab that can be sent somewhere and asked something.

Here:  starting them, one small interface for both, and what their consoles say about CORS.
Never: experiments, expectations, servers.
"""

import asyncio
import json
import re
import shutil
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import pytest

from tests.browser.bidi import Json, Session, connected

if TYPE_CHECKING:
    from playwright.async_api import CDPSession, Page

__all__ = ["BROWSERS", "Tab", "chromium", "firefox"]

PATIENCE_SECONDS = 20

CHROMIUM_FLAGS = [
    "--headless",
    "--no-sandbox",  # containers run the tests as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A sandboxed frame in a process of its own would have a DevTools session of its own, too.
    "--disable-features=IsolateSandboxedIframes",
]
FIREFOX_PREFERENCES = {
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.region.update.enabled": False,
    "browser.safebrowsing.downloads.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
    "browser.search.update": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "extensions.systemAddon.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "services.settings.server": "data:,",  # no remote settings: nothing leaves this machine
    "toolkit.telemetry.enabled": False,
}


class Tab(Protocol):
    """One tab, and what its console has said about CORS since `complaints` was last emptied."""

    complaints: asyncio.Queue[str]

    async def visit(self, url: str) -> None:
        """Load a page."""

    async def call(self, function: str, argument: object = None) -> Any:  # Any: JSON
        """What an (async) function written in JavaScript returns for this argument."""


def find_program(*names: str) -> str:
    """The path of the first of these that is installed; without one the test fails, and says so."""
    found = next(filter(None, map(shutil.which, names)), None)
    return found or missing(names[0], f"apt-get install {names[0]}")


def missing(what: str, remedy: str) -> NoReturn:
    pytest.fail(f"no {what} here: {remedy}, or leave these tests out by -m 'not browser'", pytrace=False)


class ChromiumTab:
    """A tab over the DevTools protocol: `corsErrorStatus` says why a request was blocked."""

    def __init__(self, page: "Page", devtools: "CDPSession") -> None:
        self.complaints: asyncio.Queue[str] = asyncio.Queue()
        self._page = page
        devtools.on("Network.loadingFailed", self._note)

    def _note(self, failure: Json) -> None:
        if status := failure.get("corsErrorStatus"):
            self.complaints.put_nowait(status["corsError"])

    async def visit(self, url: str) -> None:
        await self._page.goto(url)

    async def call(self, function: str, argument: object = None) -> Any:
        return await self._page.evaluate(function, argument)


@asynccontextmanager
async def chromium() -> AsyncIterator[Tab]:
    """Start it, with one tab."""
    program = find_program("chromium")
    if find_spec("playwright") is None:
        missing("playwright", "pip install --group browser")
    from playwright.async_api import async_playwright  # here: a run without these tests does without it

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=CHROMIUM_FLAGS)
        page = await browser.new_page()
        devtools = await page.context.new_cdp_session(page)
        await devtools.send("Network.enable")
        yield ChromiumTab(page, devtools)
        await browser.close()


class FirefoxTab:
    """A tab over WebDriver BiDi: the console's sentence has the reason in brackets."""

    def __init__(self, session: Session, context: str) -> None:
        self.complaints: asyncio.Queue[str] = asyncio.Queue()
        self._session = session
        self._context = context
        session.on_event(self._note)

    def _note(self, method: str, entry: Json) -> None:
        if method == "log.entryAdded" and (found := re.search(r"\(Reason: (.*)\)", entry["text"] or "")):
            self.complaints.put_nowait(found[1])

    async def visit(self, url: str) -> None:
        await self._session.send("browsingContext.navigate", context=self._context, url=url, wait="complete")

    async def call(self, function: str, argument: object = None) -> Any:
        outcome = await self._session.send(
            "script.callFunction",
            functionDeclaration=f"async (text) => JSON.stringify(await ({function})(JSON.parse(text)))",
            arguments=[{"type": "string", "value": json.dumps(argument)}],
            target={"context": self._context},
            awaitPromise=True,
        )
        assert outcome["type"] == "success", outcome
        return json.loads(outcome["result"]["value"])


@asynccontextmanager
async def firefox() -> AsyncIterator[Tab]:
    """Start it with a profile of its own, with one tab."""
    program = find_program("firefox-esr", "firefox")
    with TemporaryDirectory(prefix="corsproxy-firefox-", ignore_cleanup_errors=True) as profile:
        lines = (
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in FIREFOX_PREFERENCES.items()
        )
        (Path(profile) / "user.js").write_text("".join(lines), encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            program,
            *("--headless", "--no-remote", "--profile", profile, "--remote-debugging-port=0", "about:blank"),
            stdout=DEVNULL,
            stderr=PIPE,
        )
        try:
            async with connected(await _bidi_address(process)) as session:
                await session.send("session.subscribe", events=["log.entryAdded"])
                tab = await session.send("browsingContext.create", type="tab")
                yield FirefoxTab(session, tab["context"])
                await session.send("browser.close")
        finally:
            if process.returncode is None:
                process.terminate()
            await process.communicate()


async def _bidi_address(process: Process) -> str:
    """Where Firefox says that it listens."""
    heard = b""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while line := await process.stderr.readline():  # type: ignore[union-attr] # a pipe was asked for
            if found := re.search(rb"BiDi listening on (ws://\S+)", line):
                return found[1].decode()
            heard += line
    raise AssertionError(f"Firefox ended without a word of BiDi: {heard.decode()}")


BROWSERS = {"chromium": chromium, "firefox": firefox}
