"""Loads of many are as good as loads of one: nobody gets what was overtaken, nor what became of somebody else's id."""

from __future__ import annotations

import asyncio

import pytest

from polly_state import LoadFailed, UnsupportedValue
from polly_state.commands import EndLoad
from polly_state.lifetime import Lifetime
from tests.cache.caches import BRIEF, Source, Virtual
from tests.outages import until


@pytest.fixture
async def virtual():
    virtual = Virtual()
    yield virtual
    await virtual.service.aclose()


class Many(Source):
    """Gives one value for all ids, but for those that it leaves out."""

    def __init__(self, value=1, *, without=(), takes=0.0):
        super().__init__(value, takes=takes)
        self.without = without

    async def __call__(self, ids):
        value = await super().__call__(ids)
        return {each: value for each in ids if each not in self.without}


async def test_ids_that_are_written_alike_all_get_it(virtual):
    cache, source = virtual.family(int), Many(5)
    for _ in range(2):
        assert await cache.get_or_load_many([1, "1", 2], source) == {1: 5, "1": 5, 2: 5}
    assert source.asked == [[1, 2]]


async def test_who_has_stale_values_waits_only_so_long_and_the_late_ones_are_kept(virtual):
    cache, source = virtual.family(int), Many(6, takes=0.06)
    await cache.set_many({1: 5, 2: 5})
    virtual.advance(11)
    assert await cache.get_or_load_many([1, 2], source) == {1: 5, 2: 5}
    assert cache.statistics().stale == 2
    await until(lambda: not virtual.service.health().loading)
    assert await cache.get_many([1, 2]) == {1: 6, 2: 6}


async def test_who_has_nothing_for_one_of_them_waits_and_gets_all_of_it_fresh(virtual):
    cache = virtual.family(int)
    await cache.set(1, 5)
    virtual.advance(11)
    assert await cache.get_or_load_many([1, 2], Many(6, takes=0.05)) == {1: 6, 2: 6}
    with pytest.raises(LoadFailed, match="longer than"):
        await cache.get_or_load_many([1, 3], Many(6, takes=2 * BRIEF.hard_timeout))


async def test_who_asks_after_another_process_has_deleted_does_not_get_an_older_load(virtual):
    lasting = Lifetime(ttl=1000.0)
    cache, other = virtual.family(int, lasting), virtual.process()
    old = asyncio.create_task(cache.get_or_load(1, Source(1, takes=0.02)))
    await until(lambda: virtual.service.health().loading)
    await other.family("family", int, lifetime=lasting).delete(1)
    assert await cache.get_or_load_many([1], Many(2)) == {1: 2}
    assert await old == 1
    await other.aclose()


async def test_a_value_that_cannot_be_stored_spoils_no_other(virtual):
    cache = virtual.family(object)

    async def load(ids):
        await asyncio.sleep(0.01)
        return {each: object() if each == 2 else each for each in ids}

    many = asyncio.create_task(cache.get_or_load_many([1, 2, 3], load))
    await until(lambda: virtual.service.health().loading)
    assert await cache.get_or_load(3, Source(9)) == 3
    with pytest.raises(UnsupportedValue):
        await many
    assert await cache.get_many([1, 2, 3]) == {1: 1, 3: 3}


async def test_nor_does_an_id_that_is_left_out_when_another_process_gave_up_on_it(virtual):
    virtual.service._shared.liveness = 3600.0
    cache, other = virtual.family(int, Lifetime(ttl=10)), virtual.process()
    failing = Many(KeyError(), takes=0.05)
    theirs = asyncio.create_task(
        other.family("family", int, lifetime=Lifetime(ttl=10)).get_or_load_many([1, 2], failing)
    )
    await until(lambda: failing.loads)

    async def load(ids):
        # That for 1 comes first.
        await asyncio.sleep(0.02 if ids == [2] else 0)
        return {each: 5 for each in ids if each != 1}

    assert await cache.get_or_load_many([1, 2], load) == {2: 5}
    with pytest.raises(KeyError):
        await theirs
    await other.aclose()


async def test_after_a_failure_the_loader_is_left_alone(virtual):
    cache, source = virtual.family(int), Many(KeyError("away"))
    await cache.set_many({1: 5, 2: 6})
    virtual.advance(11)
    for _ in range(3):
        assert await cache.get_or_load_many([1, 2], source) == {1: 5, 2: 6}
    assert source.loads == 1
    assert cache.statistics().stale == 6
    virtual.advance(BRIEF.throttle + 0.1)
    assert await cache.get_or_load_many([1, 2], Many(7)) == {1: 7, 2: 7}


async def test_who_asks_for_one_that_a_load_of_many_leaves_out_loads_it(virtual):
    cache, many = virtual.family(int), Many(5, without=[1], takes=0.01)
    leaving = asyncio.create_task(cache.get_or_load_many([1, 2], many))
    await until(lambda: many.loads)
    assert await cache.get_or_load(1, Source(7)) == 7
    assert await leaving == {2: 5}


@pytest.mark.parametrize("values", [None, [1], 5])
async def test_what_is_no_mapping_is_an_error_that_says_so(virtual, values):
    cache = virtual.family(int)
    with pytest.raises(TypeError, match="mapping from ids to values"):
        await cache.get_or_load_many([1], Source(values))
    assert await cache.get_or_load_many([1], Many(5)) == {1: 5}


async def test_a_text_is_not_several_ids(virtual):
    cache = virtual.family(int)
    for call in (cache.get_many, cache.delete_many, lambda ids: cache.get_or_load_many(ids, Many()), asked(cache)):
        with pytest.raises(TypeError, match="several"):
            await call("123")


def asked(cache):
    return lambda ids: cache.warm(ids, Source())


class Watched:
    """A store that notes how many loads are ended at once."""

    def __init__(self, store):
        self.clock = store.clock
        self.ending = self.most = 0
        self._store = store

    async def execute(self, command, *args):
        ends = isinstance(command, EndLoad)
        self.ending += ends
        self.most = max(self.most, self.ending)
        await asyncio.sleep(0)
        self.ending -= ends
        return await self._store.execute(command, *args)

    async def execute_many(self, commands):
        return await asyncio.gather(*map(self.execute, commands))


async def test_all_that_was_loaded_is_stored_at_once():
    virtual = Virtual()
    virtual.bench.store = store = Watched(virtual.bench.store)
    service = virtual.process()
    await service.family("own", int, ttl=60).get_or_load_many(range(50), Many())
    assert store.most == 50
    await service.aclose()


async def test_nobody_is_left_waiting_for_what_the_caller_gave_up(virtual):
    cache = virtual.family(int, Lifetime(ttl=10))
    slow = asyncio.create_task(cache.get_or_load("slow", Source(1, takes=3600)))
    await until(lambda: virtual.service.health().loading)
    waiting = []

    async def load(ids):
        with pytest.raises(RuntimeError, match="key that it loads"):
            await cache.get_or_load_many(["slow", *ids], Many())
        waiting.extend(each for each in asyncio.all_tasks() if each.get_coro().__name__ == "join")
        return dict.fromkeys(ids, 5)

    assert await cache.get_or_load_many(["mine"], load) == {"mine": 5}
    assert waiting == []
    slow.cancel()


async def test_what_is_loaded_while_others_are_waited_for_is_not_given_once_it_is_deleted(virtual):
    lasting = Lifetime(ttl=1000.0)
    cache, other = virtual.family(int, lasting), virtual.process()
    theirs = other.family("family", int, lifetime=lasting)
    slow = Source(1, takes=0.2)
    loading = asyncio.create_task(theirs.get_or_load(2, slow))
    await until(lambda: slow.loads)
    many = asyncio.create_task(cache.get_or_load_many([1, 2], Many(1)))
    async with asyncio.timeout(20):
        while await theirs.get(1) is None:
            await asyncio.sleep(0.002)
    await theirs.delete(1)
    assert await cache.get_or_load(1, Source(2)) == 2
    assert not many.done()
    await theirs.delete(1)
    assert await cache.get_or_load_many([1], Many(3)) == {1: 3}
    assert not many.done()
    assert [await many, await loading] == [{1: 1, 2: 1}, 1]
    await other.aclose()
