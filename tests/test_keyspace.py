"""The keyspace: never over its bounds, never dropping what is durable, and as a mirror never guessing."""

from __future__ import annotations

import contextlib
import copy
import random
from dataclasses import replace

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from polly_state.commands import (
    Add,
    Append,
    ClearFields,
    ClearLog,
    ClearSet,
    Command,
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
    Queued,
    Set,
    SetRegister,
    TimeToLive,
    ToggleField,
    Touch,
)
from polly_state.errors import LocalStoreFull, StateError
from polly_state.keyspace import Keyspace
from polly_state.stamps import HybridClock
from polly_state.testing import Clock
from tests.stores import LocalBench
from tests.test_equivalence import CONTENTS, FIELDS, TABLE, Draw

DAY = 86_400


def weight(entry):
    """What the entry weighs at least: the texts it holds."""
    content = entry.content
    if isinstance(content, dict):
        texts = [text for pair in content.items() for text in pair if text is not None]
    else:
        texts = [content or b""]
    return sum(map(len, texts)) + 24 * len(entry.stamps)


def check(keyspace, entries, size):
    held = [*keyspace._recent.values(), *keyspace._pinned.values()]
    assert len(keyspace) == len(held) == len(list(keyspace)) <= entries
    assert keyspace.size == sum(entry.size for entry in held) <= size
    for entry in held:
        assert weight(entry) <= entry.size


def heavy(draw, bench, key):
    """A command with a chance of being too large."""
    content = draw.one_of([*CONTENTS, b"x" * 500, b"y" * 3000])
    kind = draw.one_of([Set, SetRegister, PatchFields, None])
    if kind is None:
        command = TABLE[draw.one_of(list(TABLE))](draw, key)
        return command.restamped(bench.stamp()) if hasattr(command, "stamp") else command
    if kind is Set:
        return Set(key, content)
    kept = draw.one_of([content, None])
    if kind is SetRegister:
        return SetRegister(key, bench.stamp(), kept)
    return PatchFields(key, bench.stamp(), {draw.one_of(FIELDS): kept})


@settings(max_examples=150, deadline=None, derandomize=True)
@given(data=st.data(), mirror=st.booleans())
def test_random_operations_never_exceed_the_bounds(data, mirror):
    entries, size = 6, 4000
    bench = LocalBench(max_entries=entries, max_bytes=size, mirror=mirror)
    draw = Draw(lambda choices: data.draw(st.sampled_from(choices)))
    for _ in range(data.draw(st.integers(1, 40))):
        command = heavy(draw, bench, draw.one_of("abcdefghij"))
        with contextlib.suppress(StateError):
            command.apply(bench.keyspace)
        bench.time.advance(draw.one_of([0, 0, 1, 20_000, DAY]))
        check(bench.keyspace, entries, size)


def test_many_fields_and_their_stamps_count():
    bench = LocalBench(max_entries=10, max_bytes=50_000)
    for number in range(5000):
        try:
            PatchFields("k", bench.stamp(), {f"field-{number}": b"1"}).apply(bench.keyspace)
            PatchFields("k", bench.stamp(), {f"field-{number}": None}).apply(bench.keyspace)
        except LocalStoreFull:
            break
        check(bench.keyspace, 10, 50_000)
    check(bench.keyspace, 10, 50_000)


def test_the_totals_of_a_counter_are_kept_however_many_add_to_it():
    bench = LocalBench()
    for number in range(300):
        for _ in range(2):
            Add("k", bench.stamp(), f"{number:08x}", 10**12 + number, 10**12 + number, ttl=300 * DAY).apply(
                bench.keyspace
            )
        bench.time.advance(DAY / 10)
    assert Count("k").apply(bench.keyspace) == sum(10**12 + number for number in range(300))
    assert len(bench.keyspace.entry("k").stamps) == 301
    again = Add("k", bench.stamp(), "00000000", 10**12, 10**12)
    assert again.apply(bench.keyspace) == Count("k").apply(bench.keyspace)


def filled(write):
    """How many writes it takes until one is refused."""
    for number in range(5000):
        try:
            write(number)
        except LocalStoreFull:
            return number
    return 5000


def test_many_members_and_messages_count():
    for write in (
        lambda number, stamp: PatchSet("k", stamp, {f"member-{number}": True}),
        lambda number, stamp: Append("k", stamp, b"x" * 50, 100_000),
        lambda number, stamp: Enqueue("k", stamp, b"x" * 50),
    ):
        bench = LocalBench(max_entries=10, max_bytes=50_000)
        assert filled(lambda number: write(number, bench.stamp()).apply(bench.keyspace)) < 1000  # noqa: B023
        check(bench.keyspace, 10, 50_000)


def test_a_mirror_counts_what_it_knows_to_be_absent():
    mirror = Keyspace(mirror=True, max_bytes=50_000, clock=Clock())
    GetField("k", "there").learn(mirror, b"1")
    assert filled(lambda number: GetField("k", f"field-{number}").learn(mirror, None)) < 1000
    check(mirror, 10, 50_000)


def test_a_full_store_refuses_aloud_and_changes_nothing():
    bench = LocalBench(max_entries=3)
    for key in "abc":
        SetRegister(key, bench.stamp(), b"1").apply(bench.keyspace)
    for refused in (
        SetRegister("d", bench.stamp(), b"1"),
        PatchFields("d", bench.stamp(), {"a": b"1"}),
        PatchSet("d", bench.stamp(), {"a": True}),
        Append("d", bench.stamp(), b"1", 5),
        Enqueue("d", bench.stamp(), b"1"),
        Add("d", bench.stamp(), "aaaaaaaa", 1, 1),
        Set("d", b"1"),
    ):
        with pytest.raises(LocalStoreFull, match="local_entries or local_bytes"):
            refused.apply(bench.keyspace)
    assert [Get(key).apply(bench.keyspace) for key in "abcd"] == [b"1", b"1", b"1", None]
    assert len(bench.keyspace) == 3


def test_what_is_there_can_still_be_changed_when_the_store_is_full():
    bench = LocalBench(max_entries=1)
    assert SetRegister("a", bench.stamp(), b"1").apply(bench.keyspace)
    assert SetRegister("a", bench.stamp(), b"2").apply(bench.keyspace)
    assert SetRegister("a", bench.stamp(), None).apply(bench.keyspace)
    assert SetRegister("b", bench.stamp(), b"1").apply(bench.keyspace)


def test_growing_over_the_bytes_is_refused_and_the_old_value_stays():
    bench = LocalBench(max_bytes=2500)
    SetRegister("a", bench.stamp(), b"1" * 900).apply(bench.keyspace)
    PatchFields("h", bench.stamp(), {"x": b"1"}).apply(bench.keyspace)
    with pytest.raises(LocalStoreFull):
        SetRegister("a", bench.stamp(), b"2" * 1900).apply(bench.keyspace)
    with pytest.raises(LocalStoreFull):
        PatchFields("h", bench.stamp(), {"x": b"2" * 1900, "y": b""}).apply(bench.keyspace)
    assert Get("a").apply(bench.keyspace) == b"1" * 900
    assert GetFields("h").apply(bench.keyspace) == {"x": b"1"}


def test_a_refused_write_leaves_the_stamps_alone():
    bench = LocalBench(max_bytes=2000)
    SetRegister("a", bench.stamp(), b"1").apply(bench.keyspace)
    between = bench.stamp()
    with pytest.raises(LocalStoreFull):
        SetRegister("a", bench.stamp(), b"2" * 1900).apply(bench.keyspace)
    assert SetRegister("a", between, b"3").apply(bench.keyspace)


def test_caches_make_room_for_what_is_durable_and_the_least_used_goes_first():
    bench = LocalBench(max_entries=4)
    SetRegister("durable", bench.stamp(), b"1").apply(bench.keyspace)
    for key in "abc":
        Set(key, b"1").apply(bench.keyspace)
    Get("a").apply(bench.keyspace)
    Set("d", b"1").apply(bench.keyspace)
    assert [Get(key).apply(bench.keyspace) for key in "abcd"] == [b"1", None, b"1", b"1"]
    for key in "xyz":
        SetRegister(key, bench.stamp(), b"1").apply(bench.keyspace)
    assert Get("durable").apply(bench.keyspace) == b"1"
    assert [Get(key).apply(bench.keyspace) for key in "abcd"] == [None] * 4


def mirror_with_spare_bytes(pinned=0):
    mirror = Keyspace(mirror=True, max_bytes=100_000, spare_bytes=60_000, clock=Clock())
    for number in range(pinned):
        mirror.put(f"pinned-{number}", b"1" * 400)
        mirror.pin(f"pinned-{number}")
    return mirror


def test_what_may_be_dropped_leaves_the_spare_bytes_alone():
    mirror = mirror_with_spare_bytes()
    for number in range(200):
        mirror.put(f"cached-{number}", b"1" * 400)
        assert mirror.size <= 40_000
    assert len(mirror) > 40
    assert mirror.string("cached-199") == b"1" * 400


def test_what_stays_may_take_them():
    mirror = mirror_with_spare_bytes(100)
    assert 80_000 < mirror.size <= 100_000
    mirror.put("cached", b"1" * 400)
    mirror.put("cached", b"1" * 500)
    assert mirror.string("cached") == b"1" * 500
    assert mirror.string("pinned-0") == b"1" * 400
    mirror.put("other", b"1" * 400)
    # There is room for no more than is asked for.
    assert [mirror.entry(key) is None for key in ("cached", "other")] == [True, False]
    with pytest.raises(LocalStoreFull):
        mirror.put("cached", b"1" * 20_000)


def test_nothing_is_dropped_for_a_write_that_is_refused_anyway():
    bench = LocalBench(max_bytes=3000)
    SetRegister("durable", bench.stamp(), b"1" * 1500).apply(bench.keyspace)
    Set("cache", b"1").apply(bench.keyspace)
    with pytest.raises(LocalStoreFull):
        SetRegister("more", bench.stamp(), b"2" * 1500).apply(bench.keyspace)
    assert Get("cache").apply(bench.keyspace) == b"1"


def test_what_has_expired_makes_room():
    bench = LocalBench(max_entries=2)
    for key in "ab":
        SetRegister(key, bench.stamp(), b"1", ttl=5.0).apply(bench.keyspace)
    with pytest.raises(LocalStoreFull):
        SetRegister("c", bench.stamp(), b"1").apply(bench.keyspace)
    bench.time.advance(5.0)
    assert SetRegister("c", bench.stamp(), b"1").apply(bench.keyspace)
    assert Get("c").apply(bench.keyspace) == b"1"


def test_creating_and_deleting_for_ever_never_fills_the_store():
    bench = LocalBench(max_entries=100, max_bytes=100_000)
    for number in range(1000):
        SetRegister(f"r{number}", bench.stamp(), b"1").apply(bench.keyspace)
        SetRegister(f"r{number}", bench.stamp(), None).apply(bench.keyspace)
        SetRegister(f"s{number}", bench.stamp(), b"1").apply(bench.keyspace)
        Delete(f"s{number}").apply(bench.keyspace)
        PatchFields(f"f{number}", bench.stamp(), {"a": b"1"}).apply(bench.keyspace)
        ClearFields(f"f{number}", bench.stamp()).apply(bench.keyspace)
        PatchFields(f"g{number}", bench.stamp(), {"a": b"1"}).apply(bench.keyspace)
        PatchFields(f"g{number}", bench.stamp(), {"a": None}).apply(bench.keyspace)
        PatchSet(f"m{number}", bench.stamp(), {"a": True}).apply(bench.keyspace)
        PatchSet(f"m{number}", bench.stamp(), {"a": False}).apply(bench.keyspace)
        Append(f"l{number}", bench.stamp(), b"1", 5).apply(bench.keyspace)
        ClearLog(f"l{number}", bench.stamp()).apply(bench.keyspace)
        Enqueue(f"q{number}", bench.stamp(), b"1").apply(bench.keyspace)
        Delete(f"q{number}").apply(bench.keyspace)
        Add(f"c{number}", bench.stamp(), "aaaaaaaa", 1, 1).apply(bench.keyspace)
        Delete(f"c{number}").apply(bench.keyspace)
    check(bench.keyspace, 100, 100_000)


def test_200_000_distinct_cache_keys_are_flat():
    keyspace = Keyspace(max_entries=1000, max_bytes=1_000_000, clock=Clock())
    sizes = set()
    for number in range(200_000):
        Set(f"key:{number:06}", b"x" * 100).apply(keyspace)
        if number >= 1000 and number % 1000 == 0:
            sizes.add((len(keyspace), keyspace.size))
    assert len(sizes) == 1
    check(keyspace, 1000, 1_000_000)


def test_a_large_value_evicts_as_much_as_it_needs():
    keyspace = Keyspace(max_entries=100, max_bytes=30_000, clock=Clock())
    for number in range(40):
        Set(f"{number:02}", b"x" * 300).apply(keyspace)
    Set("large", b"x" * 25_000).apply(keyspace)
    assert Get("large").apply(keyspace) == b"x" * 25_000
    assert Get("39").apply(keyspace) == b"x" * 300
    check(keyspace, 100, 30_000)


def test_a_mirror_that_knows_nothing_answers_nothing():
    mirror = Keyspace(mirror=True, clock=Clock())
    for unknown in (Get("a"), Count("a"), GetFields("a"), GetField("a", "x"), TimeToLive("a")):
        assert not unknown.answerable(mirror)


def test_a_mirror_knows_single_fields_without_knowing_all():
    mirror = Keyspace(mirror=True, clock=Clock())
    GetField("a", "x").learn(mirror, b"1")
    GetField("a", "y").learn(mirror, None)
    assert GetField("a", "x").answerable(mirror)
    assert GetField("a", "x").apply(mirror) == b"1"
    assert GetField("a", "y").answerable(mirror)
    assert GetField("a", "y").apply(mirror) is None
    assert not GetField("a", "z").answerable(mirror)
    assert not GetFields("a").answerable(mirror)
    GetFields("a").learn(mirror, {"z": b"3"})
    assert GetFields("a").apply(mirror) == {"z": b"3"}
    assert GetField("a", "x").answerable(mirror)
    assert GetField("a", "x").apply(mirror) is None


def test_a_mirror_forgets_what_it_drops_instead_of_taking_it_for_absent():
    mirror = Keyspace(mirror=True, max_entries=2, clock=Clock())
    for key in "abc":
        Get(key).learn(mirror, b"1")
    assert not Get("a").answerable(mirror)
    assert Get("c").answerable(mirror)


def test_a_mirror_knows_that_what_expired_is_absent():
    clock = Clock()
    mirror = Keyspace(mirror=True, clock=clock)
    Set("a", b"1", ttl=5).learn(mirror, True)
    clock.advance(5)
    assert Get("a").answerable(mirror)
    assert Get("a").apply(mirror) is None


def test_a_mirror_does_not_take_an_unseen_end_for_none():
    mirror = Keyspace(mirror=True, clock=Clock())
    Get("a").learn(mirror, b"1")
    assert not TimeToLive("a").answerable(mirror)
    TimeToLive("a").learn(mirror, 9.0)
    assert TimeToLive("a").answerable(mirror)
    assert TimeToLive("a").apply(mirror) == 9.0


def test_a_mirror_that_read_a_zero_does_not_know_whether_there_is_a_counter():
    mirror = Keyspace(mirror=True, clock=Clock())
    Count("a").learn(mirror, 0)
    assert not Get("a").answerable(mirror)
    assert not Expire("a", 9).answerable(mirror)


def test_a_pinned_entry_of_a_mirror_is_kept_until_it_is_unpinned():
    mirror = Keyspace(mirror=True, max_entries=2, clock=Clock())
    SetRegister("a", HybridClock().stamp(), b"1").apply(mirror)
    mirror.pin("a")
    for key in "bcd":
        Get(key).learn(mirror, b"1")
    assert Get("a").apply(mirror) == b"1"
    mirror.unpin("a")
    for key in "bc":
        Get(key).learn(mirror, b"1")
    assert not Get("a").answerable(mirror)


READS = (Get, GetField, GetFields, Count, Members, Contains, Latest, Queued)
COMMON = [Delete, Touch, Expire, Persist, TimeToLive]
KINDS = {
    "a": [Get, Set, SetRegister, *COMMON],
    "b": [Get, Set, SetRegister, *COMMON],
    "c": [GetField, GetFields, PatchFields, ToggleField, ClearFields, *COMMON],
    "d": [GetField, GetFields, PatchFields, ToggleField, ClearFields, *COMMON],
    "e": [Count, Add, Delete],
    "f": [Count, Add, Delete],
    "g": [PatchSet, ClearSet, Members, Contains, *COMMON],
    "h": [Append, Append, ClearLog, Latest, Latest, *COMMON],
    "i": [Enqueue, Queued, *COMMON],
}


class Refused(tuple):
    """The kind of an error and its code."""

    __slots__ = ()


async def outcome(execute, command):
    try:
        result = await execute(command)
    except StateError as error:
        return Refused((type(error).__name__, getattr(error, "code", None)))
    return round(result / 60) if isinstance(command, TimeToLive) and result else result


async def follow(bench, seed, kinds, promised):
    """Let a mirror learn from random commands; what it can answer, it must answer as the server does.

    Some commands go past the mirror, which is then told to forget the key: it never knows everything.
    """
    lots = random.Random(seed)
    draw = Draw(lots.choice)
    mirror = Keyspace(mirror=True, max_entries=8, clock=Clock())
    answered = 0

    async def predict(command):
        return command.apply(copy.deepcopy(mirror))

    for number in range(400):
        name = lots.choice(list(kinds))
        command = TABLE[lots.choice(kinds[name])](draw, bench.key(name))
        if hasattr(command, "stamp"):
            command = command.restamped(bench.stamp())
        if isinstance(command, Add):
            command = replace(command, origin=f"{number:08x}")
        # An invalidation is never refused, so the result of a Delete may be a guess.
        known = isinstance(command, promised) and not isinstance(command, Delete)
        known = known and command.answerable(mirror)
        found = await outcome(predict, command) if known else None
        expected = await outcome(bench.do, command)
        if known:
            assert (number, command, expected) == (number, command, found)
            answered += 1
        if lots.random() < 0.1:
            mirror.forget(command.key)
        elif not isinstance(expected, Refused):
            command.learn(mirror, expected if not isinstance(command, TimeToLive) else None)
    return answered


@pytest.mark.parametrize("seed", range(20))
async def test_a_mirror_answers_as_the_server_does_or_not_at_all(redis_store, seed):
    assert await follow(redis_store, seed, KINDS, Command) > 100


@pytest.mark.parametrize("seed", range(20))
async def test_a_mirror_reads_keys_of_changing_kinds_as_the_server_does(redis_store, seed):
    kinds = {name: list(TABLE) for name in "abcd"}
    assert await follow(redis_store, seed, kinds, READS) > 20
