"""Ages: how long what was handed out had been gone by then."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from math import inf
from typing import NamedTuple

__all__ = ["Flush", "Hit", "Outcome", "Write", "ages"]


class Write(NamedTuple):
    """A version of an id, and when it was acknowledged."""

    key: str
    version: int
    at: float


class Hit(NamedTuple):
    """What the cache gave, and when it was asked."""

    key: str
    version: int
    at: float


class Flush(NamedTuple):
    """When a flush was sent, and when it was acknowledged."""

    sent_at: float
    at: float


@dataclass(slots=True)
class Outcome:
    """All that happened in one phase."""

    writes: list[Write] = field(default_factory=list)
    hits: list[Hit] = field(default_factory=list)
    flushes: list[Flush] = field(default_factory=list)
    near: int = 0
    """Hits that asked nobody."""
    misses: int = 0


def ages(outcome: Outcome) -> list[float]:
    """The age of every hit in seconds; 0 for one that was right."""
    versions: dict[str, list[int]] = defaultdict(list)
    times: dict[str, list[float]] = defaultdict(list)
    for write in outcome.writes:
        versions[write.key].append(write.version)
        times[write.key].append(write.at)
    sent = [flush.sent_at for flush in outcome.flushes]
    found = []
    for hit in outcome.hits:
        newer = bisect_right(versions[hit.key], hit.version)
        gone_at = times[hit.key][newer] if newer < len(times[hit.key]) else inf
        if newer and versions[hit.key][newer - 1] == hit.version:
            flushed = bisect_left(sent, times[hit.key][newer - 1])
            gone_at = min(gone_at, outcome.flushes[flushed].at if flushed < len(sent) else inf)
        found.append(max(0.0, hit.at - gone_at))
    return found
