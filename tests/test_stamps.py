"""Stamps: texts that only ever rise, close to Redis' clock."""

from __future__ import annotations

import re

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from polly_state.stamps import MAX_LEAD, HybridClock, new_origin
from polly_state.testing import Clock


def clock(now=1_700_000_000.0, origin="aaaaaaaa"):
    time = Clock(now)
    return time, HybridClock(origin, wall=time, monotonic=time)


def test_a_stamp_is_24_lower_case_hex_digits_time_first():
    _, ours = clock(1_700_000_000.123)
    stamp = ours.stamp()
    assert re.fullmatch(r"[0-9a-f]{16}aaaaaaaa", stamp)
    assert int(stamp[:12], 16) == 1_700_000_000_123


def test_origins_are_random_and_of_one_width():
    origins = {new_origin() for _ in range(1000)}
    assert len(origins) == 1000
    assert all(re.fullmatch(r"[0-9a-f]{8}", origin) for origin in origins)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([0.0, 0.0001, 0.001, 1.0, -5.0, -100_000.0, 50.0]), min_size=1, max_size=80))
def test_stamps_rise_whatever_the_clock_does(steps):
    time, ours = clock()
    stamps = []
    for step in steps:
        time.turn_to(time() + step)
        stamps += [ours.stamp(), ours.stamp()]
    assert stamps == sorted(set(stamps))
    assert {24} == {len(stamp) for stamp in stamps}


def test_more_stamps_than_the_counter_holds_borrow_from_the_time():
    _, ours = clock()
    first = ours.stamp()
    for _ in range(70_000):
        last = ours.stamp()
    assert first < last
    assert int(last[:12], 16) - int(first[:12], 16) == 1


def test_what_was_seen_is_surpassed():
    _, theirs = clock(1_700_000_200.0, "bbbbbbbb")
    _, ours = clock()
    seen = theirs.stamp()
    ours.see(seen)
    assert ours.stamp() > seen


def test_an_older_stamp_changes_nothing():
    _, theirs = clock(1_600_000_000.0, "bbbbbbbb")
    _, ours = clock()
    ours.see(theirs.stamp())
    assert int(ours.stamp()[:12], 16) == 1_700_000_000_000


def test_a_stamp_of_the_far_future_is_not_followed():
    _, ours = clock()
    for lead, followed in ((MAX_LEAD - 1, True), (MAX_LEAD + 1, False)):
        _, theirs = clock(1_700_000_000.0 + lead, "bbbbbbbb")
        seen = theirs.stamp()
        ours.see(seen)
        assert followed is (ours.stamp() > seen)


def test_the_time_is_that_of_the_server():
    time, ours = clock()
    ours.follow(1_800_000_000.0, 0.002)
    assert ours.now() == pytest.approx(1_800_000_000.001)
    time.advance(10)
    assert ours.now() == pytest.approx(1_800_000_010.001)


def test_slow_samples_do_not_count_unless_the_clock_stepped():
    time, ours = clock()
    ours.follow(time(), 0.001)
    ours.follow(time() - 0.02, 0.08)
    assert ours.now() == pytest.approx(time() + 0.0005)
    ours.follow(time() + 30, 0.08)
    assert ours.now() == pytest.approx(time() + 30.04)


def test_stamps_rise_also_when_the_server_goes_back():
    time, ours = clock()
    ours.follow(time() + 100, 0.001)
    before = ours.stamp()
    ours.follow(time() - 100, 0.001)
    assert ours.stamp() > before


def test_equal_times_of_two_origins_are_ordered():
    (_, ours), (_, theirs) = clock(), clock(origin="bbbbbbbb")
    assert ours.stamp() < theirs.stamp()
