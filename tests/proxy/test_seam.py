"""What `proxy` counts on of aiohttp's inside: an upgrade that moves it fails here, loudly."""

import asyncio
import inspect
import socket
from typing import Any

import aiohttp
import pytest
from aiohttp import web, web_protocol
from aiohttp.base_protocol import BaseProtocol
from aiohttp.web_protocol import RequestHandler

from corsproxy.config.table import Limits, Timeouts
from corsproxy.http.faults import Fault
from corsproxy.http.forwarded import forwarded_lines
from corsproxy.proxy.clients import ClientServer
from corsproxy.proxy.downstream import Downstream
from tests.proxy.conftest import APP, proxy, route
from tests.wire import answers, ask, get, ok, upstream


def test_the_version_is_one_that_these_tests_were_run_with() -> None:
    assert aiohttp.__version__.split(".")[:2] == ["3", "14"]


class Silent:
    """A service that is never asked."""

    def handle(self, client: Downstream, request: object) -> None:
        raise AssertionError

    def refuse(self, client: Downstream, fault: Fault, head: bytes) -> None:
        raise AssertionError

    def settings(self) -> Any:
        from corsproxy.proxy.roles import Settings

        known = {"limits": Limits(), "timeouts": Timeouts(), "shortest": 1.0}
        wanted = inspect.signature(Settings).parameters
        return Settings(**{name: known.get(name, ()) for name in wanted})


@pytest.mark.parametrize("name", ["_close", "_loop", "_manager", "_paused", "_task_handler", "transport"])
async def test_a_connection_has_what_is_read_and_set_on_it(name: str) -> None:
    loop = asyncio.get_running_loop()
    connection = RequestHandler(web.Server(lambda _: None), loop=loop)  # type: ignore[arg-type] # never called
    assert hasattr(connection, name)
    assert hasattr(ClientServer(Silent(), loop=loop)(), name)


# Of these, the first two run on a connection of ours; none of the others does.
INHERITED = {
    *("__repr__", "pause_writing"),
    *(
        "connected",
        "writing_paused",
        "_drain_helper",
        "_pause_reading_for_buffer",
        "_pause_transport_reading",
        "_resume_reading_for_buffer",
    ),
    *("_resume_transport_reading", "pause_reading", "resume_reading"),
    *("_handle_request", "_make_error_handler", "_process_keepalive", "_resume_reading_if_drained"),
    *("finish_response", "force_close", "handle_error", "keep_alive", "keepalive_timeout", "log_access"),
    *("log_debug", "log_exception", "peername", "set_parser", "sockname", "ssl_context", "start"),
}


def test_what_a_connection_has_of_aiohttps_own_is_known() -> None:
    """It is made without `RequestHandler.__init__`, so what that sets is missing to all of these."""
    theirs = {name for kind in (RequestHandler, BaseProtocol) for name, it in vars(kind).items() if _runs(it)}
    assert theirs - vars(Downstream).keys() == INHERITED


def _runs(it: object) -> bool:
    return inspect.isfunction(it) or isinstance(it, property) or "property" in type(it).__name__


async def test_a_connection_can_be_shown() -> None:
    """As the event loop does when something goes wrong."""
    assert repr(ClientServer(Silent(), loop=asyncio.get_running_loop())()) == "<Downstream disconnected>"


async def test_no_client_is_served_by_aiohttps_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it does not matter to clients which of its two aiohttp has: the one in Python is lenient."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(web_protocol, "HttpRequestParser", never)
    upload = get("/", "Transfer-Encoding: chunked", method="POST") + b"3\r\nabc\r\n0\r\n\r\n"
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        for asks in (get("/"), upload, get("/")):
            await wire.send(asks)
            assert (await wire.message()).status == 200


async def test_the_server_makes_our_connections_and_keeps_them_by_identity() -> None:
    server = ClientServer(Silent(), loop=asyncio.get_running_loop())
    assert type(server()) is Downstream
    assert server._connections == {}
    assert server.open_count == 0


async def test_the_server_ends_its_connections_by_close_and_shutdown(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, float | None]] = []

    async def shutdown(self: Downstream, timeout: float | None = 15.0) -> None:  # noqa: ASYNC109 - aiohttp's own
        asked.append(("shutdown", timeout))

    monkeypatch.setattr(Downstream, "shutdown", shutdown)
    monkeypatch.setattr(Downstream, "close", lambda _: asked.append(("close", None)))
    server = ClientServer(Silent(), loop=asyncio.get_running_loop())
    server._connections[server()] = asyncio.Transport()
    server.pre_shutdown()
    await server.shutdown(3.0)
    (close, (end, seconds)) = asked
    assert (close, end) == (("close", None), "shutdown")
    assert seconds is not None
    assert 2.9 < seconds <= 3.0


@pytest.mark.parametrize(
    "option", [(socket.IPPROTO_TCP, socket.TCP_NODELAY), (socket.SOL_SOCKET, socket.SO_KEEPALIVE)]
)
async def test_an_accepted_connection_has_the_options_that_nobody_sets_on_it(option: tuple[int, int]) -> None:
    async with proxy(route(1)) as front:
        wire = await front.dial()
        await wire.send(get("/", f"Origin: {APP}", "Access-Control-Request-Method: PUT", method="OPTIONS"))
        await wire.message()
        (transport,) = front.server._clients._connections.values()
        assert transport.get_extra_info("socket").getsockopt(*option) != 0


async def test_a_connection_costs_no_task() -> None:
    """aiohttp's own `connection_made` would start one; ours calls only the one above it."""
    asks = get("/", f"Origin: {APP}", "Access-Control-Request-Method: PUT", method="OPTIONS")
    async with proxy(route(1)) as front:
        before = asyncio.all_tasks()
        wires = [await front.dial() for _ in range(10)]
        for wire in wires:
            await wire.send(asks)
            assert (await wire.message()).status == 204
        assert front.server.connections == 10
        assert asyncio.all_tasks() == before


async def test_a_forwarded_request_costs_no_task_once_the_connection_is_open() -> None:
    async with upstream(answers(ok())) as legacy, proxy(route(legacy.port)) as front:
        wire = await front.dial()
        for _ in range(2):
            await wire.send(get("/"))
            await wire.message()
        before = asyncio.all_tasks()
        await wire.send(get("/"))
        await wire.message()
        assert asyncio.all_tasks() == before


async def test_a_connection_that_is_closed_is_let_go() -> None:
    async with proxy(route(1)) as front:
        for _ in range(3):
            await ask(front.address, get("/"))
        async with asyncio.timeout(5):
            while front.server.connections:  # noqa: ASYNC110 - there is no event for this
                await asyncio.sleep(0)


async def test_keepalive_probes_and_addresses_come_from_the_transport() -> None:
    async with proxy(route(1)) as front:
        await ask(front.address, get("/"))
        assert front.last.peer == "127.0.0.1"
    assert forwarded_lines("127.0.0.1", tls=False).startswith(b"X-Forwarded-For: 127.0.0.1\r\n")
