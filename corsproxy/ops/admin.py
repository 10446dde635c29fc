"""The admin listener: is the process alive, does it want traffic, what does it do, and why?

Here:  the listener from start to stop, and the order in which a request passes guard and pages.
Never: CORS fields; requests for the upstream; what the pages say (admin_pages), who may ask (admin_guard).
"""

import asyncio
import socket
from collections.abc import Callable
from functools import partial

from aiohttp import web

from corsproxy.config.table import Address, AdminListener
from corsproxy.ops.admin_connection import FIELDS, AdminConnection
from corsproxy.ops.admin_guard import Guard, Proof
from corsproxy.ops.admin_pages import Pages
from corsproxy.ops.plane import Plane
from corsproxy.ops.server import ListenError
from corsproxy.ops.sockets import address_of, bind, inode_of, reason_of, remove_own_socket

__all__ = ["Admin"]

# What is under way when it stops has this many seconds; streams of events never end by themselves.
_STOP_SECONDS = 1.0


class Admin:
    """The admin listener, between `start` and `stop`."""

    def __init__(self, listener: AdminListener, plane: Plane) -> None:
        self.address = listener.address  # where it really listens, once it does: port 0 resolved
        self._guard = Guard(listener)
        self._app = web.Application(middlewares=[self._guard.check])
        self._app.on_response_prepare.append(_add_fields)
        Pages(listener, plane, self._guard).add_to(self._app)
        self._runner: web.AppRunner | None = None
        self._listeners: list[asyncio.Server] = []
        self._inode = 0  # of the Unix socket that was made here

    def mount(self, add_routes: Callable[[web.Application], None], proof: Proof | None = None) -> None:
        """Add pages, before the start. proof: what else is as good as the token, such as a page's cookie."""
        add_routes(self._app)
        if proof is not None:
            self._guard.accept(proof)

    async def start(self) -> None:
        """Listen. Raises ListenError."""
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=_STOP_SECONDS)
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        connection = partial(
            AdminConnection,
            self._runner.server,  # type: ignore[arg-type] # set up by now
            loop=loop,
            access_log=None,  # type: ignore[arg-type] # as aiohttp's documentation says it: no such log
        )
        socks: list[socket.socket] = []
        try:
            socks = bind(self.address)
            for sock in socks:
                self._listeners.append(await loop.create_server(connection, sock=sock))
        except OSError as error:
            raise ListenError(f"cannot listen on {self.address} (admin): {reason_of(error)}") from error
        self._inode = inode_of(self.address)
        self.address = _resolved(self.address, socks[0])

    async def stop(self) -> None:
        """Close the listener."""
        for listener in self._listeners:
            listener.close()
        if self._runner is not None:
            await self._runner.cleanup()
            remove_own_socket(self.address, self._inode)


def _resolved(address: Address, sock: socket.socket) -> Address:
    return address if address.path else address_of(sock)


async def _add_fields(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = FIELDS["Server"]  # aiohttp has put its own there by now
    for name, value in FIELDS.items():
        response.headers.setdefault(name, value)
