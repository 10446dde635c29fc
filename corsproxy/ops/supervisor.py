"""The data plane in many processes: workers that share the port, and this process, which serves nobody.

Here:  starting workers, replacing those that die or hang, handing configurations to all of them, adding up
       what they count.
Never: requests of clients, signals, the admin listener itself.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from corsproxy.config.table import Address, Table
from corsproxy.ops.channel import Channel, ChannelClosedError, Message, WorkerError
from corsproxy.ops.configuration import ConfiguredPlane, Loaded, RefusedError, Source
from corsproxy.ops.log import set_up_logging
from corsproxy.ops.refusals import MORE, Bulletin, Refusal, say_refusal
from corsproxy.ops.server import ListenError, StartError
from corsproxy.ops.shares import Times, parts_to_lose
from corsproxy.ops.snapshot import Readings, Snapshot
from corsproxy.ops.sockets import address_of, bind_shared, inode_of, reason_of, remove_own_socket
from corsproxy.ops.writer import LineWriter

__all__ = ["Supervisor", "worker_count"]

_log = logging.getLogger(__name__)

_START_SECONDS = 30.0
_STARTS_PER_CORE = 2  # at a time: one computes while another one reads
_LOAD_SECONDS = 30.0
_SILENT_SECONDS = 5.0  # while it is to load: its event loop stands still, and all others wait for it
_POLL_SECONDS = 1.0
_HUNG_SECONDS = 30.0  # without an answer: the event loop of that worker stands still
_GOOD_SECONDS = 10.0  # one that lived for less counts as a failure
_LONGEST_WAIT = 30.0  # before another attempt
_END_SECONDS = 5.0  # beyond drain.timeout; then it is killed
_NO_ID = 0  # nobody waits for the answer
_DRAIN: Message = {"ask": "drain", "id": _NO_ID}


def worker_count(table: Table) -> int:
    """How many processes serve: as written, or one for each core that this process may use."""
    return table.workers or _cores()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Worker:
    """One of the workers, from this side: a process at a time, and what its predecessors have counted."""

    def __init__(self, number: int, socks: list[socket.socket]) -> None:
        self.number = number  # from 1
        self.socks = socks  # stay open here, so that connections wait while the worker is being replaced
        self.process: asyncio.subprocess.Process | None = None
        self.channel: Channel | None = None  # of a process that serves; None = there is none
        self.text = ""  # the configuration that it was given last
        self.last = Snapshot()
        self.heard_at = 0.0  # when it last answered, on the loop's clock
        self.serves_since = 0.0  # on the same clock
        self.times: Times | None = None  # as it said last; None = not yet
        self.failures = 0  # in a row

    @property
    def delay(self) -> float:
        """Seconds to wait before the next attempt: none after one failure, then 1, 2, 4 and so on."""
        return 0.0 if self.failures < 2 else min(2.0 ** (self.failures - 2), _LONGEST_WAIT)


class Supervisor(ConfiguredPlane):
    """A `Plane`, between `start` and `stop`."""

    def __init__(self, source: Source, loaded: Loaded, out: LineWriter) -> None:
        """loaded: has a table. out: where the log of this process goes."""
        super().__init__(source, loaded)
        self._out = out
        self.addresses: list[Address] = []
        self._wanted = loaded.text  # what workers are to serve: the new one already while it is handed out
        self._workers: list[Worker] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._past = Snapshot()  # of processes that are gone
        self._restarts = 0
        self._stopping = False
        self._stopped: asyncio.Task[None] | None = None
        self._inode = 0
        self._bulletin = Bulletin()  # of refusals, over all workers

    async def start(self) -> None:
        """Listen, and start the workers. Raises StartError."""
        address = self.table.listen
        try:
            shares = bind_shared(address, worker_count(self.table))
        except OSError as error:
            raise ListenError(f"cannot listen on {address}: {reason_of(error)}") from error
        self._inode = inode_of(address)
        self.addresses = [address_of(sock) for sock in shares[0]]
        self._workers = [Worker(number, socks) for number, socks in enumerate(shares, 1)]
        # Each has so long to start; a hundred at once would take the cores from each other for longer.
        turns = asyncio.Semaphore(_STARTS_PER_CORE * _cores())
        failed: list[str] = []
        await asyncio.gather(*(self._start_in_turn(worker, turns, failed) for worker in self._workers))
        if failed:
            raise StartError(failed[0])
        for worker in self._workers:
            self._spawn(self._keep_alive(worker))
        self._spawn(self._poll())
        self.watch_files()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # One worker

    async def _start_in_turn(self, worker: Worker, turns: asyncio.Semaphore, failed: list[str]) -> None:
        """Start the first process of a worker, unless another one has failed already."""
        async with turns:
            if not failed and (why := await self._try_to_start(worker)):
                failed.append(f"worker {worker.number} did not start: {why}")

    async def _try_to_start(self, worker: Worker) -> str:
        """Start a process; why it does not serve, "" = it does."""
        try:
            await self._start(worker)
        except WorkerError as error:
            why = str(error)
        except ChannelClosedError:
            return f"it ended {_how(await self._wait_or_kill(worker))}"
        except TimeoutError:
            why = "it gave no answer"
        except OSError as error:
            why = reason_of(error)
        else:
            return ""
        _kill(worker)
        return why

    async def _start(self, worker: Worker) -> None:
        """Start a process. Raises WorkerError, ChannelClosedError, TimeoutError and OSError."""
        descriptors = [sock.fileno() for sock in worker.socks]
        worker.process, ours = await _begin(descriptors)
        channel = Channel(_answer_nothing, self._hear)
        await channel.connect(ours)
        self._spawn(channel.run())
        text = self._wanted
        tls = self.table.tls
        await channel.ask(
            "start",
            _START_SECONDS,
            text=text,
            file=self._source.file,
            overrides=self._source.overrides.as_json(),
            descriptors=descriptors,
            tls=None if tls is None else asdict(tls),
        )
        while text != self._wanted:  # another was handed out meanwhile
            text = self._wanted
            await channel.ask("load", _LOAD_SECONDS, text=text)
        if self.state.draining:
            channel.tell(_DRAIN)
        worker.text = text
        worker.heard_at = worker.serves_since = asyncio.get_running_loop().time()
        worker.times = None
        worker.channel = channel

    async def _keep_alive(self, worker: Worker) -> None:
        """Replace the process of a worker whenever it ends."""
        while not self._stopping:
            try:
                await self._outlive(worker)
            except Exception:  # noqa: BLE001 - else nobody would ever replace this worker again
                _log.exception("internal error; worker %d is replaced", worker.number)
                _kill(worker)
                await asyncio.sleep(_POLL_SECONDS)  # the next one may come at once

    async def _outlive(self, worker: Worker) -> None:
        """Wait for the end of its process, and start the next."""
        loop = asyncio.get_running_loop()
        started_at = loop.time()
        code = await self._wait(worker)
        self._retire(worker)
        if self._stopping:
            return
        worker.failures = 0 if loop.time() - started_at > _GOOD_SECONDS else worker.failures + 1
        _log.error("worker %d ended %s; another starts %s", worker.number, _how(code), _when(worker.delay))
        await asyncio.sleep(worker.delay)
        if self._stopping:
            return
        self._restarts += 1
        if why := await self._try_to_start(worker):
            _log.error("worker %d did not start: %s", worker.number, why)
        else:
            _log.info("worker %d serves again", worker.number)

    def _hear(self, news: Message) -> None:
        """A worker was the first to see a refusal, or one of the first."""
        refusal = Refusal.from_json(news["refusal"])
        match self._bulletin.take(refusal.key, asyncio.get_running_loop().time()):
            case "new":
                say_refusal(refusal)
            case "too many":
                say_refusal(MORE)
            case _:
                pass

    async def _wait(self, worker: Worker) -> int:
        return await worker.process.wait() if worker.process is not None else 1

    async def _wait_or_kill(self, worker: Worker) -> int:
        """How the process ended, which must be about to."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS):
                return await self._wait(worker)
        _kill(worker)
        return await self._wait(worker)

    def _retire(self, worker: Worker) -> None:
        """Keep what the process had counted: no total may fall because a worker died."""
        self._past = Snapshot.merge((self._past, worker.last.past()))
        worker.last = Snapshot()
        worker.channel = None

    # All of them

    async def _take(self, loaded: Loaded) -> None:
        before, self._wanted = self._wanted, loaded.text
        self._bulletin.forget()
        # To all, even where the text is the same: certificates that it names may have changed.
        failed = [error for error in await self._hand_out(loaded.text, self._workers) if error]
        if failed:
            self._wanted = before
            await self._hand_out(before, [worker for worker in self._workers if worker.text != before])
            raise RefusedError(failed[0])
        if loaded.served.log != self.table.log:
            set_up_logging(loaded.served.log, self._out)

    async def _hand_out(self, text: str, workers: Iterable[Worker]) -> list[str]:
        """Let these serve by this text; what those who cannot say."""
        return await asyncio.gather(*(self._load(worker, text) for worker in workers))

    async def _load(self, worker: Worker, text: str) -> str:
        """Why it cannot; "" = it does, or it will when it has started."""
        channel = worker.channel
        if channel is None:
            return ""
        try:
            if not await self._ask_to_load(channel, text):
                # Whoever comes after it starts with this text, so it is no reason to refuse it.
                _log.error("worker %d gives no answer; it is ended", worker.number)
                _kill(worker)
                return ""
        except ChannelClosedError:
            return ""
        except WorkerError as error:
            return str(error)
        except TimeoutError:
            # It may still load this one, while all others go back: it is replaced rather than guessed at.
            _kill(worker)
            return f"worker {worker.number} gave no answer"
        worker.text = text
        return ""

    async def _ask_to_load(self, channel: Channel, text: str) -> bool:
        """False when it hangs. Raises WorkerError, ChannelClosedError, and TimeoutError where loading alone
        takes too long: a thread does that, and the event loop answers meanwhile.
        """
        loading = asyncio.create_task(channel.ask("load", _LOAD_SECONDS, text=text))
        try:
            while not (await asyncio.wait((loading,), timeout=_POLL_SECONDS))[0]:
                try:
                    await channel.ask("times", _SILENT_SECONDS)
                except TimeoutError:
                    return False
            await loading
        finally:
            loading.cancel()
        return True

    async def snapshot(self) -> Snapshot:
        """What all workers have counted, those that are gone included."""
        await asyncio.gather(*map(self._ask_snapshot, self._workers))
        own = Snapshot(readings=Readings(restarts=self._restarts, log_lines_lost=self._out.lost_lines))
        return Snapshot.merge((self._past, own, *(worker.last for worker in self._workers)))

    async def _ask_snapshot(self, worker: Worker) -> None:
        """A worker that gives no answer counts as it last did."""
        channel = worker.channel
        if channel is None:
            return
        with contextlib.suppress(WorkerError, ChannelClosedError, TimeoutError):
            found = Snapshot.from_json(await channel.ask("snapshot", _POLL_SECONDS))
            if worker.channel is channel:  # else it was counted among the past meanwhile
                worker.last = found
                worker.heard_at = asyncio.get_running_loop().time()

    async def _poll(self) -> None:
        """Look after all workers every so often."""
        while True:
            await asyncio.sleep(_POLL_SECONDS)
            try:
                await self._look_after()
            except Exception:  # noqa: BLE001 - else no worker that hangs would ever be ended again
                _log.exception("internal error; workers are looked after all the same")

    async def _look_after(self) -> None:
        """Hear what each has counted, so that little is lost with one that dies; end those that hang."""
        await asyncio.gather(*map(self._ask_snapshot, self._workers))
        now = asyncio.get_running_loop().time()
        for worker in self._workers:
            if worker.channel is not None and now - worker.heard_at > _HUNG_SECONDS:
                _log.error("worker %d gives no answer; it is ended", worker.number)
                _kill(worker)
        await self._even_out()

    async def _even_out(self) -> None:
        """Let clients of a worker that does more than its share come back, perhaps to another.

        The kernel deals connections by a hash, and never anew. It also deals to one that hangs or is to start
        yet, so nobody is sent away while there may be such.
        """
        loads = [
            load for load in await asyncio.gather(*map(self._load_of, self._workers)) if load is not None
        ]
        if self.state.draining or len(loads) < len(self._workers):
            return
        for worker, load, part in zip(self._workers, loads, parts_to_lose(loads), strict=True):
            if part and worker.channel is not None:
                _log.debug("worker %d takes %.0f %% of a core, more than others", worker.number, load * 100)
                worker.channel.tell({"ask": "ease", "id": _NO_ID, "part": part})

    async def _load_of(self, worker: Worker) -> float | None:
        """The part of a core that it took since it was asked last; None while that cannot be said."""
        channel, before = worker.channel, worker.times
        worker.times = None
        if channel is None:
            return None
        with contextlib.suppress(WorkerError, ChannelClosedError, TimeoutError):
            worker.times = Times(**await channel.ask("times", _POLL_SECONDS))
        age = asyncio.get_running_loop().time() - worker.serves_since
        if before is None or worker.times is None or age < _GOOD_SECONDS:
            return None
        return worker.times.load_since(before)

    def drain(self) -> None:
        """Go on serving, but ask clients to move on."""
        super().drain()
        for worker in self._workers:
            if worker.channel is not None:
                worker.channel.tell(_DRAIN)

    async def stop(self) -> None:
        """Let all stop accepting, and finish what is in flight within `drain.timeout`."""
        if self._stopped is None:
            self._stopped = asyncio.create_task(self._stop())
        await asyncio.shield(self._stopped)

    async def _stop(self) -> None:
        self._stopping = True
        self.stop_watching()
        # First: as long as one process holds it, the kernel takes connections that nobody will serve.
        for worker in self._workers:
            for sock in worker.socks:
                sock.close()
        remove_own_socket(self.table.listen, self._inode)  # now: from here on another may stand there
        await asyncio.gather(*map(self._end, self._workers))
        for task in list(self._tasks):
            task.cancel()

    async def _end(self, worker: Worker) -> None:
        patience = self.table.drain.timeout + _END_SECONDS
        try:
            async with asyncio.timeout(patience):
                if worker.channel is not None:
                    with contextlib.suppress(ChannelClosedError, WorkerError):
                        await worker.channel.ask("stop")
                    await self._wait(worker)
        except TimeoutError:
            _log.error("worker %d did not end in time", worker.number)
        _kill(worker)
        await self._wait(worker)

    def abort(self) -> None:
        """End everything now, finished or not."""
        self._stopping = True
        for worker in self._workers:
            _kill(worker)


async def _begin(descriptors: Sequence[int]) -> tuple[asyncio.subprocess.Process, socket.socket]:
    """A process that has these sockets, and this end of the way to talk to it. Raises OSError."""
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # nothing is imported from the folder it happens to be started in
                "-m",
                "corsproxy.ops.worker",
                str(theirs.fileno()),
                pass_fds=[theirs.fileno(), *descriptors],
                stdin=asyncio.subprocess.DEVNULL,
            )
    except BaseException:
        ours.close()
        raise
    return process, ours


async def _answer_nothing(question: Message) -> Message:
    raise WorkerError(f"the supervisor answers no questions: {question['ask']}")


def _kill(worker: Worker) -> None:
    if worker.process is not None and worker.process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            worker.process.kill()


def _how(code: int) -> str:
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by {signal.Signals(-code).name}"
    except ValueError:  # most of the real-time signals have no name
        return f"by signal {-code}"


def _when(seconds: float) -> str:
    return f"in {seconds:g}s" if seconds else "now"
