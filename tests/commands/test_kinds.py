"""Keys of the wrong kind: refused with WRONGTYPE on every store, and nothing changes."""

from __future__ import annotations

import pytest

from polly_state.commands import (
    Add,
    ClearFields,
    Condition,
    Count,
    Delete,
    Expire,
    Get,
    GetField,
    GetFields,
    PatchFields,
    Persist,
    Set,
    SetRegister,
    TimeToLive,
    ToggleField,
    Touch,
)
from polly_state.errors import CommandRejected

FOR_STRINGS = [
    lambda key, stamp: Get(key),
    lambda key, stamp: Count(key),
    lambda key, stamp: Add(key, stamp, "aaaaaaaa", 1, 1),
    lambda key, stamp: SetRegister(key, stamp, b"1"),
    lambda key, stamp: SetRegister(key, stamp, b"1", condition=Condition.IF_PRESENT),
    lambda key, stamp: SetRegister(key, stamp, b"1", condition=Condition.IF_ABSENT),
    lambda key, stamp: SetRegister(key, stamp, b"1", expected=b"0"),
]
FOR_HASHES = [
    lambda key, stamp: GetField(key, "a"),
    lambda key, stamp: GetFields(key),
    lambda key, stamp: PatchFields(key, stamp, {"a": b"1"}),
    lambda key, stamp: PatchFields(key, stamp, {"a": None}),
    lambda key, stamp: ToggleField(key, stamp, "a", b"1", b"0"),
    ClearFields,
]


@pytest.mark.parametrize("command", FOR_STRINGS)
async def test_a_hash_is_not_taken_for_a_string(store, command):
    await store.do(PatchFields(store.key(), store.stamp(), {"a": b"x"}, ttl=60))
    with pytest.raises(CommandRejected) as rejected:
        await store.do(command(store.key(), store.stamp()))
    assert rejected.value.code == "WRONGTYPE"
    assert await store.do(GetFields(store.key())) == {"a": b"x"}
    assert await store.do(TimeToLive(store.key())) == pytest.approx(60, abs=0.5)


@pytest.mark.parametrize("command", FOR_HASHES)
async def test_a_string_is_not_taken_for_a_hash(store, command):
    await store.do(Set(store.key(), b"x", ttl=60))
    with pytest.raises(CommandRejected) as rejected:
        await store.do(command(store.key(), store.stamp()))
    assert rejected.value.code == "WRONGTYPE"
    assert await store.do(Get(store.key())) == b"x"
    assert await store.do(TimeToLive(store.key())) == pytest.approx(60, abs=0.5)


async def test_what_concerns_any_key_works_on_both_kinds(store):
    await store.do(PatchFields(store.key("hash"), store.stamp(), {"a": b"x"}))
    await store.do(Set(store.key("string"), b"x"))
    for name in ("hash", "string"):
        key = store.key(name)
        assert await store.do(Expire(key, 9)) is True
        assert await store.do(Touch(key, store.stamp(), 9)) is True
        assert await store.do(TimeToLive(key)) == pytest.approx(9, abs=0.3)
        assert await store.do(Persist(key)) is True
        assert await store.do(Delete(key)) is True
        assert await store.do(TimeToLive(key)) is None


async def test_a_plain_set_takes_the_place_of_any_kind(store):
    await store.do(PatchFields(store.key(), store.stamp(), {"a": b"x"}))
    assert await store.do(Set(store.key(), b"y")) is True
    assert await store.do(Get(store.key())) == b"y"


@pytest.mark.parametrize("command", [*FOR_STRINGS[3:4], *FOR_HASHES])
async def test_no_error_repeats_what_was_sent(redis_store, command):
    await redis_store.ask("RPUSH", redis_store.key(), "confidential")
    with pytest.raises(CommandRejected) as rejected:
        await redis_store.do(command(redis_store.key(), redis_store.stamp()))
    assert "confidential" not in str(rejected.value)
    assert redis_store.key() not in str(rejected.value)
