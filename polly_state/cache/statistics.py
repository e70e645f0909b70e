"""What a cache counts, for each family; cheap enough to be always on."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CacheStatistics", "Tally"]


class CacheStatistics(NamedTuple):
    """How one family has fared so far, in this process."""

    hits: int
    """Values given within their time, also those from near, and those given again after their loader had failed."""
    near_hits: int
    """Those of them that asked nobody."""
    misses: int
    """Times that none was found."""
    stale: int
    """Values given though they were past their time, or their loader had failed."""
    loads: int
    """Runs of a loader."""
    load_errors: int
    load_seconds: float
    """All loads together."""
    early: int
    """Loads in the background, of values that were about to expire."""
    unreadable: int
    """Entries that were damaged, or something else's."""
    bytes_read: int
    bytes_written: int

    @property
    def hit_rate(self) -> float:
        """The part of all reads that found a fresh value; 0 before there are any."""
        reads = self.hits + self.misses
        return self.hits / reads if reads else 0.0


class Tally:
    """The counts of a family, as they grow; `hits` without those from near, so that these are counted once."""

    __slots__ = CacheStatistics._fields

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    hits: int
    near_hits: int
    misses: int
    stale: int
    loads: int
    load_errors: int
    load_seconds: float
    early: int
    unreadable: int
    bytes_read: int
    bytes_written: int

    def snapshot(self) -> CacheStatistics:
        """What it is now."""
        found = CacheStatistics(*(getattr(self, name) for name in CacheStatistics._fields))
        return found._replace(hits=self.hits + self.near_hits)
