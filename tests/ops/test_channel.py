"""Questions and answers between two processes, over a real pair of sockets."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from corsproxy.ops.channel import Channel, ChannelClosedError, Message, WorkerError

PATIENCE = 5.0


class End:
    """One end; what it was asked and told."""

    def __init__(self) -> None:
        self.channel = Channel(self.answer, self.hear)
        self.heard: list[Message] = []
        self.heard_some = asyncio.Event()
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.cancelled = asyncio.Event()

    def hear(self, message: Message) -> None:
        self.heard.append(message)
        self.heard_some.set()

    async def answer(self, question: Message) -> Message:
        match question["ask"]:
            case "echo":
                return {"text": question["text"]}
            case "slow":
                self.asked.set()
                try:
                    await self.may_answer.wait()
                except asyncio.CancelledError:
                    self.cancelled.set()
                    raise
                return {"late": True}
            case "bug":
                raise ZeroDivisionError("ours")
        raise WorkerError("no such question")


@contextlib.asynccontextmanager
async def pair() -> AsyncIterator[tuple[End, End]]:
    ends = End(), End()
    running = []
    for end, sock in zip(ends, socket.socketpair(), strict=True):
        await end.channel.connect(sock)
        running.append(asyncio.create_task(end.channel.run()))
    try:
        async with asyncio.timeout(PATIENCE):
            yield ends
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def test_both_ends_ask_and_answer() -> None:
    async with pair() as (one, other):
        assert await one.channel.ask("echo", text="a") == {"text": "a"}
        assert await other.channel.ask("echo", text="b\nc\u2028\ud800") == {"text": "b\nc\u2028\ud800"}


async def test_a_configuration_of_the_largest_size_fits() -> None:
    text = "\u00e9" * (1 << 20)
    async with pair() as (one, _):
        assert (await one.channel.ask("echo", text=text))["text"] == text


async def test_many_questions_at_once_get_their_own_answers() -> None:
    async with pair() as (one, other):
        asked = [one.channel.ask("echo", text=number) for number in range(100)]
        asked += [other.channel.ask("echo", text=number) for number in range(100)]
        assert [answer["text"] for answer in await asyncio.gather(*asked)] == [*range(100), *range(100)]


async def test_a_slow_answer_holds_up_no_other() -> None:
    async with pair() as (one, other):
        slow = asyncio.create_task(one.channel.ask("slow"))
        await other.asked.wait()
        assert await one.channel.ask("echo", text="quick") == {"text": "quick"}
        assert not slow.done()
        other.may_answer.set()
        assert await slow == {"late": True}


async def test_what_the_other_end_cannot_do_is_raised_here() -> None:
    async with pair() as (one, _):
        with pytest.raises(WorkerError, match="no such question"):
            await one.channel.ask("unheard-of")


async def test_a_mistake_of_ours_is_an_answer_too(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asks must not wait for one that never comes."""
    async with pair() as (one, _):
        with pytest.raises(WorkerError, match="ours"):
            await one.channel.ask("bug")
        assert [(record.levelno, record.exc_info is not None) for record in caplog.records] == [
            (logging.ERROR, True)
        ]
        assert await one.channel.ask("echo", text="on it goes") == {"text": "on it goes"}


async def test_an_answer_that_comes_too_late_is_dropped() -> None:
    async with pair() as (one, other):
        with pytest.raises(TimeoutError):
            await one.channel.ask("slow", 0.05)
        other.may_answer.set()
        assert await one.channel.ask("echo", text="next") == {"text": "next"}


async def test_news_are_heard_and_not_answered() -> None:
    async with pair() as (one, other):
        one.channel.tell({"news": "of the day"})
        await other.heard_some.wait()
        assert other.heard == [{"news": "of the day"}]


async def test_a_question_told_wants_no_answer() -> None:
    async with pair() as (one, _):
        one.channel.tell({"ask": "echo", "id": 0, "text": "x"})
        assert await one.channel.ask("echo", text="y") == {"text": "y"}
        assert one.heard == []


def hangs_up(end: End) -> None:
    writer = end.channel._writer
    assert writer is not None
    writer.close()


def dies(end: End) -> None:
    writer = end.channel._writer
    assert writer is not None
    writer.transport.abort()


@pytest.mark.parametrize("ends", [hangs_up, dies])
async def test_when_the_other_end_is_gone_nobody_waits(ends: Callable[[End], None]) -> None:
    async with pair() as (one, other):
        waiting = asyncio.create_task(one.channel.ask("slow"))
        await other.asked.wait()
        ends(other)
        with pytest.raises(ChannelClosedError):
            await waiting
        await one.channel.closed.wait()
        with pytest.raises(ChannelClosedError):
            await one.channel.ask("echo", text="anybody?")
        one.channel.tell({"news": "for nobody"})  # no harm


async def test_what_was_being_answered_is_given_up() -> None:
    async with pair() as (one, other):
        asking = asyncio.create_task(one.channel.ask("slow"))
        await other.asked.wait()
        hangs_up(one)
        await other.channel.closed.wait()
        with pytest.raises(ChannelClosedError):
            await asking
        await other.cancelled.wait()


async def test_one_that_does_not_keep_up_is_seen() -> None:
    ours, theirs = socket.socketpair()
    end = End()
    with theirs:
        await end.channel.connect(ours)
        assert not end.channel.is_behind
        end.channel.tell({"news": "x" * (8 << 20)})  # more than the kernel holds for one that does not read
        assert end.channel.is_behind
        assert end.channel._writer is not None
        end.channel._writer.transport.abort()


async def test_it_is_connected_before_it_runs() -> None:
    with pytest.raises(RuntimeError, match="connect first"):
        await End().channel.run()
