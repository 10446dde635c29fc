"""Active health checks: is there somebody at an endpoint who answers?

Here:  one small GET over a connection of its own, and the loop that repeats it.
Never: what follows from the answers (balance), logs.
"""

import asyncio
from collections.abc import Awaitable, Callable

from corsproxy import __version__
from corsproxy.config.table import Endpoint, HealthCheck
from corsproxy.http.faults import Fault
from corsproxy.http.fields import Fields
from corsproxy.upstream.connection import Connection
from corsproxy.upstream.dial import dial, fault_of
from corsproxy.upstream.resolve import Resolver
from corsproxy.upstream.tls import ClientTls

__all__ = ["Pause", "Prober", "watch"]

Pause = Callable[[float], Awaitable[object]]


class Prober:
    """Asks one endpoint."""

    def __init__(
        self, endpoint: Endpoint, check: HealthCheck, host: bytes, resolver: Resolver, tls: ClientTls | None
    ) -> None:
        """host: for the Host field."""
        self.check = check
        self._endpoint = endpoint
        self._resolver = resolver
        self._tls = tls
        agent = __version__.encode("ascii")
        head = b"GET %b HTTP/1.1\r\nHost: %b\r\nUser-Agent: corsproxy/%b\r\n" % (check.path, host, agent)
        self._request = head + b"Accept: */*\r\nConnection: close\r\n\r\n"

    async def ask(self) -> str:
        """What is wrong, in a few words; "" when the endpoint answered with a status from 200 to 399."""
        try:
            async with asyncio.timeout(self.check.timeout):
                return await self._outcome()
        except TimeoutError:
            return f"no answer within {self.check.timeout:g}s"
        except Exception as error:  # noqa: BLE001 - whatever it was, the next check must come
            return f"internal error: {error!r}"

    async def _outcome(self) -> str:
        answer = _Answer()
        try:
            connection = await dial(self._endpoint, lambda: Connection(answer), self._resolver, self._tls)
        except (OSError, ValueError) as error:
            if isinstance(error, TimeoutError):
                raise
            return _words(fault_of(error, ""))
        try:
            connection.send(answer, self._request, is_whole=True, head_only=False, may_switch=False)
            return await answer.outcome
        finally:
            connection.close()


class _Answer:
    """Owner of the connection, and receiver of its response: the head is enough."""

    def __init__(self) -> None:
        self.outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def on_response(self, connection: Connection) -> None:
        """The head is here, perhaps more of it."""
        self._settle("" if 200 <= connection.status < 400 else f"status {connection.status}")

    def on_upstream_lost(self, fault: Fault, *, at_end: bool) -> None:
        """There will be no head."""
        del at_end
        self._settle(_words(fault))

    def on_unsent(self, held: bytes) -> None:
        """Never called: the connection is new."""

    def hold(self, connection: Connection) -> None:
        """Never called: the connection is new."""

    def hold_no_longer(self, connection: Connection) -> None:
        """Never called: the connection is new."""

    def _settle(self, outcome: str) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)

    def on_interim(self, status: int, fields: Fields) -> None:
        """The answer is still to come."""

    def pause_upload(self) -> None:
        """Nothing is uploaded."""

    def resume_upload(self) -> None:
        """Nothing is uploaded."""

    def made(self, connection: Connection) -> None:
        """The connection is open."""

    def keep(self, connection: Connection) -> None:
        """Never called: the connection is closed, not released."""

    def forget(self, connection: Connection) -> None:
        """The connection is closed."""


def _words(fault: Fault) -> str:
    return f"{fault.code}: {fault.detail.removeprefix(': ')}" if fault.detail else fault.code


async def watch(prober: Prober, heard: Callable[[str], None], pause: Pause = asyncio.sleep) -> None:
    """Ask again and again until cancelled; `heard` gets each outcome. The first comes without waiting."""
    while True:
        heard(await prober.ask())
        await pause(prober.check.interval)
