"""Rules: what limits allow, and in what time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil
from typing import Final, NamedTuple

__all__ = ["MICRO", "Numbers", "Quota", "Rule"]

MICRO: Final = 1_000_000
MAX_LIMIT: Final = 1_000_000
MIN_SECONDS, MAX_SECONDS = 0.001, 10 * 365 * 86_400.0
NAME: Final = re.compile(r"[A-Za-z0-9_.-]+")
#: Of a share of a limit, so much may come at once; the rest comes evenly, so that no window sees more than the share.
AT_ONCE: Final = 0.25


class Numbers(NamedTuple):
    """A rule in whole microseconds."""

    each: int
    """For one; 0 if it is a window that is counted."""
    most: int
    """At once: microseconds, or a number in a window."""
    window: int


@dataclass(frozen=True, slots=True)
class Rule:
    """At most *limit* in *seconds*, evenly: a bucket that holds *burst* (the limit) and fills at that rate.

    The algorithm is GCRA, the generic cell rate algorithm of ITU-T I.371. A cooldown is a rule with a limit of 1.
    Raises `ValueError` for numbers out of bounds.
    """

    name: str
    limit: int
    seconds: float
    burst: int | None = None

    def __post_init__(self) -> None:
        _check(self.name, self.limit, self.seconds)
        if self.burst is not None:
            _check(self.name, self.burst, self.seconds)

    @property
    def most(self) -> int:
        """What it allows at once."""
        return self.limit if self.burst is None else self.burst

    @property
    def numbers(self) -> Numbers:
        """As the script takes it."""
        each = ceil(self.seconds * MICRO / self.limit)
        return Numbers(each, each * self.most, ceil(self.seconds * MICRO))

    def share(self, processes: int) -> Numbers:
        """What one of so many processes allows by itself."""
        part = self.limit / processes
        burst = max(1, int(min(part, self.most / processes) * AT_ONCE))
        each = ceil(self.seconds * MICRO / (part * (1 - AT_ONCE)))
        return Numbers(each, each * burst, ceil(self.seconds * MICRO))


@dataclass(frozen=True, slots=True)
class Quota:
    """At most *limit* in each window of *seconds*, which are counted from the epoch: 86 400 is a day in UTC.

    All of it may be used at once. Raises `ValueError` for numbers out of bounds.
    """

    name: str
    limit: int
    seconds: float

    def __post_init__(self) -> None:
        _check(self.name, self.limit, self.seconds)

    @property
    def most(self) -> int:
        """What it allows at once."""
        return self.limit

    @property
    def numbers(self) -> Numbers:
        """As the script takes it."""
        return Numbers(0, self.limit, ceil(self.seconds * MICRO))

    def share(self, processes: int) -> Numbers:
        """What one of so many processes allows by itself."""
        return Numbers(0, max(1, self.limit // processes), ceil(self.seconds * MICRO))


def _check(name: str, limit: int, seconds: float) -> None:
    if not NAME.fullmatch(name):
        raise ValueError("a rule's name is made of letters, digits, '_', '.' and '-'")
    if type(limit) is not int or not 1 <= limit <= MAX_LIMIT:
        raise ValueError(f"a limit must be a whole number from 1 to {MAX_LIMIT}")
    if type(seconds) not in (int, float) or not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise ValueError("a limit's time must be a number of seconds from 0.001 to 10 years")
