"""A process from start to exit: event loop, signals, listeners, graceful end.

Here:  the order of things at start and stop, and the exit code.
Never: command lines (cli), requests (proxy).
"""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from corsproxy import __version__
from corsproxy.config.certificates import PemError
from corsproxy.config.table import Table
from corsproxy.ops.admin import Admin
from corsproxy.ops.log import ExchangeLog, set_up_logging
from corsproxy.ops.server import Server, StartError
from corsproxy.ops.writer import LineWriter

__all__ = ["run_loop", "serve"]

_log = logging.getLogger(__name__)


def serve(table: Table, env: Mapping[str, str] = os.environ) -> int:
    """Serve a table until SIGTERM or SIGINT; the exit code: 0, or 1 when it could not start."""
    out = LineWriter(sys.stderr)
    set_up_logging(table.log, out)
    try:
        return run_loop(_serve(table, out, env))
    except (StartError, PemError) as error:
        _log.error("%s", error)
        return 1
    finally:
        out.close()


def run_loop(main: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine on uvloop where it is installed, else on asyncio's own loop."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(main)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not on every platform
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(table: Table, out: LineWriter, env: Mapping[str, str]) -> int:
    stopping = _stop_signals()
    log = ExchangeLog(table.log, out, env) if table.log.access else None
    server = Server(table, log)
    admin = Admin(table.admin, server) if table.admin is not None else None
    await server.start()
    try:
        if admin is not None:
            await admin.start()
        await _announce(server, admin)
        # What was made up to here lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        await stopping.wait()
        _log.info("stopping: up to %gs for %d connections", table.drain.timeout, server.connections)
        if admin is not None:
            admin.draining = True
        await _stop_or_second_signal(server, stopping, table.drain.delay)
    finally:
        await server.stop()
        if admin is not None:
            await admin.stop()
    _log.info("stopped")
    return 0


async def _announce(server: Server, admin: Admin | None) -> None:
    routes = len(server.table.routes)
    places = ", ".join(str(address) for address in server.addresses)
    _log.info(
        "corsproxy %s listens on %s (%d %s from %s)",
        __version__,
        places,
        routes,
        "route" if routes == 1 else "routes",
        server.table.file or "code",
    )
    if admin is not None:
        _log.info("admin on %s", admin.address)
    for host in await server.unresolved_hosts():
        _log.warning("upstream host %s does not resolve now; requests for it are answered 502", host)


def _stop_signals() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    return stopping


async def _stop_or_second_signal(server: Server, stopping: asyncio.Event, delay: float) -> None:
    """Drain; a second signal ends it at once."""
    stopping.clear()
    again = asyncio.ensure_future(stopping.wait())
    drained = asyncio.ensure_future(_drain(server, delay))
    await asyncio.wait((again, drained), return_when=asyncio.FIRST_COMPLETED)
    if not drained.done():
        _log.warning("second signal: not waiting for what is in flight")
        server.abort()
    for task in (again, drained):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _drain(server: Server, delay: float) -> None:
    await asyncio.sleep(delay)
    await server.stop()
