"""Counters: whatever order the totals of an origin come in, and however often, they count once."""

from __future__ import annotations

import random

import pytest

from polly_state.commands import (
    MAX_COUNT,
    Add,
    Count,
    Delete,
    Get,
    PatchFields,
    Set,
    TimeToLive,
    companion,
)
from polly_state.errors import CommandRejected

DAY, HOUR = 86_400, 3_600
"""So long stamps outlive what they are of, and so much longer they may, which spares a write its expiry."""


def add(store, total, by, origin="aaaaaaaa", **rest):
    return Add(store.key(), store.stamp(), origin, total, by, **rest)


async def test_a_counter_that_was_never_added_to_is_zero(store):
    assert await store.do(Count(store.key())) == 0
    assert await store.do(Get(store.key())) is None


async def test_additions_and_subtractions_are_totalled_apart(store):
    assert await store.do(add(store, 5, 5)) == 5
    assert await store.do(add(store, 7, -7)) == -2
    assert await store.do(add(store, 8, 3)) == 1
    assert await store.do(add(store, 8, -1)) == 0
    assert await store.do(Count(store.key())) == 0
    assert await store.do(Get(store.key())) == b"0"


async def test_an_addition_that_arrives_twice_counts_once(store):
    first = add(store, 3, 3)
    assert await store.attempt(first) == 3
    assert await store.attempt(first) == 3
    assert await store.attempt(add(store, 4, -4)) == -1
    assert await store.attempt(add(store, 4, -4)) == -1


@pytest.mark.parametrize("seed", range(6))
async def test_totals_of_many_origins_sum_up_in_any_order_and_duplicated(store, seed):
    lots = random.Random(seed)
    commands, expected = [], 0
    for origin in ("aaaaaaaa", "bbbbbbbb", "cccccccc"):
        up = down = 0
        for _ in range(6):
            by = lots.choice([-3, -1, 1, 2, 1000])
            up, down = (up + by, down) if by > 0 else (up, down - by)
            expected += by
            commands.append(add(store, up if by > 0 else down, by, origin))
    late = commands * 2
    lots.shuffle(late)
    for command in commands:
        await store.attempt(command)
    for command in late:
        await store.attempt(command)
    assert await store.do(Count(store.key())) == expected


@pytest.mark.parametrize("seed", range(6))
async def test_redis_takes_the_highest_total_whatever_comes_first(redis_store, seed):
    lots = random.Random(seed)
    commands = [
        add(redis_store, total, sign, origin)
        for origin in ("aaaaaaaa", "bbbbbbbb")
        for sign, totals in ((1, (1, 4, 10)), (-1, (2, 3)))
        for total in totals
    ] * 2
    lots.shuffle(commands)
    for command in commands:
        await redis_store.attempt(command)
    assert await redis_store.do(Count(redis_store.key())) == 14


async def test_a_late_total_takes_nothing_back(store):
    await store.do(add(store, 1, 1))
    await store.do(add(store, 10, 9))
    assert await store.attempt(add(store, 4, 3)) == 10


async def test_totals_are_exact_up_to_2_to_the_53(store):
    assert await store.do(add(store, MAX_COUNT - 1, MAX_COUNT - 1)) == MAX_COUNT - 1
    assert await store.do(add(store, MAX_COUNT, 1)) == MAX_COUNT
    assert await store.do(add(store, MAX_COUNT, -MAX_COUNT)) == 0


async def test_a_counter_may_exceed_what_lua_counts_exactly(store):
    for number in range(1, 5):
        await store.do(add(store, MAX_COUNT, MAX_COUNT, f"{number:08x}"))
    assert await store.do(add(store, 1, 1)) == 4 * MAX_COUNT + 1
    assert await store.do(Count(store.key())) == 4 * MAX_COUNT + 1


@pytest.mark.parametrize(
    "content",
    [b"abc", b"", b"1.5", b" 5", b"5 ", b"+5", b"1_000", b"007", b"-0", b"0x10", b"9" * 30, b"\xff"],
)
async def test_adding_to_what_is_no_integer_is_refused_and_changes_nothing(store, content):
    await store.do(Set(store.key(), content))
    with pytest.raises(CommandRejected) as rejected:
        await store.do(add(store, 1, 1))
    assert rejected.value.code == "ERR"
    assert repr(content)[2:-1] not in str(rejected.value) or len(content) < 2
    assert await store.do(Get(store.key())) == content


@pytest.mark.parametrize("content", [b"abc", b"", b"1.5", b"\xff"])
async def test_reading_what_is_no_integer_is_refused(store, content):
    await store.do(Set(store.key(), content))
    with pytest.raises(CommandRejected) as rejected:
        await store.do(Count(store.key()))
    assert rejected.value.code == "ERR"


@pytest.mark.parametrize("content", [b"0", b"-5", b"12", b"9223372036854775806"])
async def test_adding_to_an_integer_of_others_works(store, content):
    await store.do(Set(store.key(), content))
    assert await store.do(add(store, 1, 1)) == int(content) + 1


async def test_a_counter_beyond_64_bits_is_refused(store):
    await store.do(Set(store.key(), b"9223372036854775807"))
    with pytest.raises(CommandRejected) as rejected:
        await store.do(add(store, 1, 1))
    assert rejected.value.code == "ERR"
    assert await store.do(Get(store.key())) == b"9223372036854775807"


async def test_a_resent_addition_is_refused_too_when_something_else_was_written(store):
    await store.do(add(store, 1, 1))
    await store.do(Set(store.key(), b"abc"))
    with pytest.raises(CommandRejected):
        await store.do(add(store, 1, 1))


async def test_a_ttl_starts_anew_with_each_addition(store):
    await store.do(add(store, 1, 1, ttl=0.05))
    await store.do(add(store, 2, 1, ttl=20.5))
    assert await store.do(TimeToLive(store.key())) == pytest.approx(20.5, abs=0.3)
    await store.do(add(store, 3, 1))
    assert await store.do(TimeToLive(store.key())) == pytest.approx(20.5, abs=0.5)
    await store.do(add(store, 4, 1, ttl=0.05))
    await store.lapse(0.05)
    assert await store.do(Count(store.key())) == 0


async def test_a_counter_begins_anew_after_its_ttl_and_after_a_delete(store):
    await store.do(add(store, 5, 5, ttl=0.03))
    await store.lapse(0.03)
    assert await store.do(add(store, 6, 1, ttl=60)) == 1
    await store.do(Delete(store.key()))
    assert await store.do(add(store, 8, 2)) == 2
    assert await store.do(TimeToLive(store.key())) is None


async def test_a_late_addition_does_not_create_a_deleted_counter(store):
    await store.do(add(store, 5, 5))
    await store.do(Delete(store.key()))
    assert await store.attempt(add(store, 5, 5)) == 0
    assert await store.do(Get(store.key())) is None


async def test_counters_and_hashes_do_not_mix(store):
    await store.do(PatchFields(store.key(), store.stamp(), {"a": b"1"}))
    for command in (Count(store.key()), add(store, 1, 1)):
        with pytest.raises(CommandRejected) as rejected:
            await store.do(command)
        assert rejected.value.code == "WRONGTYPE"


async def test_the_totals_outlive_the_counter_by_a_day(redis_store):
    beside = companion(redis_store.key())
    await redis_store.do(add(redis_store, 1, 1))
    assert await redis_store.ask("PTTL", beside) == -1
    await redis_store.do(add(redis_store, 2, 1, ttl=100))
    assert await redis_store.ask("PTTL", beside) / 1000 == pytest.approx(DAY + 100 + HOUR, abs=1)


async def test_a_flushed_script_cache_costs_no_count(redis_store):
    await redis_store.do(add(redis_store, 1, 1))
    await redis_store.ask("SCRIPT", "FLUSH")
    assert await redis_store.do(add(redis_store, 2, 1)) == 2
