"""The demo as a whole: three origins in one process, the proxy's own decisions in between, a clean end."""

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from aiohttp import ClientSession

from corsproxy.dev.demo import demo
from corsproxy.dev.legacy import PIECES
from corsproxy.dev.places import Places, port_of, take_port

PATIENCE_SECONDS = 60
COMMAND = [sys.executable, "-m", "corsproxy", "demo"]


@asynccontextmanager
async def started(port: int = 0) -> AsyncIterator[tuple[Process, Places]]:
    """The command as a process of its own, once it has said where it is."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "--port", str(port), stdout=PIPE, stderr=PIPE
        )
        try:
            lines = [(await process.stdout.readline()).decode().split("  ") for _ in range(3)]
            assert [line[0] for line in lines] == ["page", "proxy", "legacy API"]
            yield process, Places(*(line[-1].strip() for line in lines))
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
async def test_a_signal_ends_it_with_exit_0(number: signal.Signals) -> None:
    async with started() as (process, places), ClientSession() as session:
        for url in (places.page, f"{places.proxy}/api/items", f"{places.legacy}/api/items"):
            assert (await session.get(url)).status == 200
        process.send_signal(number)
        assert await process.wait() == 0


async def test_what_is_in_flight_is_finished_first() -> None:
    async with started() as (process, places), ClientSession() as session:
        response = await session.get(f"{places.proxy}/api/slow")
        await response.content.readline()
        process.send_signal(signal.SIGINT)
        assert len((await response.text()).splitlines()) == PIECES - 1
        assert await process.wait() == 0


async def test_a_second_signal_ends_it_at_once() -> None:
    async with started() as (process, places), ClientSession() as session:
        response = await session.get(f"{places.proxy}/api/slow")
        await response.content.readline()
        process.send_signal(signal.SIGINT)
        while not (line := await process.stderr.readline()).startswith(b"Ending"):
            assert line  # b"" is the end of the file: it would never come
        process.send_signal(signal.SIGINT)
        assert await process.wait() == -signal.SIGINT


async def test_a_taken_port_is_passed_over() -> None:
    with take_port(0) as taken:
        async with started(port_of(taken)) as (_process, places):
            ports = [int(place.rpartition(":")[2]) for place in (places.page, places.proxy, places.legacy)]
            assert min(ports) > port_of(taken)
            assert len(set(ports)) == 3


async def test_no_port_left_is_said_in_one_line() -> None:
    with take_port(65535):
        process = await asyncio.create_subprocess_exec(*COMMAND, "--port", "65535", stdout=PIPE, stderr=PIPE)
        async with asyncio.timeout(PATIENCE_SECONDS):
            out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert err.startswith(b"Error: the demo could not start: ")
    assert err.count(b"\n") == 1


@pytest.fixture
async def places() -> AsyncIterator[Places]:
    async with demo(0) as places:
        yield places


@dataclass(frozen=True, slots=True)
class Case:
    says: str
    method: str
    path: str
    status: int


JSON = {"Content-Type": "application/json"}
CASES = [
    Case("a plain GET", "GET", "/api/items?page=2", 200),
    Case("a login", "POST", "/api/login", 200),
    Case("a PUT", "PUT", "/api/items/43", 201),
    Case("an error", "GET", "/api/broken", 500),
    Case("a missing cookie", "GET", "/api/me", 401),
    Case("the wildcard twice", "GET", "/api/wrong-cors?kind=twice", 200),
    Case("a foreign origin", "GET", "/api/wrong-cors?kind=foreign", 200),
    Case("something that is not there", "GET", "/nowhere", 404),
]


async def ask(url: str, case: Case, origin: str) -> tuple[int, list[str], list[str]]:
    """Status, Access-Control-Allow-Origin and Access-Control-Allow-Credentials of one answer."""
    body = b'{"name": "Lamp"}' if case.method == "PUT" else None
    async with (
        ClientSession() as session,
        session.request(
            case.method, url + case.path, data=body, headers={**JSON, "Origin": origin}
        ) as response,
    ):
        fields = response.headers
        return (
            response.status,
            fields.getall("Access-Control-Allow-Origin", []),
            fields.getall("Access-Control-Allow-Credentials", []),
        )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
async def test_the_page_may_read(places: Places, case: Case) -> None:
    assert await ask(places.proxy, case, places.page) == (case.status, [places.page], ["true"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
async def test_nobody_else_may_read(places: Places, case: Case) -> None:
    assert await ask(places.proxy, case, "null") == (case.status, [], [])


async def preflight(places: Places, origin: str) -> tuple[int, dict[str, str], str]:
    headers = {
        "Origin": origin,
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "content-type",
    }
    async with (
        ClientSession() as session,
        session.options(f"{places.proxy}/api/items/43", headers=headers) as response,
    ):
        found = {name: value for name, value in response.headers.items() if name.startswith("Access-Control")}
        return response.status, found, await response.text()


async def test_the_preflight_of_the_page_is_answered_by_the_proxy(places: Places) -> None:
    status, fields, body = await preflight(places, places.page)
    assert (status, body) == (204, "")
    assert fields["Access-Control-Allow-Origin"] == places.page


async def test_the_preflight_of_a_sandboxed_frame_is_refused_with_its_reason(places: Places) -> None:
    status, fields, body = await preflight(places, "null")
    assert (status, fields) == (403, {})
    assert "null-not-allowed" in body


async def test_the_page_shows_the_policy_that_runs(places: Places) -> None:
    async with ClientSession() as session, session.get(f"{places.page}/demo.json") as response:
        policy = (await response.json())["policy"]
    assert f'allow_origins: ["{places.page}"]' in policy
    assert f"listen: 127.0.0.1:{places.proxy.rpartition(':')[2]}\n" in policy
