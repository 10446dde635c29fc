"""A plane that serves nobody, and an admin listener in front of it."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace

import aiohttp

from corsproxy.config.compile import load_table
from corsproxy.config.table import Address, AdminListener, Table
from corsproxy.ops.admin import Admin
from corsproxy.ops.metrics import Meter, Readings, Snapshot
from corsproxy.ops.plane import Reload, State

__all__ = ["TOKEN", "Asked", "FakePlane", "admin"]

TOKEN = "0123456789abcdef"
TEXT = """\
listen: 127.0.0.1:8080
admin: {address: 127.0.0.1:8081, token: sixteen-letters-secret}
upstreams:
  legacy: {endpoints: [http://127.0.0.1:9000, http://127.0.0.1:9001]}
routes:
  - name: api
    upstream: legacy
    request_headers: {set: {X-Api-Key: planted-key, X-Env: "${ENVIRONMENT_OF_TEST:-prod}"}}
    cors: {allow_origins: [https://app.example.com], allow_methods: [GET, PUT]}
"""


class FakePlane:
    """What a test sets is what it says."""

    def __init__(self, text: str = TEXT) -> None:
        table, problems = load_table(text, "corsproxy.yaml", {})
        assert table is not None, problems
        self.table: Table = table
        self.text = text
        self.state = State("0123456789ab", 1_800_000_000.0)
        self.meter = Meter()
        self.readings = Readings(processes=1)
        self.next_reload = Reload(ok=True, at=1_800_000_001.0)
        self.reloads = 0

    async def snapshot(self) -> Snapshot:
        return self.meter.snapshot(self.readings)

    async def reload(self) -> Reload:
        self.reloads += 1
        self.state = replace(self.state, last_reload=self.next_reload)
        return self.next_reload

    async def apply(self, text: str) -> Reload:
        raise NotImplementedError(text)


class Asked:
    """An answer, read."""

    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = body
        self.text = body.decode()


class Front:
    """A running admin listener."""

    def __init__(self, listener: Admin, session: aiohttp.ClientSession) -> None:
        self.listener = listener
        self._session = session

    async def ask(self, path: str, method: str = "GET", **fields: str) -> Asked:
        """fields: of the request, with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        url = f"http://{self.listener.address}{path}"
        async with self._session.request(method, url, headers=named, allow_redirects=False) as response:
            return Asked(response, await response.read())


@contextlib.asynccontextmanager
async def admin(plane: FakePlane, **settings: object) -> AsyncIterator[Front]:
    """Run an admin listener; keyword arguments as in `AdminListener`."""
    listener = Admin(AdminListener(Address("127.0.0.1", 0), **settings), plane)  # type: ignore[arg-type]
    await listener.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield Front(listener, session)
    finally:
        await listener.stop()
