"""Sets: each member is there or not by its newest write, in whatever order the writes arrive."""

from __future__ import annotations

import pytest

from polly_state.commands import (
    ClearSet,
    Contains,
    Delete,
    Members,
    Outdated,
    PatchSet,
    TimeToLive,
    Touch,
    companion,
)

DAY, HOUR = 86_400, 3_600
"""So long stamps outlive what they are of, and so much longer they may, which spares a write its expiry."""


def patch(store, stamp=None, ttl=None, **changes):
    return PatchSet(store.key(), store.stamp() if stamp is None else stamp, changes, ttl)


def clear(store, stamp=None):
    return ClearSet(store.key(), store.stamp() if stamp is None else stamp)


async def members(store):
    return await store.do(Members(store.key()))


async def test_members_come_and_go_one_by_one(store):
    assert await members(store) == set()
    assert await store.do(patch(store, a=True, b=True)) is True
    await store.do(patch(store, b=False, c=True, never=False))
    assert await members(store) == {"a", "c"}
    assert await store.do(Contains(store.key(), "a")) is True
    assert await store.do(Contains(store.key(), "b")) is False


@pytest.mark.parametrize("name", ["~all", "e:a", "", "späße", "一", "a b\n{*}", "1", "x" * 512])
async def test_any_text_is_a_member_like_another(store, name):
    await store.do(patch(store, **{name: True, "other": True}))
    assert await members(store) == {name, "other"}
    late = patch(store, **{name: True})
    await store.do(patch(store, **{name: False}))
    with pytest.raises(Outdated):
        await store.attempt(late)
    assert await members(store) == {"other"}


async def test_an_older_patch_is_outdated_as_a_whole(store):
    late = patch(store, a=True, b=False)
    await store.do(patch(store, b=True))
    with pytest.raises(Outdated):
        await store.attempt(late)
    assert await members(store) == {"b"}


async def test_an_older_patch_of_another_member_is_welcome(store):
    late = patch(store, a=True)
    await store.do(patch(store, b=True))
    assert await store.attempt(late) is True
    assert await members(store) == {"a", "b"}


async def test_an_overtaken_patch_catches_up(store):
    older = store.stamp()
    await store.do(patch(store, a=True))
    assert await store.do(patch(store, older, a=False)) is True
    assert await members(store) == set()


@pytest.mark.parametrize("order", [(True, False), (False, True)])
async def test_to_add_wins_a_tie(store, order):
    tie = store.stamp()
    for there in order:
        assert await store.attempt(patch(store, tie, a=there)) is True
    assert await members(store) == {"a"}


async def test_a_clear_takes_what_is_older_and_what_is_still_to_arrive(store):
    seen, unseen = patch(store, a=True), patch(store, z=True)
    await store.do(patch(store, a=True, b=True))
    assert await store.do(clear(store)) is True
    assert await members(store) == set()
    for late in (seen, unseen):
        with pytest.raises(Outdated):
            await store.attempt(late)
    assert await store.do(TimeToLive(store.key())) is None
    await store.do(patch(store, c=True))
    assert await members(store) == {"c"}


async def test_a_late_clear_takes_what_is_older_and_is_outdated_by_the_rest(store):
    await store.do(patch(store, a=True, b=True))
    late = clear(store)
    newer = patch(store, b=True)
    await store.do(newer)
    with pytest.raises(Outdated) as outdated:
        await store.attempt(late)
    assert outdated.value.stamp == newer.stamp
    assert await members(store) == {"b"}
    assert await store.do(late) is True
    assert await members(store) == set()


async def test_a_clear_overtaken_by_a_clear_takes_what_came_between(store):
    older = store.stamp()
    await store.do(clear(store))
    await store.do(patch(store, a=True))
    assert await store.do(clear(store, older)) is True
    assert await members(store) == set()


async def test_the_ttl_is_that_of_the_whole_and_the_newest_settles_it(store):
    late = patch(store, ttl=90.0, a=True)
    await store.do(patch(store, ttl=30.0, b=True))
    await store.attempt(late)
    assert await store.do(TimeToLive(store.key())) == pytest.approx(30, abs=0.5)
    await store.do(patch(store, b=False))
    assert await store.do(TimeToLive(store.key())) == pytest.approx(30, abs=0.5)
    await store.do(Touch(store.key(), store.stamp(), 60.0))
    assert await store.do(TimeToLive(store.key())) == pytest.approx(60, abs=0.5)
    await store.do(patch(store, ttl=0.03, c=True))
    await store.lapse(0.03)
    assert await members(store) == set()


async def test_the_last_member_takes_the_time_with_it(store):
    await store.do(patch(store, ttl=50.0, a=True))
    await store.do(patch(store, a=False))
    await store.do(patch(store, b=True))
    assert await store.do(TimeToLive(store.key())) is None


async def test_a_set_whose_last_member_is_exchanged_keeps_its_time(store):
    await store.do(patch(store, ttl=50.0, a=True))
    await store.do(patch(store, a=False, b=True))
    assert await members(store) == {"b"}
    assert await store.do(TimeToLive(store.key())) == pytest.approx(50, abs=0.5)


async def test_a_plain_delete_leaves_the_stamps(store):
    late = patch(store, a=True)
    await store.do(patch(store, a=True))
    assert await store.do(Delete(store.key())) is True
    with pytest.raises(Outdated):
        await store.attempt(late)
    assert await members(store) == set()


async def test_what_redis_holds_is_a_plain_set_and_stamps_beside_it(redis_store):
    beside = companion(redis_store.key())
    await redis_store.do(patch(redis_store, a=True, b=False))
    assert await redis_store.ask("TYPE", redis_store.key()) in (b"set", "set")
    assert set(await redis_store.ask("HKEYS", beside)) - {b"~sweep", b"~kept"} == {b"e:a", b"e:b"}
    assert await redis_store.ask("PTTL", beside) == -1
    await redis_store.do(clear(redis_store))
    assert await redis_store.ask("HKEYS", beside) == [b"~all"]
    assert await redis_store.ask("PTTL", beside) / 1000 == pytest.approx(DAY + HOUR, abs=1)


async def test_members_that_something_else_has_added_go_with_a_clear(redis_store):
    await redis_store.ask("SADD", redis_store.key(), "foreign")
    late = clear(redis_store)
    await redis_store.do(patch(redis_store, a=True))
    assert await members(redis_store) == {"a", "foreign"}
    with pytest.raises(Outdated):
        await redis_store.attempt(late)
    assert await members(redis_store) == {"a"}


async def test_stamps_of_dropped_members_are_let_go_after_a_day(redis_store):
    stamp = f"{int(redis_store.clock.now() * 1000) & ~0xF:012x}0000aaaaaaaa"
    day_ago = f"{int(stamp[:12], 16) - DAY * 1000 - 1:012x}0000aaaaaaaa"
    within = f"{int(stamp[:12], 16) - DAY * 1000 + 1000:012x}0000aaaaaaaa"
    await redis_store.attempt(patch(redis_store, day_ago, old=True, stays=True, gone=False))
    await redis_store.attempt(patch(redis_store, within, recent=False))
    await redis_store.attempt(patch(redis_store, stamp, old=False))
    held = set(await redis_store.ask("HKEYS", companion(redis_store.key()))) - {b"~sweep", b"~kept"}
    assert held == {b"e:old", b"e:stays", b"e:recent"}


async def test_stamps_of_dropped_members_are_let_go_among_thousands_that_stay(redis_store):
    stamp = f"{int(redis_store.clock.now() * 1000) & ~0xF:012x}0000aaaaaaaa"
    day_ago = f"{int(stamp[:12], 16) - DAY * 1000 - 1:012x}0000aaaaaaaa"
    for hundred in range(20):
        names = {f"{hundred}-{number}": number % 10 != 0 for number in range(100)}
        await redis_store.attempt(patch(redis_store, day_ago, **names))
    for number in range(60):
        await redis_store.attempt(patch(redis_store, stamp, **{f"new-{number}": False}))
    slots = await redis_store.ask("HKEYS", companion(redis_store.key()))
    assert len([slot for slot in slots if not slot.startswith(b"e:new-")]) == 1800 + len([b"~sweep", b"~kept"])


def test_stamps_of_dropped_members_are_let_go_here_as_well(local):
    PatchSet("k", local.stamp(), {"stays": True}).apply(local.keyspace)
    for day in range(3):
        for number in range(300):
            PatchSet("k", local.stamp(), {f"{day}-{number}": False}).apply(local.keyspace)
        local.time.advance(2 * DAY)
    stamps = local.keyspace.entry("k").stamps
    assert "e:stays" in stamps
    assert not [slot for slot in stamps if slot.startswith("e:0-")]


async def test_many_members_go_in_one_command(store):
    many = {f"member-{number}": True for number in range(300)}
    await store.do(patch(store, **many))
    assert await members(store) == many.keys()
    await store.do(clear(store))
    assert await members(store) == set()
