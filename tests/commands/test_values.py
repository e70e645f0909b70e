"""Plain strings: every operation and every documented rule, on every store."""

from __future__ import annotations

import pytest

from polly_state.commands import (
    Condition,
    Delete,
    Expire,
    Get,
    Persist,
    Set,
    TimeToLive,
)


async def test_what_was_set_is_there_and_what_was_not_is_none(store):
    assert await store.do(Set(store.key(), b"1")) is True
    assert await store.do(Get(store.key())) == b"1"
    assert await store.do(Get(store.key("other"))) is None


@pytest.mark.parametrize("content", [b"", b"\x00\r\n\xff", b"-ERR no", b"+OK", b"x" * 200_000])
async def test_any_bytes_come_back_as_they_were(store, content):
    await store.do(Set(store.key(), content))
    assert await store.do(Get(store.key())) == content


async def test_a_set_takes_the_place_of_the_value_and_of_its_ttl(store):
    await store.do(Set(store.key(), b"1", ttl=100))
    await store.do(Set(store.key(), b"2"))
    assert await store.do(Get(store.key())) == b"2"
    assert await store.do(TimeToLive(store.key())) is None


async def test_if_absent_does_not_touch_what_is_there(store):
    assert await store.do(Set(store.key(), b"1", condition=Condition.IF_ABSENT)) is True
    assert await store.do(Set(store.key(), b"2", 5, Condition.IF_ABSENT)) is False
    assert await store.do(Get(store.key())) == b"1"
    assert await store.do(TimeToLive(store.key())) is None


async def test_if_present_creates_nothing(store):
    assert await store.do(Set(store.key(), b"1", condition=Condition.IF_PRESENT)) is False
    assert await store.do(Get(store.key())) is None
    await store.do(Set(store.key(), b"1"))
    assert await store.do(Set(store.key(), b"2", condition=Condition.IF_PRESENT)) is True
    assert await store.do(Get(store.key())) == b"2"


async def test_a_value_ends_with_its_ttl_also_with_a_fraction_of_a_second(store):
    await store.do(Set(store.key(), b"1", ttl=0.0625))
    await store.do(Set(store.key("longer"), b"1", ttl=60.5))
    await store.lapse(0.0625)
    assert await store.do(Get(store.key())) is None
    assert await store.do(Get(store.key("longer"))) == b"1"
    assert await store.do(TimeToLive(store.key("longer"))) == pytest.approx(60.4, abs=0.15)


async def test_an_expired_value_is_absent_to_every_condition(store):
    await store.do(Set(store.key(), b"1", ttl=0.02))
    await store.lapse(0.02)
    assert await store.do(Set(store.key(), b"2", condition=Condition.IF_PRESENT)) is False
    assert await store.do(Expire(store.key(), 9)) is False
    assert await store.do(Persist(store.key())) is False
    assert await store.do(Delete(store.key())) is False
    assert await store.do(Set(store.key(), b"2", condition=Condition.IF_ABSENT)) is True
    assert await store.do(TimeToLive(store.key())) is None


async def test_keep_ttl_lets_the_time_that_is_left_run_on(store):
    await store.do(Set(store.key(), b"1", ttl=0.08))
    await store.do(Set(store.key(), b"2", keep_ttl=True))
    assert await store.do(Get(store.key())) == b"2"
    assert 0 < await store.do(TimeToLive(store.key())) <= 0.08
    await store.lapse(0.08)
    assert await store.do(Get(store.key())) is None


async def test_keep_ttl_has_nothing_to_keep_where_nothing_was(store):
    await store.do(Set(store.key(), b"1", keep_ttl=True))
    assert await store.do(TimeToLive(store.key())) is None


async def test_keep_ttl_wins_over_a_ttl(store):
    await store.do(Set(store.key(), b"1", ttl=50, keep_ttl=True))
    assert await store.do(TimeToLive(store.key())) is None


async def test_delete_tells_whether_there_was_something(store):
    await store.do(Set(store.key(), b"1"))
    assert await store.do(Delete(store.key())) is True
    assert await store.do(Delete(store.key())) is False
    assert await store.do(Get(store.key())) is None


async def test_expire_starts_the_time_anew_and_needs_something_there(store):
    assert await store.do(Expire(store.key(), 10)) is False
    await store.do(Set(store.key(), b"1", ttl=0.02))
    assert await store.do(Expire(store.key(), 10.5)) is True
    await store.lapse(0.02)
    assert await store.do(Get(store.key())) == b"1"
    assert await store.do(TimeToLive(store.key())) == pytest.approx(10.4, abs=0.15)


async def test_expire_can_cut_a_life_short(store):
    await store.do(Set(store.key(), b"1"))
    await store.do(Expire(store.key(), 0.03))
    await store.lapse(0.03)
    assert await store.do(Get(store.key())) is None


async def test_persist_is_true_only_where_it_changes_something(store):
    assert await store.do(Persist(store.key())) is False
    await store.do(Set(store.key(), b"1", ttl=0.03))
    assert await store.do(Persist(store.key())) is True
    assert await store.do(Persist(store.key())) is False
    await store.lapse(0.03)
    assert await store.do(Get(store.key())) == b"1"


async def test_time_to_live_is_none_without_an_end_and_without_a_value(store):
    assert await store.do(TimeToLive(store.key())) is None
    await store.do(Set(store.key(), b"1"))
    assert await store.do(TimeToLive(store.key())) is None
    await store.do(Expire(store.key(), 1.25))
    assert 0 < await store.do(TimeToLive(store.key())) <= 1.25
