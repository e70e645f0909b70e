"""Registers: the write with the newest stamp stays, and a write that is sent twice is one write."""

from __future__ import annotations

from dataclasses import replace

import pytest

from polly_state.commands import (
    Condition,
    Delete,
    Get,
    Outdated,
    Set,
    SetRegister,
    TimeToLive,
    Touch,
    companion,
)
from polly_state.errors import CommandRejected
from polly_state.stamps import HybridClock

DAY, HOUR = 86_400, 3_600
"""So long stamps outlive what they are of, and so much longer they may, which spares a write its expiry."""


def write(store, content, stamp=None, **rest):
    return SetRegister(store.key(), store.stamp() if stamp is None else stamp, content, **rest)


async def test_a_register_holds_what_was_written_last(store):
    assert await store.do(write(store, b"1")) is True
    assert await store.do(write(store, b"2")) is True
    assert await store.do(Get(store.key())) == b"2"


async def test_an_older_stamp_is_outdated_and_changes_nothing(store):
    older, newer = store.stamp(), store.stamp()
    await store.attempt(write(store, b"new", newer, ttl=60))
    with pytest.raises(Outdated) as outdated:
        await store.attempt(write(store, b"old", older))
    assert newer == outdated.value.stamp
    assert await store.do(Get(store.key())) == b"new"
    assert await store.do(TimeToLive(store.key())) == pytest.approx(60, abs=0.5)


async def test_an_overtaken_caller_who_still_waits_wins_in_the_end(store):
    older = store.stamp()
    await store.do(write(store, b"theirs"))
    assert await store.do(write(store, b"mine", older)) is True
    assert await store.do(Get(store.key())) == b"mine"


async def test_a_late_packet_never_beats_a_newer_delete(store):
    late = write(store, b"late")
    await store.do(write(store, b"soon"))
    await store.do(write(store, None))
    with pytest.raises(Outdated):
        await store.attempt(late)
    assert await store.do(Get(store.key())) is None


async def test_a_late_packet_does_not_come_back_after_a_plain_delete(store):
    late = write(store, b"late")
    await store.do(write(store, b"soon"))
    await store.do(Delete(store.key()))
    with pytest.raises(Outdated):
        await store.attempt(late)
    assert await store.do(Get(store.key())) is None


async def test_a_write_that_arrives_twice_is_one_write(store):
    first = write(store, b"1")
    assert await store.attempt(first) is True
    assert await store.attempt(first) is True
    assert await store.do(Get(store.key())) == b"1"


async def test_a_conditional_write_that_arrives_twice_succeeds_twice(store):
    create = write(store, b"1", condition=Condition.IF_ABSENT)
    assert await store.attempt(create) is True
    assert await store.attempt(create) is True
    update = write(store, b"2", condition=Condition.IF_PRESENT)
    assert await store.attempt(update) is True
    assert await store.attempt(update) is True
    swap = write(store, b"3", expected=b"2")
    assert await store.attempt(swap) is True
    assert await store.attempt(swap) is True
    assert await store.do(Get(store.key())) == b"3"


async def test_a_claim_is_remembered_after_others_have_written(redis_store):
    claim = write(redis_store, b"mine", condition=Condition.IF_ABSENT)
    assert await redis_store.attempt(claim) is True
    await redis_store.do(write(redis_store, b"theirs"))
    assert await redis_store.attempt(claim) is True
    assert await redis_store.do(Get(redis_store.key())) == b"theirs"


async def test_a_claim_that_failed_and_was_overtaken_does_not_succeed_later(store):
    await store.do(write(store, b"theirs"))
    claim = write(store, b"mine", condition=Condition.IF_ABSENT)
    assert await store.attempt(claim) is False
    assert await store.attempt(claim) is False
    await store.do(write(store, b"other"))
    with pytest.raises(Outdated):
        await store.attempt(claim)
    assert await store.do(claim) is False


async def test_conditions_hold(store):
    assert await store.do(write(store, b"1", condition=Condition.IF_PRESENT)) is False
    assert await store.do(write(store, b"1", condition=Condition.IF_ABSENT)) is True
    assert await store.do(write(store, b"2", condition=Condition.IF_ABSENT)) is False
    assert await store.do(write(store, b"3", expected=b"2")) is False
    assert await store.do(write(store, b"3", expected=b"1")) is True
    assert await store.do(write(store, None, expected=b"1")) is False
    assert await store.do(write(store, None, expected=b"3")) is True
    assert await store.do(write(store, b"4", expected=b"3")) is False
    assert await store.do(write(store, b"", condition=Condition.IF_ABSENT)) is True
    assert await store.do(write(store, b"5", expected=b"")) is True
    assert await store.do(Get(store.key())) == b"5"


async def test_a_refused_write_leaves_the_stamps_alone(store):
    await store.do(write(store, b"1"))
    later = write(store, b"3")
    assert await store.do(write(store, b"2", expected=b"0")) is False
    assert await store.attempt(later) is True


async def test_a_register_ends_with_its_ttl(store):
    await store.do(write(store, b"1", ttl=0.0625))
    assert 0 < await store.do(TimeToLive(store.key())) <= 0.0635
    await store.lapse(0.064)
    assert await store.do(Get(store.key())) is None
    assert await store.do(write(store, b"2", condition=Condition.IF_ABSENT)) is True
    assert await store.do(TimeToLive(store.key())) is None


async def test_keep_ttl_keeps_and_a_plain_write_does_not(store):
    await store.do(write(store, b"1", ttl=100))
    await store.do(write(store, b"2", keep_ttl=True))
    assert await store.do(TimeToLive(store.key())) == pytest.approx(100, abs=0.5)
    await store.do(write(store, b"3"))
    assert await store.do(TimeToLive(store.key())) is None


async def test_keep_ttl_after_a_delete_has_nothing_to_keep(store):
    await store.do(write(store, b"1", ttl=100))
    await store.do(write(store, None))
    await store.do(write(store, b"2", keep_ttl=True))
    assert await store.do(TimeToLive(store.key())) is None


async def test_a_ttl_runs_from_the_stamp_and_not_from_the_arrival(redis_store):
    ago = HybridClock(wall=lambda: redis_store.clock.now() - 50, monotonic=lambda: 0.0)
    await redis_store.attempt(write(redis_store, b"1", ago.stamp(), ttl=60))
    assert await redis_store.do(TimeToLive(redis_store.key())) == pytest.approx(10, abs=0.5)
    late = replace(write(redis_store, b"1", ago.stamp(), ttl=40), key=redis_store.key("late"))
    await redis_store.attempt(late)
    assert await redis_store.do(Get(late.key)) is None


async def test_touch_renews_and_needs_something_there(store):
    assert await store.do(Touch(store.key(), store.stamp(), 10)) is False
    await store.do(write(store, b"1", ttl=0.03))
    assert await store.do(Touch(store.key(), store.stamp(), 10.5)) is True
    await store.lapse(0.03)
    assert await store.do(Get(store.key())) == b"1"
    assert await store.do(TimeToLive(store.key())) == pytest.approx(10.4, abs=0.15)
    await store.do(write(store, None))
    assert await store.do(Touch(store.key(), store.stamp(), 10)) is False


async def test_a_writer_far_ahead_is_refused_by_name_and_never_leaks(store):
    ahead = HybridClock(wall=lambda: store.clock.now() + 4000, monotonic=lambda: 0.0)
    await store.attempt(write(store, b"future", ahead.stamp()))
    with pytest.raises(CommandRejected) as rejected:
        await store.do(write(store, b"now"))
    assert rejected.value.code == "OUTDATED"
    assert await store.do(Get(store.key())) == b"future"


async def test_a_writer_a_little_ahead_is_caught_up_with(store):
    ahead = HybridClock(wall=lambda: store.clock.now() + 200, monotonic=lambda: 0.0)
    await store.attempt(write(store, b"future", ahead.stamp()))
    assert await store.do(write(store, b"now")) is True
    assert await store.do(Get(store.key())) == b"now"


async def test_the_stamps_outlive_the_register_by_a_day(redis_store):
    beside = companion(redis_store.key())
    await redis_store.do(write(redis_store, b"1"))
    assert await redis_store.ask("PTTL", beside) == -1
    await redis_store.do(write(redis_store, b"1", ttl=100))
    assert await redis_store.ask("PTTL", beside) / 1000 == pytest.approx(DAY + 100 + HOUR, abs=1)
    await redis_store.do(Touch(redis_store.key(), redis_store.stamp(), 500))
    # Stamps may be a little ahead of the server.
    assert DAY + 499 < await redis_store.ask("PTTL", beside) / 1000 < DAY + 101 + HOUR
    await redis_store.do(write(redis_store, b"1", ttl=100 + 2 * HOUR))
    assert await redis_store.ask("PTTL", beside) / 1000 == pytest.approx(DAY + 100 + 3 * HOUR, abs=1)
    await redis_store.do(write(redis_store, b"1"))
    assert await redis_store.ask("PTTL", beside) == -1
    await redis_store.do(write(redis_store, b"1", ttl=100))
    assert await redis_store.ask("PTTL", beside) / 1000 == pytest.approx(DAY + 100 + HOUR, abs=1)
    await redis_store.do(write(redis_store, None))
    assert await redis_store.ask("PTTL", beside) / 1000 == pytest.approx(DAY + HOUR, abs=1)


async def test_the_claim_memory_is_bounded(redis_store):
    for _ in range(300):
        await redis_store.do(write(redis_store, b"1", condition=Condition.ALWAYS))
        await redis_store.do(write(redis_store, b"1", condition=Condition.IF_PRESENT))
    assert await redis_store.ask("HSTRLEN", companion(redis_store.key()), "~claims") <= 256 * 25


async def test_a_plain_set_and_a_register_share_the_key(store):
    await store.do(write(store, b"1"))
    await store.do(Set(store.key(), b"2", ttl=50))
    assert await store.do(Get(store.key())) == b"2"
    assert await store.do(write(store, b"3", expected=b"2", keep_ttl=True)) is True
    assert await store.do(TimeToLive(store.key())) == pytest.approx(50, abs=0.5)


async def test_a_forgotten_script_is_sent_again(redis_store):
    await redis_store.do(write(redis_store, b"1"))
    await redis_store.ask("SCRIPT", "FLUSH")
    assert await redis_store.do(write(redis_store, b"2")) is True
    await redis_store.ask("SCRIPT", "FLUSH")
    assert await redis_store.attempt(write(redis_store, b"3")) is True
    assert await redis_store.do(Get(redis_store.key())) == b"3"
