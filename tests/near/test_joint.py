"""Joint trust: what is near is handed out for as long as every server that could tell of a change does."""

from __future__ import annotations

import pytest

from polly_state.near import MISSING, NearCache
from polly_state.near.joint import JointTrust
from polly_state.testing import Clock


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def near(clock):
    return NearCache(100, 1 << 20, clock, monotonic=clock)


def kept(near, key="k"):
    """Whether what is read now is kept."""
    near.fill(key, near.begin(key), "v", 1, None)
    return near.get(key) == "v"


def test_all_must_vouch_and_the_shortest_word_counts(near, clock):
    joint = JointTrust(near)
    one, two = joint.voucher(), joint.voucher()
    one.trust(clock() + 5)
    assert not kept(near)
    two.trust(clock() + 2)
    assert kept(near)
    clock.advance(1.9)
    assert near.get("k") == "v"
    clock.advance(0.2)
    assert near.get("k") is MISSING


def test_one_that_is_lost_takes_everything_along(near, clock):
    joint = JointTrust(near)
    one, two = joint.voucher(), joint.voucher()
    for each in (one, two):
        each.trust(clock() + 5)
    assert kept(near)
    one.distrust()
    assert near.get("k") is MISSING
    # What the other says does not make up for it.
    two.trust(clock() + 5)
    assert not kept(near)
    one.trust(clock() + 5)
    assert near.get("k") is MISSING
    assert kept(near)


def test_who_joins_must_vouch_first_and_who_leaves_need_not(near, clock):
    joint = JointTrust(near)
    one = joint.voucher()
    one.trust(clock() + 5)
    assert kept(near)
    late = joint.voucher()
    assert near.get("k") is MISSING
    one.trust(clock() + 5)
    assert not kept(near)
    joint.dismiss(late)
    one.trust(clock() + 5)
    assert kept(near)
    joint.dismiss(one)
    assert near.get("k") is MISSING
    assert not kept(near)


def test_with_one_that_does_not_tell_entries_are_short_lived(near, clock):
    joint = JointTrust(near)
    silent, telling = joint.voucher(), joint.voucher()
    silent.trust_briefly(1.0)
    assert not kept(near)
    telling.trust(clock() + 50)
    assert kept(near)
    clock.advance(0.9)
    assert near.get("k") == "v"
    clock.advance(0.2)
    assert near.get("k") is MISSING
    assert kept(near)


def test_changes_and_flushes_reach_the_cache(near, clock):
    voucher = JointTrust(near).voucher()
    voucher.trust(clock() + 5)
    assert kept(near)
    voucher.invalidate("k")
    assert near.get("k") is MISSING
    assert kept(near)
    voucher.flush()
    assert near.get("k") is MISSING
