"""`corsproxy dev` in this process, on free ports, and everything it says."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path

from corsproxy.config.table import Address
from corsproxy.dev.journal import Journal, SeenRoute
from corsproxy.dev.parity import Judge
from corsproxy.dev.profile import Profile, named_routes
from corsproxy.dev.run import Place, Wish, dev
from corsproxy.dev.target import in_order, parse_route, parse_target
from corsproxy.dev.terminal import Form, Terminal
from corsproxy.ops.writer import LineWriter
from tests.wire import Message, ask, get

PAGE = "Origin: http://localhost:5173"


class Dev:
    """One that runs."""

    def __init__(
        self,
        place: Place,
        journal: Journal,
        terminal: Terminal,
        said: list[str],
        judge: Judge | None,
        stream: StringIO,
    ) -> None:
        self.place = place
        self.journal = journal
        self.terminal = terminal
        self.judge = judge
        self._said = said
        self._stream = stream

    @property
    def address(self) -> Address:
        return self.place.plane.addresses[0]

    @property
    def host(self) -> str:
        """As a page on this machine would call it."""
        return f"localhost:{self.place.profile.port}"

    async def ask(self, path: str = "/", *lines: str, method: str = "GET", host: str = "") -> Message:
        """One request, with these field lines."""
        return await ask(self.address, get(path, *lines, host=host or self.host, method=method))

    def told(self) -> list[str]:
        """What the process said about itself; once it has ended."""
        return self._stream.getvalue().splitlines()

    def said(self) -> str:
        """Everything said since this was asked last."""
        text = "".join(self._said)
        self._said.clear()
        return text


@asynccontextmanager
async def running(
    *targets: str,
    form: Form = "pretty",
    judge: Judge | None = None,
    env: Mapping[str, str] | None = None,
    save_to: Path | None = None,
    **settings: object,
) -> AsyncIterator[Dev]:
    """Run it before these; keyword arguments as in `Profile`."""
    parsed = in_order(parse_route(each) if "=" in each else parse_target(each) for each in targets)
    said: list[str] = []
    journal = Journal(
        [SeenRoute(name, each.prefix, each.url, each.strips) for name, each in named_routes(parsed)]
    )
    terminal = Terminal(said.append, form, judge, str(save_to or ""))
    out = LineWriter(stream := StringIO())
    wish = Wish(
        Profile(parsed, **{"port": 0, **settings}), terminal, journal, out, env or {}, save_to=save_to
    )  # type: ignore[arg-type]
    try:
        async with dev(wish) as place:
            yield Dev(place, journal, terminal, said, judge, stream)
    finally:
        out.close()
