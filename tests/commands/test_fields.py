"""Fields: each field keeps the newest write, and a toggle that is sent twice turns once."""

from __future__ import annotations

import pytest

from polly_state.commands import (
    ClearFields,
    Delete,
    Expire,
    GetField,
    GetFields,
    Outdated,
    PatchFields,
    TimeToLive,
    ToggleField,
    Touch,
    companion,
)

DAY, HOUR = 86_400, 3_600
"""So long stamps outlive what they are of, and so much longer they may, which spares a write its expiry."""
ON, OFF = b"true", b"false"


def patch(store, changes, stamp=None, **rest):
    return PatchFields(store.key(), store.stamp() if stamp is None else stamp, changes, **rest)


def toggle(store, field="f", stamp=None, **rest):
    return ToggleField(store.key(), store.stamp() if stamp is None else stamp, field, ON, OFF, **rest)


def clear(store, stamp=None):
    return ClearFields(store.key(), store.stamp() if stamp is None else stamp)


async def fields(store):
    return await store.do(GetFields(store.key()))


async def test_a_patch_touches_nobody_elses_field(store):
    assert await store.do(patch(store, {"a": b"1", "b": b"2"})) is True
    await store.do(patch(store, {"b": b"3", "c": b""}))
    assert await fields(store) == {"a": b"1", "b": b"3", "c": b""}
    assert await store.do(GetField(store.key(), "b")) == b"3"
    assert await store.do(GetField(store.key(), "d")) is None


async def test_where_there_are_no_fields_there_is_an_empty_mapping(store):
    assert await fields(store) == {}
    assert await store.do(GetField(store.key(), "a")) is None


@pytest.mark.parametrize("name", ["~all", "f:a", "c:a", "", "späße", "一", "a b\n{*}", "x" * 512])
async def test_any_name_is_a_field_like_another(store, name):
    await store.do(patch(store, {name: b"1"}))
    assert await fields(store) == {name: b"1"}
    late = patch(store, {name: b"late"})
    await store.do(patch(store, {name: b"2"}))
    with pytest.raises(Outdated):
        await store.attempt(late)
    await store.do(patch(store, {"plain": b"1", name: None}))
    assert await fields(store) == {"plain": b"1"}


async def test_dropping_the_last_field_leaves_nothing(store):
    await store.do(patch(store, {"a": b"1", "b": b"2"}))
    await store.do(patch(store, {"a": None}))
    assert await fields(store) == {"b": b"2"}
    await store.do(patch(store, {"b": None, "never": None}))
    assert await fields(store) == {}
    assert await store.do(Expire(store.key(), 10)) is False


async def test_an_older_patch_is_outdated_as_a_whole(store):
    late = patch(store, {"a": b"late", "b": b"late"})
    await store.do(patch(store, {"b": b"new"}))
    with pytest.raises(Outdated):
        await store.attempt(late)
    assert await fields(store) == {"b": b"new"}


async def test_an_older_patch_of_another_field_is_welcome(store):
    late = patch(store, {"a": b"late"})
    await store.do(patch(store, {"b": b"new"}))
    assert await store.attempt(late) is True
    assert await fields(store) == {"a": b"late", "b": b"new"}


async def test_a_late_patch_does_not_bring_back_a_dropped_field(store):
    late = patch(store, {"a": b"late"})
    await store.do(patch(store, {"a": b"1"}))
    await store.do(patch(store, {"a": None}))
    with pytest.raises(Outdated):
        await store.attempt(late)
    assert await fields(store) == {}


async def test_an_overtaken_patch_catches_up(store):
    older = store.stamp()
    await store.do(patch(store, {"a": b"theirs"}))
    assert await store.do(patch(store, {"a": b"mine"}, older)) is True
    assert await fields(store) == {"a": b"mine"}


async def test_a_patch_that_arrives_twice_is_one_patch(store):
    first = patch(store, {"a": b"1", "b": None})
    assert await store.attempt(first) is True
    assert await store.attempt(first) is True
    assert await fields(store) == {"a": b"1"}


async def test_clearing_beats_every_older_patch_also_of_fields_it_never_saw(store):
    seen, unseen = patch(store, {"a": b"late"}), patch(store, {"z": b"late"})
    await store.do(patch(store, {"a": b"1", "b": b"2"}))
    assert await store.do(clear(store)) is True
    assert await fields(store) == {}
    for late in (seen, unseen):
        with pytest.raises(Outdated):
            await store.attempt(late)
    await store.do(patch(store, {"a": b"new"}))
    assert await fields(store) == {"a": b"new"}


async def test_a_late_clear_does_not_take_newer_fields(store):
    await store.do(patch(store, {"a": b"1"}))
    late = clear(store)
    await store.do(patch(store, {"a": b"2"}))
    with pytest.raises(Outdated):
        await store.attempt(late)
    assert await fields(store) == {"a": b"2"}
    assert await store.do(late) is True
    assert await fields(store) == {}


async def test_a_late_clear_drops_what_is_older_and_leaves_what_is_newer(store):
    older = patch(store, {"late": b"1"})
    await store.do(patch(store, {"a": b"1", "b": b"1"}))
    await store.do(toggle(store))
    late = clear(store)
    newer = toggle(store, "n")
    await store.do(patch(store, {"b": b"2"}))
    assert await store.attempt(newer) is True
    for _ in range(2):
        with pytest.raises(Outdated):
            await store.attempt(late)
        assert await fields(store) == {"b": b"2", "n": ON}
    with pytest.raises(Outdated):
        await store.attempt(older)
    assert await store.attempt(newer) is True
    assert await fields(store) == {"b": b"2", "n": ON}


async def test_fields_that_something_else_has_set_go_with_a_clear(redis_store):
    await redis_store.ask("HSET", redis_store.key(), "foreign", "1")
    late = clear(redis_store)
    await redis_store.do(patch(redis_store, {"a": b"1"}))
    with pytest.raises(Outdated):
        await redis_store.attempt(late)
    assert await fields(redis_store) == {"a": b"1"}


async def test_a_clear_that_arrives_twice_is_one_clear(store):
    once = clear(store)
    assert await store.attempt(once) is True
    assert await store.attempt(once) is True
    await store.do(patch(store, {"a": b"1"}))
    with pytest.raises(Outdated):
        await store.attempt(once)


async def test_what_is_written_after_a_clear_stays_for_good(store):
    await store.do(patch(store, {"a": b"1"}))
    await store.do(clear(store))
    await store.do(patch(store, {"a": b"2"}))
    assert await store.do(TimeToLive(store.key())) is None


async def test_what_is_written_after_the_last_field_was_dropped_has_no_old_ttl(store):
    await store.do(patch(store, {"a": b"1"}, ttl=50))
    await store.do(patch(store, {"a": None}))
    await store.do(patch(store, {"a": b"2"}))
    assert await store.do(TimeToLive(store.key())) is None


async def test_a_hash_whose_last_field_is_exchanged_keeps_its_time(store):
    await store.do(patch(store, {"a": b"1"}, ttl=50.0))
    await store.do(patch(store, {"a": None, "b": b"1"}))
    assert await fields(store) == {"b": b"1"}
    assert await store.do(TimeToLive(store.key())) == pytest.approx(50, abs=0.5)


async def test_the_ttl_is_that_of_the_whole_and_starts_with_each_patch(store):
    await store.do(patch(store, {"a": b"1"}, ttl=0.05))
    await store.do(patch(store, {"b": b"1"}, ttl=30.5))
    assert await store.do(TimeToLive(store.key())) == pytest.approx(30.5, abs=0.3)
    await store.do(patch(store, {"a": b"2"}))
    assert await store.do(TimeToLive(store.key())) == pytest.approx(30.5, abs=0.5)
    await store.do(patch(store, {"b": None}, ttl=0.05))
    await store.lapse(0.05)
    assert await fields(store) == {}


async def test_a_toggle_turns_on_what_is_missing_or_anything_else(store):
    assert await store.do(toggle(store)) is True
    assert await fields(store) == {"f": ON}
    assert await store.do(toggle(store)) is False
    assert await fields(store) == {"f": OFF}
    await store.do(patch(store, {"f": b"neither"}))
    assert await store.do(toggle(store)) is True
    await store.do(patch(store, {"f": None}))
    assert await store.do(toggle(store)) is True


async def test_a_toggle_that_arrives_twice_turns_once(store):
    once = toggle(store)
    assert await store.attempt(once) is True
    assert await store.attempt(once) is True
    assert await fields(store) == {"f": ON}
    again = toggle(store)
    assert await store.attempt(again) is False
    assert await store.attempt(again) is False
    assert await fields(store) == {"f": OFF}


async def test_a_toggle_is_remembered_after_others_have_turned(redis_store):
    mine = toggle(redis_store)
    assert await redis_store.attempt(mine) is True
    assert await redis_store.do(toggle(redis_store)) is False
    assert await redis_store.attempt(mine) is True
    assert await fields(redis_store) == {"f": OFF}


async def test_a_late_toggle_turns_nothing(store):
    late = toggle(store)
    await store.do(patch(store, {"f": OFF}))
    with pytest.raises(Outdated):
        await store.attempt(late)
    assert await fields(store) == {"f": OFF}
    await store.do(clear(store))
    with pytest.raises(Outdated):
        await store.attempt(late)


async def test_an_overtaken_toggle_turns_what_is_there_by_then(store):
    older = store.stamp()
    await store.do(patch(store, {"f": ON}))
    assert await store.do(toggle(store, stamp=older)) is False
    assert await fields(store) == {"f": OFF}


async def test_a_toggle_has_a_ttl_like_a_patch(store):
    await store.do(toggle(store, ttl=0.05))
    assert 0 < await store.do(TimeToLive(store.key())) <= 0.051
    await store.lapse(0.05)
    assert await fields(store) == {}
    assert await store.do(toggle(store)) is True
    assert await store.do(TimeToLive(store.key())) is None


async def test_touch_works_on_fields(store):
    assert await store.do(Touch(store.key(), store.stamp(), 5)) is False
    await store.do(patch(store, {"a": b"1"}))
    assert await store.do(Touch(store.key(), store.stamp(), 20)) is True
    assert await store.do(TimeToLive(store.key())) == pytest.approx(20, abs=0.3)


async def test_a_plain_delete_leaves_the_stamps_of_the_fields(store):
    late = patch(store, {"a": b"late"})
    await store.do(patch(store, {"a": b"1"}))
    assert await store.do(Delete(store.key())) is True
    with pytest.raises(Outdated):
        await store.attempt(late)
    assert await fields(store) == {}


async def test_the_stamps_outlive_the_fields_by_a_day(redis_store):
    beside = companion(redis_store.key())
    await redis_store.do(patch(redis_store, {"a": b"1"}))
    assert await redis_store.ask("PTTL", beside) == -1
    await redis_store.do(patch(redis_store, {"a": b"1"}, ttl=100))
    assert await redis_store.ask("PTTL", beside) / 1000 == pytest.approx(DAY + 100 + HOUR, abs=1)
    await redis_store.do(clear(redis_store))
    assert await redis_store.ask("PTTL", beside) / 1000 == pytest.approx(DAY + HOUR, abs=1)
    assert await redis_store.ask("HKEYS", beside) == [b"~all"]


async def test_stamps_of_dropped_fields_are_let_go_after_a_day(redis_store):
    stamp = f"{int(redis_store.clock.now() * 1000) & ~0xF:012x}0000aaaaaaaa"
    day_ago = f"{int(stamp[:12], 16) - DAY * 1000 - 1:012x}0000aaaaaaaa"
    within = f"{int(stamp[:12], 16) - DAY * 1000 + 1000:012x}0000aaaaaaaa"
    for name in ("turned", "stays"):
        await redis_store.attempt(toggle(redis_store, name, day_ago))
    await redis_store.attempt(patch(redis_store, {"old": None}, day_ago))
    await redis_store.attempt(patch(redis_store, {"recent": None}, within))
    await redis_store.ask("HDEL", redis_store.key(), "turned")
    await redis_store.attempt(patch(redis_store, {"new": None}, stamp))
    held = set(await redis_store.ask("HKEYS", companion(redis_store.key()))) - {b"~sweep", b"~kept"}
    assert held == {b"f:stays", b"c:stays", b"f:recent", b"f:new"}


async def test_stamps_of_dropped_fields_are_let_go_among_thousands_that_stay(redis_store):
    stamp = f"{int(redis_store.clock.now() * 1000) & ~0xF:012x}0000aaaaaaaa"
    day_ago = f"{int(stamp[:12], 16) - DAY * 1000 - 1:012x}0000aaaaaaaa"
    for hundred in range(20):
        changes = {f"{hundred}-{number}": b"1" if number % 10 else None for number in range(100)}
        await redis_store.attempt(patch(redis_store, changes, day_ago))
    for number in range(60):
        await redis_store.attempt(patch(redis_store, {f"new-{number}": None}, stamp))
    slots = await redis_store.ask("HKEYS", companion(redis_store.key()))
    assert len([slot for slot in slots if not slot.startswith(b"f:new-")]) == 1800 + len([b"~sweep", b"~kept"])


async def test_forgotten_scripts_are_sent_again(redis_store):
    for command in (patch(redis_store, {"f": OFF}), toggle(redis_store), clear(redis_store)):
        await redis_store.ask("SCRIPT", "FLUSH")
        assert await redis_store.do(command) is True
    assert await fields(redis_store) == {}


async def test_a_long_patch_goes_in_one_command(store):
    many = {f"field-{number}": b"%d" % number for number in range(300)}
    await store.do(patch(store, many))
    assert await fields(store) == many
    await store.do(patch(store, dict.fromkeys(many)))
    assert await fields(store) == {}
