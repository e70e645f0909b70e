"""Logs: the newest entries by stamp, each once, in whatever order they arrive."""

from __future__ import annotations

import pytest

from polly_state.commands import Append, ClearLog, Item, Latest, Outdated, TimeToLive, companion
from polly_state.errors import CorruptValue
from polly_state.keyspace import Keyspace
from polly_state.testing import Clock

DAY, HOUR = 86_400, 3_600
"""So long stamps outlive what they are of, and so much longer they may, which spares a write its expiry."""


def append(store, content=b"x", stamp=None, limit=100, ttl=None):
    return Append(store.key(), store.stamp() if stamp is None else stamp, content, limit, ttl)


def clear(store, stamp=None):
    return ClearLog(store.key(), store.stamp() if stamp is None else stamp)


async def latest(store, count=100):
    return [item.content for item in await store.do(Latest(store.key(), count))]


async def test_the_newest_entries_come_first(store):
    assert await latest(store) == []
    for content in (b"1", b"2", b"", b"\xff\x00", b"5"):
        assert await store.do(append(store, content)) is True
    assert await latest(store) == [b"5", b"\xff\x00", b"", b"2", b"1"]
    assert await latest(store, 2) == [b"5", b"\xff\x00"]


async def test_an_entry_has_the_stamp_of_its_write(store):
    once = append(store, b"1")
    await store.attempt(once)
    assert await store.do(Latest(store.key(), 1)) == [(once.stamp, b"1")]


async def test_equal_contents_are_two_entries_and_one_write_is_one(store):
    once = append(store, b"same")
    for _ in range(3):
        assert await store.attempt(once) is True
    await store.do(append(store, b"same"))
    assert await latest(store) == [b"same", b"same"]


async def test_entries_stand_in_the_order_of_their_stamps(store):
    late = append(store, b"1")
    await store.do(append(store, b"2"))
    await store.do(append(store, b"3"))
    assert await store.attempt(late) is True
    assert await latest(store) == [b"3", b"2", b"1"]


async def test_the_oldest_make_room(store):
    late = append(store, b"late", limit=3)
    first = append(store, b"0", limit=3)
    await store.attempt(first)
    for content in (b"1", b"2", b"3"):
        await store.do(append(store, content, limit=3))
    assert await latest(store) == [b"3", b"2", b"1"]
    assert await store.attempt(late) is False
    assert await store.attempt(first) is False
    assert await latest(store) == [b"3", b"2", b"1"]
    await store.do(append(store, b"4", limit=2))
    assert await latest(store) == [b"4", b"3"]


async def test_a_clear_takes_what_is_older_and_what_is_still_to_arrive(store):
    late = append(store, b"late")
    await store.do(append(store, b"1", ttl=50.0))
    assert await store.do(clear(store)) is True
    assert await latest(store) == []
    with pytest.raises(Outdated):
        await store.attempt(late)
    await store.do(append(store, b"2"))
    assert await latest(store) == [b"2"]
    assert await store.do(TimeToLive(store.key())) is None


async def test_an_append_overtaken_by_a_clear_comes_after_it(store):
    older = store.stamp()
    await store.do(clear(store))
    assert await store.do(append(store, b"1", older)) is True
    assert await latest(store) == [b"1"]


async def test_a_late_clear_takes_what_is_older_and_is_outdated_by_the_rest(store):
    await store.do(append(store, b"1"))
    await store.do(append(store, b"2"))
    late = clear(store)
    newer = append(store, b"3")
    await store.do(newer)
    with pytest.raises(Outdated) as outdated:
        await store.attempt(late)
    assert outdated.value.stamp == newer.stamp
    assert await latest(store) == [b"3"]
    assert await store.do(late) is True
    assert await latest(store) == []


async def test_a_clear_within_a_millisecond_knows_before_from_after(store):
    time = store.stamp()[:12]
    before, between, after = (f"{time}{counter}aaaaaaaa" for counter in ("f001", "f002", "f003"))
    await store.attempt(append(store, b"before", before))
    await store.attempt(append(store, b"after", after))
    with pytest.raises(Outdated):
        await store.attempt(clear(store, between))
    assert await latest(store) == [b"after"]


async def test_the_ttl_is_that_of_the_whole_and_the_newest_settles_it(store):
    late = append(store, ttl=90.0)
    await store.do(append(store, ttl=30.0))
    await store.attempt(late)
    assert await store.do(TimeToLive(store.key())) == pytest.approx(30, abs=0.5)
    await store.do(append(store))
    assert await store.do(TimeToLive(store.key())) == pytest.approx(30, abs=0.5)
    await store.do(append(store, ttl=0.03))
    await store.lapse(0.03)
    assert await latest(store) == []


async def test_what_redis_holds_is_a_sorted_set_by_time(redis_store):
    entry = append(redis_store, b"1", ttl=100.0)
    await redis_store.attempt(entry)
    found = await redis_store.ask("ZSCORE", redis_store.key(), entry.stamp.encode() + b"1")
    assert float(found) == int(entry.stamp[:12], 16)
    assert await redis_store.ask("PTTL", companion(redis_store.key())) / 1000 == pytest.approx(DAY + 100 + HOUR, abs=1)


async def test_a_cleared_log_leaves_its_stamp_for_a_day(redis_store):
    await redis_store.do(append(redis_store, ttl=100.0))
    await redis_store.do(clear(redis_store))
    beside = companion(redis_store.key())
    assert await redis_store.ask("HKEYS", beside) == [b"~all"]
    assert await redis_store.ask("PTTL", beside) / 1000 == pytest.approx(DAY + HOUR, abs=1)


async def test_an_entry_of_something_else_is_corrupt(redis_store):
    await redis_store.ask("ZADD", redis_store.key(), 1, "foreign")
    with pytest.raises(CorruptValue):
        await latest(redis_store)


def stamps(count):
    return [f"{number:012x}0000aaaaaaaa" for number in range(1, count + 1)]


def items(*found):
    return [Item(stamp, b"") for stamp in found]


def appended(keyspace, stamp, limit=3):
    Append("k", stamp, stamp[:12].encode(), limit).learn(keyspace, True)


def test_a_mirror_that_has_only_appended_does_not_know_what_was_there():
    mirror = Keyspace(mirror=True, clock=Clock())
    appended(mirror, stamps(1)[0])
    assert not Latest("k", 1).answerable(mirror)


def test_a_mirror_knows_the_newest_entries_it_has_read_and_those_appended_since():
    mirror, (first, second, third, *_) = Keyspace(mirror=True, clock=Clock()), stamps(5)
    Latest("k", 2).learn(mirror, items(second, first))
    assert Latest("k", 2).answerable(mirror)
    assert not Latest("k", 3).answerable(mirror)
    appended(mirror, third, limit=10)
    assert Latest("k", 3).answerable(mirror)
    assert [item.stamp for item in Latest("k", 3).apply(mirror)] == [third, second, first]
    assert not Latest("k", 4).answerable(mirror)


def test_a_mirror_that_knows_as_many_as_there_may_be_knows_all():
    mirror, (first, second, third, *_) = Keyspace(mirror=True, clock=Clock()), stamps(5)
    Latest("k", 2).learn(mirror, items(second, first))
    appended(mirror, third, limit=3)
    assert Latest("k", 99).answerable(mirror)
    assert [item.stamp for item in Latest("k", 99).apply(mirror)] == [third, second, first]


def test_a_mirror_that_knows_all_still_does_after_reading_a_part():
    mirror, (first, second, *_) = Keyspace(mirror=True, clock=Clock()), stamps(5)
    Latest("k", 3).learn(mirror, items(second, first))
    Latest("k", 1).learn(mirror, items(second))
    assert Latest("k", 99).answerable(mirror)


def test_a_mirror_believes_what_it_reads():
    mirror, (first, second, third, *_) = Keyspace(mirror=True, clock=Clock()), stamps(5)
    Latest("k", 3).learn(mirror, items(second, first))
    Latest("k", 1).learn(mirror, items(third))
    assert [item.stamp for item in Latest("k", 1).apply(mirror)] == [third]
    assert not Latest("k", 2).answerable(mirror)
    Latest("k", 1).learn(mirror, [])
    assert Latest("k", 2).apply(mirror) == []


def test_a_long_log_is_bounded_here_as_well(local):
    for _ in range(1000):
        append(local, b"x" * 100, limit=10).apply(local.keyspace)
    assert local.keyspace.size < 5000
    assert len(Latest(local.key(), 1000).apply(local.keyspace)) == 10
