"""`python -m bench.soak`: minutes of everything that goes wrong, and a verdict.

Here:  the legs, what must hold at the end of each, the table and the exit code.
Never: how clients ask (clients), what happens to them (chaos).

Run from the root of the repository, on Linux.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.soak.chaos import Chaos
from bench.soak.clients import Clients
from bench.soak.front import Front, Reading, front
from bench.soak.ledger import Ledger, Outcome
from bench.soak.legacy import Legacy

__all__ = ["main"]

_IDLE_SECONDS = 15.0


@dataclass(frozen=True)
class Leg:
    """One part of the way."""

    says: str
    workers: int
    share: float  # of the time
    full_disk: bool = False


LEGS = [
    Leg("two workers", 2, 0.4),
    Leg("one process", 1, 0.4),
    Leg("one process, its log on a full disk", 1, 0.2, full_disk=True),
]


@dataclass(frozen=True)
class Check:
    """Something that must hold."""

    says: str
    found: str
    holds: bool


@dataclass
class Result:
    """What came of a leg."""

    leg: Leg
    seconds: float
    ledger: Ledger
    chaos: Chaos
    checks: list[Check]


async def run_leg(leg: Leg, seconds: float, seed: int) -> Result:
    """Warm up, look, let things go wrong, let them calm down, look again."""
    legacy, ledger = Legacy(), Ledger()
    await legacy.rise()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        async with front(Path(folder), legacy.port, leg.workers, full_disk=leg.full_disk) as proxy:
            clients = Clients(proxy.address, ledger, seed)
            chaos = Chaos(proxy, legacy, ledger, leg.workers, seed)
            clients.start()
            started = time.monotonic()
            await asyncio.sleep(min(20.0, seconds / 4))
            await clients.stop()
            before = await calm_reading(proxy)
            clients.start()
            await chaos.run(seconds - (time.monotonic() - started))
            await clients.stop()
            after = await calm_reading(proxy)
            metrics = await proxy.metrics()
            log = proxy.log
            code = await proxy.stop()
        legacy.fall()
    checks = [
        *of_clients(ledger, chaos),
        *of_counters(ledger, metrics),
        *of_leaks(before, after),
        Check("torn lines in the log", str(len(log.torn)), not log.torn),
        Check("internal errors in the log", "; ".join(log.mistakes) or "0", not log.mistakes),
        Check("exit code after SIGTERM", str(code), code == 0),
    ]
    return Result(leg, time.monotonic() - started, ledger, chaos, checks)


async def calm_reading(proxy: Front) -> Reading:
    """What the proxy takes when nobody is there any more, and no connection is kept."""
    async with asyncio.timeout(_IDLE_SECONDS):
        while not await proxy.is_idle():  # noqa: ASYNC110 - another process sends no word
            await asyncio.sleep(0.1)
    proxy.write(other_upstream=True)
    await proxy.page("/-/reload", "POST")
    await asyncio.sleep(1.0)
    return await proxy.reading()


def of_clients(ledger: Ledger, chaos: Chaos) -> list[Check]:
    """What clients saw."""
    reloads, missing = chaos.counts["good reload"], chaos.not_happened()
    return [
        Check("misfortunes that did not happen", ", ".join(missing) or "0", not missing),
        Check("answers that were wrong", str(ledger.wrongs), not ledger.wrongs),
        Check("uploads acknowledged, all of them whole", str(ledger.uploads), ledger.uploads > 0),
        Check(
            "versions of the file seen in answers",
            str(len(ledger.versions)),
            len(ledger.versions) > reloads / 2,
        ),
    ]


def of_counters(ledger: Ledger, metrics: dict[tuple[str, ...], float]) -> list[Check]:
    """What the proxy has counted lies between what clients know of and what they sent."""
    total = sum(value for key, value in metrics.items() if key[0] == "corsproxy_requests_total")
    preflights = sum(
        value
        for key, value in metrics.items()
        if key[0] == "corsproxy_cors_decisions_total" and "preflight" in key
    )
    least = ledger.answers - ledger.may_be_lost
    return [
        Check(
            f"requests counted, of {ledger.answers:,} answered and {ledger.asked:,} sent",
            f"{total:,.0f}",
            least <= total <= ledger.asked,
        ),
        Check(
            f"preflights counted, of {ledger.preflights:,} granted",
            f"{preflights:,.0f}",
            preflights >= ledger.preflights - ledger.may_be_lost,
        ),
    ]


def of_leaks(before: Reading, after: Reading) -> list[Check]:
    """What is there after everything is over, beside what was there after warming up."""
    grown = after.resident_mib - before.resident_mib
    checks = [
        Check(
            "resident MiB, after warming up and at the end",
            f"{before.resident_mib:.1f}, {after.resident_mib:.1f}",
            grown < 6 + 0.1 * before.resident_mib,
        ),
        Check(
            "descriptors, likewise",
            f"{before.descriptors}, {after.descriptors}",
            after.descriptors <= before.descriptors + 2,
        ),
    ]
    for name, count in after.objects.items():
        was = before.objects.get(name, 0)
        checks.append(Check(f"{name} objects, likewise", f"{was}, {count}", count <= was + 2))
    return checks


def print_result(result: Result) -> None:
    ledger = result.ledger
    print(f"\n{result.leg.says}, {result.seconds:.0f} s: {ledger.answers:,} answers")
    print(
        "  happened: " + ", ".join(f"{name} {count}x" for name, count in sorted(result.chaos.counts.items()))
    )
    kinds = sorted({kind for kind, _ in ledger.outcomes})
    print(f"  {'':16}" + "".join(f"{outcome.value:>12}" for outcome in Outcome))
    for kind in kinds:
        print(f"  {kind:16}" + "".join(f"{ledger.outcomes[kind, outcome]:>12,}" for outcome in Outcome))
    print(
        "  statuses: "
        + ", ".join(f"{status} {count:,}x" for status, count in sorted(ledger.statuses.items()))
    )
    for check in result.checks:
        print(f"  {'ok  ' if check.holds else 'FAIL'} {check.says}: {check.found}")
    for says in ledger.wrong:
        print(f"       wrong: {says}")


async def run(seconds: float, seed: int, only: int | None) -> bool:
    """All legs; True when everything held."""
    good = True
    for leg in LEGS if only is None else [LEGS[only - 1]]:
        result = await run_leg(leg, seconds * (leg.share if only is None else 1), seed)
        print_result(result)
        good = good and all(check.holds for check in result.checks)
    return good


def main() -> int:
    """0 when everything held, else 1."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description="Endurance, with chaos.")
    parser.add_argument("--seconds", type=float, default=600, help="for all legs together (default: 600)")
    parser.add_argument(
        "--seed", type=int, default=None, help="of what comes when (default: another each time)"
    )
    parser.add_argument("--leg", type=int, choices=range(1, len(LEGS) + 1), help="only this one")
    wanted = parser.parse_args()
    seed = int(time.time()) if wanted.seed is None else wanted.seed
    print(f"seed {seed}")
    good = asyncio.run(run(wanted.seconds, seed, wanted.leg))
    print("\neverything held" if good else "\nnot everything held")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
