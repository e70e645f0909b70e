"""Queues: each message once, however often it is sent, and in the order in which they arrived."""

from __future__ import annotations

import json

import pytest

from polly_state.commands import Delete, Enqueue, Queued, TimeToLive, Touch, companion
from polly_state.keyspace import Keyspace
from polly_state.testing import Clock

DAY = 86_400


def enqueue(store, content=b"x", stamp=None, ttl=None):
    return Enqueue(store.key(), store.stamp() if stamp is None else stamp, content, ttl)


async def queued(store, count=100):
    return [item.content for item in await store.do(Queued(store.key(), count))]


async def test_messages_wait_in_their_order(store):
    assert await queued(store) == []
    for content in (b"1", b"", b"\xff\x00", b"4"):
        assert await store.do(enqueue(store, content)) is True
    assert await queued(store) == [b"1", b"", b"\xff\x00", b"4"]
    assert await queued(store, 2) == [b"1", b""]


async def test_a_message_is_known_by_its_stamp(store):
    once = enqueue(store, b"1")
    await store.attempt(once)
    assert await store.do(Queued(store.key(), 1)) == [(once.stamp, b"1")]


async def test_a_message_that_is_sent_again_is_there_once(store):
    once = enqueue(store, b"1")
    for _ in range(3):
        assert await store.attempt(once) is True
    await store.do(enqueue(store, b"1"))
    assert await store.attempt(once) is True
    assert await queued(store) == [b"1", b"1"]


async def test_a_message_that_was_taken_does_not_come_back(store):
    once = enqueue(store, b"1")
    await store.attempt(once)
    assert await store.do(Delete(store.key())) is True
    assert await store.attempt(once) is True
    assert await queued(store) == []


async def test_a_late_message_comes_when_it_arrives(store):
    late = enqueue(store, b"late")
    await store.do(enqueue(store, b"1"))
    assert await store.attempt(late) is True
    assert await queued(store) == [b"1", b"late"]


async def test_the_ttl_is_that_of_the_whole_and_the_newest_settles_it(store):
    late = enqueue(store, ttl=90.0)
    await store.do(enqueue(store, ttl=30.0))
    await store.attempt(late)
    assert await store.do(TimeToLive(store.key())) == pytest.approx(30, abs=0.5)
    await store.do(Touch(store.key(), store.stamp(), 60.0))
    await store.do(enqueue(store))
    assert await store.do(TimeToLive(store.key())) == pytest.approx(60, abs=0.5)
    await store.do(enqueue(store, ttl=0.03))
    await store.lapse(0.03)
    assert await queued(store) == []


async def test_what_redis_holds_is_a_stream_of_ids_and_contents(redis_store):
    once = enqueue(redis_store, b"1")
    await redis_store.attempt(once)
    ((_, fields),) = await redis_store.ask("XRANGE", redis_store.key(), "-", "+")
    assert fields == [b"id", once.stamp.encode(), b"content", b"1"]


@pytest.mark.parametrize("fields", [("name", "a", "content", "b"), ("id", "a"), ("id", "a", "b", "c", "d", "e")])
async def test_a_message_of_something_else_has_no_stamp(redis_store, fields):
    await redis_store.ask("XADD", redis_store.key(), "*", *fields)
    once = enqueue(redis_store, b"1")
    await redis_store.do(once)
    foreign, own = await redis_store.do(Queued(redis_store.key(), 5))
    assert (foreign.stamp, json.loads(foreign.content), own) == ("", list(fields), (once.stamp, b"1"))
    mirror = Keyspace(mirror=True, clock=Clock())
    Queued("k", 5).learn(mirror, [foreign, own])
    assert Queued("k", 5).apply(mirror) == [own]
    Queued("k", 2).learn(mirror, [foreign, own])
    assert not Queued("k", 2).answerable(mirror)


async def test_what_was_enqueued_is_remembered_for_a_day_and_then_let_go(redis_store):
    stamp = f"{int(redis_store.clock.now() * 1000) & ~0xF:012x}0000aaaaaaaa"
    day_ago = f"{int(stamp[:12], 16) - DAY * 1000 - 1:012x}0000aaaaaaaa"
    within = f"{int(stamp[:12], 16) - DAY * 1000 + 1000:012x}0000aaaaaaaa"
    for each in (day_ago, within, stamp):
        await redis_store.attempt(enqueue(redis_store, each.encode(), each))
    held = set(await redis_store.ask("HKEYS", companion(redis_store.key()))) - {b"~sweep", b"~kept"}
    assert held == {f"q:{within}".encode(), f"q:{stamp}".encode()}
    assert len(await queued(redis_store)) == 3


def test_what_was_enqueued_is_let_go_here_as_well(local):
    for _ in range(3):
        for _ in range(200):
            enqueue(local).apply(local.keyspace)
        local.time.advance(2 * DAY)
    assert 200 <= len(local.keyspace.entry(local.key()).stamps) < 200 + 128
    assert len(Queued(local.key(), 1000).apply(local.keyspace)) == 600


def test_a_mirror_knows_only_a_queue_it_has_read_to_its_end():
    mirror = Keyspace(mirror=True, clock=Clock())
    Enqueue("k", "1" * 24, b"1").learn(mirror, True)
    assert not Queued("k", 5).answerable(mirror)
    Queued("k", 2).learn(mirror, [("1" * 24, b"1"), ("2" * 24, b"2")])
    assert not Queued("k", 1).answerable(mirror)
    Queued("k", 5).learn(mirror, [])
    assert Queued("k", 5).apply(mirror) == []


def test_a_queue_in_an_outage_holds_what_was_read_and_what_was_put(local):
    mirror = Keyspace(mirror=True, clock=Clock())
    Queued("k", 5).learn(mirror, [])
    first, second = (Enqueue("k", local.stamp(), content) for content in (b"1", b"2"))
    for each in (first, second, first):
        each.apply(mirror)
    assert [item.content for item in Queued("k", 5).apply(mirror)] == [b"1", b"2"]


def test_a_mirror_does_not_grow_with_what_is_put_into_a_queue(local):
    mirror = Keyspace(mirror=True, clock=Clock())
    Queued("k", 5).learn(mirror, [])
    for _ in range(100):
        Enqueue("k", local.stamp(), b"x").learn(mirror, True)
    assert len(mirror) == 0
