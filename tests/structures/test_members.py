"""Members that end one by one, conditional patches, and values for exactly one taker, on every store."""

from __future__ import annotations

import asyncio
import random
import re

import pytest

from polly_state import CommandRejected, CorruptValue, Fields, Members, StoreUnavailable, UnsupportedValue, Values
from polly_state.commands import (
    Get,
    GetFields,
    Outdated,
    PatchFields,
    PutMembers,
    SwapFields,
    TakeValue,
    TimeToLive,
    companion,
)
from polly_state.store import Ack
from polly_state.structures import Binding, Family

TTL = 50.0
BRIEF = 0.06
LIMITS = (5, 17, 90, 280)
"""Less than a page of those whose order the script knows, more than that, and more than all pages."""


@pytest.fixture
def handle(store):
    """Makes a structure in the store; its family is of this test alone."""

    def make(kind, *declared, ttl=TTL, max_value_bytes=100_000):
        namespace = store.key().partition(":")[0]
        return kind(Binding(store.store, Family(namespace, "t"), ttl, max_value_bytes), *declared)

    return make


async def test_members_come_back_newest_first(store, handle):
    members = handle(Members, int, 10)
    assert await members.all("a") == {}
    assert await members.get("a", "x") is None
    for name in ("x", "y: *", "ü", "x"):
        assert await members.put("a", name, len(name)) == ()
    assert list((await members.all("a")).items()) == [("x", 1), ("ü", 1), ("y: *", 4)]
    assert await members.get("a", "y: *") == 4
    assert (await members.read("a")).value == await members.all("a")
    await members.remove("a", "ü", "x")
    assert await members.all("a") == {"y: *": 4}
    await members.clear("a")
    assert await members.all("a") == {}
    assert await members.all("b") == {}


async def test_at_most_the_limit_stays_and_the_oldest_goes(store, handle):
    members = handle(Members, int, 3)
    gone = [await members.put("a", str(number), number) for number in range(5)]
    assert gone == [(), (), (), ("0",), ("1",)]
    assert await members.touch("a", "2")
    assert await members.put("a", "5", 5) == ("3",)
    assert list(await members.all("a")) == ["5", "2", "4"]


async def test_of_many_at_once_exactly_the_limit_stays(store, handle):
    members = handle(Members, int, 5)
    gone = await asyncio.gather(*(members.put("a", str(number), number) for number in range(50)))
    left = await members.all("a")
    assert len(left) == 5
    assert sorted([*left, *(name for each in gone for name in each)], key=int) == [str(each) for each in range(50)]


async def test_each_member_ends_by_itself(store, handle):
    members = handle(Members, str, 10, ttl=0.4)
    await members.put("a", "early", "x")
    await store.lapse(0.3)
    await members.put("a", "late", "x")
    await store.lapse(0.15)
    assert await members.get("a", "early") is None
    assert not await members.touch("a", "early")
    assert list(await members.all("a")) == ["late"]
    assert await members.within("a", 1000.0, "early", "late") == ["late"]
    assert await members.recent("a", 1000.0) == ["late"]


async def test_what_has_ended_is_dropped_by_the_next_put_or_on_demand(store, handle):
    members, lasting = handle(Members, str, 10, ttl=BRIEF), handle(Members, str, 10, ttl=TTL)
    key = Family(store.key().partition(":")[0], "t").key("a")
    await lasting.put("a", "x", "x")
    await store.lapse(2 * BRIEF)
    await lasting.put("a", "y", "y")
    assert await members.remove_ended("a") == 1
    assert await members.remove_ended("a") == 0
    assert list(await store.do(GetFields(key))) == ["y"]
    await store.lapse(2 * BRIEF)
    assert await members.put("a", "z", "z") == ("y",)
    assert list(await store.do(GetFields(key))) == ["z"]


class Meddling:
    """A store in which somebody else is quicker than the first conditional patch."""

    def __init__(self, store, meddle):
        self.clock = store.clock
        self._store, self._meddle = store, meddle

    async def execute(self, command, require=Ack.LOCAL_VOLATILE):
        if isinstance(command, SwapFields) and self._meddle is not None:
            meddle, self._meddle = self._meddle, None
            await meddle()
        return await self._store.execute(command, require)


async def test_what_is_put_again_while_it_is_dropped_or_touched_stays(store, handle):
    family = Family(store.key().partition(":")[0], "t")

    def meddled(value, ttl):
        meddle = handle(Members, str, 10).put
        return Members(Binding(Meddling(store.store, lambda: meddle("a", "x", value)), family, ttl, 1000), str, 10)

    await handle(Members, str, 10).put("a", "x", "old")
    await store.lapse(2 * BRIEF)
    assert await meddled("new", BRIEF).remove_ended("a") == 0
    assert await handle(Members, str, 10).get("a", "x") == "new"
    assert await meddled("newer", TTL).touch("a", "x")
    assert await handle(Members, str, 10).get("a", "x") == "newer"


async def test_who_was_put_in_the_last_seconds_is_told_one_by_one(store, handle):
    members = handle(Members, bool, 10)
    await members.put("a", "early", value=True)
    await store.lapse(BRIEF)
    await members.put("a", "late", value=True)
    assert await members.within("a", TTL, "early", "late", "never") == ["early", "late"]
    assert await members.within("a", BRIEF, "early", "never") == []
    assert await members.recent("a", TTL) == ["late", "early"]
    assert "early" not in await members.recent("a", BRIEF)


async def test_the_whole_ends_with_its_last_member(store, handle):
    members = handle(Members, bool, 10)
    await members.put("a", "x", value=True)
    key = Family(store.key().partition(":")[0], "t").key("a")
    assert await store.do(TimeToLive(key)) == pytest.approx(TTL, abs=0.5)


async def test_an_older_put_neither_overwrites_nor_pushes_out_a_newer_one(store):
    key = store.key()
    stamps = [store.stamp() for _ in range(3)]
    await store.attempt(PutMembers(key, stamps[1], {"b": b"1"}, TTL, 2, TTL))
    await store.attempt(PutMembers(key, stamps[2], {"c": b"1"}, TTL, 2, TTL))
    assert await store.attempt(PutMembers(key, stamps[0], {"a": b"1"}, TTL, 2, TTL)) == ("a",)
    assert set(await store.do(GetFields(key))) == {"b", "c"}


@pytest.mark.parametrize("seed", range(4))
async def test_of_very_many_the_oldest_go_in_their_order_however_they_arrive(redis_store, local, seed):
    """The order is only partly known to the script, and looked at anew when that part is used up or outdated."""
    chance, key, limit = random.Random(seed), redis_store.key(), LIMITS[seed]
    stamps = [redis_store.stamp() for _ in range(900)]
    late = sorted(range(900), key=lambda number: number + (chance.uniform(0, 60) if chance.random() < 0.1 else 0))
    names = [f"member {chance.randrange(600)}" for _ in stamps]
    for number in late:
        stamp, name = stamps[number], names[number]
        command = PutMembers(key, stamp, {name: b"1"}, TTL, limit, TTL)
        if chance.random() < 0.05:
            command = PatchFields(key, stamp, {name: None})
        results = []
        for bench in (redis_store, local):
            try:
                results.append(await bench.attempt(command))
            except Outdated:
                results.append("outdated")
        assert results[0] == results[1]
    assert await redis_store.do(GetFields(key)) == await local.do(GetFields(key))


async def test_several_are_put_in_one_step_and_of_equal_ones_the_lesser_name_goes(store, handle):
    members = handle(Members, int, 3)
    assert await members.put_many("a", {"b": 1, "a": 2}) == ()
    assert await members.put_many("a", {"d": 3, "c": 4, "b": 5}) == ("a",)
    assert await members.all("a") == {"b": 5, "c": 4, "d": 3}
    assert sorted(await members.put_many("a", dict.fromkeys("vwxyz", 6))) == ["b", "c", "d", "v", "w"]
    assert await members.all("a") == {"x": 6, "y": 6, "z": 6}
    with pytest.raises(ValueError, match="name the members"):
        await members.put_many("a", {})


async def test_what_was_put_in_one_step_is_outdated_as_one(store):
    key = store.key()
    stamps = [store.stamp() for _ in range(3)]
    await store.attempt(PutMembers(key, stamps[1], {"b": b"1"}, TTL, 9, TTL))
    with pytest.raises(Outdated):
        await store.attempt(PutMembers(key, stamps[0], {"a": b"1", "b": b"2"}, TTL, 9, TTL))
    assert set(await store.do(GetFields(key))) == {"b"}
    command = PutMembers(key, stamps[2], {"a": b"1", "b": b"2", "c": b"3"}, TTL, 2, TTL)
    assert await store.attempt(command) == ("a",)
    for part in command.settled(("a",), stamps[2]):
        await store.attempt(part)
    assert set(await store.do(GetFields(key))) == {"b", "c"}


async def test_a_put_looks_at_all_members_only_now_and_then(redis_store):
    key = redis_store.key()

    async def looks(count, start):
        before = await calls(redis_store, "hgetall")
        for number in range(start, start + count):
            await redis_store.do(PutMembers(key, redis_store.stamp(), {str(number): b"1"}, TTL, 200, TTL))
        return await calls(redis_store, "hgetall") - before

    if not isinstance(await redis_store.ask("INFO", "commandstats"), bytes):
        pytest.skip("this server counts no commands")
    assert await looks(200, 0) <= 2
    assert await looks(100, 200) <= 5
    assert len(await redis_store.do(GetFields(key))) == 200


async def calls(store, command):
    found = re.search(rb"cmdstat_%s:calls=(\d+)" % command.encode(), await store.ask("INFO", "commandstats"))
    return 0 if found is None else int(found[1])


async def test_to_touch_while_others_remove_and_put_brings_nothing_back(store, handle):
    members = handle(Members, int, 100)

    async def touch(name):
        for _ in range(5):
            await members.touch("a", name)

    for number in range(10):
        await members.put("a", str(number), 0)
    names = [str(number) for number in range(10)]
    await asyncio.gather(
        *map(touch, names), members.remove("a", *names[:5]), *(members.put("a", name, 1) for name in names[5:])
    )
    assert await members.all("a") == dict.fromkeys(reversed(await members.recent("a", TTL)), 1)
    assert set(await members.all("a")) == set(names[5:])


@pytest.mark.parametrize("bad", [{"ttl": None}, {"limit": 0}, {"limit": 10_001}])
async def test_members_need_a_ttl_and_a_limit(store, handle, bad):
    with pytest.raises(ValueError, match=r"ttl|from 1"):
        handle(Members, int, bad.get("limit", 5), ttl=bad.get("ttl", TTL))


@pytest.mark.parametrize("name", ["", "x" * 513, "\ud800"])
async def test_a_name_that_cannot_be_used_is_a_value_error(store, handle, name):
    members = handle(Members, int, 5)
    for call in (members.put("a", name, 1), members.get("a", name), members.touch("a", name)):
        with pytest.raises(ValueError, match="field"):
            await call
    with pytest.raises(ValueError, match="name the members"):
        await members.remove("a")


async def test_bad_values_and_too_much_to_ask_leave_nothing(store, handle):
    members = handle(Members, int, 5)
    with pytest.raises(UnsupportedValue):
        await members.put("a", "x", "text")
    with pytest.raises(StoreUnavailable, match="REPLICATED"):
        await members.put("a", "x", 1, require=Ack.REPLICATED)
    assert await members.all("a") == {}
    await handle(Members, str, 5).put("a", "x", "text")
    with pytest.raises(CorruptValue):
        await members.all("a")


async def test_a_patch_happens_only_while_all_is_as_expected(store, handle):
    fields = handle(Fields, int)
    assert await fields.patch_if("a", {"x": None}, {"x": 1, "y": 2})
    assert not await fields.patch_if("a", {"x": None}, {"x": 5})
    assert not await fields.patch_if("a", {"x": 1, "y": 3}, {"x": 5})
    assert await fields.all("a") == {"x": 1, "y": 2}
    assert await fields.patch_if("a", {"x": 1, "z": None}, {"x": None, "z": 3})
    assert await fields.all("a") == {"y": 2, "z": 3}
    assert not await fields.delete_if("a", "y", 5, "z")
    assert await fields.delete_if("a", "y", 2, "z")
    assert await fields.all("a") == {}
    with pytest.raises(ValueError, match="nothing to set"):
        await fields.patch_if("a", {"x": 1}, {})


async def test_of_many_who_expect_the_same_one_writes(store, handle):
    fields = handle(Fields, int)
    won = await asyncio.gather(*(fields.patch_if("a", {"x": None}, {"x": number}) for number in range(20)))
    assert won.count(True) == 1
    assert await fields.get("a", "x") == won.index(True)


async def test_a_conditional_patch_that_is_sent_again_is_one(redis_store):
    key, stamp = redis_store.key(), redis_store.stamp()
    swap = SwapFields(key, stamp, {"x": None}, {"x": b"1"})
    assert await redis_store.attempt(swap)
    await redis_store.do(PatchFields(key, redis_store.stamp(), {"x": b"2"}))
    assert await redis_store.attempt(swap)
    assert await redis_store.do(GetFields(key)) == {"x": b"2"}


async def test_a_value_is_deleted_only_if_it_is_the_expected_one(store, handle):
    values = handle(Values, str)
    await values.set("a", "x")
    assert not await values.delete_if("a", "y")
    assert await values.get("a") == "x"
    assert await values.delete_if("a", "x")
    assert await values.get("a") is None
    assert not await values.delete_if("a", "x")


async def test_a_value_is_taken_by_one_of_many(store, handle):
    values = handle(Values, str)
    await values.set("a", "x")
    taken = await asyncio.gather(*(values.take("a") for _ in range(20)))
    assert sorted(each for each in taken if each is not None) == ["x"]
    assert await values.get("a") is None
    await values.set("a", "y")
    assert await values.take("a") == "y"
    assert await values.take("a") is None


async def test_a_take_that_is_sent_again_still_gets_its_value(redis_store):
    key, bench = redis_store.key(), redis_store
    await bench.ask("SET", key, b"x")
    take = TakeValue(key, bench.stamp())
    assert await bench.attempt(take) == b"x"
    await bench.ask("SET", key, b"y")
    assert await bench.attempt(take) == b"x"
    assert await bench.do(Get(key)) == b"y"
    assert await bench.do(TakeValue(key, bench.stamp())) == b"y"


async def test_a_take_of_another_kind_leaves_it(redis_store):
    key = redis_store.key()
    await redis_store.ask("RPUSH", key, "x")
    with pytest.raises(CommandRejected, match="WRONGTYPE"):
        await redis_store.do(TakeValue(key, redis_store.stamp()))
    assert await redis_store.ask("EXISTS", companion(key)) == 0


async def test_touch_starts_the_time_anew(store, handle):
    fields = handle(Fields, int)
    key = Family(store.key().partition(":")[0], "t").key("a")
    assert not await fields.touch("a")
    await store.do(PatchFields(key, store.stamp(), {"x": b"1"}, 5.0))
    assert await fields.touch("a")
    assert await store.do(TimeToLive(key)) == pytest.approx(TTL, abs=0.5)
    with pytest.raises(ValueError, match="ttl"):
        await handle(Fields, int, ttl=None).touch("a")
