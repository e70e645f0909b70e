"""Keys of the wrong kind: refused with WRONGTYPE on every store, and nothing changes."""

from __future__ import annotations

import pytest

from polly_state.commands import (
    Acknowledge,
    Add,
    Append,
    ClearFields,
    ClearLog,
    ClearSet,
    Condition,
    Contains,
    Count,
    Delete,
    Enqueue,
    Expire,
    Get,
    GetField,
    GetFields,
    Latest,
    Members,
    PatchFields,
    PatchSet,
    Persist,
    PutMembers,
    Queued,
    Set,
    SetRegister,
    SwapFields,
    TakeMessages,
    TakeValue,
    TimeToLive,
    ToggleField,
    Touch,
    companion,
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
    TakeValue,
]
FOR_HASHES = [
    lambda key, stamp: GetField(key, "a"),
    lambda key, stamp: GetFields(key),
    lambda key, stamp: PatchFields(key, stamp, {"a": b"1"}),
    lambda key, stamp: PatchFields(key, stamp, {"a": None}),
    lambda key, stamp: ToggleField(key, stamp, "a", b"1", b"0"),
    lambda key, stamp: SwapFields(key, stamp, {"a": b"x"}, {"a": b"1"}),
    lambda key, stamp: SwapFields(key, stamp, {}, {"a": None}),
    lambda key, stamp: PutMembers(key, stamp, {"a": b"1"}, 60.0, 5, 60.0),
    ClearFields,
]


FOR_SETS = [
    lambda key, stamp: Members(key),
    lambda key, stamp: Contains(key, "a"),
    lambda key, stamp: PatchSet(key, stamp, {"a": True}),
    lambda key, stamp: PatchSet(key, stamp, {"a": False}),
    ClearSet,
]
FOR_LOGS = [
    lambda key, stamp: Latest(key, 5),
    lambda key, stamp: Append(key, stamp, b"1", 5),
    ClearLog,
]
FOR_QUEUES = [
    lambda key, stamp: Queued(key, 5),
    lambda key, stamp: TakeMessages(key, 5, 60.0),
    lambda key, stamp: Acknowledge(key, stamp, "0" * 24, "0-1"),
    lambda key, stamp: Enqueue(key, stamp, b"1"),
]
KINDS = {
    "string": (lambda key, stamp: SetRegister(key, stamp, b"x", 60.0), Get, FOR_STRINGS),
    "hash": (lambda key, stamp: PatchFields(key, stamp, {"a": b"x"}, 60.0), GetFields, FOR_HASHES),
    "set": (lambda key, stamp: PatchSet(key, stamp, {"a": True}, 60.0), Members, FOR_SETS),
    "log": (lambda key, stamp: Append(key, stamp, b"x", 5, 60.0), FOR_LOGS[0], FOR_LOGS),
    "queue": (lambda key, stamp: Enqueue(key, stamp, b"x", 60.0), FOR_QUEUES[0], FOR_QUEUES),
}
PAIRS = [
    pytest.param(held, command, id=f"{held}-{wanted}-{number}")
    for held in KINDS
    for wanted in KINDS
    if held != wanted
    for number, command in enumerate(KINDS[wanted][2])
]


async def look(store, kind):
    command = KINDS[kind][1]
    return await store.do(command(store.key()) if isinstance(command, type) else command(store.key(), ""))


@pytest.mark.parametrize(("held", "command"), PAIRS)
async def test_no_kind_is_taken_for_another(store, held, command):
    await store.do(KINDS[held][0](store.key(), store.stamp()))
    before = await look(store, held)
    for _ in range(2):
        with pytest.raises(CommandRejected) as rejected:
            await store.do(command(store.key(), store.stamp()))
        assert rejected.value.code == "WRONGTYPE"
    assert before
    assert await look(store, held) == before
    assert await store.do(TimeToLive(store.key())) == pytest.approx(60, abs=0.5)


@pytest.mark.parametrize("command", [*FOR_HASHES[2:], *FOR_SETS[2:], *FOR_LOGS[1:], *FOR_QUEUES[1:]])
async def test_what_was_refused_leaves_no_stamp(redis_store, command):
    await redis_store.do(Set(redis_store.key(), b"x"))
    with pytest.raises(CommandRejected):
        await redis_store.do(command(redis_store.key(), redis_store.stamp()))
    assert await redis_store.ask("EXISTS", companion(redis_store.key())) == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_a_key_that_was_freed_may_hold_any_kind(store, kind):
    for other in KINDS:
        await store.do(KINDS[other][0](store.key(), store.stamp()))
        await store.do(Delete(store.key()))
        await store.do(KINDS[kind][0](store.key(), store.stamp()))
        assert await look(store, kind)
        await store.do(Delete(store.key()))


async def test_what_concerns_any_key_works_on_every_kind(store):
    for name, (write, *_) in KINDS.items():
        key = store.key(name)
        await store.do(write(key, store.stamp()))
        assert await store.do(Expire(key, 9)) is True
        assert await store.do(Touch(key, store.stamp(), 9)) is True
        assert await store.do(TimeToLive(key)) == pytest.approx(9, abs=0.3)
        assert await store.do(Persist(key)) is True
        assert await store.do(Delete(key)) is True
        assert await store.do(TimeToLive(key)) is None


@pytest.mark.parametrize("kind", KINDS)
async def test_a_plain_set_takes_the_place_of_any_kind(store, kind):
    await store.do(KINDS[kind][0](store.key(), store.stamp()))
    assert await store.do(Set(store.key(), b"y")) is True
    assert await store.do(Get(store.key())) == b"y"


@pytest.mark.parametrize("command", [*FOR_STRINGS[3:4], *FOR_HASHES, *FOR_SETS, *FOR_LOGS, *FOR_QUEUES])
async def test_no_error_repeats_what_was_sent(redis_store, command):
    await redis_store.ask("RPUSH", redis_store.key(), "confidential")
    with pytest.raises(CommandRejected) as rejected:
        await redis_store.do(command(redis_store.key(), redis_store.stamp()))
    assert "confidential" not in str(rejected.value)
    assert redis_store.key() not in str(rejected.value)
