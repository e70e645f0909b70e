"""What is put comes back equal, for as long as was asked; a miss, None and nothing at all are told apart."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, TypedDict

import pytest

from polly_state import Ack, ConfigurationError, Origin, PollyState, Settings, UnsupportedValue
from polly_state.commands import PutEntry
from polly_state.events import CacheEntryUnreadable
from polly_state.lifetime import Lifetime
from tests.cache.caches import Source, Virtual
from tests.outages import settings_for

SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
async def state(store_url):
    name = f"cache-{secrets.token_hex(4)}"
    settings = Settings(namespace=name) if store_url is None else settings_for(store_url, namespace=name)
    async with PollyState(settings, observers=()) as state:
        yield state


@pytest.fixture
def virtual():
    return Virtual()


async def test_what_is_put_is_there_until_it_is_deleted(state):
    cache = state.cache.family("own", int, ttl=60)
    expected = Ack.LOCAL_VOLATILE if state.settings.embedded else Ack.REMOTE
    assert expected is await cache.set(1, 5)
    assert await cache.get(1) == 5
    assert await cache.get(2) is None
    assert expected is await cache.delete(1)
    assert await cache.get(1) is None


@pytest.mark.parametrize("value", [None, 0, "", [], {}, False])
async def test_nothing_is_a_value_too(state, value):
    cache = state.cache.family("own", object, ttl=60)
    source = Source(value)
    for _ in range(3):
        assert value == await cache.get_or_load((1, "x"), source)
    assert source.loads == 1
    found = await cache.read((1, "x"))
    assert (value, True, False) == (found.value, found.hit, found.stale)
    assert type(found.value) is type(value)
    assert not (await cache.read((1, "y"))).hit


async def test_many_are_put_got_loaded_and_deleted_together(state):
    cache = state.cache.family("own", str, ttl=60)
    await cache.set_many({1: "a", 2: "b"})
    assert await cache.get_many([1, 2, 3]) == {1: "a", 2: "b"}
    calls = []

    async def load(ids):
        calls.append(ids)
        return {each: f"loaded {each}" for each in ids if each != 9}

    assert await cache.get_or_load_many([1, 4, 9, 5], load) == {1: "a", 4: "loaded 4", 5: "loaded 5"}
    assert calls == [[4, 9, 5]]
    assert await cache.get_many([4, 9]) == {4: "loaded 4"}
    await cache.delete_many([1, 2, 4])
    assert await cache.get_many([1, 2, 4, 5]) == {5: "loaded 5"}


async def test_many_take_one_round_trip_each(server):
    # All leave in one write, of which the connection counts the commands; what is timed elsewhere is not timed here.
    async with PollyState(settings_for(server.url, namespace=secrets.token_hex(4)), observers=()) as state:
        cache = state.cache.family("own", int, ttl=60)
        await cache.set_many({number: number for number in range(50)})
        before = state.statistics().connection.commands
        assert len(await cache.get_many(range(50))) == 50
        assert state.statistics().connection.commands - before in (50, 51)


@pytest.mark.parametrize("value", [{0: 5}, (1, 2), {1, 2}, b"\xff", datetime.now(UTC), object(), float("nan")])
async def test_a13_what_would_not_come_back_equal_is_refused(state, value):
    with pytest.raises(UnsupportedValue):
        await state.cache.family("own", ttl=60).set(1, value)
    assert not (await state.cache.family("own", ttl=60).read(1)).hit


@pytest.mark.parametrize("value", [True, "123", "true", "null", 2**62, {"a": [1, None]}, "ü" * 5000])
async def test_a13_what_json_has_comes_back_equal(state, value):
    cache = state.cache.family("own", ttl=60)
    await cache.set(1, value)
    found = await cache.get(1)
    assert (type(value), value) == (type(found), found)


async def test_a13_declared_types_come_back(state):
    cache = state.cache.family("results", dict[int, int], ttl=60)
    await cache.set(1, {0: 5})
    assert await cache.get(1) == {0: 5}
    raw = state.cache.family("raw", bytes, ttl=60)
    await raw.set(1, b"\x00\n\xff")
    assert await raw.get(1) == b"\x00\n\xff"
    assert {1, 2} == await put(state.cache.family("sets", set[int], ttl=60), {1, 2})


async def put(cache, value):
    await cache.set(1, value)
    return await cache.get(1)


class Status(Enum):
    ACTIVE = "active"
    CLOSED = "closed"


@dataclass
class Poll:
    status: Status
    votes: dict[int, int] = field(default_factory=dict)


async def test_a_tier_of_a_declared_type(state):
    polls = state.cache.poll_results.of(Poll)
    await polls.set(7, Poll(Status.CLOSED, {0: 3}))
    assert Poll(Status.CLOSED, {0: 3}) == await polls.get(7)


@pytest.mark.skipif(not SHARED.exists(), reason="the example objects are not there")
async def test_discord_objects_come_back_equal(state):
    objects = json.loads((SHARED / "discord_objects.json").read_text())
    await state.cache.guilds.set_many(objects)
    assert objects == await state.cache.guilds.get_many(objects)


@pytest.mark.skipif(not SHARED.exists(), reason="the example objects are not there")
async def test_so_they_do_as_typed_dicts(state):
    found = json.loads((SHARED / "discord_objects.json").read_text())
    objects = {name: value for name, value in found.items() if isinstance(value, dict)}
    for number, (name, value) in enumerate(objects.items()):
        payloads = state.cache.guilds.of(typed_dict(value))
        await payloads.set(name, value)
        # The second one may come from near.
        assert [value, value] == [await payloads.get(name), await payloads.get(name)], number


def typed_dict(value):
    """The type of an object, as a library for Discord declares its payloads."""
    return TypedDict("Payload", {name: kind_of(item) for name, item in value.items()})


def kind_of(value):
    if isinstance(value, dict):
        return typed_dict(value)
    if isinstance(value, list):
        return list[typed_dict(value[0])] if value and isinstance(value[0], dict) and alike(value) else list[Any]
    return Any if value is None else type(value) | None


def alike(values):
    return all({name: type(item) for name, item in each.items()} == shape(values[0]) for each in values)


def shape(value):
    return {name: type(item) for name, item in value.items() if not isinstance(item, (dict, list))}


@dataclass(frozen=True)
class Snowflake:
    id: int


@dataclass
class Member:
    user: Snowflake
    nick: str | None
    roles: list[Snowflake]
    joined_at: datetime
    permissions: int
    overwrites: dict[int, tuple[int, int]] = field(default_factory=dict)


async def test_so_do_dataclasses_with_ids_as_numbers(state):
    member = Member(
        Snowflake(80351110224678912),
        "Nelly ü 🎉",
        [Snowflake(2**63 + 5)],
        datetime.now(UTC),
        2**53 + 1,
        {197038439483310086: (1 << 40, 0)},
    )
    members = state.cache.guild_roles.of(Member)
    await members.set(1, member)
    for _ in range(3):
        found = await members.get(1)
        assert found == member
        found.roles.clear()
        found.overwrites.clear()


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), 31 * 86_400])
async def test_a14_a_ttl_that_cannot_be_is_an_error(state, ttl):
    cache = state.cache.family("own", int, ttl=60)
    with pytest.raises(ValueError, match="ttl"):
        await cache.set(1, 5, ttl=ttl)
    assert await cache.get(1) is None


@pytest.mark.parametrize("ttl", [0, -1, 31 * 86_400])
def test_a14_nor_can_a_family_have_one(virtual, ttl):
    with pytest.raises((ValueError, ConfigurationError)):
        virtual.service.family("own", int, ttl=ttl)


async def test_a14_a_value_lives_as_long_as_was_asked(virtual):
    cache = virtual.family(int)
    await cache.set(1, 5)
    await cache.set(2, 5, ttl=3)
    virtual.advance(2.9)
    assert await cache.get_many([1, 2]) == {1: 5, 2: 5}
    virtual.advance(0.2)
    assert await cache.get_many([1, 2]) == {1: 5}
    virtual.advance(6.8)
    assert await cache.get(1) == 5
    virtual.advance(0.2)
    assert await cache.get(1) is None


async def test_redis_forgets_what_is_past_its_end(server):
    async with PollyState(settings_for(server.url, namespace=secrets.token_hex(4)), observers=()) as state:
        cache = state.cache.family("own", int, lifetime=Lifetime(ttl=10, stale=20))
        await cache.set(1, 5)
        reply = await state._stack._connection.send(("PTTL", cache._key(1)))
        assert 29_000 < reply <= 30_000


async def test_the_status_decides_how_long(virtual):
    results = virtual.service.poll_results
    await results.set_many({1: {"poll_status": "active"}, 2: {"poll_status": "closed"}, 3: {"poll_status": "new"}})
    virtual.advance(11)
    assert {2, 3} == set(await results.get_many([1, 2, 3]))
    virtual.advance(300)
    assert {2} == set(await results.get_many([1, 2, 3]))
    virtual.advance(6 * 86_400)
    assert {2} == set(await results.get_many([1, 2, 3]))


async def test_settings_override_a_tier():
    virtual = Virtual(cache={"guild_roles": Lifetime(ttl=5, stale=0)})
    await virtual.service.guild_roles.set(1, ["admin"])
    virtual.advance(5.1)
    assert await virtual.service.guild_roles.get(1) is None


async def test_age_and_staleness_are_told(virtual):
    cache = virtual.family(int)
    await cache.set(1, 5)
    virtual.advance(4)
    found = await cache.read(1)
    assert (found.value, found.hit, found.origin, found.stale) == (5, True, Origin.LOCAL, False)
    assert found.age == pytest.approx(4)
    virtual.advance(8)
    found = await cache.read(1)
    assert (found.value, found.hit, found.stale) == (5, True, True)
    assert await cache.get(1) is None


def test_a_family_is_made_once(virtual):
    assert virtual.family(int) is virtual.family(int)
    with pytest.raises(ValueError, match="exists"):
        virtual.family(str)
    with pytest.raises(TypeError):
        virtual.service.family("other")


@pytest.mark.parametrize("name", ["", "a:b", "a b", "{x}"])
def test_a_name_that_cannot_be_is_an_error(virtual, name):
    with pytest.raises(ValueError, match="name"):
        virtual.service.family(name, int, ttl=60)


@pytest.mark.parametrize("name", ["cache.own", "cache-tags"])
def test_nothing_else_gets_among_the_families(name):
    with pytest.raises(ValueError, match="cache"):
        PollyState().map(name, int)


async def test_jitter_only_shortens_what_is_loaded(virtual):
    cache = virtual.family(int, Lifetime(ttl=10, jitter=0.5))
    virtual.service._shared.random = lambda: 0.5
    await cache.get_or_load(1, Source(5))
    await cache.set(2, 5)
    virtual.advance(7.6)
    assert await cache.get_many([1, 2]) == {2: 5}


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"garbage", b"pc1 v 1 2\n5", b"pc9 v 1 2 3 4 - -\n5", b"pc1 v x 2 3 4 - -\n5", b"\xff\x00"]
)
async def test_what_is_damaged_or_foreign_is_a_miss_with_an_event(virtual, content):
    cache = virtual.family(int)
    await virtual.bench.do(PutEntry(cache._key(1), content, 60.0))
    assert await cache.get(1) is None
    assert [CacheEntryUnreadable("family")] == virtual.record
    assert await cache.get_or_load(1, Source(7)) == 7
    assert await cache.get(1) == 7


async def test_a_payload_of_another_type_is_a_miss(virtual):
    await virtual.family(object).set(1, {"a": 1})
    assert await virtual.family(object).of(int).get(1) is None
    assert virtual.family(object).statistics().unreadable == 1


async def test_what_is_counted(virtual):
    cache = virtual.family(int)
    await cache.get_or_load(1, Source(5))
    await cache.get(1)
    await cache.get(2)
    with pytest.raises(KeyError):
        await cache.get_or_load(3, Source(KeyError()))
    found = cache.statistics()
    assert (found.hits, found.misses, found.loads, found.load_errors) == (1, 3, 2, 1)
    assert found.hit_rate == pytest.approx(0.25)
    assert found.bytes_written > 0
    assert found.bytes_read > 0
    assert virtual.service.health().load_errors == 1


async def test_what_is_read_past_its_time_counts_as_stale(virtual):
    cache = virtual.family(int)
    await cache.set(1, 5)
    await cache.read(1)
    await cache.read(2)
    assert cache.statistics().stale == 0
    virtual.advance(11)
    assert (await cache.read(1)).stale
    found = cache.statistics()
    assert (found.hits, found.misses, found.stale) == (1, 2, 1)
