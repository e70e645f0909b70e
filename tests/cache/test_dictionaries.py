"""With a dictionary, values take less and come back the same; who does not have it has a miss, and is told so."""

from __future__ import annotations

import asyncio
import random
import secrets
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from polly_state import Origin
from polly_state.cache import train_dictionary
from polly_state.cache.dictionaries import Dictionary
from polly_state.commands import PutEntry
from polly_state.errors import CorruptValue
from polly_state.events import CacheEntryUnreadable
from polly_state.structures import Codec
from tests.cache.caches import Source, Virtual
from tests.outages import state_at


@dataclass
class Member:
    name: str
    avatar: str
    roles: list[int]
    joined_at: str = "2025-03-01T12:00:00+00:00"
    bot: bool = False


def member(number):
    chance = random.Random(number)
    return Member(f"member {number}", f"{chance.randrange(1 << 128):032x}", [chance.randrange(1 << 62)])


DICTIONARY = train_dictionary(map(member, range(500)), Member)
ANOTHER = train_dictionary({"guild": f"{number:032x}", "topic": "none so far"} for number in range(500))


@pytest.fixture
async def virtual():
    virtual = Virtual()
    yield virtual
    await virtual.service.aclose()


async def test_values_come_back_and_take_half(server):
    async with state_at(server.url, namespace=secrets.token_hex(4)) as state, Redis.from_url(server.url) as client:
        packed = state.cache.family("packed", Member, ttl=60, dictionary=DICTIONARY)
        plain = state.cache.family("plain", Member, ttl=60)
        sizes = {}
        for cache in (packed, plain):
            for number in range(1000, 1010):
                await cache.get_or_load(number, Source(member(number)))
                assert await cache.get(number) == member(number)
            sizes[cache.name] = sum([await client.strlen(cache._key(number)) for number in range(1000, 1010)])
        assert sizes["packed"] < sizes["plain"] * 0.6
        async with asyncio.timeout(20):
            while (found := await packed.read(1000)).origin is not Origin.NEAR:
                await asyncio.sleep(0.002)
        assert found.value == member(1000)


@pytest.mark.parametrize("value", [None, "", "x" * 63, "x" * 5000, secrets.token_hex(3000), [1, {"a": None}]])
async def test_whatever_the_value_is(virtual, value):
    cache = virtual.service.family("own", ttl=60, dictionary=DICTIONARY)
    await cache.set(1, value)
    found = await cache.read(1)
    assert (found.hit, found.value) == (True, value)


MAGIC = b"\x28\xb5\x2f\xfd"
JSON = Codec(Member).encode(member(1))
LIKE = Dictionary(DICTIONARY).pack(b'{"name":"member 1","avatar":"' + b"0" * 100)


@pytest.mark.parametrize("value", [b"", MAGIC, MAGIC * 100, MAGIC + JSON, LIKE, b"\xff" * 2000])
async def test_bytes_that_look_packed_come_back_as_well(virtual, value):
    cache = virtual.service.family("own", bytes, ttl=60, dictionary=DICTIONARY)
    await cache.set(1, value)
    assert await cache.get(1) == value


async def test_what_was_there_before_the_dictionary_is_read(virtual):
    before, after = (
        service.family("own", Member, ttl=60, dictionary=dictionary)
        for service, dictionary in ((virtual.service, None), (virtual.process(), DICTIONARY))
    )
    await before.set(1, member(1))
    assert await after.get(1) == member(1)


@pytest.mark.parametrize("dictionary", [None, ANOTHER])
async def test_who_has_another_or_none_has_a_miss_and_is_told(virtual, dictionary):
    await virtual.service.family("own", Member, ttl=60, dictionary=DICTIONARY).set(1, member(1))
    other = virtual.process().family("own", Member, ttl=60, dictionary=dictionary)
    assert not (await other.read(1)).hit
    assert [CacheEntryUnreadable("own")] == virtual.record
    assert await other.get_or_load(1, Source(member(2))) == member(2)
    assert await other.get(1) == member(2)


async def test_a_tier_can_have_one(virtual):
    cache = virtual.service.guilds.of(Member, dictionary=DICTIONARY)
    await cache.set(1, member(1))
    assert await cache.get(1) == member(1)
    assert cache.of(Member)._dictionary == DICTIONARY


async def test_a_family_has_one_only(virtual):
    virtual.service.family("own", ttl=60, dictionary=DICTIONARY)
    with pytest.raises(ValueError, match="dictionary"):
        virtual.service.family("own", ttl=60)


@pytest.mark.parametrize("content", [b"", b"no dictionary", DICTIONARY[8:]])
async def test_what_is_no_dictionary_is_refused(virtual, content):
    with pytest.raises(ValueError, match="dictionary"):
        virtual.service.family("own", ttl=60, dictionary=content)


@pytest.mark.parametrize("values", [[], range(7)])
def test_nothing_can_be_made_of_too_little(values):
    with pytest.raises(ValueError, match="dictionary"):
        train_dictionary(values)


async def test_a_damaged_or_boundless_frame_is_a_miss(virtual):
    cache = virtual.service.family("own", Member, ttl=60, dictionary=DICTIONARY)
    packed = cache._loading.codec.encode(cache._loading.made(member(1), wanted(), b"- -"))
    await virtual.bench.do(PutEntry(cache._key(1), packed[:-3], 60.0))
    assert not (await cache.read(1)).hit
    with pytest.raises(CorruptValue, match="limit"):
        Dictionary(DICTIONARY).unpack(boundless())


def wanted():
    from polly_state.cache.looks import Wanted

    return Wanted()


def boundless():
    """A frame that says nothing of its size, and is a thousand times that of what comes of it."""
    import zstandard

    dictionary = zstandard.ZstdCompressionDict(DICTIONARY)
    return zstandard.ZstdCompressor(dict_data=dictionary, write_content_size=False).compress(b"x" * 1_000_000)
