"""A worker: a process that serves what its supervisor gives it, on sockets that it was given.

Here:  `python -m corsproxy.ops.worker DESCRIPTOR`, and the answers to the supervisor's questions.
Never: listeners of its own, files, deciding to stop: signals are the supervisor's, whose end is the worker's.
"""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Mapping
from dataclasses import replace

from corsproxy.config.certificates import PemError
from corsproxy.config.overrides import Overrides
from corsproxy.config.table import ListenTls, Table
from corsproxy.ops.channel import Channel, Message, WorkerError
from corsproxy.ops.configuration import Loaded, Source, load_text
from corsproxy.ops.log import set_up_logging
from corsproxy.ops.loop import run_loop
from corsproxy.ops.refusals import Refusal
from corsproxy.ops.server import StartError
from corsproxy.ops.serving import Serving
from corsproxy.ops.shares import Times
from corsproxy.ops.writer import LineWriter

__all__ = ["main"]


class Worker:
    """What one worker knows."""

    def __init__(self, out: LineWriter, env: Mapping[str, str]) -> None:
        self.ended = asyncio.Event()
        self.channel = Channel(self._answer, _ignore)
        self._out = out
        self._env = env
        self._source = Source("", env)
        self._serving: Serving | None = None

    async def _answer(self, question: Message) -> Message:
        match question["ask"]:
            case "start":
                await self._start(question)
            case "load":
                await self._load(question["text"])
            case "snapshot":
                return self._at_work().snapshot().as_json()
            case "drain":
                self._at_work().server.drain()
            case "times":
                return Times.now().as_json()
            case "ease":
                self._at_work().server.ease(question["part"])
            case "stop":
                await self._at_work().stop()
                self.ended.set()
            case unknown:
                raise WorkerError(f"no such question: {unknown}")
        return {}

    def _at_work(self) -> Serving:
        if self._serving is None:
            raise WorkerError("not started")
        return self._serving

    async def _start(self, question: Message) -> None:
        self._source = Source(question["file"], self._env, Overrides.from_json(question["overrides"]))
        table = (await self._compile(question["text"])).served
        table = replace(table, tls=_tls_of_listener(table, question["tls"]))
        set_up_logging(table.log, self._out)
        socks = [socket.socket(fileno=descriptor) for descriptor in question["descriptors"]]
        self._serving = Serving(table, self._out, self._env, socks=socks, say=self._tell)
        try:
            await self._serving.server.start()
        except (StartError, PemError) as error:
            raise WorkerError(str(error)) from error
        # What was made up to here lives as long as the process: the collector need not look at it again.
        gc.freeze()

    def _tell(self, refusal: Refusal) -> None:
        """It is news here; the supervisor knows whether it is to all."""
        if not self.channel.is_behind:
            self.channel.tell({"refusal": refusal.as_json()})

    async def _load(self, text: str) -> None:
        try:
            await self._at_work().take(await self._compile(text))
        except PemError as error:
            raise WorkerError(str(error)) from error

    async def _compile(self, text: str) -> Loaded:
        loaded = await asyncio.to_thread(load_text, text, self._source)
        if loaded.table is None:
            raise WorkerError("\n".join(problem.as_text() for problem in loaded.problems))
        return loaded

    def abort(self) -> None:
        """The supervisor is gone: nobody would replace this worker, nor stop it."""
        if self._serving is not None:
            self._serving.abort()


def _tls_of_listener(table: Table, served: Mapping[str, str] | None) -> ListenTls | None:
    """Whether a port speaks TLS holds until the next start, for a worker that comes later, too.

    served: what the others show; None = they speak plain HTTP.
    """
    return None if served is None else table.tls or ListenTls(**served)


def _ignore(_: Message) -> None:
    """The supervisor has no news."""


async def _work(descriptor: int, out: LineWriter) -> int:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # A terminal and systemd send them to every process; what follows is for the supervisor to say.
        loop.add_signal_handler(number, _do_nothing)
    worker = Worker(out, os.environ)
    await worker.channel.connect(socket.socket(fileno=descriptor))
    channel = asyncio.create_task(worker.channel.run())
    ended = asyncio.create_task(worker.ended.wait())
    await asyncio.wait((channel, ended), return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():
        ended.cancel()
        worker.abort()
        return 1
    channel.cancel()
    return 0


def _do_nothing() -> None:
    """Be there for a signal."""


def main() -> int:
    """The whole life of a worker; its exit code."""
    out = LineWriter(sys.stderr, shared=True)
    try:
        return run_loop(_work(int(sys.argv[1]), out))
    finally:
        out.close()


if __name__ == "__main__":
    sys.exit(main())
