"""Callers who share a load: each has a value of their own, and nobody waits for what can never come."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from polly_state import ConfigurationError, LoadFailed, Overloaded, PollyState, Settings
from polly_state.commands import ClaimLoad, EndLoad
from polly_state.lifetime import Lifetime
from tests.cache.caches import Source, Virtual
from tests.outages import until

PATIENT = Lifetime(ttl=1000.0, hard_timeout=3600.0)


@pytest.fixture
async def virtual():
    virtual = Virtual()
    yield virtual
    await virtual.service.aclose()


@dataclass
class Board:
    names: list[str] = field(default_factory=list)


@pytest.mark.parametrize(
    ("kind", "value"), [(list[int], [1]), (Board, Board(["Ada"])), (dict[int, list[int]], {1: []})]
)
async def test_what_one_changes_is_nobody_elses(virtual, kind, value):
    cache, source = virtual.family(kind), Source(value, takes=0.01)
    many = cache.get_or_load_many([1], lambda ids: asyncio.sleep(0, dict.fromkeys(ids, value)))
    first, second, third = await asyncio.gather(cache.get_or_load(1, source), cache.get_or_load(1, source), many)
    assert value == first == second == third[1]
    assert len({id(first), id(second), id(third[1])}) == 3
    assert source.loads == 1


async def test_so_it_is_with_what_another_process_has_loaded(virtual):
    cache, other = virtual.family(list[int], PATIENT), virtual.process()
    source = Source([1], takes=0.02)
    theirs = asyncio.create_task(other.family("family", list[int], lifetime=PATIENT).get_or_load(1, source))
    await until(lambda: source.loads)
    first, second = await asyncio.gather(*(cache.get_or_load(1, Source([2])) for _ in range(2)))
    assert [1] == await theirs == first == second
    assert first is not second
    await other.aclose()


async def test_handles_of_other_types_share_no_load(virtual):
    texts = virtual.family(object, PATIENT)
    sets = texts.of(set[str])
    for _ in range(2):
        loads = (texts.get_or_load(1, Source(["a"], takes=0.01)), sets.get_or_load(1, Source({"b"}, takes=0.01)))
        one, other = await asyncio.gather(*loads)
        assert (type(one), type(other)) == (list, set)
        assert {*one} == other
        await texts.delete(1)


async def in_time(awaitable):
    """What it gives, long before a claim or a timeout could help."""
    async with asyncio.timeout(20):
        return await awaitable


async def test_who_waits_for_an_older_load_of_this_process_is_woken_by_its_end():
    async with PollyState(observers=()) as state:
        state.cache._shared.liveness = 3600.0
        cache = state.cache.family("own", int, lifetime=PATIENT)
        old = asyncio.create_task(cache.get_or_load(1, Source(1, takes=0.05)))
        await until(lambda: state.cache.health().loading)
        await cache.invalidate()
        assert await in_time(cache.get_or_load(1, Source(2))) == 2
        assert await old == 1


async def test_a_loader_that_invalidates_what_it_then_asks_for_is_told_so_and_not_run_again(virtual):
    cache, loads = virtual.family(int, PATIENT), []

    async def load(key):
        loads.append(key)
        await cache.invalidate()
        return await cache.get_or_load(key, load)

    with pytest.raises(RuntimeError, match="key that it loads"):
        await in_time(cache.get_or_load(1, load))
    await asyncio.sleep(0.02)
    assert loads == [1]
    assert not virtual.service.health().loading


async def test_so_is_one_that_asks_by_a_handle_of_another_type(virtual):
    cache = virtual.family(object, PATIENT)
    with pytest.raises(RuntimeError, match="key that it loads"):
        await in_time(cache.get_or_load(1, lambda key: cache.of(int).get_or_load(key, Source(5))))


async def test_that_one_of_its_tasks_gives_up_does_not_hide_that_a_loader_waits_for_itself(virtual):
    cache, ready = virtual.family(int, PATIENT), asyncio.Event()

    async def second(_):
        await ready.wait()
        return await cache.get_or_load("first", first)

    async def first(_):
        giving_up, waiting = (asyncio.create_task(cache.get_or_load("second", second)) for _ in range(2))
        await until(lambda: len(virtual.service._shared.flights) == 2)
        await asyncio.sleep(0.01)
        giving_up.cancel()
        await asyncio.gather(giving_up, return_exceptions=True)
        ready.set()
        return await waiting

    with pytest.raises(RuntimeError, match="key that it loads"):
        await in_time(cache.get_or_load("first", first))


async def test_a_value_that_failed_is_not_loaded_early(virtual):
    cache, source = virtual.family(int, Lifetime(ttl=10, throttle=0.5, jitter=0, early=1000)), Source(5, takes=0.05)
    await cache.get_or_load(1, source)
    virtual.advance(11)
    source.value = KeyError("away")
    virtual.service._shared.random = lambda: 0.999999
    for _ in range(5):
        assert await cache.get_or_load(1, source) == 5
    await until(lambda: not virtual.service.health().loading)
    assert source.loads == 2


async def test_the_eager_load_as_early_as_they_are_told_to(virtual):
    cache, source = virtual.family(int, Lifetime(ttl=100, jitter=0, early=1e5)), Source(5, takes=0.01)
    await cache.get_or_load(1, source)
    virtual.service._shared.random = lambda: 0.5
    await cache.get_or_load(1, source)
    await until(lambda: source.loads == 2)


async def test_an_early_load_that_fails_takes_no_time_from_a_value_that_is_fresh(virtual):
    cache = virtual.family(int, Lifetime(ttl=100, throttle=0.5, jitter=0, early=1000))
    source = Source(5, takes=0.05)
    await cache.get_or_load(1, source)
    virtual.advance(99)
    source.value = KeyError("away")
    virtual.service._shared.random = lambda: 0.5
    assert await cache.get_or_load(1, source) == 5
    await until(lambda: not virtual.service.health().loading)
    assert source.loads == 2
    virtual.advance(0.8)
    assert await cache.get(1) == 5
    virtual.advance(0.3)
    assert await cache.get(1) is None


async def test_a_loader_that_cannot_be_stopped_holds_its_key_only_so_long(virtual):
    virtual.service._shared.liveness = 0.03
    cache, other = virtual.family(int, Lifetime(ttl=10, hard_timeout=0.01)), virtual.process()
    released = asyncio.Event()

    async def stubborn(_):
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue
        return 1

    hung = asyncio.create_task(cache.get_or_load(1, stubborn))
    await until(lambda: virtual.service.health().loading)
    renewals = [each for each in asyncio.all_tasks() if each.get_name() == "polly_state load renewal"]
    await in_time(asyncio.wait(renewals))
    virtual.advance(1.0)
    assert await in_time(other.family("family", int, ttl=10).get_or_load(1, Source(2))) == 2
    released.set()
    await asyncio.gather(hung, return_exceptions=True)
    await other.aclose()


async def test_to_be_closed_is_no_failure_of_a_loader_and_nothing_is_loaded_afterwards(virtual):
    cache, source = virtual.family(int), Source(5, takes=3600)
    caller = asyncio.create_task(cache.get_or_load(1, source))
    await until(lambda: source.loads)
    await virtual.service.aclose()
    await asyncio.gather(caller, return_exceptions=True)
    assert cache.statistics().load_errors == 0
    with pytest.raises(RuntimeError, match="closed"):
        await cache.get_or_load(1, Source(6))


async def test_who_has_just_asked_when_all_is_closed_is_told_so(virtual):
    shared = virtual.service._shared
    # The tasks have not made a step yet when they are ended.
    mark = shared.markers._tags._ask("key")
    await shared.markers.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await in_time(mark)
    (flight,) = shared.flights.begin({"key": b"- -"}, 0, lambda _: asyncio.sleep(3600)).values()
    await shared.flights.aclose()
    with pytest.raises(LoadFailed, match="closed"):
        await in_time(flight.future)


async def test_so_many_keys_are_loaded_at_once_and_no_more(virtual):
    virtual.service._shared.flights.most = 3
    cache = virtual.family(int, Lifetime(ttl=10, hard_timeout=3600))
    hung = [asyncio.create_task(cache.get_or_load(number, Source(1, takes=3600))) for number in range(3)]
    await until(lambda: virtual.service.health().loading == 3)
    for call in (lambda: cache.get_or_load(3, Source(5)), lambda: cache.get_or_load_many([3, 4], Source({3: 5, 4: 5}))):
        with pytest.raises(Overloaded):
            await call()
    for task in hung:
        task.cancel()
    # Who gives up frees nothing: the loaders run on.
    with pytest.raises(Overloaded):
        await cache.get_or_load(3, Source(5))
    await virtual.service._shared.flights.aclose()
    assert virtual.service._shared.flights._flying == 0


async def test_a_fresh_value_is_given_though_there_is_no_room_to_load_it_early(virtual):
    cache, source = virtual.family(int, Lifetime(ttl=10, jitter=0, early=1000)), Source(5, takes=0.01)
    await cache.get_or_load(1, source)
    virtual.advance(9.9)
    virtual.service._shared.flights.most = 0
    virtual.service._shared.random = lambda: 0.999
    assert await cache.get_or_load(1, source) == 5
    assert (virtual.service._shared.early_room, source.loads) == (16, 1)


async def test_warming_ends_with_what_a_loader_raises_as_it_is(virtual):
    cache, source = virtual.family(int), Source(KeyError("away"))
    with pytest.raises(KeyError):
        await cache.warm(range(100), source, at_once=2)
    assert source.loads <= 2


@pytest.mark.parametrize("at_once", [0, -1])
async def test_warming_none_at_once_is_an_error(virtual, at_once):
    with pytest.raises(ValueError, match="from 1"):
        await in_time(virtual.family(int).warm([1], Source(5), at_once=at_once))


async def test_what_was_warmed_has_tags_and_a_ttl_as_any_other(virtual):
    cache = virtual.family(int)
    await cache.warm([1, 2], Source(5), ttl=3, tags=["t"])
    assert await cache.get(1) == 5
    await virtual.service.invalidate_tag("t")
    assert await cache.get(1) is None
    await cache.warm([1], Source(5), ttl=3)
    virtual.advance(3.1)
    assert await cache.get(1) is None


async def test_warming_counts_its_own_loads(virtual):
    cache = virtual.family(int)
    others = [cache.get_or_load(number, Source(5, takes=0.01)) for number in range(10, 15)]
    loads, *_ = await asyncio.gather(cache.warm(range(3), Source(5, takes=0.01)), *others)
    assert loads == 3


async def test_a_loader_that_is_no_async_function_is_told_so(virtual):
    cache = virtual.family(int)
    for call in (
        lambda: cache.get_or_load(1, lambda _: 5),
        lambda: cache.get_or_load_many([1], lambda ids: dict.fromkeys(ids, 5)),
        lambda: cache.warm([1], lambda _: 5),
    ):
        with pytest.raises(TypeError, match="a loader is an async function"):
            await call()
    assert await cache.get_or_load(1, Source(5)) == 5


@pytest.mark.parametrize("tag", ["", "\ud800", "x" * 5000, 5, None, True, b"x", ("a", 1)])
async def test_what_can_be_no_tag_is_told_before_anything_is_loaded(virtual, tag):
    cache, source = virtual.family(int), Source(5)
    for call in (
        lambda: cache.set(1, 5, tags=[tag]),
        lambda: cache.get_or_load(1, source, tags=[tag]),
        lambda: cache.get_or_load_many([1], source, tags=[tag]),
        lambda: virtual.service.invalidate_tag(tag),
    ):
        with pytest.raises((TypeError, ValueError), match="a tag"):
            await call()
    assert source.loads == 0


async def test_tags_are_bounded(virtual):
    cache = virtual.family(int)
    await cache.set(1, 5, tags=map(str, range(1000)))
    assert await cache.get(1) == 5
    await virtual.service.invalidate_tag("999")
    assert await cache.get(1) is None
    with pytest.raises(ValueError, match="1000 tags"):
        await cache.set(1, 5, tags=map(str, range(1001)))


@pytest.mark.parametrize(
    "parts",
    [
        *({name: value} for name in ("stale", "throttle", "soft_timeout", "early") for value in (float("nan"), True)),
        {"throttle": float("inf")},
        {"ttl": True},
        {"ttl": "5"},
        {"statuses": {5: 1.0}},
        {"statuses": {"open": float("nan")}},
        {"statuses": {"open": True}},
    ],
    ids=str,
)
def test_a_lifetime_that_cannot_be_is_an_error(parts):
    with pytest.raises(ConfigurationError, match="cache"):
        Lifetime(**{"ttl": 60.0, **parts})


@pytest.mark.parametrize("lifetime", [60, "60", {"ttl": 60}])
def test_what_is_no_lifetime_is_told_by_its_name(virtual, lifetime):
    with pytest.raises(ConfigurationError, match=r"cache\.own"):
        virtual.service.family("own", lifetime=lifetime)
    with pytest.raises(ConfigurationError, match=r"cache\.guilds"):
        PollyState(Settings(cache={"guilds": lifetime}))


def test_a_family_has_a_ttl_or_a_lifetime(virtual):
    with pytest.raises(TypeError, match="not both"):
        virtual.service.family("own", int, ttl=5, lifetime=PATIENT)


class Late:
    """A store whose replies to the ends of loads come late, as over another connection."""

    def __init__(self, store):
        self.clock = store.clock
        self.stored, self.told = asyncio.Event(), asyncio.Event()
        self._store = store

    async def execute(self, command, *args):
        answer = await self._store.execute(command, *args)
        if isinstance(command, EndLoad) and command.content is not None:
            self.stored.set()
            await self.told.wait()
        return answer

    async def execute_many(self, commands):
        return await asyncio.gather(*map(self.execute, commands))


@pytest.mark.parametrize("many", [False, True])
async def test_who_asks_when_a_load_was_stored_and_deleted_does_not_get_it(many):
    virtual = Virtual()
    other = virtual.process()
    virtual.bench.store = late = Late(virtual.bench.store)
    here = virtual.process()
    cache = here.family("own", int, lifetime=PATIENT)
    if many:
        old = asyncio.create_task(cache.get_or_load_many([1], lambda ids: asyncio.sleep(0, dict.fromkeys(ids, 1))))
    else:
        old = asyncio.create_task(cache.get_or_load(1, Source(1)))
    await in_time(late.stored.wait())
    await other.family("own", int, lifetime=PATIENT).delete(1)
    asking = asyncio.create_task(cache.get_or_load(1, Source(2)))
    await asyncio.sleep(0.01)
    late.told.set()
    assert await in_time(asking) == 2
    assert await old == ({1: 1} if many else 1)
    for service in (here, other):
        await service.aclose()


class Between:
    """A store that lets something happen before a claim, and between what was found there and a look at its tags."""

    def __init__(self, store):
        self.clock = store.clock
        self.claiming, self.claim, self.looking, self.look = (asyncio.Event() for _ in range(4))
        self._store = store

    async def execute(self, command, *args):
        if isinstance(command, ClaimLoad):
            self.claiming.set()
            await self.claim.wait()
        if ":cache-tags:" in command.key:
            self.looking.set()
            await self.look.wait()
        return await self._store.execute(command, *args)

    async def execute_many(self, commands):
        return await asyncio.gather(*map(self.execute, commands))


async def test_nor_what_was_found_and_deleted_while_its_tags_were_looked_at():
    virtual = Virtual()
    other = virtual.process()
    virtual.bench.store = between = Between(virtual.bench.store)
    here = virtual.process()
    cache, theirs = here.family("own", int, lifetime=PATIENT), other.family("own", int, lifetime=PATIENT)
    old = asyncio.create_task(cache.get_or_load(1, Source(3)))
    await in_time(between.claiming.wait())
    await theirs.set(1, 1, tags=["t"])
    between.claim.set()
    await in_time(between.looking.wait())
    await theirs.delete(1)
    asking = asyncio.create_task(cache.get_or_load(1, Source(2)))
    await asyncio.sleep(0.01)
    between.look.set()
    assert await in_time(asking) == 2
    assert await old == 1
    for service in (here, other):
        await service.aclose()
