"""The endpoints of one upstream as one thing that requests are sent to.

Here:  which pool serves the next request, what an exchange's end says about its endpoint, the active checks.
Never: the rules of choosing (balance), one request's path (proxy), logs: changes are reported.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import partial

from corsproxy.config.table import HealthCheck, Upstream, UpstreamTls
from corsproxy.http.faults import Fault
from corsproxy.upstream.balance import (
    is_failure,
    note_check,
    note_failure,
    note_success,
    pick_endpoint,
)
from corsproxy.upstream.health import Prober, watch
from corsproxy.upstream.pool import Pool
from corsproxy.upstream.resolve import Resolver
from corsproxy.upstream.tls import ClientTls, client_tls, files_digest

__all__ = ["Change", "Cluster", "Clusters", "Notice", "Report"]


class Change(StrEnum):
    """What became of an endpoint."""

    EJECTED = "ejected"
    RETURNED = "returned"
    UNHEALTHY = "unhealthy"
    HEALTHY = "healthy"


@dataclass(frozen=True, slots=True)
class Notice:
    """A change, for whoever keeps the log."""

    upstream: str
    endpoint: str
    change: Change
    detail: str = ""


Report = Callable[[Notice], None]


class Cluster:
    """The pools of an upstream, in the order of its endpoints."""

    def __init__(
        self,
        upstream: Upstream,
        resolver: Resolver,
        tls: ClientTls | None,
        report: Report,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """tls: for `https` endpoints. clock: seconds, monotonic."""
        self.upstream = upstream
        self.pools = tuple(
            Pool(endpoint, max_connections=upstream.max_connections, tls=tls, resolver=resolver)
            for endpoint in upstream.endpoints
        )
        self._only = self.pools[0] if len(self.pools) == 1 else None
        self._standings = tuple(pool.standing for pool in self.pools)
        self._turn = 0
        self._resolver = resolver
        self.tls = tls
        self._report = report
        self._clock = clock
        self._watches: list[asyncio.Task[None]] = []

    def pick(self) -> Pool:
        """The pool for a new exchange, which counts as in flight from here until `leave`."""
        pool = self._only or self._pick(()) or self.pools[0]
        pool.standing.in_flight += 1
        return pool

    def pick_other(self, tried: Sequence[Pool]) -> Pool | None:
        """As `pick`, but none that this exchange has tried already; None when it has tried all."""
        pool = self._pick([at for at, pool in enumerate(self.pools) if pool in tried])
        if pool is not None:
            pool.standing.in_flight += 1
        return pool

    def _pick(self, tried: Collection[int]) -> Pool | None:
        """One with room goes before one where the request would have to wait."""
        now = self._clock()
        balance = self.upstream.balance
        at = None
        if self.upstream.max_connections:
            full = {index for index, pool in enumerate(self.pools) if pool.is_full}
            at = pick_endpoint(self._standings, balance, self._turn, now, full.union(tried))
        if at is None:
            at = pick_endpoint(self._standings, balance, self._turn, now, tried)
        if at is None:
            return None
        self._turn = (at + 1) % len(self.pools)
        return self.pools[at]

    def leave(self, pool: Pool, fault: Fault | None) -> None:
        """An exchange with this endpoint is over; the fault that ended it, None = a whole response."""
        standing = pool.standing
        standing.in_flight -= 1
        if self._only is not None:
            return  # there is nobody to ask instead
        if fault is None:
            if standing.failures and note_success(standing):
                self._tell(pool, Change.RETURNED)
        elif is_failure(fault):
            seconds = note_failure(standing, self._clock())
            if seconds:
                self._tell(
                    pool, Change.EJECTED, f"for {seconds:g}s after {standing.failures} failures: {fault.code}"
                )

    def _tell(self, pool: Pool, change: Change, detail: str = "") -> None:
        self._report(Notice(self.upstream.name, pool.name, change, detail))

    def start(self) -> None:
        """Start the active checks, where there are any; `close` ends them."""
        check = self.upstream.health
        if check is None:
            return
        host = self.upstream.host
        for pool in self.pools:
            name = host if isinstance(host, bytes) else pool.endpoint.authority
            prober = Prober(pool.endpoint, check, name, self._resolver, self.tls)
            hear = partial(self._note_check, pool, check)
            self._watches.append(asyncio.get_running_loop().create_task(watch(prober, hear)))

    def _note_check(self, pool: Pool, check: HealthCheck, objection: str) -> None:
        good = not objection
        if note_check(pool.standing, check, self._clock(), good=good):
            self._tell(pool, Change.HEALTHY if good else Change.UNHEALTHY, objection)

    def close(self) -> None:
        """End the checks and the idle connections; exchanges under way go on."""
        for task in self._watches:
            task.cancel()
        self._watches.clear()
        for pool in self.pools:
            pool.close()


class Clusters:
    """The clusters of a table. Another table keeps those of its upstreams that did not change, with their
    connections and what is known of their endpoints.
    """

    def __init__(self, resolver: Resolver, report: Report) -> None:
        self.serving: dict[Upstream, Cluster] = {}
        self._resolver = resolver
        self._report = report
        # The system's authorities take 30 ms to read: once is enough.
        self._contexts: dict[tuple[UpstreamTls, bytes], ClientTls] = {}

    def replace(self, upstreams: Iterable[Upstream]) -> None:
        """Serve these instead. Raises PemError where a certificate cannot be used, and changes nothing."""
        old = {_identity(each.upstream, each.tls): each for each in self.serving.values()}
        contexts: dict[tuple[UpstreamTls, bytes], ClientTls] = {}
        serving: dict[Upstream, Cluster] = {}
        for upstream in upstreams:
            tls = self._tls(upstream, contexts)
            kept = old.pop(_identity(upstream, tls), None)
            serving[upstream] = kept or Cluster(upstream, self._resolver, tls, self._report)
        before, after = set(self.serving.values()), set(serving.values())
        self.serving, self._contexts = serving, contexts
        for cluster in after - before:
            cluster.start()
        for cluster in before - after:
            cluster.close()

    def _tls(
        self, upstream: Upstream, contexts: dict[tuple[UpstreamTls, bytes], ClientTls]
    ) -> ClientTls | None:
        if all(endpoint.scheme != "https" for endpoint in upstream.endpoints):
            return None
        key = (upstream.tls, files_digest(upstream.tls))
        contexts[key] = contexts.get(key) or self._contexts.get(key) or client_tls(upstream.tls)
        return contexts[key]

    def close(self) -> None:
        """End the checks and the idle connections of all; exchanges under way go on."""
        for cluster in self.serving.values():
            cluster.close()


def _identity(upstream: Upstream, tls: ClientTls | None) -> tuple[object, ...]:
    """Equal for two upstreams that are served alike; with other certificates the context is another."""
    return (*(getattr(upstream, field.name) for field in fields(upstream)), id(tls))
