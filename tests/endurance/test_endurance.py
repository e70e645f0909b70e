"""Inboxes and locks in their short form; the long one takes minutes: `python -m tests.endurance`."""

from __future__ import annotations

import pytest

from tests.endurance.__main__ import RUNS, perform
from tests.endurance.inbox import judge
from tests.endurance.locks import fences_back, overlaps

pytestmark = pytest.mark.once

FINE = {"lost": 0, "unmarked": 0, "unknown": 0}


@pytest.mark.blocking
@pytest.mark.parametrize("name", RUNS)
async def test_nothing_is_lost_repeated_or_overlapping(binary, name):
    line = await perform(name, binary, short=True)
    assert line["ok"], line


@pytest.mark.long
@pytest.mark.blocking
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", RUNS)
async def test_nor_is_it_over_a_long_time(binary, name):
    line = await perform(name, binary, short=False)
    assert line["ok"], line


def test_what_was_handled_once_or_again_with_a_mark_is_fine():
    found = judge({1, 2, 3}, {1, 2}, [(1, 1), (2, 1), (2, 2), (3, 2)])
    assert found == {"sent": 2, "handled": 3, "repeated": 1, **FINE}


@pytest.mark.parametrize(
    ("handled", "fault"),
    [([(1, 1)], "lost"), ([(1, 1), (2, 1), (2, 1)], "unmarked"), ([(1, 1), (2, 1), (4, 1)], "unknown")],
)
def test_a_faulty_delivery_is_found(handled, fault):
    found = judge({1, 2, 3}, {1, 2}, handled)
    assert {name: found[name] for name in FINE} == FINE | {fault: 1}


def test_writes_that_do_not_overlap_are_fine():
    assert overlaps([("1", "a", "begin"), ("1", "a", "end"), ("2", "b", "begin"), ("3", "a", "begin")]) == 0


@pytest.mark.parametrize(
    "lines",
    [
        [("1", "a", "begin"), ("2", "b", "begin"), ("1", "a", "end")],
        [("1", "a", "begin"), ("1", "b", "begin")],
        [("2", "a", "begin"), ("1", "b", "begin")],
        [("1", "a", "end")],
    ],
)
def test_writes_that_overlap_are_found(lines):
    assert overlaps(lines) > 0


@pytest.mark.parametrize(("fences", "back"), [((1, 2, 3), 0), ((1, 3, 2), 1), ((1, 2, 2), 1), ((3, 2, 1), 2)])
def test_a_fence_that_goes_back_is_found(fences, back):
    asked = [("lock", float(number), number + 0.5, fence) for number, fence in enumerate(fences)]
    assert fences_back([*asked, ("other", 5.0, 5.5, 1)]) == back


def test_of_two_who_asked_at_once_either_may_come_first():
    assert fences_back([("lock", 0.0, 3.0, 2), ("lock", 1.0, 2.0, 1), ("lock", 2.5, 4.0, 3)]) == 0
