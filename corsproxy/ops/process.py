"""The life of the process: event loop, signals, listeners, graceful end.

Here:  the order of things at start and stop, and the exit code.
Never: command lines (cli), requests (proxy), what a worker does (worker).
"""

import asyncio
import contextlib
import gc
import logging
import signal
import sys
from typing import Protocol

from corsproxy import __version__
from corsproxy.config.certificates import PemError
from corsproxy.config.table import Address
from corsproxy.ops.admin import Admin
from corsproxy.ops.configuration import Loaded, Source
from corsproxy.ops.descriptors import raise_descriptor_limit, require_descriptors, warn_of_descriptors
from corsproxy.ops.log import set_up_logging
from corsproxy.ops.loop import run_loop
from corsproxy.ops.notify import Notifier
from corsproxy.ops.plane import Plane
from corsproxy.ops.server import StartError, unresolved_hosts
from corsproxy.ops.single import SingleProcess
from corsproxy.ops.sockets import reason_of
from corsproxy.ops.supervisor import Supervisor, worker_count
from corsproxy.ops.tracing import tracing_objection
from corsproxy.ops.writer import LineWriter
from corsproxy.proxy.exchange import Exchange

__all__ = ["Onlooker", "Running", "serve"]

_log = logging.getLogger(__name__)


class Running(Plane, Protocol):
    """A data plane that can be started and stopped."""

    @property
    def addresses(self) -> list[Address]:
        """Where it listens."""

    async def start(self) -> None:
        """Listen and serve. Raises StartError and PemError."""

    def drain(self) -> None:
        """Go on serving, but ask clients to move on."""

    async def stop(self) -> None:
        """Stop accepting, finish what is in flight within `drain.timeout`, then end the rest."""

    def abort(self) -> None:
        """End everything now, finished or not."""


class Onlooker(Protocol):
    """Looks at exchanges from a room above this one: the inspector."""

    def record(self, exchange: Exchange, ended: float) -> None:
        """Take one finished exchange, with the fields on both wires."""

    def attach(self, plane: Running, admin: Admin) -> None:
        """Add pages to the admin listener, before that starts."""


def serve(source: Source, loaded: Loaded, onlooker: Onlooker | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit code: 0, or 1 when it could not start. loaded: has a table."""
    table = loaded.served
    many = worker_count(table) > 1
    # Until there is something to reload; a change that comes meanwhile is seen by itself. Workers inherit it.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    raise_descriptor_limit()
    out = LineWriter(sys.stderr, shared=many)
    set_up_logging(table.log, out)
    for problem in loaded.problems:  # warnings, or it would have no table
        _log.warning("%s", problem.as_text())
    if objection := tracing_objection(source.env):
        _log.warning("%s", objection)
    if many and onlooker is not None:
        _log.error("the inspector looks at one process: write workers: 1, or admin.inspector: false")
        out.close()
        return 1
    plane = Supervisor(source, loaded, out) if many else _single(source, loaded, out, onlooker)
    try:
        require_descriptors()
        return run_loop(_live(plane, onlooker, Notifier.from_env(source.env)))
    except (StartError, PemError) as error:
        _log.error("%s", error)
        return 1
    except OSError as error:  # too few descriptors or processes for what it takes to serve at all
        _log.error("cannot start: %s", reason_of(error))
        return 1
    finally:
        out.close()


def _single(source: Source, loaded: Loaded, out: LineWriter, onlooker: Onlooker | None) -> SingleProcess:
    if onlooker is None:
        return SingleProcess(source, loaded, out)
    return SingleProcess(source, loaded, out, observers=[onlooker.record], captures=True)


async def _live(plane: Running, onlooker: Onlooker | None, notifier: Notifier) -> int:
    stopping = _stop_signals()
    listener = plane.table.admin
    admin = None if listener is None else Admin(listener, plane)
    if admin is not None and onlooker is not None:
        onlooker.attach(plane, admin)
    try:
        await plane.start()
        if admin is not None:
            await admin.start()
        _reload_on_hangup(plane, notifier)
        _announce(plane, admin)
        # What was made up to here lives as long as the process: the collector need not look at it again.
        gc.freeze()
        notifier.ready(f"serving configuration {plane.state.version}")
        notifier.watch(asyncio.get_running_loop())
        looking_up = asyncio.ensure_future(_name_unresolved(plane))
        await stopping.wait()
        looking_up.cancel()
        notifier.stopping()
        plane.drain()
        await _stop_or_second_signal(plane, stopping)
    finally:
        await plane.stop()
        if admin is not None:
            await admin.stop()
    _log.info("stopped")
    return 0


def _announce(plane: Running, admin: Admin | None) -> None:
    routes = len(plane.table.routes)
    places = ", ".join(str(address) for address in plane.addresses)
    _log.info(
        "corsproxy %s listens on %s (%d %s from %s)",
        __version__,
        places,
        routes,
        "route" if routes == 1 else "routes",
        plane.table.file or "code",
    )
    if admin is not None:
        _log.info("admin on %s", admin.address)
    warn_of_descriptors(plane.table)


async def _name_unresolved(plane: Running) -> None:
    for host in await unresolved_hosts(plane.table):
        _log.warning("upstream host %s does not resolve now; requests for it are answered 502", host)


def _stop_signals() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


def _reload_on_hangup(plane: Running, notifier: Notifier) -> None:
    """SIGHUP reads the configuration again, as daemons do."""
    loop = asyncio.get_running_loop()
    under_way: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        notifier.reloading()
        outcome = await plane.reload()
        word = "serving" if outcome.ok else "reload failed; still serving"
        notifier.ready(f"{word} configuration {plane.state.version}")

    def on_hangup() -> None:
        task = loop.create_task(reload())
        under_way.add(task)
        task.add_done_callback(under_way.discard)

    loop.add_signal_handler(signal.SIGHUP, on_hangup)


async def _stop_or_second_signal(plane: Running, stopping: asyncio.Event) -> None:
    """Drain; a second signal ends it at once."""
    stopping.clear()
    again = asyncio.ensure_future(stopping.wait())
    drained = asyncio.ensure_future(_drain(plane))
    await asyncio.wait((again, drained), return_when=asyncio.FIRST_COMPLETED)
    if not drained.done():
        _log.warning("second signal: not waiting for what is in flight")
        plane.abort()
    for task in (again, drained):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _drain(plane: Running) -> None:
    drain = plane.table.drain
    connections = (await plane.snapshot()).readings.connections
    _log.info("stopping: up to %gs for %d connections", drain.delay + drain.timeout, connections)
    await asyncio.sleep(drain.delay)
    await plane.stop()
