"""A bounded store that keeps what is asked for: the SIEVE algorithm.

After Zhang et al., "SIEVE is Simpler than LRU" (NSDI 2024). A hit sets a mark and moves nothing; the hand goes from the
oldest entry to the newest, takes marks off, and evicts the first entry without one. The queue is two deques, of what
the hand has yet to pass and of what it has passed, so that no entry points to another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

__all__ = ["OVERHEAD", "Kept", "Sieve"]

#: Bytes of an entry beside key and value: the object, its places in the dict and the deque, its time.
OVERHEAD: Final = 280
SLACK: Final = 1024


class Kept:
    """One entry; *renew* makes of its value what is handed out, None if that is the value itself."""

    __slots__ = ("about", "ends_at", "key", "proof", "renew", "size", "value", "visited")

    def __init__(
        self,
        key: str,
        value: Any,
        renew: Callable[[Any], Any] | None,
        size: int,
        ends_at: float,
        *,
        about: Any = (),
    ) -> None:
        self.key = key
        self.value = value
        self.renew = renew
        self.size = size
        self.ends_at = ends_at
        self.about = about
        """What was to be kept beside the value."""
        self.proof = 0
        """The number under which who asks has found that it counts, see `Near.proven`; 0 for none."""
        self.visited = False

    def given(self) -> Any:
        """The value, for the caller to keep."""
        renew = self.renew
        return self.value if renew is None else renew(self.value)


class Sieve:
    """Entries by key, within *max_entries* and *max_bytes*."""

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self.entries: dict[str, Kept] = {}
        self.size = 0
        self.evictions = 0
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._coming: deque[Kept] = deque()
        self._passed: deque[Kept] = deque()
        self._removed = 0

    def put(self, kept: Kept) -> bool:
        """Hold an entry instead of what was at its key; False if it alone is over the bounds."""
        self.remove(kept.key)
        if kept.size > self._max_bytes:
            return False
        while len(self.entries) >= self._max_entries or self.size + kept.size > self._max_bytes:
            self._evict()
        self.entries[kept.key] = kept
        self.size += kept.size
        self._coming.append(kept)
        return True

    def remove(self, key: str) -> None:
        """Hold nothing at *key*."""
        kept = self.entries.pop(key, None)
        if kept is None:
            return
        self.size -= kept.size
        # Its shell stays in a deque until the hand comes by, or until there are more of them than entries.
        kept.size, kept.value = 0, None
        self._removed += 1
        if self._removed > len(self.entries) + SLACK:
            self._coming = deque(each for each in self._coming if each.size)
            self._passed = deque(each for each in self._passed if each.size)
            self._removed = 0

    def clear(self) -> None:
        """Hold nothing."""
        self.entries.clear()
        self._coming.clear()
        self._passed.clear()
        self.size = self._removed = 0

    def _evict(self) -> None:
        while True:
            if not self._coming:
                self._coming, self._passed = self._passed, self._coming
            kept = self._coming.popleft()
            if not kept.size:
                self._removed -= 1
            elif kept.visited:
                kept.visited = False
                self._passed.append(kept)
            else:
                del self.entries[kept.key]
                self.size -= kept.size
                self.evictions += 1
                return
