"""What goes wrong says so clearly, is not stored, and leaves the cache as good as before."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from polly_state import Bounds, Mode, Origin, UnsupportedValue
from polly_state.commands import PutEntry
from polly_state.events import CacheEntryUnreadable
from polly_state.testing import FaultProxy
from tests.cache.caches import Source, Virtual
from tests.outages import Record, state_at, until

LATER = b"9999999999999"
LIMIT = 2000


@pytest.fixture
async def state(server):
    bounds = Bounds(value_bytes=LIMIT)
    async with state_at(server.url, namespace=secrets.token_hex(4), bounds=bounds) as state:
        state.cache._shared.liveness = 3600.0
        yield state


async def in_time(awaitable):
    """What it gives, long before a claim that was left could lapse."""
    async with asyncio.timeout(20):
        return await awaitable


@pytest.mark.parametrize("ttl", [0, -1, -0.001, float("nan"), 31 * 86_400])
async def test_a_ttl_that_cannot_be_is_told_before_anything_is_loaded(state, ttl):
    cache, source = state.cache.family("own", int, ttl=60), Source(5)
    for call in (
        lambda: cache.get_or_load(1, source, ttl=ttl),
        lambda: cache.get_or_load_many([1], source, ttl=ttl),
        lambda: cache.set_many({1: 5}, ttl=ttl),
    ):
        with pytest.raises(ValueError, match="ttl"):
            await call()
    assert source.loads == 0
    assert not (await cache.read(1)).hit
    assert await in_time(cache.get_or_load(1, source)) == 5


@pytest.mark.parametrize("value", [object(), {1, 2}, float("nan"), secrets.token_hex(LIMIT)], ids=type)
async def test_a_value_that_cannot_be_stored_is_stored_by_nobody(state, value):
    cache = state.cache.family("own", ttl=60)

    async def load(ids):
        return dict.fromkeys(ids, value)

    for call in (
        lambda: cache.set(1, value),
        lambda: cache.set_many({2: 5, 1: value}),
        lambda: cache.get_or_load(1, Source(value)),
        lambda: cache.get_or_load_many([1, 2], load),
    ):
        with pytest.raises(UnsupportedValue) as caught:
            await call()
        assert str(value) not in str(caught.value)
    assert await cache.get_many([1, 2]) == {}
    # Nobody waits for the claim of a load that came to nothing.
    assert await in_time(cache.get_or_load(1, Source(5))) == 5
    assert await in_time(cache.get_or_load_many([2], Bulk(6))) == {2: 6}


class Bulk(Source):
    async def __call__(self, asked):
        return dict.fromkeys(asked, await super().__call__(asked))


@pytest.mark.parametrize("error", [RuntimeError("broken"), asyncio.CancelledError(), TimeoutError()], ids=type)
async def test_a_loader_that_fails_leaves_the_key_free(state, error):
    cache = state.cache.family("own", int, ttl=60)
    calls = (lambda: cache.get_or_load(1, Source(error)), lambda: cache.get_or_load_many([1], Bulk(error)))
    for call in calls * 20:
        with pytest.raises(Exception, match=r"broken|cancelled|^$"):
            await call()
        assert await in_time(cache.get_or_load(1, Source(5))) == 5
        await cache.delete(1)


@pytest.mark.parametrize(
    "content",
    [
        b"pc1 v 1 %b x 0 - -\n5" % LATER,
        b"pc1 v -1 %b %b 0 - -\n5" % (LATER, LATER),
        b"pc1 v 1 %b %b 0 - -\n" % (LATER, LATER),
        b"pc1 v 1 %b %b 0 - -\n[5" % (LATER, LATER),
        b"pc1 v 1 %b %b 0 - -\n\x28\xb5\x2f\xfd" % (LATER, LATER),
        b"pc1 n 1 %b %b 0 - -\n5" % (LATER, LATER),
        b"pc1 q 1 %b %b 0 - -\n5" % (LATER, LATER),
        b"pc2 v 1 %b %b 0 - -\n5" % (LATER, LATER),
        b"pc1 v  %b %b 0 - -\n5" % (LATER, LATER),
        b"pc1 v 1 %b  0 - -\n5" % LATER,
        b"pc1 v 1 %b %b 0 - -\n5" % (b"9" * 400, LATER),
        b"pc1 v 1 %b %b 0 - -\n5" % (LATER, b"9" * 400),
        b"pc1 v 1 %b %b %b - -\n5" % (LATER, LATER, b"9" * 400),
        b"pc1 v 1 %b %b 0 \xff \xff x=1\n5" % (LATER, LATER),
        b"pc1 v 1 %b %b 0 - - =x\n5" % (LATER, LATER),
        b"pc1 v 1 %b %b 0 - - x\n5" % (LATER, LATER),
        b"pc1 v 1 %b %b 0 - - %b=x\n5" % (LATER, LATER, b"t" * 5000),
    ],
)
async def test_a_damaged_entry_is_a_miss_with_an_event(content):
    virtual = Virtual()
    cache = virtual.family(int)
    await virtual.bench.do(PutEntry(cache._key(1), content, 60.0))
    assert not (await cache.read(1)).hit
    assert [CacheEntryUnreadable("family")] == virtual.record
    assert await cache.get_or_load(1, Source(7)) == 7
    assert await cache.get(1) == 7
    await virtual.service.aclose()


async def test_something_else_where_an_entry_should_be_is_one_too(server):
    record = Record()
    async with (
        state_at(server.url, (record,), namespace=secrets.token_hex(4)) as state,
        Redis.from_url(server.url) as client,
    ):
        cache = state.cache.family("own", int, ttl=60)
        await client.rpush(cache._key(1), "not ours")
        assert await cache.get(1) is None
        assert record.of(CacheEntryUnreadable) == [CacheEntryUnreadable("own")]
        assert await in_time(cache.get_or_load(1, Source(7))) == 7
        await cache.delete(1)
        assert await cache.get_or_load(1, Source(8)) == 8
        assert await cache.get(1) == 8
        assert state.mode is Mode.CONNECTED


@dataclass
class Draft:
    name: str
    votes: dict[int, int]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (object, True),
        (object, "123"),
        (dict[int, int], {0: 5}),
        (bytes, b"\x00\xff"),
        (set[str], {"a"}),
        (tuple[int, ...], (1, 2)),
        (Draft, Draft("x", {0: 1})),
        (object, None),
    ],
    ids=repr,
)
async def test_a13_values_come_back_equal_and_of_their_type_from_near_and_in_an_outage(server, kind, value):
    async with FaultProxy(server.url) as proxy, state_at(proxy.url, namespace=secrets.token_hex(4)) as state:
        cache = state.cache.family("own", kind, ttl=60)
        await cache.get_or_load(1, Source(value))
        async with asyncio.timeout(20):
            while (found := await cache.read(1)).origin is not Origin.NEAR:
                assert (type(value), value) == (type(found.value), found.value)
        assert (type(value), value) == (type(found.value), found.value)
        proxy.refuse()
        proxy.reset()
        await until(lambda: state.mode is Mode.DEGRADED)
        found = await cache.read(1)
        assert (found.origin, type(value), value) == (Origin.MIRROR, type(found.value), found.value)


async def test_a14_what_is_stored_lives_in_redis_as_long_as_it_may_be_given(server):
    async with (
        state_at(server.url, namespace=secrets.token_hex(4)) as state,
        Redis.from_url(server.url) as client,
    ):
        cache = state.cache.form_sessions
        for number, call, seconds in (
            (1, lambda: cache.set(1, 5), 1800),
            (2, lambda: cache.set(2, 5, ttl=7), 7),
            (3, lambda: cache.get_or_load(3, Source(5), ttl=7), 7),
        ):
            await call()
            left = await client.pttl(cache._key(number)) / 1000
            assert 0.9 * seconds < left <= seconds


@dataclass
class Checked:
    number: int

    def __post_init__(self):
        if self.number < 0:
            raise {-1: KeyError, -2: TypeError, -3: ValueError}[self.number]


@pytest.mark.parametrize("number", [-1, -2, -3])
async def test_what_a_class_does_not_take_any_more_is_a_miss_with_an_event(number):
    virtual = Virtual()
    cache = virtual.family(object)
    await cache.set(1, {"number": number})
    checked = cache.of(Checked)
    assert not (await checked.read(1)).hit
    assert [CacheEntryUnreadable("family")] == virtual.record
    assert await checked.get_or_load(1, Source(Checked(5))) == Checked(5)
    await virtual.service.aclose()
