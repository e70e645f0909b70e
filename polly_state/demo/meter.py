"""The meter: how long the bot's calls took, and which store answered them, phase by phase."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from polly_state import StateUnavailable, StoreUnavailable

if TYPE_CHECKING:
    from polly_state import Statistics

__all__ = ["AWAY", "Durations", "Meter", "Origins", "origins_between"]

T = TypeVar("T")

AWAY: Final = (StateUnavailable, StoreUnavailable)
READS: Final = frozenset(
    {"Contains", "Count", "Get", "GetField", "GetFields", "Latest", "Members", "Queued", "TimeToLive"}
)


class Durations(NamedTuple):
    """How long so many calls took, in seconds."""

    calls: int
    p50: float
    p99: float
    slowest: float


class Origins(NamedTuple):
    """How many reads and writes each origin has answered."""

    reads: dict[str, int]
    writes: dict[str, int]


class Meter:
    """Times calls one by one; `cut` hands over what came together since the last one."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.count = 0
        self.unanswered = 0
        """Calls that raised because Redis was away and nothing here could stand in."""
        self._clock = clock
        self._durations = array("d")

    async def time(self, call: Awaitable[T]) -> T:
        """The result of *call*, which is timed whatever comes of it."""
        began = self._clock()
        try:
            return await call
        except AWAY:
            self.unanswered += 1
            raise
        finally:
            self.count += 1
            self._durations.append(self._clock() - began)

    def cut(self) -> Durations:
        """Start anew; what was timed so far."""
        durations, self._durations = sorted(self._durations), array("d")
        if not durations:
            return Durations(0, 0.0, 0.0, 0.0)
        count = len(durations)
        return Durations(count, durations[count // 2], durations[int(count * 0.99)], durations[-1])


def origins_between(before: Statistics, after: Statistics) -> Origins:
    """Who has answered from one snapshot to the next."""
    reads: Counter[str] = Counter()
    writes: Counter[str] = Counter()
    for name, operation in after.operations.items():
        earlier = before.operations.get(name)
        known: Mapping[str, int] = {} if earlier is None else earlier.by_origin
        answered = Counter(operation.by_origin) - Counter(known)
        (reads if name in READS else writes).update(answered)
    return Origins(dict(reads), dict(writes))
