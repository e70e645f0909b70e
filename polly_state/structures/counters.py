"""Counters: one integer for each id, that many add to."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from polly_state.commands import MAX_COUNT, Add, Count
from polly_state.errors import StateError, StoreUnavailable
from polly_state.stamps import new_origin, time_of
from polly_state.store import Ack
from polly_state.structures.base import Binding, Read, Structure
from polly_state.structures.keys import Id

__all__ = ["Counters"]

ANY = Ack.LOCAL_VOLATILE
MAX_LEDGER: Final = 100_000


class Totals:
    """All that this handle has added to, and subtracted from, one counter under one origin.

    Of these, so much had ended with the counter before it was written to again.
    """

    __slots__ = ("down", "ended_down", "ended_up", "ends_at", "origin", "up")

    def __init__(self) -> None:
        self.origin = new_origin()
        self.up = self.down = self.ended_up = self.ended_down = 0
        self.ends_at = float("inf")

    def last_until(self, now: float, ttl: float | None) -> None:
        """Note a write *now*, in seconds since the epoch, after which the counter has so long to live."""
        if self.ends_at <= now:
            self.ended_up, self.ended_down = self.up, self.down
        if ttl is not None:
            self.ends_at = now + ttl


class Counters(Structure):
    """Durable counters, exact also when a reply is lost: an addition tells the total so far, and so counts once."""

    def __init__(self, binding: Binding) -> None:
        super().__init__(binding)
        self._ledger: OrderedDict[str, Totals] = OrderedDict()

    async def add(self, id: Id, by: int = 1, *, require: Ack = ANY) -> int:
        """Add *by*, which may be negative; the new value. Raises `ValueError` beyond 2**53."""
        if isinstance(by, bool) or not isinstance(by, int):
            raise TypeError(f"a counter counts in whole numbers, not {type(by).__name__}")
        if by == 0:
            return await self.value(id)
        key = self._key(id)
        totals, stamp = self._totals(key), self._stamp()
        totals.last_until(time_of(stamp), self._ttl)
        total = abs(by) + (totals.up if by > 0 else totals.down)
        if total > MAX_COUNT:
            raise ValueError("a counter's total must stay below 2**53")
        if by > 0:
            totals.up = total
        else:
            totals.down = total
        base = totals.ended_up if by > 0 else totals.ended_down
        try:
            answer = await self._store.execute(Add(key, stamp, totals.origin, total, by, self._ttl, base), require)
        except StateError as error:
            # What was refused must not come along with the next addition: that one gets a new origin.
            if self._ledger.get(key) is totals:
                del self._ledger[key]
            if total == (totals.up if by > 0 else totals.down) or error.maybe_applied:
                raise
            raise StoreUnavailable("a later addition may have taken this one along", maybe_applied=True) from error
        return answer.value

    async def value(self, id: Id) -> int:
        """The counter; 0 only if there is none."""
        return (await self._store.execute(Count(self._key(id)))).value

    async def read(self, id: Id, default: int = 0) -> Read[int]:
        """The counter with its origin and age; *default* if none is known."""
        return await self._read(Count(self._key(id)), default)

    def _totals(self, key: str) -> Totals:
        totals = self._ledger.get(key)
        if totals is None:
            # A forgotten total is never taken up again: its origin goes with it.
            if len(self._ledger) >= MAX_LEDGER:
                self._ledger.popitem(last=False)
            totals = self._ledger[key] = Totals()
        self._ledger.move_to_end(key)
        return totals
