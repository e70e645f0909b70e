from __future__ import annotations

import pytest

from polly_state.testing import Clock


def test_time_stands_still_until_it_is_advanced():
    clock = Clock(100.0)
    assert (clock(), clock()) == (100.0, 100.0)
    clock.advance(0.25)
    assert clock() == 100.25


def test_time_does_not_run_backwards_by_accident():
    clock = Clock(100.0)
    with pytest.raises(ValueError, match="cannot advance"):
        clock.advance(-1)
    assert clock() == 100.0


def test_a_wall_clock_can_be_turned_back():
    clock = Clock(100.0)
    clock.turn_to(40.0)
    assert clock() == 40.0
