"""Stamps: the order of writes, by a hybrid logical clock on Redis' own time.

A stamp is 12 hex digits of milliseconds, 4 of a counter and 8 of the origin, always lower case and of one width, so
that comparing two stamps as texts compares them in time, in Python and in Lua alike.
The algorithm is the hybrid logical clock of Kulkarni et al., "Logical Physical Clocks" (2014).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Final

__all__ = ["MAX_LEAD", "STAMP_LENGTH", "HybridClock", "is_stamp", "new_origin", "time_of"]

MAX_LEAD: Final = 300.0
COUNTER_BITS: Final = 16
STEP: Final = 0.05
STAMP_LENGTH: Final = 24
STAMP: Final = re.compile(r"[0-9a-f]{24}").fullmatch


def new_origin() -> str:
    """Eight random hex digits: one incarnation of one writer."""
    return os.urandom(4).hex()


def is_stamp(text: str) -> bool:
    """Whether *text* has the form of a stamp."""
    return STAMP(text) is not None


def time_of(stamp: str) -> float:
    """When it was given out, in seconds since the epoch."""
    return int(stamp[:12], 16) / 1000


class HybridClock:
    """Gives out stamps that only ever rise, close to Redis' clock, after every stamp that was seen."""

    def __init__(
        self,
        origin: str | None = None,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.origin = new_origin() if origin is None else origin
        self._monotonic = monotonic
        self._offset = wall() - monotonic()
        self._best_round_trip = float("inf")
        self._last = 0

    def now(self) -> float:
        """Redis' time in seconds since the epoch, as far as it is known here."""
        return self._monotonic() + self._offset

    def stamp(self) -> str:
        """The next stamp: above all earlier ones of this clock."""
        physical = int(self.now() * 1000) << COUNTER_BITS
        self._last = physical if physical > self._last else self._last + 1
        return f"{self._last:016x}{self.origin}"

    def see(self, stamp: str, lead: float = 0.0) -> bool:
        """Stay above a stamp that another writer has left in Redis, by *lead* seconds at least.

        False if it is so far in the future that it is not followed.
        """
        seen = int(stamp[:16], 16)
        if seen >> COUNTER_BITS > (self.now() + MAX_LEAD) * 1000:
            return False
        self._last = max(self._last, seen + (int(lead * 1000) << COUNTER_BITS))
        return True

    def follow(self, server_time: float, round_trip: float) -> None:
        """Take a sample of Redis' TIME, read *round_trip* seconds ago at most; the quickest samples count.

        A difference over 50 ms is a step of the server's clock and is always followed.
        """
        offset = server_time + round_trip / 2 - self._monotonic()
        if round_trip <= self._best_round_trip * 1.5 or abs(offset - self._offset) > STEP:
            self._offset = offset
            self._best_round_trip = min(self._best_round_trip, round_trip)
