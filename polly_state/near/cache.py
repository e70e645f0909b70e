"""The near cache itself: decides what may be kept, what may be handed out, and for how long."""

from __future__ import annotations

import math
import time
from array import array
from collections.abc import Callable
from sys import getsizeof
from typing import Final, NamedTuple

from polly_state.near.forms import Forms
from polly_state.near.protocol import MISSING, Ticket
from polly_state.near.sieve import OVERHEAD, Kept, Sieve

__all__ = ["NearCache", "NearStatistics"]

#: Keys share places of invalidations in flight: by chance a read is not kept, which costs one more read.
PLACES: Final = 1 << 14
#: Bytes of what is kept beside a value, for each part; half of them are shared, or are numbers.
ABOUT_PART: Final = 18


class NearStatistics(NamedTuple):
    """What the near cache has done so far, and what it holds."""

    hits: int
    misses: int
    fills: int
    refused: int
    """Answers that were not kept, because their key was invalidated while they were on their way."""
    evictions: int
    invalidations: int
    """Keys that Redis has told of."""
    flushes: int
    """How often everything was dropped: a flush of the database, or a lost connection."""
    entries: int
    bytes: int
    tracked: bool
    """Whether Redis tells of changes now; if not, entries live for a second at most, or there is no connection."""


class NearCache:
    """See `Near`. Holds nothing until it is told that somebody watches over what it holds: see `Tracking`.

    An invalidation is a number that rises, noted in one of `PLACES` places by the hash of its key. A read that began
    before the number of its key's place is not kept. So there is nothing to clean up after a read that was cancelled,
    and what is noted is bounded, however many keys others write.
    """

    def __init__(
        self,
        max_entries: int,
        max_bytes: int,
        clock: Callable[[], float] = time.time,
        *,
        prefix: str = "",
        monotonic: Callable[[], float] = time.monotonic,
        in_order: bool = True,
    ) -> None:
        """Hold so many entries and bytes at most, what they take beside their values included.

        Args:
            max_entries: Entries at most.
            max_bytes: Bytes at most.
            clock: Redis' time in seconds since the epoch, which `fill` is told ends in.
            prefix: What the keys that are watched over begin with; no others are kept.
            monotonic: A clock in seconds that is never set.
            in_order: See `Near`.
        """
        self.in_order = in_order
        self._sieve = Sieve(max_entries, max_bytes)
        self._entries = self._sieve.entries
        self._form_of = Forms().form_of
        self._attended = ""
        self._changed: Callable[[str | None], None] | None = None
        self._clock = clock
        self._prefix = prefix
        self._monotonic = monotonic
        #: Until when what is held may be handed out.
        self._until = -math.inf
        self._lifetime = math.inf
        self._number = 1
        self._flushed_at = 0
        self._places = array("Q", bytes(8 * PLACES))
        self._hits = self._misses = self._fills = self._refused = self._invalidations = self._flushes = 0

    def get(self, key: str) -> object:
        """See `Near`."""
        kept = self.held(key)
        return MISSING if kept is None else kept.given()

    def held(self, key: str) -> Kept | None:
        """See `Near`."""
        kept = self._entries.get(key)
        if kept is not None:
            now = self._monotonic()
            if now < self._until and now < kept.ends_at:
                self._hits += 1
                kept.visited = True
                return kept
            if now >= kept.ends_at:
                self._sieve.remove(key)
        self._misses += 1
        return None

    def proven(self, key: str, proof: int, other: int) -> Kept | None:
        """See `Near`."""
        kept = self._entries.get(key)
        if kept is None or (kept.proof != proof and kept.proof != other):  # noqa: PLR1714 - a tuple would be felt
            return None
        now = self._monotonic()
        if now >= self._until or now >= kept.ends_at:
            return None
        self._hits += 1
        kept.visited = True
        return kept

    def begin(self, key: str) -> Ticket | None:
        """See `Near`."""
        now = self._monotonic()
        if now >= self._until or not key.startswith(self._prefix):
            return None
        return Ticket(self._number, now)

    def fill(
        self,
        key: str,
        ticket: Ticket | None,
        value: object,
        size: int,
        expires_at: float | None,
        *,
        about: tuple[object, ...] = (),
    ) -> None:
        """See `Near`."""
        if ticket is None or not self._holds(key, ticket):
            return
        ends_at = ticket.at + self._lifetime
        if expires_at is not None:
            ends_at = min(ends_at, self._monotonic() + expires_at - self._clock())
        form = self._form_of(value)
        if form is None or ends_at <= self._monotonic():
            self._sieve.remove(key)
            return
        weight = OVERHEAD + len(key) + max(size, form.size) + getsizeof(about) + ABOUT_PART * len(about)
        self._fills += self._sieve.put(Kept(key, form.value, form.renew, weight, ends_at, about=about))

    def attend(self, prefix: str, changed: Callable[[str | None], None]) -> None:
        """See `Near`."""
        self._attended, self._changed = prefix, changed

    def until(self, key: str, ticket: Ticket | None) -> float | None:
        """See `Near`."""
        return ticket.at + self._lifetime if ticket is not None and self._holds(key, ticket) else None

    def vouches(self, until: float) -> bool:
        """See `Near`."""
        now = self._monotonic()
        return now < self._until and now < until

    def drop(self, key: str) -> None:
        """See `Near`."""
        self._number += 1
        self._places[hash(key) % PLACES] = self._number
        if key in self._entries:
            self._sieve.remove(key)
        if self._changed is not None and key.startswith(self._attended):
            self._changed(key)

    def invalidate(self, key: str) -> None:
        """Redis tells that *key* has changed."""
        self._invalidations += 1
        self.drop(key)

    def flush(self) -> None:
        """Hold nothing, nor what reads that have begun are still to bring."""
        self._number += 1
        self._flushed_at = self._number
        self._flushes += 1
        self._sieve.clear()
        if self._changed is not None:
            self._changed(None)

    def trust(self, until: float) -> None:
        """What is held is known to be right; it may be handed out *until* then, by the monotonic clock in seconds."""
        self._until = until
        self._lifetime = math.inf

    def trust_briefly(self, lifetime: float) -> None:
        """Nobody tells of changes: what is read from now on may be handed out for *lifetime* seconds."""
        self._until = math.inf
        self._lifetime = lifetime

    def distrust(self) -> None:
        """Nobody watches over what is held: hold nothing, and keep nothing until that changes."""
        self._until = -math.inf
        self.flush()

    def _holds(self, key: str, ticket: Ticket) -> bool:
        """Whether what was read with the ticket has not been invalidated since."""
        held = ticket.number >= self._flushed_at and ticket.number >= self._places[hash(key) % PLACES]
        self._refused += not held
        return held

    def statistics(self) -> NearStatistics:
        """What it has done so far, and what it holds."""
        return NearStatistics(
            hits=self._hits,
            misses=self._misses,
            fills=self._fills,
            refused=self._refused,
            evictions=self._sieve.evictions,
            invalidations=self._invalidations,
            flushes=self._flushes,
            entries=len(self._entries),
            bytes=self._sieve.size,
            tracked=self._monotonic() < self._until < math.inf,
        )
