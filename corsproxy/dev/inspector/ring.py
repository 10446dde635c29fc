"""The last exchanges, bounded in count and in bytes, and who waits for the next one.

Here:  an observer of the data plane. What it keeps was redacted before it came in.
Never: sockets; keeping anything that grows with what clients send.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice

from corsproxy.cors.decide import Kind
from corsproxy.dev.inspector.entry import Entry, detail_of, is_blocked, is_socket, make_entry, row_of
from corsproxy.dev.inspector.notes import Note, no_notes
from corsproxy.dev.leaving import leads_to
from corsproxy.dev.pairs import Pairs, max_age_of
from corsproxy.proxy.exchange import Exchange

__all__ = ["DEFAULT_BYTES", "DEFAULT_COUNT", "Ring"]

DEFAULT_COUNT = 500
DEFAULT_BYTES = 4 * 1024 * 1024


class Ring:
    """Exchanges in the order in which they ended, the oldest leaving first."""

    def __init__(
        self,
        count: int = DEFAULT_COUNT,
        limit: int = DEFAULT_BYTES,
        clock: Callable[[], float] = time.time,
        notes: Callable[[Exchange], Iterable[Note]] = no_notes,
    ) -> None:
        """limit: in bytes of what is kept. clock: unix seconds. notes: what else to say about an exchange."""
        self._count = count
        self._limit = limit
        self._clock = clock
        self._notes = notes
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._last = 0
        self._pairs = Pairs()
        self._waiting: set[asyncio.Event] = set()

    @property
    def last(self) -> int:
        """The id of the last exchange; 0 = there was none."""
        return self._last

    @property
    def size(self) -> int:
        """Bytes that are kept now."""
        return self._bytes

    @property
    def kept(self) -> int:
        """How many exchanges are kept now."""
        return len(self._entries)

    def record(self, exchange: Exchange, ended: float) -> None:
        """Take one finished exchange. ended: seconds on the monotonic clock."""
        number = self._last + 1
        row = row_of(number, exchange, ended, self._clock())
        preceding = self._pairs.note(number, exchange, ended)
        if preceding is not None:
            row |= {"preflight": preceding.id, "cached": preceding.cached}
        if exchange.decision is not None and exchange.decision.kind is Kind.PREFLIGHT:
            row["max_age"] = max_age_of(exchange) if exchange.decision.allowed else 0
        if is_socket(exchange):
            row["socket"] = True
        elif is_blocked(exchange):
            row["blocked"] = True
        elif target := leads_to(exchange):
            row["leaves"] = target
        notes = list(self._notes(exchange))
        if notes:
            row["notes"] = len(notes)
        self._add(make_entry(number, row, detail_of(exchange, notes)))

    def _add(self, entry: Entry) -> None:
        self._last = entry.id
        self._entries.append(entry)
        self._bytes += entry.size
        while len(self._entries) > self._count or self._bytes > self._limit:
            self._bytes -= self._entries.popleft().size
        for event in self._waiting:
            event.set()

    def clear(self) -> None:
        """Forget everything; ids go on counting."""
        self._entries.clear()
        self._bytes = 0

    def after(self, number: int) -> list[Entry]:
        """What came after an exchange and is still here, oldest first."""
        if not self._entries or number >= self._last:
            return []
        # Ids are without gaps, so the place of one is known.
        skip = max(0, number + 1 - self._entries[0].id)
        return list(islice(self._entries, skip, None))

    def get(self, number: int) -> Entry | None:
        """One exchange; None when it is no longer here, or never was."""
        at = number - self._entries[0].id if self._entries else -1
        return self._entries[at] if 0 <= at < len(self._entries) else None

    @contextmanager
    def news(self) -> Iterator[asyncio.Event]:
        """An event that is set whenever an exchange came; whoever waits for it clears it."""
        event = asyncio.Event()
        self._waiting.add(event)
        try:
            yield event
        finally:
            self._waiting.discard(event)
