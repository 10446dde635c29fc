"""`corsproxy dev` from start to end: proxy, inspector, and all who look at exchanges.

Here:  the order of starting and ending, free ports, the signals, what is kept for the next run.
Never: arguments and words to the terminal (cli.dev), what is served (profile), what is said of exchanges.
"""

import asyncio
import secrets
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from corsproxy.config.table import Upstream
from corsproxy.dev.hints import Hint, fault_hint, is_public_origin, network_access_hint
from corsproxy.dev.inspector import Gate, Inspector, Ring, mount, notes_of
from corsproxy.dev.journal import Journal
from corsproxy.dev.places import port_of, take_port
from corsproxy.dev.profile import Profile, config_text
from corsproxy.dev.terminal import Terminal
from corsproxy.ops.admin import Admin
from corsproxy.ops.configuration import Source, load_text
from corsproxy.ops.server import ListenError
from corsproxy.ops.single import SingleProcess
from corsproxy.ops.writer import LineWriter
from corsproxy.upstream.dial import dial, fault_of
from corsproxy.upstream.resolve import Resolver
from corsproxy.upstream.tls import client_tls

__all__ = ["DevError", "Place", "Wish", "cookie_names_of", "dev", "loopback_host", "own_urls", "run_dev"]

RACES = 3  # for a port, lost ones, before it is an error
PROBE_SECONDS = 5.0


class DevError(Exception):
    """It cannot start; the text is for a person."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What to run."""

    profile: Profile  # its ports are the first to try; 0 = any
    terminal: Terminal
    journal: Journal
    out: LineWriter  # for what the process says about itself
    env: Mapping[str, str]
    strict_port: bool = False
    save_to: Path | None = None  # where the configuration is written, and served from


@dataclass(frozen=True, slots=True)
class Place:
    """Where it runs."""

    profile: Profile  # with the real ports
    inspector: str  # the link for the first visit
    plane: SingleProcess


async def run_dev(wish: Wish, announce: Callable[[Place], None], farewell: Callable[[], None]) -> Place:
    """Serve until a signal (Ctrl-C, SIGTERM, a closed terminal), then end; a second one kills.

    farewell: called when the first one came. Raises as `dev`.
    """
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    ends = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def end() -> None:
        for number in ends:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)  # the next one is the system's, and at once
        told.set()  # first: where the terminal is gone, there is nobody to talk to
        farewell()

    for number in ends:
        loop.add_signal_handler(number, end)
    async with dev(wish) as place:
        announce(place)
        wish.terminal.tell(_expected(place.profile))
        knocking = asyncio.create_task(_knock_at_all(place.plane, wish.terminal))
        await told.wait()
        knocking.cancel()
        with suppress(asyncio.CancelledError):
            await knocking
    return place


@asynccontextmanager
async def dev(wish: Wish) -> AsyncIterator[Place]:
    """Proxy and inspector, listening. Raises DevError, OSError, StartError."""
    token = secrets.token_hex(16)
    source = Source(str(wish.save_to or ""), wish.env)
    ring = Ring(notes=notes_of)
    async with AsyncExitStack() as stack:
        profile, plane = await _start(wish, source, ring)
        stack.push_async_callback(plane.stop)
        gate = Gate(token)
        listener = plane.table.admin
        if listener is None:
            raise DevError("the configuration has no admin listener")
        admin = Admin(replace(listener, token=token), plane)
        inspector = Inspector(
            plane,
            ring,
            source.env,
            listener=lambda: plane.addresses[0],
            may_apply=True,
            save_to=wish.save_to,
            tell=lambda says: wish.out.write(f"{says}\n"),
            origin_flag="--origin",
        )
        mount(admin, inspector, plane, gate)
        await admin.start()
        stack.push_async_callback(admin.stop)
        yield Place(profile, f"http://localhost:{profile.admin_port}{gate.entrance}", plane)


async def _start(wish: Wish, source: Source, ring: Ring) -> tuple[Profile, SingleProcess]:
    """The proxy on the first free port.

    It binds for itself, so somebody may take the port between the look and the start: then once more.
    """
    for lost in range(RACES):
        profile = _with_ports(wish)
        text = config_text(profile)
        loaded = load_text(text, source)
        if loaded.table is None:
            errors = [problem for problem in loaded.problems if problem.severity == "error"]
            raise DevError("\n".join(f"{each.message}\n    {each.remedy}" for each in errors))
        if wish.save_to is not None:
            _save(text, wish.save_to)
        observers = (wish.terminal.record, wish.journal.record, ring.record)
        # The terminal itself tells of refusals.
        plane = SingleProcess(source, loaded, wish.out, observers=observers, captures=True, say=None)
        try:
            await plane.start()
        except ListenError:
            await plane.stop()
            if lost == RACES - 1 or wish.strict_port:
                raise
        else:
            return profile, plane
    raise DevError("no port could be had")


def _with_ports(wish: Wish) -> Profile:
    """The profile with ports that are free now."""
    profile = wish.profile
    try:
        with _take_port(profile.port, profile) as look:
            port = port_of(look)
            if wish.strict_port and profile.port and port != profile.port:
                raise DevError(f"port {profile.port} is taken, and --strict-port wants no other")
            with _take_port(profile.admin_port and max(profile.admin_port, port + 1), profile) as other:
                return replace(profile, port=port, admin_port=port_of(other))
    except OSError as error:
        raise DevError(f"no free port: {error.strerror}") from error


def _take_port(first: int, profile: Profile) -> socket.socket:
    """A free port that is not the API's own: that may be started later than we are."""
    listener = take_port(first)
    while any(target.authority in own_urls(port_of(listener)) for target in profile.targets):
        taken = port_of(listener)
        listener.close()
        listener = take_port(first and taken + 1)
    return listener


def own_urls(port: int) -> frozenset[str]:
    """What leads to a port of this machine."""
    names = ("localhost", "127.0.0.1", "[::1]")
    return frozenset(f"{scheme}://{name}:{port}" for scheme in ("http", "https") for name in names)


def loopback_host() -> str:
    """`localhost`, which is two addresses; the one of IPv4 where a machine has no other."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return "127.0.0.1"
    return "localhost"


def _save(text: str, path: Path) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DevError(f"cannot write {path}: {error.strerror}") from error


def cookie_names_of(plane: SingleProcess) -> dict[str, list[str]]:
    """The names that each API has set, by its scheme and authority."""
    names: dict[str, list[str]] = {}
    for endpoints, known in plane.cookies.names().items():
        listed = [name.decode("latin-1") for name in known if name]
        for endpoint in endpoints:
            names.setdefault(str(endpoint), []).extend(listed)
    return names


# Before the first exchange


def _expected(profile: Profile) -> list[Hint]:
    """What is known already of the origins that were asked for."""
    return [
        network_access_hint(origin)
        for origin in profile.origins
        if is_public_origin(origin.replace("://*.", "://", 1).encode("ascii", "replace"))
    ]


class _Knock(asyncio.Protocol):
    """A connection that is closed once it stands."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


async def _knock_at_all(plane: SingleProcess, terminal: Terminal) -> None:
    """Say which APIs cannot be reached now: they may be started later."""
    upstreams = dict.fromkeys(route.upstream for route in plane.table.routes)
    resolver = Resolver()
    try:
        for found in await asyncio.gather(*(_knock(upstream, resolver) for upstream in upstreams)):
            terminal.tell(found)
    finally:
        resolver.close()


async def _knock(upstream: Upstream, resolver: Resolver) -> list[Hint]:
    """Nothing when it is there."""
    hints = []
    for endpoint in upstream.endpoints:
        tls = client_tls(upstream.tls) if endpoint.scheme == "https" else None
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await dial(endpoint, _Knock, resolver, tls)
        except (OSError, TimeoutError) as error:
            hint = fault_hint(fault_of(error, str(endpoint)))
            hints.append(replace(hint, says=f"{endpoint}: {hint.says}"))
    return hints
