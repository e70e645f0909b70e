"""A near hit compares one number; what was proven counts no longer once anything has changed that it was proven by."""

from __future__ import annotations

import asyncio
import random
import secrets
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from polly_state import Lifetime, Origin, Settings
from polly_state.cache import CacheService
from polly_state.near import NearCache
from polly_state.near.tracking import BRIEF
from polly_state.store.channels import Channels
from polly_state.testing import Clock
from tests.cache.caches import Source
from tests.stores import connected

STALE = Lifetime(ttl=60.0, jitter=0.0, early=0.0)


class Told:
    """A cache over Redis with a near cache that hears what it is told here, and another process that tells nobody."""

    def __init__(self, bench, **bounds):
        self.namespace, self.time = secrets.token_hex(4), Clock()
        self.bench = bench
        self.near = NearCache(
            bounds.get("max_entries", 1000), 1_000_000, bench.clock.now, prefix=self.namespace, monotonic=self.time
        )
        self.near.trust(self.time() + 2)
        self.here, self.there = self._service(self.near), self._service(None)
        self.mine, self.theirs = (each.family("own", str, lifetime=STALE) for each in (self.here, self.there))

    def _service(self, near):
        service, channels = (
            CacheService(self.bench.store, Settings(namespace=self.namespace), lambda _: None),
            Channels(),
        )
        channels.on_want = lambda: None
        service.open(channels, near)
        return service

    def tell_of_families(self):
        self.near.invalidate(f"{self.namespace}:cache-markers:{{families}}")

    def tell_of_tag(self, tag="t"):
        self.near.invalidate(f"{self.namespace}:cache-tags:{{{tag}}}")

    async def proven(self, id=1, cache=None):
        """Have a hit that compares one number."""
        cache = self.mine if cache is None else cache
        for _ in range(3):
            value = await cache.get(id)
        assert cache._loading.held(id) is not None
        return value

    @property
    def commands(self):
        return self.bench.connection.statistics().commands


@asynccontextmanager
async def telling(server, **bounds):
    async with connected(server.url) as bench:
        yield Told(bench, **bounds)


@pytest.fixture
async def told(server):
    async with telling(server) as found:
        yield found


@pytest.mark.parametrize("id", [1, -1, "a", "a.b_c-1", "1", "x" * 128])
async def test_an_id_that_is_its_own_text_is_proven(told, id):
    await told.mine.set(id, "v", tags=["t"])
    assert await told.proven(id) == "v"
    before = told.commands
    assert [await told.mine.get(id) for _ in range(5)] == ["v"] * 5
    assert await told.mine.get_or_load(id, Source("w")) == "v"
    assert await told.mine.get_many([id]) == {id: "v"}
    assert (await told.mine.read(id)).origin is Origin.NEAR
    assert told.commands == before


@pytest.mark.parametrize("id", [("g", 1), ("a",), "a:b", "a b", "ü", "~a", "x" * 200, 2**70])
async def test_others_are_near_as_well(told, id):
    await told.mine.set(id, "v")
    assert [await told.mine.get(id) for _ in range(3)] == ["v"] * 3
    before = told.commands
    assert [await told.mine.get(id) for _ in range(5)] == ["v"] * 5
    assert told.commands == before


async def test_of_several_only_those_that_are_not_near_are_asked_for(told):
    await told.mine.set_many({number: f"v{number}" for number in range(10)})
    for number in range(0, 10, 2):
        await told.proven(number)
    before, counted = told.commands, told.mine.statistics()
    assert await told.mine.get_many(range(11)) == {number: f"v{number}" for number in range(10)}
    assert told.commands - before == 6
    found = told.mine.statistics()
    assert [found.hits - counted.hits, found.near_hits - counted.near_hits, found.misses - counted.misses] == [10, 5, 1]


async def test_nobody_shares_a_value_with_another_name_of_its_id(told):
    lists = told.here.family("lists", list[int], lifetime=STALE)
    await lists.set(5, [1])
    for _ in range(3):
        found = await lists.get_many([5, "5"])
        found[5].append(2)
        assert found["5"] == [1]


class Loud(str):
    __slots__ = ()

    def __str__(self):
        return f"{super().__str__()}!"

    __format__ = lambda self, _: str.__str__(self)  # noqa: E731


class Number(int):
    def __str__(self):
        return "2"


@pytest.mark.parametrize(
    ("kept", "asked"),
    [
        ("a:b", "a%3Ab"),
        (("a", "b"), "a:b"),
        ("~a", "%7Ea"),
        ("a", Loud("a")),
        (1, Number(1)),
        ("x" * 300, "~"),
        ("('a', 'b')", ("a", "b")),
    ],
)
async def test_the_text_of_another_id_gives_nothing_of_it(told, kept, asked):
    await told.mine.set(kept, "v")
    assert [await told.mine.get(kept) for _ in range(3)] == ["v"] * 3
    assert [await told.mine.get(asked) for _ in range(3)] == [None] * 3


@pytest.mark.parametrize("id", [True, 1.0, None, b"1"])
async def test_what_is_no_id_is_told_where_its_equal_is_near(told, id):
    await told.mine.set(1, "v")
    await told.proven(1)
    with pytest.raises(TypeError):
        await told.mine.get(id)
    with pytest.raises(TypeError):
        await told.mine.get_or_load(id, Source("w"))


CHANGES = {
    "family": (lambda told: told.theirs.invalidate(), Told.tell_of_families),
    "everything": (lambda told: told.there.invalidate_all(), Told.tell_of_families),
    "tag": (lambda told: told.there.invalidate_tag("t"), Told.tell_of_tag),
    "flush": (lambda told: told.theirs.invalidate(), lambda told: told.near.flush()),
    "flush of a tag": (lambda told: told.there.invalidate_tag("t"), lambda told: told.near.flush()),
    "silence": (lambda told: told.theirs.invalidate(), lambda told: told.time.advance(2.1)),
}


@pytest.mark.parametrize(("change", "tell"), CHANGES.values(), ids=CHANGES)
async def test_what_was_proven_counts_until_it_is_told_of_a_change(told, change, tell):
    await told.mine.set(1, "v", tags=["t"])
    await told.proven()
    await change(told)
    assert await told.mine.get(1) == "v"
    tell(told)
    assert told.mine._loading.held(1) is None
    assert await told.mine.get(1) is None


async def test_a_tag_that_has_changed_leaves_others_proven_or_to_be_proven_without_asking(told):
    await told.mine.set(1, "untagged")
    await told.mine.set(2, "tagged", tags=["t"])
    await told.proven(1)
    await told.proven(2)
    before = told.commands
    told.tell_of_tag("other")
    assert told.mine._loading.held(1) is not None
    assert told.mine._loading.held(2) is None
    assert await told.proven(2) == "tagged"
    assert told.commands == before


async def test_what_another_codec_has_made_is_not_given(told):
    lists = told.here.family("lists", list[str], lifetime=STALE)
    sets = lists.of(set[str])
    await lists.set(1, ["a"])
    for cache, value in ((lists, ["a"]), (sets, {"a"}), (lists, ["a"])):
        assert await told.proven(1, cache) == value


async def test_a_handle_that_is_made_late_is_told_as_well(told):
    await told.mine.set(1, "v")
    await told.proven()
    late = told.mine.of(str | None)
    await told.proven(1, late)
    await told.theirs.invalidate()
    told.tell_of_families()
    assert late._loading.held(1) is None
    assert await late.get(1) is None


async def test_an_end_is_looked_at_with_each_hit(told):
    told.near.trust(float("inf"))
    await told.mine.set(1, "v", ttl=30)
    await told.proven()
    told.time.advance(30.1)
    assert told.mine._loading.held(1) is None


async def test_while_nobody_tells_of_changes_families_are_read_as_often_as_promised(told):
    told.near.trust_briefly(BRIEF)
    await told.mine.set(1, "v")
    await told.mine.set(2, "v")
    assert await told.mine.get(1) == "v"
    await told.theirs.invalidate()
    told.time.advance(0.9)
    assert [await told.mine.get(2) for _ in range(3)] == ["v"] * 3
    told.time.advance(0.2)
    assert await told.mine.get(2) is None


async def test_what_is_given_again_after_a_failure_is_counted_each_time(told):
    cache = told.here.family("failing", str, lifetime=replace(STALE, ttl=0.001, throttle=60.0))
    await cache.set(1, "v")
    await told.bench.lapse(0.001)
    assert await cache.get_or_load(1, Source(KeyError("away"))) == "v"
    before = cache.statistics()
    assert [await cache.get(1) for _ in range(5)] == ["v"] * 5
    found = cache.statistics()
    assert (found.hits - before.hits, found.stale - before.stale) == (5, 5)
    assert found.near_hits - before.near_hits >= 3


async def test_markers_are_known_whatever_is_evicted(server):
    async with telling(server, max_entries=2) as told:
        await told.mine.set_many(dict.fromkeys(range(20), "v"))
        assert await told.mine.get(0) == "v"
        before = told.commands
        assert [await told.mine.get(number) for number in range(1, 20)] == ["v"] * 19
        # One each: the markers are not asked for again.
        assert told.commands - before == 19
        assert told.near.statistics().evictions
        await told.theirs.invalidate()
        told.tell_of_families()
        assert await told.mine.get(19) is None


async def test_a_read_of_the_markers_that_was_overtaken_is_not_known(told):
    await told.mine.set(1, "v")
    told.tell_of_families()
    known = told.here._shared.markers.known
    read = asyncio.create_task(told.mine.get(1))
    # It has been sent by then, and not been answered.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    told.tell_of_families()
    assert await read == "v"
    assert told.near.statistics().refused == 1
    assert known.told() is None
    assert await told.mine.get(1) == "v"
    assert known.told() is not None


IDS = [1, "1a", "a", ("a", "b"), "a:b", "a%3Ab", "ü"]
TAGS = ["t", "u"]


def step(told, lots):
    """What may happen between two looks, as a coroutine, and the keys by which it is told of."""
    one, tag, space = lots.choice(IDS), lots.choice(TAGS), told.namespace
    families, mark = f"{space}:cache-markers:{{families}}", f"{space}:cache-tags:{{{tag}}}"
    some = lots.sample(TAGS, lots.randrange(3))
    filled = {each: f"v{lots.random()}" for each in IDS}
    make, keys = lots.choice(
        [
            *[(lambda: told.theirs.set_many(filled, tags=some), map(told.mine._key, IDS))] * 12,
            (lambda: told.theirs.set(one, None), [told.mine._key(one)]),
            (lambda: told.theirs.delete(one), [told.mine._key(one)]),
            (told.theirs.invalidate, [families]),
            (told.there.invalidate_all, [families]),
            *[(lambda: told.there.invalidate_tag(tag), [mark])] * 3,
            (lambda: told.mine.set(one, "mine", tags=some), []),
            (lambda: told.here.invalidate_tag(tag), []),
            (told.mine.invalidate, []),
        ]
    )
    return make(), keys


@pytest.mark.parametrize("seed", range(8))
async def test_who_is_told_of_all_gives_what_redis_has(told, seed):
    lots = random.Random(seed)
    told.near.trust(float("inf"))
    texts = told.mine.of(str | None)
    for _ in range(120):
        happening, keys = step(told, lots)
        await happening
        for key in keys:
            told.near.invalidate(key)
        if lots.random() < 0.05:
            lots.choice([told.near.flush, told.near.distrust])()
            told.near.trust(float("inf"))
        cache, asked = lots.choice([told.mine, told.mine, texts]), lots.choices(IDS, k=20)
        expected = await told.theirs.get_many(asked)
        for each in asked:
            assert await cache.get(each) == expected.get(each)
        assert await cache.get_many(asked) == expected
    assert told.mine.statistics().near_hits > 500
