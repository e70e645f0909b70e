"""Inboxes: woken instead of polling, over outages and with readers that fail, and nothing is lost."""

from __future__ import annotations

import asyncio
import random
from contextlib import aclosing, asynccontextmanager

import pytest

from polly_state import Mode, PollyState, Settings, StoreUnavailable
from polly_state.services.inboxes import Inboxes, Letter
from polly_state.testing import FaultProxy, Server
from tests.outages import QUICK, state_at, until
from tests.testing.wire import ask

ROOMS = ["https://example.org/r?", "r*", "部屋", "a:b\n"]


@asynccontextmanager
async def reading(state, inbox, heard, **options):
    """Someone who listens, acknowledges, and notes what came."""

    async def listen():
        async for letter in state.inboxes.listen(inbox, **options):
            heard.append(letter.value.content)
            await letter.ack()

    task = asyncio.create_task(listen())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_messages_come_to_their_inbox_and_to_no_other(anywhere):
    heard = {room: [] for room in ROOMS}
    async with (
        reading(anywhere, ROOMS[0], heard[ROOMS[0]]),
        reading(anywhere, ROOMS[1], heard[ROOMS[1]]),
        reading(anywhere, ROOMS[2], heard[ROOMS[2]]),
    ):
        for number in range(10):
            for room in ROOMS:
                await anywhere.inboxes.send(room, {"room": room, "number": number})
        await until(lambda: [len(heard[room]) for room in ROOMS] == [10, 10, 10, 0])
    for room in ROOMS[:3]:
        assert heard[room] == [{"room": room, "number": number} for number in range(10)]
    assert len(await anywhere.inboxes.drain(ROOMS[3])) == 10
    for room in ROOMS:
        assert await anywhere.inboxes.drain(room) == []


async def test_a_message_waits_for_its_reader(anywhere):
    await anywhere.inboxes.send("bot", "early")
    heard = []
    async with reading(anywhere, "bot", heard):
        await until(lambda: heard == ["early"])


async def test_a_reader_that_fails_is_given_it_again(anywhere):
    await anywhere.inboxes.send("bot", "x")
    for duplicate in (False, True):
        async with aclosing(anywhere.inboxes.listen("bot", visibility=0.05)) as letters:
            letter = await anext(letters)
            assert (letter.value.content, letter.duplicate) == ("x", duplicate)
    await letter.ack()
    await asyncio.sleep(0.1)
    assert await anywhere.inboxes.drain("bot") == []


async def test_a_request_is_answered_or_times_out(anywhere):
    async def answer():
        async for letter in anywhere.inboxes.listen("bot"):
            await anywhere.inboxes.answer(letter, {"to": letter.value.content})

    answering = asyncio.create_task(answer())
    answers = await asyncio.gather(*(anywhere.inboxes.request("bot", number) for number in range(10)))
    assert answers == [{"to": number} for number in range(10)]
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)
    with pytest.raises(TimeoutError):
        await anywhere.inboxes.request("nobody", 1, timeout=0.05)
    await anywhere.inboxes.send("plain", 1)
    async with aclosing(anywhere.inboxes.listen("plain")) as letters:
        with pytest.raises(ValueError, match="nobody waits"):
            await anywhere.inboxes.answer(await anext(letters), 1)


async def test_a_broadcast_comes_to_all_who_listen(anywhere):
    heard = [[], []]
    async with reading(anywhere, "one", heard[0]), reading(anywhere, "two", heard[1]):
        async with asyncio.timeout(10):
            while await anywhere.inboxes.broadcast("x") < 2:
                await asyncio.sleep(0)
        await until(lambda: heard[0] and heard[1])
    assert heard[0][-1] == heard[1][-1] == "x"


async def test_an_idle_reader_sends_nothing_and_is_woken_by_another_process(server, namespace):
    async with (
        state_at(server.url, namespace=namespace) as state,
        state_at(server.url, namespace=namespace) as other,
    ):
        heard = []
        async with reading(state, "bot", heard):
            await other.inboxes.send("bot", 0)
            await until(lambda: heard == [0])
            await asyncio.sleep(0.05)
            before = state.statistics().operations["TakeMessages"].operations
            await asyncio.sleep(0.3)
            assert state.statistics().operations["TakeMessages"].operations == before
            await other.inboxes.send("bot", 1)
            await until(lambda: heard == [0, 1], within=5)


async def test_a_reader_who_may_not_subscribe_looks_by_itself(binary):
    async with Server(binary) as server:
        ask(server.url, "ACL SETUSER shy on >secret ~* +@all resetchannels")
        async with state_at(server.url.replace("://", "://shy:secret@")) as state, state_at(server.url) as other:
            heard = []
            async with reading(state, "bot", heard):
                for number in range(2):
                    await other.inboxes.send("bot", number)
                    await until(lambda: len(heard) > number, within=10)  # noqa: B023


@pytest.mark.blocking
async def test_a_reader_is_woken_by_another_process_over_a_directory(tmp_path):
    settings = Settings(directory=tmp_path / "state")
    async with PollyState(settings) as state, PollyState(settings) as other:
        heard = []
        async with reading(state, "bot", heard):
            for number in range(3):
                await other.inboxes.send("bot", number)
                await until(lambda: len(heard) > number, within=5)  # noqa: B023
        assert heard == [0, 1, 2]
        assert await other.inboxes.drain("bot") == []


@pytest.mark.blocking
async def test_over_a_directory_a_message_is_in_the_hands_of_one_process(tmp_path):
    settings, count = Settings(directory=tmp_path / "state"), 60
    async with PollyState(settings, observers=()) as one, PollyState(settings, observers=()) as two:
        for number in range(count):
            await one.inboxes.send("bot", number)
        found = await asyncio.gather(*(state.inboxes.take("bot", 3) for state in (one, two) * 10))
        taken = [letter for letters in found for letter in letters]
        assert sorted(letter.value.content for letter in taken) == list(range(count))
        assert not any(letter.duplicate for letter in taken)
        for letter in taken[:20]:
            await letter.ack()
    # Who comes later knows it too, and gets what was not acknowledged as what it is.
    async with PollyState(settings, observers=()) as three:
        assert await three.inboxes.take("bot") == []
        queue = three.queue("inboxes", Letter, ttl=3600)
        again = await queue.take("bot", 100, visibility=0.001)
        assert sorted(letter.value.content for letter in again) == sorted(each.value.content for each in taken[20:])
        assert {letter.deliveries for letter in again} == {2}


@pytest.mark.blocking
async def test_what_a_directory_knows_of_deliveries_does_not_hinder_the_redis_that_comes(tmp_path, server, namespace):
    async with PollyState(Settings(directory=tmp_path / "s", namespace=namespace), observers=()) as state:
        for number in range(3):
            await state.inboxes.send("bot", number)
        first, _ = await state.inboxes.take("bot", 2)
        await first.ack()
    async with state_at(server.url, namespace=namespace, directory=tmp_path / "s") as state:
        await until(lambda: state.mode is Mode.CONNECTED and state.health().pending == 0)
        assert await state.inboxes.drain("bot") == [1, 2]
        assert state.statistics().journal.dead == 0


async def test_messages_of_an_outage_come_when_it_is_over(server, namespace):
    async with (
        FaultProxy(server.url) as proxy,
        state_at(proxy.url, namespace=namespace, breaker=QUICK) as state,
        state_at(server.url, namespace=namespace) as other,
    ):
        heard = []
        async with reading(state, "bot", heard):
            await other.inboxes.send("bot", "before")
            await until(lambda: heard == ["before"])
            proxy.refuse()
            proxy.reset()
            await until(lambda: state.mode is Mode.DEGRADED)
            with pytest.raises(StoreUnavailable):
                await state.inboxes.drain("bot")
            await state.inboxes.send("bot", "here")
            await other.inboxes.send("bot", "there")
            await asyncio.sleep(0.3)
            assert heard == ["before"]
            proxy.heal()
            await until(lambda: sorted(heard) == ["before", "here", "there"])
            await other.inboxes.send("bot", "after")
            await until(lambda: heard[-1] == "after", within=5)


async def test_what_was_done_in_an_outage_is_not_delivered_again(server, namespace):
    async with (
        FaultProxy(server.url) as proxy,
        state_at(proxy.url, namespace=namespace, breaker=QUICK) as state,
        state_at(server.url, namespace=namespace) as other,
    ):
        await other.inboxes.send("bot", "x")
        async with aclosing(state.inboxes.listen("bot")) as letters:
            letter = await anext(letters)
            proxy.refuse()
            proxy.reset()
            await until(lambda: state.mode is Mode.DEGRADED)
            await letter.ack()
            proxy.heal()
            await until(lambda: state.mode is Mode.CONNECTED)
        queue = other.queue("inboxes", type(letter.value), ttl=3600)
        assert await queue.waiting("bot") == []


async def test_each_message_is_handled_though_readers_are_cancelled_and_connections_lost(server, namespace):
    """At least once for all of them, and whoever gets one a second time is told so."""
    count, chance = 400, random.Random(5)
    async with (
        FaultProxy(server.url) as proxy,
        state_at(proxy.url, namespace=namespace, breaker=QUICK) as state,
        state_at(server.url, namespace=namespace) as other,
    ):
        seen, marked, cancelled = [], [], []

        async def read():
            async for letter in Inboxes(state).listen("bot", visibility=0.1):
                await asyncio.sleep(0)
                if letter.value.content in seen:
                    marked.append(letter.duplicate)
                seen.append(letter.value.content)
                await letter.ack()

        async def misbehave(readers):
            while True:
                await asyncio.sleep(chance.uniform(0.005, 0.02))
                cancelled.append(chance.choice(readers).cancel())
                readers[:] = [task if not task.done() else asyncio.create_task(read()) for task in readers]
                if chance.random() < 0.1:
                    proxy.drop_replies()
                    await asyncio.sleep(0.002)
                    proxy.reset()
                    proxy.heal()

        readers = [asyncio.create_task(read()) for _ in range(3)]
        misbehaving = asyncio.create_task(misbehave(readers))
        for number in range(0, count, 20):
            await asyncio.gather(*(other.inboxes.send("bot", each) for each in range(number, number + 20)))
            await asyncio.sleep(0.01)
        await until(lambda: set(seen) == set(range(count)))
        misbehaving.cancel()
        for task in readers:
            task.cancel()
        await asyncio.gather(misbehaving, *readers, return_exceptions=True)
        assert len(cancelled) >= 5
        assert all(marked)
