"""What is near is given without asking, and no longer once anybody has changed or invalidated it."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from polly_state import BreakerSettings, Lifetime, Mode, Origin, PollyState
from polly_state.testing import FaultProxy, Server
from tests.cache.caches import Source
from tests.outages import settings_for, state_at, until


@pytest.fixture
async def pair(server):
    name = secrets.token_hex(4)
    async with state_at(server.url, namespace=name) as here, state_at(server.url, namespace=name) as there:
        yield here, there


async def filled(cache, id=1):
    """Read until it is near."""
    async with asyncio.timeout(20):
        while (await cache.read(id)).origin is not Origin.NEAR:
            await asyncio.sleep(0.002)


async def gone(cache, id=1):
    async with asyncio.timeout(20):
        while (await cache.read(id)).hit:
            await asyncio.sleep(0.002)


def commands(state):
    return state.statistics().connection.commands


async def test_a_near_hit_asks_nobody(pair):
    here, _ = pair
    cache = here.cache.family("own", dict[str, int], ttl=60)
    await cache.set(1, {"a": 1}, tags=["t"])
    await filled(cache)
    before, source = commands(here), Source({"a": 2})
    for _ in range(10):
        assert await cache.get(1) == {"a": 1}
        assert await cache.get_or_load(1, source) == {"a": 1}
    # The watch on the server asks now and then.
    assert commands(here) - before < 10
    assert source.loads == 0
    assert cache.statistics().near_hits >= 20


async def test_what_is_given_can_be_changed_without_harm(pair):
    here, _ = pair
    cache = here.cache.family("own", dict[str, list[int]], ttl=60)
    await cache.set(1, {"a": [1]})
    await filled(cache)
    (await cache.get(1))["a"].append(2)
    assert await cache.get(1) == {"a": [1]}


async def test_own_writes_are_seen_at_once(pair):
    here, _ = pair
    cache = here.cache.family("own", int, ttl=60)
    for number, forget in enumerate(
        (
            lambda: cache.delete(1),
            cache.invalidate,
            here.cache.invalidate_all,
            lambda: here.cache.invalidate_tag("t"),
        )
    ):
        await cache.set(1, number, tags=["t"])
        assert number == await cache.get(1)
        await filled(cache)
        await cache.set(1, -number, tags=["t"])
        assert -number == await cache.get(1)
        await filled(cache)
        await forget()
        assert await cache.get(1) is None


async def test_those_of_others_are_told(pair):
    here, there = pair
    mine, theirs = (state.cache.family("own", int, ttl=60) for state in pair)
    for forget in (
        lambda: theirs.delete(1),
        theirs.invalidate,
        there.cache.invalidate_all,
        lambda: there.cache.invalidate_tag("t"),
    ):
        await mine.set(1, 5, tags=["t"])
        await filled(mine)
        await forget()
        await gone(mine)
    await mine.set(1, 5)
    await filled(mine)
    await theirs.set(1, 6)
    async with asyncio.timeout(20):
        while await mine.get(1) != 6:
            await asyncio.sleep(0.002)
    assert here.mode is there.mode


async def test_handles_of_other_types_do_not_share_values(pair):
    here, _ = pair
    texts = here.cache.family("own", ttl=60)
    await texts.set(1, ["a", "b"])
    await filled(texts)
    sets = texts.of(set[str])
    for _ in range(3):
        assert {"a", "b"} == await sets.get(1)
        assert await texts.get(1) == ["a", "b"]


async def test_a_near_value_expires(server):
    async with state_at(server.url, namespace=secrets.token_hex(4)) as state:
        cache = state.cache.family("own", int, ttl=60)
        await cache.set(1, 5, ttl=0.3)
        await filled(cache)
        await gone_or_stale(cache)
        assert await cache.get(1) is None


async def gone_or_stale(cache):
    async with asyncio.timeout(20):
        while not (found := await cache.read(1)).stale and found.hit:
            await asyncio.sleep(0.01)


async def test_a_cut_connection_vouches_for_nothing(server):
    async with FaultProxy(server.url) as proxy, state_at(proxy.url, namespace=secrets.token_hex(4)) as state:
        cache = state.cache.family("own", int, ttl=60)
        await cache.set(1, 5)
        await filled(cache)
        proxy.refuse()
        proxy.reset()
        await until(lambda: state.statistics().near.entries == 0)


async def test_it_can_be_switched_off(server):
    settings = replace(settings_for(server.url, namespace=secrets.token_hex(4)), near=False)
    async with PollyState(settings, observers=()) as state:
        cache = state.cache.family("own", int, ttl=60)
        await cache.set(1, 5)
        assert [(await cache.read(1)).origin for _ in range(3)] == [Origin.REDIS] * 3


def apart(state):
    """A family whose values are asked for each time, while its markers are near."""
    return state.cache.family("apart", int, lifetime=Lifetime(ttl=60, near=False))


async def test_values_can_be_left_out(pair):
    here, _ = pair
    cache, source = apart(here), Source(5)
    await cache.get_or_load(1, source)
    before = commands(here)
    origins = [(await cache.read(1)).origin for _ in range(10)]
    assert origins == [Origin.REDIS] * 10
    assert await asyncio.gather(*(cache.get_or_load(1, source) for _ in range(20))) == [5] * 20
    # One command for each: what was invalidated is known. The watch on the server asks now and then.
    assert 30 <= commands(here) - before < 40
    assert (source.loads, cache.statistics().near_hits) == (1, 0)


async def test_what_is_asked_for_is_never_older_than_an_invalidation(pair):
    here, there = pair
    mine, theirs = apart(here), apart(there)
    for number in range(30):
        for invalidate in (theirs.invalidate, there.cache.invalidate_all, lambda: there.cache.invalidate_tag("t")):
            await mine.set(1, number, tags=["t"])
            assert [await mine.get(1) for _ in range(2)] == [number] * 2
            await invalidate()
            assert await mine.get(1) is None


async def test_nor_if_what_is_known_is_read_anew_meanwhile(pair):
    here, there = pair
    mine, theirs = apart(here), apart(there)
    for number in range(10):
        await mine.set(1, number)
        assert await mine.get(1) == number
        told = here.statistics().near.invalidations
        await theirs.invalidate()
        await until(lambda told=told: here.statistics().near.invalidations > told)
        _, found = await asyncio.gather(mine.set(2, 0), mine.get(1))
        assert found is None


async def test_nor_while_nothing_vouches_for_what_is_known(server):
    async with FaultProxy(server.url) as proxy, state_at(proxy.url, namespace=secrets.token_hex(4)) as state:
        cache = apart(state)
        await cache.set(1, 5)
        assert await cache.get(1) == 5
        async with state_at(server.url, namespace=state.settings.namespace) as other:
            proxy.reset()
            await apart(other).invalidate()
            await until(lambda: state.statistics().near.flushes)
            assert await cache.get(1) is None


@pytest.mark.parametrize("near", [True, False])
async def test_an_own_invalidation_that_redis_refuses_counts_here_at_once(binary, near):
    async with Server(binary) as server, state_at(server.url, breaker=BreakerSettings(probe_delay=0.05)) as state:
        cache = state.cache.family("own", int, lifetime=Lifetime(ttl=60, near=near))
        await cache.set_many({1: 5, 2: 5, 3: 5}, tags=["t"])
        assert await cache.get_many([1, 2, 3]) == {1: 5, 2: 5, 3: 5}
        async with Redis.from_url(server.url) as client:
            await client.config_set("maxmemory", 1)
            for number, invalidate in (
                (1, lambda: cache.delete(1)),
                (2, lambda: state.cache.invalidate_tag("t")),
                (3, cache.invalidate),
            ):
                assert await cache.get(number) == (5 if number < 3 else None)
                await invalidate()
                assert await cache.get(number) is None
            assert state.mode is Mode.READ_ONLY
            await client.config_set("maxmemory", 0)
            await until(lambda: state.mode is Mode.CONNECTED)
            assert await cache.get_many([1, 2, 3]) == {}
