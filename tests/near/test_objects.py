"""Objects that are more than their fields come back from near as they were, or are not kept."""

from __future__ import annotations

import copy
from dataclasses import InitVar, dataclass, field
from functools import cached_property
from typing import ClassVar

import pytest

from polly_state.near import MISSING, NearCache
from polly_state.testing import Clock


@pytest.fixture
def near():
    clock = Clock()
    cache = NearCache(100, 1_000_000, clock, monotonic=clock)
    cache.trust(1e12)
    return cache


def kept(near, value):
    near.fill("k", near.begin("k"), value, 0, None)
    return near.get("k")


@dataclass
class Indexed:
    number: int

    def __post_init__(self):
        self.index = {self.number: [self.number]}


@dataclass(frozen=True)
class FrozenIndexed:
    number: int

    def __post_init__(self):
        object.__setattr__(self, "index", {self.number: [self.number]})


@pytest.mark.parametrize("kind", [Indexed, FrozenIndexed])
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [value], lambda value: (value, 1)])
def test_what_an_object_has_besides_its_fields_is_there_and_its_own(near, kind, wrap):
    value = wrap(kind(5))

    def index(found):
        return (found[0] if isinstance(found, (list, tuple)) else found).index

    assert index(kept(near, value)) == {5: [5]}
    index(near.get("k"))[5].append(6)
    assert index(near.get("k")) == {5: [5]}
    assert near.get("k") == value


@dataclass(frozen=True)
class Lazy:
    number: int

    @cached_property
    def parts(self):
        return [self.number]


class Lazier(Lazy):
    pass


@pytest.mark.parametrize("value", [Lazy(5), Lazier(5)])
def test_what_an_object_remembers_later_is_nobody_elses(near, value):
    kept(near, value).parts.append(6)
    assert near.get("k").parts == [5]


@dataclass
class Counted:
    number: int
    given: InitVar[int] = 3
    seen: ClassVar[list[int]] = []
    later: int = field(default=0, init=False)


@dataclass(slots=True)
class Slotted:
    number: int
    seen: ClassVar[list[int]] = []


@pytest.mark.parametrize("value", [Counted(5), Slotted(5), [Counted(5)], [Slotted(5)]])
def test_what_belongs_to_the_class_stays_there(near, value):
    kept(near, value)
    found, original = (each[0] if isinstance(each, list) else each for each in (near.get("k"), value))
    assert found.seen is type(original).seen
    assert getattr(found, "__dict__", None) == getattr(original, "__dict__", None)


@dataclass(slots=True)
class Base:
    number: int


@dataclass
class Mixed(Base):
    names: list[str]


def test_what_has_slots_and_more_is_not_kept(near):
    assert kept(near, Mixed(5, ["a"])) is MISSING
    assert kept(near, [Mixed(5, ["a"])]) is MISSING


def test_a_copy_is_what_copy_would_make(near):
    for value in (Indexed(5), Counted(5), Slotted(5), Lazy(5)):
        assert copy.copy(value) == kept(near, value)
