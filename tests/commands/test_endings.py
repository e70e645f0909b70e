"""When a key ends: by the newest write with a ttl, in whatever order, late or again."""

from __future__ import annotations

import contextlib
import itertools

import pytest

from polly_state.commands import (
    Add,
    Append,
    ClearFields,
    ClearLog,
    ClearSet,
    Count,
    Delete,
    Enqueue,
    Expire,
    GetFields,
    Outdated,
    PatchFields,
    PatchSet,
    Persist,
    SetRegister,
    TimeToLive,
    ToggleField,
    Touch,
)

SHORT, LONG = 1000.0, 10_000.0
ROUGHLY = 100

WRITES = {
    "field": lambda key, stamp, part, ttl: PatchFields(key, stamp, {part: b"1"}, ttl),
    "toggle": lambda key, stamp, part, ttl: ToggleField(key, stamp, part, b"on", b"off", ttl),
    "set": lambda key, stamp, part, ttl: PatchSet(key, stamp, {part: True}, ttl),
    "log": lambda key, stamp, part, ttl: Append(key, stamp, part.encode(), 10, ttl),
    "queue": lambda key, stamp, part, ttl: Enqueue(key, stamp, part.encode(), ttl),
    "counter": lambda key, stamp, part, ttl: Add(key, stamp, part * 8, 1, 1, ttl),
}
CLEARS = {"field": ClearFields, "set": ClearSet, "log": ClearLog}


@pytest.fixture(params=WRITES)
def write(request, store):
    """A write to the key, to a part of its own."""
    return lambda part, stamp, ttl: WRITES[request.param](store.key(), stamp, part, ttl)


async def left(store):
    return await store.do(TimeToLive(store.key()))


def stamps(store, count):
    return [store.stamp() for _ in range(count)]


async def test_the_newest_write_with_a_ttl_settles_it_whatever_the_order(store, write):
    older, newer = stamps(store, 2)
    await store.attempt(write("b", newer, LONG))
    await store.attempt(write("a", older, SHORT))
    assert await left(store) == pytest.approx(LONG, abs=ROUGHLY)


async def test_what_comes_again_changes_no_end(store, write):
    once = write("a", store.stamp(), SHORT)
    await store.attempt(once)
    await store.do(Expire(store.key(), LONG))
    await store.attempt(once)
    assert await left(store) == pytest.approx(LONG, abs=ROUGHLY)


@pytest.mark.parametrize(("plain", "expected"), [(lambda key: Expire(key, LONG), LONG), (Persist, None)])
async def test_a_late_write_leaves_the_end_that_a_plain_command_has_set(store, write, plain, expected):
    late, newer = stamps(store, 2)
    await store.attempt(write("a", newer, SHORT))
    await store.do(plain(store.key()))
    await store.attempt(write("b", late, SHORT))
    assert await left(store) == (expected and pytest.approx(expected, abs=ROUGHLY))


async def test_what_a_late_write_brings_back_ends_with_the_newest(store, write):
    late, newer = stamps(store, 2)
    await store.attempt(write("a", newer, LONG))
    await store.do(Delete(store.key()))
    await store.attempt(write("b", late, SHORT))
    assert await left(store) == pytest.approx(LONG, abs=ROUGHLY)


async def test_a_deletion_settles_the_end_also_of_what_comes_late(store):
    late, newer = stamps(store, 2)
    await store.attempt(PatchFields(store.key(), newer, {"a": None}, LONG))
    await store.attempt(PatchFields(store.key(), late, {"b": b"1"}, SHORT))
    assert await left(store) == pytest.approx(LONG, abs=ROUGHLY)


async def test_a_deletion_that_comes_again_gives_a_permanent_hash_no_end(store):
    deletion = PatchFields(store.key(), store.stamp(), {"a": None}, LONG)
    await store.attempt(deletion)
    await store.do(PatchFields(store.key(), store.stamp(), {"b": b"1"}))
    await store.attempt(deletion)
    assert await left(store) is None


@pytest.mark.parametrize("ttl", [None, SHORT])
async def test_a_register_and_a_newer_touch_end_alike_in_any_order(store, ttl):
    first, second, third = stamps(store, 3)
    for number, order in enumerate(itertools.permutations((1, 2))):
        key = store.key(number)
        rest = {1: SetRegister(key, second, b"2", ttl), 2: Touch(key, third, LONG)}
        await store.attempt(SetRegister(key, first, b"1"))
        for each in order:
            await store.attempt(rest[each])
        assert await store.do(TimeToLive(key)) == pytest.approx(LONG, abs=ROUGHLY)


@pytest.mark.parametrize("kind", CLEARS)
async def test_what_outlives_a_clear_does_not_end_with_what_was_cleared(store, kind):
    first, second, third, fourth = stamps(store, 4)
    for number, order in enumerate(itertools.permutations(range(3))):
        key = store.key(number)
        touch = Touch(key, fourth, LONG)
        writes = (
            WRITES[kind](key, first, "a", SHORT),
            CLEARS[kind](key, second),
            WRITES[kind](key, third, "b", None),
        )
        for each in order:
            with contextlib.suppress(Outdated):
                await store.attempt(writes[each])
        assert await store.do(TimeToLive(key)) is None, order
        await store.attempt(Touch(key, first, SHORT))
        assert await store.do(TimeToLive(key)) is None, order
        await store.attempt(touch)
        assert await store.do(TimeToLive(key)) == pytest.approx(LONG, abs=ROUGHLY)


async def test_what_of_a_total_has_ended_is_not_counted_again(store):
    key = store.key()
    assert await store.do(Add(key, store.stamp(), "aaaaaaaa", 7, 2, SHORT, 5)) == 2
    assert await store.do(Add(key, store.stamp(), "aaaaaaaa", 8, 1, SHORT, 5)) == 3
    assert await store.do(Count(key)) == 3


async def test_an_addition_that_comes_after_its_time_counts_nowhere(store):
    key = store.key()
    late = Add(key, store.stamp(), "aaaaaaaa", 5, 5, 0.05)
    await store.lapse(0.06)
    assert await store.do(Add(key, store.stamp(), "bbbbbbbb", 1, 1, SHORT)) == 1
    assert await store.attempt(late.late(store.clock.now()) if hasattr(store, "time") else late) == 1
    assert await store.do(Add(key, store.stamp(), "aaaaaaaa", 6, 1, SHORT)) == 2
    assert await left(store) == pytest.approx(SHORT, abs=ROUGHLY)


async def test_fields_in_their_order_are_gone_with_their_own_end(store):
    key = store.key()
    old = PatchFields(key, store.stamp(), {"old": b"1"}, 0.05)
    await store.lapse(0.06)
    await store.attempt(old.late(store.clock.now()) if hasattr(store, "time") else old)
    await store.do(PatchFields(key, store.stamp(), {"new": b"2"}, SHORT))
    assert await store.do(GetFields(key)) == {"new": b"2"}
