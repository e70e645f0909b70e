"""Presence: who is there, and nobody declared dead by an outage."""

from __future__ import annotations

import asyncio
import secrets

import pytest

from polly_state import BreakerSettings, Mode, Origin, PollyState, Roll
from polly_state.structures import Binding, Family, Presence, Watchdog
from polly_state.testing import Server
from tests.outages import in_thread, state_at, until

QUICK = BreakerSettings(probe_delay=0.02, probe_delay_cap=0.05)
TTL = 0.4
#: What the watch on the server may send meanwhile.
WATCH = 3


@pytest.fixture
async def watchdog():
    watchdog = Watchdog()
    yield watchdog
    await watchdog.aclose(1.0)


@pytest.fixture
def presence(store, watchdog):
    return Presence(Binding(store.store, Family(store.key().partition(":")[0], "p"), None, 1000), watchdog, TTL)


async def test_who_beats_is_alive_and_who_stops_is_stalled(store, presence):
    assert (await presence.read("bots"))[:3] == ([], [], [])
    assert await presence.beat("bots", "b", "a") == 2
    await store.lapse(TTL + 0.01)
    assert await presence.beat("bots", "c") == 1
    assert (await presence.read("bots"))[:3] == (["c"], ["a", "b"], [])
    assert await presence.leave("bots", "a") is True
    assert await presence.leave("bots", "a") is False
    assert (await presence.read("bots"))[:3] == (["c"], ["b"], [])
    assert (await presence.read("others"))[:3] == ([], [], [])


async def test_while_redis_has_not_been_there_long_the_silent_are_unknown(store, watchdog):
    steady = 0.0
    binding = Binding(store.store, Family(store.key().partition(":")[0], "p"), None, 1000)
    presence = Presence(binding, watchdog, TTL, lambda: steady)
    await presence.beat("bots", "a")
    await store.lapse(TTL + 0.01)
    assert (await presence.read("bots"))[:3] == ([], [], ["a"])
    steady = TTL
    assert (await presence.read("bots"))[:3] == ([], ["a"], [])


@pytest.mark.parametrize("name", ["", "x" * 513, "\ud800"])
async def test_a_name_that_is_none_is_a_value_error(presence, name):
    with pytest.raises(ValueError, match="name"):
        await presence.beat("bots", name)
    with pytest.raises(ValueError, match="name"):
        presence.join("bots", name)
    with pytest.raises(ValueError, match="name who"):
        await presence.beat("bots")


@pytest.mark.blocking
async def test_10_000_are_listed_at_once(server):
    async with state_at(server.url, namespace=f"many-{secrets.token_hex(4)}") as state:
        names = [f"process-{number:05}" for number in range(10_000)]
        for start in range(0, 10_000, 500):
            await state.presence.beat("bots", *names[start : start + 500])
        before = state.statistics().connection.commands
        assert (await state.presence.read("bots")).alive == names
        assert state.statistics().connection.commands - before <= 1 + WATCH


async def test_without_a_redis_it_is_told_from_here():
    async with PollyState() as state:
        assert await state.presence.beat("room", "a") == 1
        assert await state.presence.read("room") == (["a"], [], [], Origin.LOCAL)
        state.presence.join("room", "b")
        await until(lambda: state._watchdog.rounds == 1)
        assert (await state.presence.read("room")).alive == ["a", "b"]


async def test_nobody_is_dead_after_an_outage_longer_than_the_ttl(binary):
    async with Server(binary) as server:
        namespace = f"out-{secrets.token_hex(4)}"
        states = [state_at(server.url, namespace=namespace, breaker=QUICK) for _ in range(3)]
        async with states[0] as reader, states[1] as one, states[2] as two:
            there = [state._presence("here", TTL) for state in (reader, one, two)]
            for number, presence in enumerate(there):
                presence.join("bots", f"bot-{number}")
            names = ["bot-0", "bot-1", "bot-2"]
            await watched(there, lambda rolls: all(roll.alive == names for roll in rolls))
            # This one has no process that could beat as soon as Redis is back.
            await there[1].beat("others", "ghost")
            assert (await there[0].read("others")).alive == ["ghost"]
            await in_thread(server.freeze)
            await until(lambda: all(state.mode is Mode.DEGRADED for state in (reader, one, two)))
            for _ in range(10):
                rolls = await everybody(there)
                assert [roll[:3] for roll in rolls] == [([], [], names)] * 3
                assert {roll.origin for roll in rolls} == {Origin.MIRROR}
                await asyncio.sleep(TTL / 5)
            await in_thread(server.thaw)
            await until(lambda: reader.mode is Mode.CONNECTED)
            assert (await there[0].read("others")) == ([], [], ["ghost"], Origin.REDIS)
            await watched(there, lambda rolls: all(roll.alive == names for roll in rolls))
            # One who really ends is noticed, as soon as Redis has been there for a ttl.
            await two._watchdog.aclose(0)
            two._watchdog._due.clear()
            await watched(there[:2], lambda rolls: all("bot-2" not in roll.alive for roll in rolls), dead=True)
            await asyncio.sleep(TTL)
            assert (await there[0].read("others")).stalled == ["ghost"]


async def everybody(there) -> list[Roll]:
    return list(await asyncio.gather(*(presence.read("bots") for presence in there)))


async def watched(there, condition, *, dead=False):
    """Ask until it is so; nobody may be called stalled meanwhile, unless somebody is."""
    async with asyncio.timeout(15):
        while True:
            rolls = await everybody(there)
            assert dead or all(roll.stalled == [] for roll in rolls)
            if condition(rolls):
                return
            await asyncio.sleep(0.01)
