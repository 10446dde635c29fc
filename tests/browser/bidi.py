"""WebDriver BiDi, as much of it as driving one browser takes (https://w3c.github.io/webdriver-bidi/).

Here:  commands and their results by id, events to whoever asked for them.
Never: what a browser is, how it is started, what a page does.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

__all__ = ["BidiError", "Session", "connected"]

Json = dict[str, Any]  # Any: values of JSON


class BidiError(Exception):
    """A command that the browser refused, or could not answer any more."""


class Session:
    """One BiDi session. Commands may overlap; `listen` must run meanwhile."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._waiting: dict[int, asyncio.Future[Json]] = {}
        self._on_event: list[Callable[[str, Json], None]] = []
        self._last_id = 0

    def on_event(self, callback: Callable[[str, Json], None]) -> None:
        """Call back with the method and the parameters of every event."""
        self._on_event.append(callback)

    async def send(self, method: str, **parameters: object) -> Json:
        """The result of one command. Raises BidiError."""
        self._last_id += 1
        number = self._last_id
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        return await answer

    async def listen(self) -> None:
        """Hand on what the browser says, until it ends the connection."""
        async for message in self._socket:
            if message.type is WSMsgType.TEXT:
                self._take(message.json())
        for waiting in self._waiting.values():
            waiting.set_exception(BidiError("the browser ended the session"))

    def _take(self, message: Json) -> None:
        if message["type"] == "event":
            for callback in self._on_event:
                callback(message["method"], message["params"])
            return
        answer = self._waiting.pop(message["id"])
        if message["type"] == "success":
            answer.set_result(message["result"])
        else:
            answer.set_exception(BidiError(f"{message['error']}: {message['message']}"))


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Session]:
    """A new session with the browser that listens at this WebSocket address."""
    async with ClientSession() as client, client.ws_connect(f"{url}/session", max_msg_size=0) as socket:
        session = Session(socket)
        listening = asyncio.create_task(session.listen())
        try:
            await session.send("session.new", capabilities={})
            yield session
        finally:
            await socket.close()
            await listening
