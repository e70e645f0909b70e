"""A loader runs once for all who ask; when it fails, hangs or is late, everybody gets what is best."""

from __future__ import annotations

import asyncio
import gc

import pytest

from polly_state import LoadFailed, UnsupportedValue
from polly_state.lifetime import Lifetime
from tests.cache.caches import BRIEF, Source, Virtual
from tests.outages import until


@pytest.fixture
async def virtual():
    virtual = Virtual()
    yield virtual
    await virtual.service.aclose()


async def test_callers_of_one_process_share_a_load(virtual):
    source = Source(5, takes=0.01)
    cache = virtual.family(int)
    assert await asyncio.gather(*(cache.get_or_load(1, source) for _ in range(100))) == [5] * 100
    assert source.asked == [1]


async def test_a_caller_who_gives_up_takes_nothing_from_the_others(virtual):
    cache, source = virtual.family(int), Source(5, takes=0.02)
    first = asyncio.create_task(cache.get_or_load(1, source))
    second = asyncio.create_task(cache.get_or_load(1, source))
    await until(lambda: source.loads)
    first.cancel()
    assert await second == 5
    assert first.cancelled()
    assert source.loads == 1


async def test_what_nobody_waits_for_any_more_is_kept(virtual):
    cache, source = virtual.family(int), Source(5, takes=0.01)
    caller = asyncio.create_task(cache.get_or_load(1, source))
    await until(lambda: source.loads)
    caller.cancel()
    await until(lambda: not virtual.service.health().loading)
    assert await cache.get(1) == 5


async def test_what_a_loader_raises_goes_to_all_who_wait_and_is_not_kept(virtual):
    cache, source = virtual.family(int), Source(KeyError("away"), takes=0.01)
    results = await asyncio.gather(*(cache.get_or_load(1, source) for _ in range(5)), return_exceptions=True)
    assert [KeyError] * 5 == [*map(type, results)]
    assert source.loads == 1
    source.value = 6
    assert await cache.get_or_load(1, source) == 6


async def test_a_failure_that_nobody_waits_for_is_silent(virtual, caplog):
    source = Source(KeyError("away"), takes=0.01)
    caller = asyncio.create_task(virtual.family(int).get_or_load(1, source))
    await until(lambda: source.loads)
    caller.cancel()
    await until(lambda: not virtual.service.health().loading)
    gc.collect()
    assert caplog.records == []


async def test_a_loader_that_is_cancelled_from_within_is_an_error_not_a_cancellation(virtual):
    cache = virtual.family(int)
    with pytest.raises(LoadFailed):
        await cache.get_or_load(1, Source(asyncio.CancelledError()))
    assert await cache.get_or_load(1, Source(5)) == 5


@pytest.mark.parametrize("value", [object(), "x" * 9_000_000])
async def test_what_cannot_be_stored_is_an_error_and_the_next_load_is_free(virtual, value):
    cache = virtual.family(object)
    with pytest.raises(UnsupportedValue):
        await cache.get_or_load(1, Source(value))
    assert await cache.get_or_load(1, Source(5)) == 5


async def test_a_loader_that_asks_for_its_own_key_is_told_so(virtual):
    cache = virtual.family(int)

    async def load(key):
        return await cache.get_or_load(key, load)

    with pytest.raises(RuntimeError, match="key that it loads"):
        await cache.get_or_load(1, load)


async def test_loaders_that_wait_for_each_other_are_told_so(virtual):
    cache = virtual.family(int)

    async def load(key):
        await asyncio.sleep(0.005)
        return await cache.get_or_load(3 - key, load)

    results = await asyncio.gather(cache.get_or_load(1, load), cache.get_or_load(2, load), return_exceptions=True)
    assert {RuntimeError} == {*map(type, results)}


async def test_so_are_loaders_of_many(virtual):
    cache = virtual.family(int)

    async def load(ids):
        return {1: await cache.get_or_load(2, Source(5)), 2: 1}

    with pytest.raises(RuntimeError, match="key that it loads"):
        await cache.get_or_load_many([1, 2], load)


async def test_a_loader_may_load_something_else(virtual):
    cache = virtual.family(int)

    async def load(key):
        return 1 + (0 if key == 0 else await cache.get_or_load(key - 1, load))

    assert await cache.get_or_load(4, load) == 5


async def test_a_stale_value_is_given_when_the_loader_fails_and_the_loader_left_alone(virtual):
    cache, source = virtual.family(int), Source(5)
    await cache.get_or_load(1, source)
    virtual.advance(11)
    source.value = KeyError("away")
    assert [await cache.get_or_load(1, source) for _ in range(3)] == [5, 5, 5]
    assert source.loads == 2
    found = await cache.read(1)
    assert (found.value, found.stale) == (5, True)
    assert found.age == pytest.approx(11)
    virtual.advance(5.1)
    source.value = 6
    assert await cache.get_or_load(1, source) == 6
    assert cache.statistics().stale - 1 == 3


async def test_past_its_end_nothing_is_given(virtual):
    cache, source = virtual.family(int), Source(5)
    await cache.get_or_load(1, source)
    virtual.advance(111)
    with pytest.raises(KeyError):
        await cache.get_or_load(1, Source(KeyError("away")))


async def test_who_has_a_stale_value_waits_only_so_long_and_the_late_one_is_kept(virtual):
    cache, source = virtual.family(int), Source(5)
    await cache.get_or_load(1, source)
    virtual.advance(11)
    slow = Source(6, takes=0.06)
    assert await cache.get_or_load(1, slow) == 5
    await until(lambda: not virtual.service.health().loading)
    assert await cache.get(1) == 6
    assert slow.loads == 1


async def test_who_has_nothing_waits_for_the_hard_timeout_and_the_late_one_is_kept(virtual):
    cache, slow = virtual.family(int), Source(6, takes=2 * BRIEF.hard_timeout)
    with pytest.raises(LoadFailed, match="longer than"):
        await cache.get_or_load(1, slow)
    await until(lambda: not virtual.service.health().loading)
    assert await cache.get(1) == 6
    assert slow.loads == 1


async def test_a_loader_that_hangs_is_given_up(virtual):
    cache = virtual.family(int, Lifetime(ttl=10, hard_timeout=0.01))
    with pytest.raises(LoadFailed):
        await cache.get_or_load(1, Source(6, takes=3600))
    await until(lambda: not virtual.service.health().loading)
    assert await cache.get_or_load(1, Source(5)) == 5


async def test_what_is_about_to_expire_is_loaded_in_the_background_once(virtual):
    cache, source = virtual.family(int, Lifetime(ttl=10, jitter=0, early=100)), Source(5, takes=0.02)
    await cache.get_or_load(1, source)
    virtual.advance(9.9)
    source.value = 6
    virtual.service._shared.random = lambda: 0.9
    assert await asyncio.gather(*(cache.get_or_load(1, source) for _ in range(10))) == [5] * 10
    await until(lambda: not virtual.service.health().loading)
    assert await cache.get(1) == 6
    assert source.loads == 2
    assert cache.statistics().early == 1


async def test_not_more_than_so_many_are_loaded_early_at_once(virtual):
    cache, source = virtual.family(int, Lifetime(ttl=10, jitter=0, early=100)), Source(5, takes=0.02)
    virtual.service._shared.early_room = 2
    await asyncio.gather(*(cache.get_or_load(number, source) for number in range(5)))
    virtual.advance(9.9)
    virtual.service._shared.random = lambda: 0.9
    await asyncio.gather(*(cache.get_or_load(number, source) for number in range(5)))
    assert cache.statistics().early == 2
    await until(lambda: not virtual.service.health().loading)
    assert virtual.service._shared.early_room == 2


async def test_what_is_not_about_to_expire_is_not(virtual):
    cache, source = virtual.family(int, Lifetime(ttl=10, jitter=0)), Source(5, takes=0.02)
    await cache.get_or_load(1, source)
    virtual.service._shared.random = lambda: 0.999999
    await cache.get_or_load(1, source)
    assert cache.statistics().early == 0


async def test_a_warm_cache_is_not_loaded_again(virtual):
    cache, source = virtual.family(int), Source(5)
    await cache.set(1, 4)
    assert await cache.warm(range(5), source) == 4
    assert sorted(source.asked) == [0, 2, 3, 4]
    assert await cache.warm(range(5), source) == 0


async def test_a_loader_of_many_that_fails_leaves_stale_values(virtual):
    cache = virtual.family(int)
    await cache.set_many({1: 5, 2: 6})
    virtual.advance(11)
    assert await cache.get_or_load_many([1, 2], Source(KeyError())) == {1: 5, 2: 6}
    with pytest.raises(KeyError):
        await cache.get_or_load_many([2, 3], Source(KeyError()))


async def test_closing_ends_loads(virtual):
    cache, source = virtual.family(int), Source(5, takes=3600)
    caller = asyncio.create_task(cache.get_or_load(1, source))
    await until(lambda: source.loads)
    await virtual.service.aclose()
    with pytest.raises(LoadFailed, match="closed"):
        await caller


async def test_another_process_that_is_gone_is_taken_over(virtual):
    virtual.service._shared.liveness = 0.05
    other = virtual.process()
    other._shared.liveness = 0.05
    hung = asyncio.create_task(other.family("family", int, ttl=10).get_or_load(1, Source(1, takes=3600)))
    await until(lambda: other.health().loading)
    for task in asyncio.all_tasks():
        if task.get_name() == "polly_state load renewal":
            task.cancel()
    taking = asyncio.create_task(virtual.family(int).get_or_load(1, Source(5)))
    await asyncio.sleep(0.02)
    assert not taking.done()
    virtual.advance(0.06)
    assert await taking == 5
    hung.cancel()
    await other.aclose()


async def test_one_that_lives_is_not(virtual):
    other = virtual.process()
    for service in (virtual.service, other):
        service._shared.liveness = 0.03
    source, mine = Source(1, takes=0.08), Source(5)
    slow = asyncio.create_task(other.family("family", int, ttl=10).get_or_load(1, source))
    await until(lambda: source.loads)
    waiting = asyncio.create_task(virtual.family(int, Lifetime(ttl=10)).get_or_load(1, mine))
    for _ in range(8):
        await asyncio.sleep(0.011)
        virtual.advance(0.011)
    assert [await slow, await waiting] == [1, 1]
    assert mine.loads == 0
    await other.aclose()
