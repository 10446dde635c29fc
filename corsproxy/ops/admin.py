"""The admin listener: is the process alive, and does it want traffic?

Here:  `/-/healthy` and `/-/ready` on a listener of their own, for orchestrators and `corsproxy healthcheck`.
Never: CORS fields; requests for the upstream; answers to a Host that nobody expects here (DNS rebinding).
"""

import ipaddress
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from corsproxy.config.table import Address
from corsproxy.ops.server import ListenError, Server
from corsproxy.ops.sockets import inode_of, reason_of, remove_own_socket, remove_stale_socket

__all__ = ["Admin"]


class Admin:
    """The admin listener, between `start` and `stop`."""

    def __init__(self, address: Address, server: Server) -> None:
        self.address = address
        self.draining = False
        self._server = server
        self._runner: web.AppRunner | None = None
        self._inode = 0  # of the Unix socket that was made here

    async def start(self) -> None:
        """Listen. Raises ListenError."""
        app = web.Application(middlewares=[self._check_host])
        app.router.add_get("/-/healthy", self._healthy)
        app.router.add_get("/-/ready", self._ready)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        address = self.address
        site: web.BaseSite = (
            web.UnixSite(self._runner, address.path)
            if address.path
            else web.TCPSite(self._runner, address.host or None, address.port)
        )
        try:
            if address.path:
                remove_stale_socket(Path(address.path))
            await site.start()
        except OSError as error:
            raise ListenError(f"cannot listen on {address} (admin): {reason_of(error)}") from error
        self._inode = inode_of(address)
        if not address.path:
            host, port = self._runner.addresses[0][:2]
            self.address = Address(host=host, port=port)

    async def stop(self) -> None:
        """Close the listener."""
        if self._runner is not None:
            await self._runner.cleanup()
            remove_own_socket(self.address, self._inode)

    @web.middleware
    async def _check_host(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not _is_expected_host(request.host, self.address):
            return web.Response(status=421, text="this listener does not answer to that Host\n")
        return await handler(request)

    async def _healthy(self, _: web.Request) -> web.Response:
        return web.json_response({"healthy": True})

    async def _ready(self, _: web.Request) -> web.Response:
        ready = not self.draining
        return web.json_response({"ready": ready, "draining": self.draining}, status=200 if ready else 503)


def _is_expected_host(host: str, address: Address) -> bool:
    """True for an IP address, localhost and the name it listens on: no page can point those elsewhere."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    if name.lower() in {"localhost", address.host.lower()} or address.path:
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
