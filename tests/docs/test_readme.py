"""What the README shows is what happens: its file, served before its upstream, gives its answer."""

import asyncio
import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from corsproxy.config.compile import load_table
from corsproxy.config.table import Table
from corsproxy.cors.decide import Preflight, decide_preflight
from corsproxy.ops.server import Server
from corsproxy.proxy.answers import refusal_answer
from tests.docs.pages import code, page
from tests.wire import ask

README = page("README.md")
FILE = code(README, "yaml")[0]
EXAMPLE = code(README, "console")[0]
OF_THE_DAY = {"server", "date", "last-modified"}


class _Folder(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature is the library's
        pass


@pytest.fixture
def upstream_port(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "orders.json").write_text('{"orders": []}\n', encoding="utf-8")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Folder, directory=str(tmp_path))) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        yield server.server_address[1]
        server.shutdown()
        serving.join()


def table_of(text: str) -> Table:
    table, problems = load_table(text, "README.md", {})
    assert problems == []
    assert table is not None
    return table


def steady(head: list[str]) -> list[str]:
    """The lines that are the same on every day."""
    return [line for line in head if line.partition(":")[0].lower() not in OF_THE_DAY]


async def test_the_example_is_what_happens(upstream_port: int) -> None:
    command, *shown = EXAMPLE.splitlines()
    head, body = shown[: shown.index("")], shown[shown.index("") + 1 :]
    assert command == "$ curl -i -H 'Origin: https://app.example.com' http://127.0.0.1:8080/orders.json"
    server = Server(table_of(FILE.replace(":8080", ":0").replace(":9000", f":{upstream_port}")))
    await server.start()
    try:
        message = await ask(
            server.addresses[0],
            b"GET /orders.json HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nOrigin: https://app.example.com\r\n\r\n",
        )
    finally:
        async with asyncio.timeout(5):
            await server.stop()
    assert steady(head) == steady(
        [message.first_line, *(f"{name}: {value}" for name, value in message.fields)]
    )
    assert body == message.body.decode().splitlines()


def test_the_refused_preflight_of_the_page_on_cors() -> None:
    shown = code(page("docs/cors.md"), "console")[0].splitlines()[2:]
    policy = table_of(FILE).routes[0].policy
    assert policy is not None
    decision = decide_preflight(policy, Preflight(b"https://app.example.com", b"PUT"))
    head, body = refusal_answer(decision, "The preflight was refused.")
    assert steady(shown[: shown.index("")]) == head.decode().splitlines()
    assert json.loads(shown[-1]) == json.loads(body)
