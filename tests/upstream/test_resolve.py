"""Names into addresses: asked once, remembered shortly, forgotten soon."""

import asyncio
import socket

import pytest

from corsproxy.upstream.resolve import AddrInfo, Resolver


class Names:
    """A resolver that says what it is told, and counts."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: list[AddrInfo] | Exception = [self.address("10.0.0.1")]
        self.hold: asyncio.Event | None = None
        self.now = 0.0

    def address(self, text: str) -> AddrInfo:
        return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, 80))

    async def lookup(self, host: str, port: int) -> list[AddrInfo]:
        self.asked.append(host)
        if self.hold is not None:
            await self.hold.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def resolver(self) -> Resolver:
        return Resolver(self.lookup, lambda: self.now)


async def test_an_answer_is_good_for_five_seconds() -> None:
    names = Names()
    resolver = names.resolver()
    first = await resolver.addresses("legacy.test", 80)
    names.answer = [names.address("10.0.0.2")]
    names.now = 4.9
    assert await resolver.addresses("legacy.test", 80) == first
    names.now = 5.0
    assert await resolver.addresses("legacy.test", 80) == names.answer
    assert len(names.asked) == 2


async def test_ports_are_apart() -> None:
    names = Names()
    resolver = names.resolver()
    await resolver.addresses("legacy.test", 80)
    await resolver.addresses("legacy.test", 81)
    assert len(names.asked) == 2


async def test_many_at_once_ask_once() -> None:
    names = Names()
    names.hold = asyncio.Event()
    resolver = names.resolver()
    waiting = [asyncio.ensure_future(resolver.addresses("legacy.test", 80)) for _ in range(100)]
    await asyncio.sleep(0)
    names.hold.set()
    answers = await asyncio.gather(*waiting)
    assert (len(names.asked), answers[0]) == (1, answers[99])


async def test_one_who_gives_up_does_not_end_it_for_the_others() -> None:
    names = Names()
    names.hold = asyncio.Event()
    resolver = names.resolver()
    impatient = asyncio.ensure_future(resolver.addresses("legacy.test", 80))
    patient = asyncio.ensure_future(resolver.addresses("legacy.test", 80))
    await asyncio.sleep(0)
    impatient.cancel()
    await asyncio.sleep(0)
    names.hold.set()
    assert await patient == names.answer
    assert len(names.asked) == 1


async def test_a_failure_is_not_remembered() -> None:
    names = Names()
    names.answer = socket.gaierror(socket.EAI_AGAIN, "try again")
    resolver = names.resolver()
    with pytest.raises(socket.gaierror):
        await resolver.addresses("legacy.test", 80)
    names.answer = [names.address("10.0.0.3")]
    assert await resolver.addresses("legacy.test", 80) == names.answer


@pytest.mark.parametrize(
    "answer", [UnicodeError("label too long"), []], ids=["a name that cannot be", "no address"]
)
async def test_what_counts_as_not_found(answer: Exception | list[AddrInfo]) -> None:
    names = Names()
    names.answer = answer
    with pytest.raises(socket.gaierror):
        await names.resolver().addresses("legacy.test", 80)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_address_is_not_asked_for(host: str) -> None:
    names = Names()
    found = await names.resolver().addresses(host, 80)
    assert found[0][4][0] == host
    assert names.asked == []


async def test_it_forgets_rather_than_grow() -> None:
    names = Names()
    resolver = names.resolver()
    for number in range(1000):
        await resolver.addresses(f"{number}.test", 80)
    assert len(resolver._known) <= 256


async def test_closing_leaves_nothing_behind() -> None:
    names = Names()
    names.hold = asyncio.Event()
    resolver = names.resolver()
    waiting = asyncio.ensure_future(resolver.addresses("legacy.test", 80))
    await asyncio.sleep(0)
    resolver.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert resolver._asking == {}
