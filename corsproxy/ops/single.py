"""The data plane in one process: the usual case.

Here:  what serves joined to what the admin listener and the life of the process ask for.
Never: signals, the admin listener itself, other processes (supervisor).
"""

from collections.abc import Callable, Sequence

from corsproxy.config.table import Address
from corsproxy.ops.configuration import ConfiguredPlane, Loaded, Source
from corsproxy.ops.refusals import Refusal, say_refusal
from corsproxy.ops.server import Observer
from corsproxy.ops.serving import Serving
from corsproxy.ops.snapshot import Snapshot
from corsproxy.ops.writer import LineWriter
from corsproxy.proxy.cookie_guard import CookieMemory

__all__ = ["SingleProcess"]


class SingleProcess(ConfiguredPlane):
    """A `Plane`, between `start` and `stop`."""

    def __init__(
        self,
        source: Source,
        loaded: Loaded,
        out: LineWriter,
        *,
        observers: Sequence[Observer] = (),
        captures: bool = False,
        say: Callable[[Refusal], None] | None = say_refusal,
    ) -> None:
        """loaded: has a table. observers, captures: as for `Server`. say: as for `Serving`."""
        super().__init__(source, loaded)
        self._serving = Serving(self.table, out, source.env, observers=observers, captures=captures, say=say)

    async def start(self) -> None:
        """Listen and serve. Raises StartError and PemError."""
        await self._serving.server.start()
        self.watch_files()

    async def _take(self, loaded: Loaded) -> None:
        await self._serving.take(loaded)

    @property
    def addresses(self) -> list[Address]:
        """Where it listens."""
        return self._serving.server.addresses

    @property
    def cookies(self) -> CookieMemory:
        """The names of the cookies that upstreams have set."""
        return self._serving.server.cookies

    async def snapshot(self) -> Snapshot:
        """Everything counted so far."""
        return self._serving.snapshot()

    def drain(self) -> None:
        """Go on serving, but ask clients to move on."""
        super().drain()
        self._serving.server.drain()

    async def stop(self) -> None:
        """Stop accepting, finish what is in flight within `drain.timeout`, then end the rest."""
        self.stop_watching()
        await self._serving.stop()

    def abort(self) -> None:
        """End everything now, finished or not."""
        self._serving.abort()
