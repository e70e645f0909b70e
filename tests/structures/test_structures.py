"""Values, Fields and Counters as a bot uses them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import pytest

from polly_state import (
    Ack,
    CommandRejected,
    CorruptValue,
    Origin,
    StoreUnavailable,
    UnsupportedValue,
)
from polly_state.commands import MAX_COUNT, Count, Get, Set
from polly_state.structures import Binding, Counters, Family, Fields, Values

DECLARED_TTL = 50.0


@dataclass
class Reminder:
    text: str
    times: tuple[int, ...] = ()


@pytest.fixture
def handle(store):
    """Makes a structure in the store; its family is of this test alone."""

    def make(kind, *declared, ttl=None, max_value_bytes=100_000):
        namespace = store.key().partition(":")[0]
        binding = Binding(store.store, Family(namespace, "t"), ttl, max_value_bytes)
        return kind(binding, *declared)

    return make


async def test_a_value_comes_back_as_its_type_and_a_missing_one_as_none(store, handle):
    reminders = handle(Values, Reminder)
    assert await reminders.get((1, 2)) is None
    assert await reminders.set((1, 2), Reminder("stretch", (1, 2))) >= Ack.LOCAL_VOLATILE
    assert await reminders.get((1, 2)) == Reminder("stretch", (1, 2))
    assert await reminders.get((1, "2")) == Reminder("stretch", (1, 2))
    assert await reminders.get((2, 1)) is None
    await reminders.delete((1, 2))
    assert await reminders.get((1, 2)) is None


async def test_an_acknowledgement_and_an_origin_tell_where_it_is(store, handle):
    values = handle(Values, int)
    ack = await values.set("a", 1)
    found = await values.read("a")
    assert (ack is Ack.REMOTE) is (found.origin is Origin.REDIS)
    assert (found.value, found.age, found.stale) == (1, 0.0, False)
    assert (await values.read("b", default=7)).value == 7


async def test_more_than_the_store_can_give_is_refused_and_nothing_is_written(store, handle):
    values = handle(Values, int)
    with pytest.raises(StoreUnavailable, match="REPLICATED"):
        await values.set("a", 1, require=Ack.REPLICATED)
    assert await values.get("a") is None


async def test_the_familys_ttl_holds_unless_a_write_says_otherwise(store, handle):
    values = handle(Values, int, ttl=DECLARED_TTL)
    await values.set("family", 1)
    await values.set("own", 1, ttl=timedelta(seconds=20))
    await values.set("good", 1, ttl=None)
    assert await values.time_to_live("family") == pytest.approx(DECLARED_TTL, abs=0.5)
    assert await values.time_to_live("own") == pytest.approx(20, abs=0.5)
    assert await values.time_to_live("good") is None
    assert await values.time_to_live("none") is None


async def test_update_and_swap_keep_the_time_that_is_left(store, handle):
    values = handle(Values, str, ttl=DECLARED_TTL)
    assert await values.update("a", "1") is False
    await values.set("a", "1", ttl=20)
    assert await values.update("a", "2") is True
    assert await values.swap("a", "2", "3") is True
    assert await values.swap("a", "2", "4") is False
    assert await values.get("a") == "3"
    assert await values.time_to_live("a") == pytest.approx(20, abs=0.5)


async def test_create_is_for_one_of_many(store, handle):
    values = handle(Values, int, ttl=DECLARED_TTL)
    created = await asyncio.gather(*(values.create("a", number) for number in range(20)))
    assert created.count(True) == 1
    assert await values.get("a") == created.index(True)
    assert await values.time_to_live("a") == pytest.approx(DECLARED_TTL, abs=0.5)


async def test_one_of_many_swaps_wins(store, handle):
    values = handle(Values, int)
    await values.set("a", -1)
    swapped = await asyncio.gather(*(values.swap("a", -1, number) for number in range(20)))
    assert swapped.count(True) == 1
    assert await values.get("a") == swapped.index(True)


async def test_touch_and_expire_start_the_time_anew(store, handle):
    values = handle(Values, int, ttl=DECLARED_TTL)
    assert await values.touch("a") is False
    await values.set("a", 1, ttl=5)
    assert await values.touch("a") is True
    assert await values.time_to_live("a") == pytest.approx(DECLARED_TTL, abs=0.5)
    assert await values.expire("a", 0.02) is True
    await store.lapse(0.02)
    assert await values.get("a") is None
    with pytest.raises(ValueError, match="do not expire"):
        await handle(Values, int).touch("a")


async def test_many_are_read_at_once(store, handle):
    values = handle(Values, int)
    for number in range(5):
        await values.set(number, number)
    assert await values.get_many([0, 4, 99]) == {0: 0, 4: 4}
    assert await values.get_many([]) == {}


@pytest.mark.parametrize("ttl", [0, -1, 0.0001, 1e12, float("nan"), float("inf"), timedelta(0)])
async def test_a_ttl_out_of_bounds_is_a_value_error(store, handle, ttl):
    values = handle(Values, int)
    for attempt in (values.set("a", 1, ttl=ttl), values.expire("a", ttl), values.create("a", 1, ttl=ttl)):
        with pytest.raises(ValueError, match="ttl"):
            await attempt
    assert await values.get("a") is None


@pytest.mark.parametrize("ttl", ["1", True, b"1", 1j])
async def test_a_ttl_of_another_type_is_a_type_error(store, handle, ttl):
    with pytest.raises(TypeError, match="ttl"):
        await handle(Values, int).set("a", 1, ttl=ttl)


async def test_bad_values_are_refused_before_anything_is_written(store, handle):
    values, fields = handle(Values, Reminder, max_value_bytes=50), handle(Fields, Reminder)
    for bad in (None, "text", Reminder(1), Reminder("x", (0.5,)), Reminder("\ud800")):
        with pytest.raises(UnsupportedValue):
            await values.set("a", bad)
        with pytest.raises(UnsupportedValue):
            await fields.patch("b", {"good": Reminder(""), "bad": bad})
    with pytest.raises(UnsupportedValue, match="value_bytes"):
        await values.set("a", Reminder("x" * 51))
    assert await values.get("a") is None
    assert await fields.all("b") == {}


@pytest.mark.parametrize("content", [b"", b"{", b"\x28\xb5\x2f\xfdx", b'{"text":1}', b"null", b"\x80pickle"])
async def test_foreign_bytes_are_corrupt_and_not_missing(store, handle, content):
    values = handle(Values, Reminder)
    namespace = store.key().partition(":")[0]
    await store.do(Set(f"{namespace}:t:{{a}}", content))
    for attempt in (values.get("a"), values.read("a", default=Reminder("")), values.get_many(["a"])):
        with pytest.raises(CorruptValue):
            await attempt
    assert await values.set("a", Reminder("mended"))
    assert await values.get("a") == Reminder("mended")


async def test_a_family_of_another_structure_is_rejected_and_kept(store, handle):
    values, fields, counters = handle(Values, int), handle(Fields, int), handle(Counters)
    await fields.set("a", "x", 1)
    for attempt in (values.get("a"), values.set("a", 2), counters.add("a"), counters.value("a")):
        with pytest.raises(CommandRejected) as rejected:
            await attempt
        assert rejected.value.code == "WRONGTYPE"
    assert await fields.all("a") == {"x": 1}


async def test_fields_are_set_and_dropped_one_by_one(store, handle):
    fields = handle(Fields, int)
    await fields.set("g", "volume", 70)
    await fields.patch("g", {"bass": 2**60, "treble": -1})
    assert await fields.get("g", "bass") == 2**60
    assert await fields.get("g", "none") is None
    await fields.delete("g", "bass", "none")
    assert await fields.all("g") == {"volume": 70, "treble": -1}
    assert (await fields.read("g", "bass", default=5)).value == 5
    assert (await fields.read("g", "volume", default=5)).value == 70
    await fields.clear("g")
    assert await fields.all("g") == {}


async def test_fields_written_at_once_are_all_there(store, handle):
    fields = handle(Fields, int)
    await asyncio.gather(*(fields.set("g", f"f{number}", number) for number in range(50)))
    assert await fields.all("g") == {f"f{number}": number for number in range(50)}


@pytest.mark.parametrize("name", ["", "x" * 513, "\ud800"])
async def test_a_name_that_cannot_be_a_field_is_a_value_error(store, handle, name):
    fields = handle(Fields, bool)
    for attempt in (
        fields.get("g", name),
        fields.set("g", name, True),
        fields.delete("g", name),
        fields.toggle("g", name),
    ):
        with pytest.raises(ValueError):
            await attempt


async def test_a_field_needs_a_name_and_a_patch_a_field(store, handle):
    fields = handle(Fields, bool)
    with pytest.raises(TypeError):
        await fields.set("g", 1, True)
    with pytest.raises(ValueError):
        await fields.patch("g", {})
    with pytest.raises(ValueError):
        await fields.delete("g")


async def test_fifty_toggles_at_once_give_the_exact_result(store, handle):
    fields = handle(Fields, bool)
    states = await asyncio.gather(*(fields.toggle("u", "bot") for _ in range(51)))
    assert (states.count(True), states.count(False)) == (26, 25)
    assert await fields.get("u", "bot") is True


async def test_the_ttl_of_fields_starts_with_each_write(store, handle):
    fields = handle(Fields, bool, ttl=0.05)
    await fields.set("g", "a", True)
    await fields.toggle("g", "b")
    await store.lapse(0.05)
    assert await fields.all("g") == {}


async def test_counters_add_up(store, handle):
    plays = handle(Counters)
    assert await plays.value("g") == 0
    assert await plays.add("g") == 1
    assert await plays.add("g", 10) == 11
    assert await plays.add("g", -20) == -9
    assert await plays.add("g", 0) == -9
    assert await plays.value("g") == -9
    assert (await plays.read("g")).value == -9


async def test_additions_at_once_are_all_counted(store, handle):
    mine, theirs = handle(Counters), handle(Counters)
    await asyncio.gather(*(each.add("g", by) for each in (mine, theirs) for by in (1, -1, 3) for _ in range(20)))
    assert await mine.value("g") == 120


async def test_a_counter_starts_anew_after_its_ttl(store, handle):
    plays = handle(Counters, ttl=0.03)
    await plays.add("g", 5)
    await store.lapse(0.03)
    assert await plays.value("g") == 0
    assert await plays.add("g", 2) == 2


@pytest.mark.parametrize("by", [True, 1.0, "1", None])
async def test_a_counter_counts_in_whole_numbers(store, handle, by):
    with pytest.raises(TypeError):
        await handle(Counters).add("g", by)


async def test_a_total_beyond_2_to_the_53_is_refused_and_the_counter_goes_on(store, handle):
    plays = handle(Counters)
    await plays.add("g", 5)
    with pytest.raises(ValueError, match="2\\*\\*53"):
        await plays.add("g", MAX_COUNT)
    assert await plays.add("g", 1) == 6


async def test_what_was_refused_does_not_come_along_with_the_next_addition(store, handle):
    plays = handle(Counters)
    await plays.add("g", 1)
    with pytest.raises(StoreUnavailable):
        await plays.add("g", 100, require=Ack.REPLICATED)
    assert await plays.add("g", 1) == 2


async def test_a_counter_is_a_plain_integer_for_others(store, handle):
    plays = handle(Counters)
    await plays.add("g", 41)
    key = f"{store.key().partition(':')[0]}:t:{{g}}"
    assert await store.do(Get(key)) == b"41"
    assert await store.do(Count(key)) == 41


async def test_bad_ids_are_refused_by_every_structure(store, handle):
    for attempt in (handle(Values, int).get(""), handle(Fields, int).all(None), handle(Counters).add(1.5)):
        with pytest.raises((ValueError, TypeError)):
            await attempt
