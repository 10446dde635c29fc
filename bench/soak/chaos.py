"""What goes wrong during the endurance test, each at its own pace.

Here:  one function a misfortune, and when it comes.
Never: clients; what is made of it (ledger, checks).
"""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

from bench.soak.front import DESCRIPTORS, Front
from bench.soak.ledger import Ledger
from bench.soak.legacy import Legacy
from tests.wire import dial

__all__ = ["Chaos"]

# A worker that is killed takes its connections along; until another is there, those in its queue wait.
_KILL_SECONDS = 3.0
_SURGE_SECONDS = 1.5
_TOLD_SECONDS = 3  # within which a worker has told its counts


class Chaos:
    """All that goes wrong in one leg; `counts` says how often what did."""

    def __init__(self, proxy: Front, legacy: Legacy, ledger: Ledger, workers: int, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self._is_over = False
        self._proxy = proxy
        self._legacy = legacy
        self._ledger = ledger
        self._random = random.Random(seed)
        self._misfortunes: list[tuple[str, float, Callable[[], Awaitable[None]]]] = [
            ("upstream killed", 4.0, self._kill_upstream),
            ("good reload", 0.7, self._reload),
            ("bad reload", 3.1, self._reload_badly),
            ("descriptors used up", 7.0, self._use_up_descriptors),
            ("log not read", 5.0, self._leave_log),
        ]
        if workers > 1:
            self._misfortunes.append(("worker killed", 6.0, self._kill_worker))

    def not_happened(self) -> list[str]:
        """What was to go wrong, and did not: then nothing is shown by surviving it."""
        return [name for name, _, _ in self._misfortunes if not self.counts[name]]

    async def run(self, seconds: float) -> None:
        """Let it all happen for this long; what is under way then is put right again."""
        tasks = [asyncio.create_task(self._again(*each)) for each in self._misfortunes]
        await asyncio.sleep(seconds)
        self._is_over = True
        await asyncio.gather(*tasks)

    async def _again(self, name: str, period: float, happen: Callable[[], Awaitable[None]]) -> None:
        pause = period / 4  # each happens at least once, in a short leg, too
        while True:
            for _ in range(int(pause / 0.1)):
                if self._is_over:
                    return
                await asyncio.sleep(0.1)
            await happen()
            self.counts[name] += 1
            pause = self._random.uniform(0.5, 1.5) * period

    async def _kill_upstream(self) -> None:
        self._legacy.fall()
        await asyncio.sleep(self._random.uniform(0.0, 1.0))
        await self._legacy.rise()

    async def _reload(self) -> None:
        self._proxy.write(other_upstream=self._random.random() < 0.3)
        if self._random.random() < 0.7:  # else it finds out by itself
            await self._proxy.page("/-/reload", "POST")

    async def _reload_badly(self) -> None:
        self._proxy.write(bad=True)
        os.kill(self._proxy.pid, signal.SIGHUP)

    async def _kill_worker(self) -> None:
        victims = self._proxy.serving
        if len(victims) > 1:
            self._ledger.stir(_KILL_SECONDS)
            self._ledger.note_kill(_TOLD_SECONDS)
            with suppress(ProcessLookupError):
                os.kill(self._random.choice(victims), signal.SIGKILL)
            await asyncio.sleep(_KILL_SECONDS)

    async def _use_up_descriptors(self) -> None:
        """More clients than the process may have, who say nothing."""
        self._ledger.stir(_SURGE_SECONDS + 1.5)
        wires = []
        for _ in range(2 * DESCRIPTORS):
            with suppress(OSError):
                wires.append(await dial(self._proxy.address))
        await asyncio.sleep(_SURGE_SECONDS)
        for wire in wires:
            await wire.close()

    async def _leave_log(self) -> None:
        self._proxy.log.may_read.clear()
        await asyncio.sleep(2.0)
        self._proxy.log.may_read.set()
