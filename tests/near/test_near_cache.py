"""The near cache: what it keeps, what it refuses, its bounds, and values that nobody can spoil."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import NamedTuple
from uuid import UUID

import pytest

from polly_state.near import MISSING, NearCache
from polly_state.testing import Clock


def near(clock=None, *, max_entries=1000, max_bytes=1_000_000, prefix="", until=1e12):
    """A near cache that somebody watches over."""
    clock = Clock() if clock is None else clock
    cache = NearCache(max_entries, max_bytes, clock, prefix=prefix, monotonic=clock)
    cache.trust(until)
    return cache


def keep(cache, key, value, expires_at=None, size=0):
    cache.fill(key, cache.begin(key), value, size, expires_at)


def test_what_was_filled_is_had():
    cache = near()
    assert cache.get("k") is MISSING
    keep(cache, "k", "v")
    assert cache.get("k") == "v"


@pytest.mark.parametrize("value", [None, "", 0, False, b"", {}, []])
def test_nothing_and_empty_are_values(value):
    cache = near()
    keep(cache, "k", value)
    assert cache.get("k") == value
    assert cache.get("k") is not MISSING


def test_what_is_dropped_is_gone():
    cache = near()
    keep(cache, "k", "v")
    cache.drop("k")
    assert cache.get("k") is MISSING


@pytest.mark.parametrize(
    "invalidate", [lambda cache: cache.drop("k"), lambda cache: cache.invalidate("k"), NearCache.flush]
)
def test_an_answer_is_not_kept_if_its_key_was_invalidated_meanwhile(invalidate):
    cache = near()
    ticket = cache.begin("k")
    invalidate(cache)
    cache.fill("k", ticket, "old", 0, None)
    assert cache.get("k") is MISSING
    assert cache.statistics().refused == 1
    keep(cache, "k", "new")
    assert cache.get("k") == "new"


def test_an_invalidation_of_one_key_bars_no_other():
    cache = near()
    tickets = {f"k{n}": cache.begin(f"k{n}") for n in range(100)}
    cache.drop("other")
    for key, ticket in tickets.items():
        cache.fill(key, ticket, key, 0, None)
    # By chance one of them may share the place of the other key.
    assert sum(cache.get(key) == key for key in tickets) >= 98


def test_reads_that_never_end_leave_nothing_behind():
    cache = near()
    for number in range(10_000):
        cache.begin(f"k{number}")
        cache.drop(f"k{number}")
    assert cache.statistics()[-3:] == (0, 0, True)


def test_two_readers_of_one_key_may_both_fill():
    cache = near()
    first, second = cache.begin("k"), cache.begin("k")
    cache.fill("k", first, "v", 0, None)
    cache.fill("k", second, "v", 0, None)
    assert cache.get("k") == "v"
    assert cache.statistics().entries == 1


def test_without_a_ticket_nothing_is_kept():
    cache = near()
    cache.fill("k", None, "v", 0, None)
    assert cache.get("k") is MISSING


def test_keys_that_nobody_watches_over_are_not_kept():
    cache = near(prefix="polly:cache")
    assert cache.begin("polly:notes:{1}") is None
    assert cache.begin("polly:cache.notes:{1}") is not None


def test_an_entry_ends_when_it_is_to():
    clock = Clock()
    cache = near(clock)
    keep(cache, "k", "v", expires_at=clock() + 10)
    clock.advance(9.9)
    assert cache.get("k") == "v"
    clock.advance(0.2)
    assert cache.get("k") is MISSING
    assert cache.statistics().entries == 0


def test_what_has_ended_already_is_not_kept():
    clock = Clock()
    cache = near(clock)
    keep(cache, "k", "v", expires_at=clock() - 1)
    assert cache.statistics().entries == 0


def test_a_step_of_the_wall_clock_prolongs_nothing():
    wall, monotonic = Clock(), Clock()
    cache = NearCache(10, 10_000, wall, monotonic=monotonic)
    cache.trust(1e12)
    keep(cache, "k", "v", expires_at=wall() + 10)
    wall.turn_to(wall() - 3600)
    monotonic.advance(11)
    assert cache.get("k") is MISSING


def test_beyond_the_silence_nothing_is_handed_out_or_begun():
    clock = Clock()
    cache = near(clock, until=clock() + 2)
    keep(cache, "k", "v")
    clock.advance(1.9)
    assert cache.get("k") == "v"
    clock.advance(0.2)
    assert cache.get("k") is MISSING
    assert cache.begin("k") is None
    cache.trust(clock() + 2)
    assert cache.get("k") == "v"


def test_without_tracking_entries_live_briefly_from_the_begin_of_their_read():
    clock = Clock()
    cache = near(clock)
    cache.trust_briefly(1.0)
    ticket = cache.begin("k")
    clock.advance(0.8)
    cache.fill("k", ticket, "v", 0, clock() + 100)
    assert cache.get("k") == "v"
    clock.advance(0.3)
    assert cache.get("k") is MISSING
    assert not cache.statistics().tracked


def test_distrust_drops_all():
    cache = near()
    keep(cache, "k", "v")
    ticket = cache.begin("l")
    cache.distrust()
    cache.trust(1e12)
    cache.fill("l", ticket, "v", 0, None)
    assert cache.get("k") is MISSING
    assert cache.get("l") is MISSING


def test_entries_are_bounded():
    cache = near(max_entries=10)
    for number in range(100):
        keep(cache, f"k{number}", number)
    assert cache.statistics().entries == 10
    assert cache.statistics().evictions == 90


def test_bytes_are_bounded_by_what_values_take():
    cache = near(max_bytes=50_000)
    for number in range(1000):
        keep(cache, f"k{number}", ["x" * 400], size=1)
    found = cache.statistics()
    assert found.bytes <= 50_000
    assert 50 < found.entries < 50_000 / 450


def test_a_value_over_the_bounds_is_not_kept_and_takes_no_others_place():
    cache = near(max_bytes=10_000)
    keep(cache, "small", "v")
    keep(cache, "large", "x" * 10_000)
    assert cache.get("large") is MISSING
    assert cache.get("small") == "v"


def test_what_is_asked_for_stays():
    cache = near(max_entries=100)
    keep(cache, "wanted", "v")
    for number in range(1000):
        keep(cache, f"k{number}", number)
        assert cache.get("wanted") == "v"


def test_dropped_entries_do_not_pile_up():
    cache = near(max_entries=10)
    for number in range(50_000):
        keep(cache, f"k{number % 5}", number)
        cache.drop(f"k{number % 5}")
    sieve = cache._sieve
    assert len(sieve._coming) + len(sieve._passed) < 5000
    assert cache.statistics()[-3:-1] == (0, 0)


class Colour(Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Fixed:
    name: str
    at: Point


@dataclass
class Role:
    name: str
    tags: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Flat:
    name: str
    at: datetime


@dataclass
class One:
    name: str


@dataclass
class Empty:
    pass


@dataclass
class Loud:
    name: str

    def __setattr__(self, name, value):
        object.__setattr__(self, name, f"{value}!")


@dataclass(slots=True)
class Guild:
    id: int
    roles: list[Role]
    made: datetime
    names: dict[int, str]
    colour: Colour = Colour.RED


def guild():
    return Guild(1, [Role("admin", ["a"]), Role("guest")], datetime(2024, 1, 1, tzinfo=UTC), {1: "one"})


IMMUTABLE = [1, "text", b"bytes", None, 1.5, Colour.RED, UUID(int=1), datetime(2024, 1, 1, tzinfo=UTC)]
IMMUTABLE += [(1, ("a", None)), frozenset({1}), Point(1, 2), Fixed("n", Point(1, 2))]


@pytest.mark.parametrize("value", IMMUTABLE, ids=repr)
def test_what_cannot_change_is_handed_out_as_it_is(value):
    cache = near()
    keep(cache, "k", value)
    assert cache.get("k") is value


MUTABLE = {
    "list": (lambda: [1, 2], lambda value: value.append(3)),
    "dict": (lambda: {"a": 1}, lambda value: value.update(a=2)),
    "set": (lambda: {1}, lambda value: value.add(2)),
    "nested": (lambda: {"a": [1, {"b": {"c"}}]}, lambda value: value["a"][1]["b"].add("d")),
    "int keys": (lambda: {1: {2: [3]}}, lambda value: value[1][2].clear()),
    "in a tuple": (lambda: (1, [2]), lambda value: value[1].append(3)),
    "in a named tuple": (lambda: Point(1, [2]), lambda value: value.y.append(3)),
    "a dataclass in a named tuple": (lambda: Point(Role("r"), 2), lambda value: value.x.tags.append("b")),
    "two lists in a named tuple": (lambda: Point([1], [2]), lambda value: (value.x.append(3), value.y.append(3))),
    "a dict in a named tuple": (lambda: Point({"a": 1}, ()), lambda value: value.x.clear()),
    "dataclass": (lambda: Role("r"), lambda value: setattr(value, "name", "changed")),
    "dataclass of one text": (lambda: One("a"), lambda value: setattr(value, "name", "changed")),
    "dataclass of nothing": (Empty, lambda value: setattr(value, "name", "given")),
    "dataclass of texts": (
        lambda: Flat("a", datetime(2024, 1, 1, tzinfo=UTC)),
        lambda value: setattr(value, "name", "changed"),
    ),
    "a named tuple in another": (lambda: Point(1, Point([1], 2)), lambda value: value.y.x.append(3)),
    "a dataclass with a will of its own": (lambda: Loud("a"), lambda value: setattr(value, "name", "changed")),
    "deep in a dataclass": (guild, lambda value: value.roles[0].tags.append("b")),
    "dataclasses in a dict": (lambda: {"g": guild()}, lambda value: value["g"].names.clear()),
    "in a frozen dataclass": (lambda: Fixed("n", [1]), lambda value: value.at.append(2)),
}


@pytest.mark.parametrize(("make", "spoil"), MUTABLE.values(), ids=MUTABLE)
def test_nobody_who_has_a_value_can_change_what_the_next_one_gets(make, spoil):
    cache = near()
    given = make()
    keep(cache, "k", given)
    spoil(given)
    assert cache.get("k") == make()
    spoil(cache.get("k"))
    assert cache.get("k") == make()
    assert type(cache.get("k")) is type(make())


class Loose:
    pass


def circle():
    value = []
    value.append(value)
    return value


def deep(levels=100_000, value=None):
    for _ in range(levels):
        value = [value]
    return value


def deep_to_copy():
    return deep(300, Role("r"))


def deep_in_names():
    value = [1]
    for _ in range(300):
        value = Point(1, value)
    return value


@pytest.mark.parametrize(
    "make",
    [
        Loose,
        OrderedDict,
        lambda: bytearray(b"x"),
        lambda: [Loose()],
        lambda: [bytearray()],
        lambda: Point(1, Loose()),
        circle,
        deep,
        deep_to_copy,
        deep_in_names,
    ],
)
def test_what_cannot_be_kept_safely_is_not_kept(make):
    cache = near()
    keep(cache, "k", "old")
    keep(cache, "k", make())
    assert cache.get("k") is MISSING


GROWTH = """
import gc, time
from polly_state.near import NearCache

def resident():
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * 4096 / 2**20

cache = NearCache(10_000_000, 50 * 2**20, time.time)
cache.trust(float("inf"))
gc.collect()
before, most = resident(), 0.0
for number in range(300_000):
    key = f"polly:cache:{{{number}}}"
    cache.fill(key, cache.begin(key), f"the value of {number}", 20, None)
    if not number % 10_000:
        most = max(most, resident() - before)
print(most)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the memory of a process")
def test_a_stream_of_keys_through_fifty_megabytes_stays_below_eighty():
    found = subprocess.run([sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True)
    assert 30 < float(found.stdout) < 80
