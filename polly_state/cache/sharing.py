"""Sharing: one load for all of a process who want a key, and how long each of them waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import log
from typing import Any, Final, Generic, TypeVar

from polly_state.cache.entries import Entry
from polly_state.cache.flights import Flight
from polly_state.cache.loading import Loading
from polly_state.cache.looks import Found, Wanted
from polly_state.cache.shared import Shared
from polly_state.errors import LoadFailed, Overloaded

__all__ = ["Sharing"]

T = TypeVar("T")
ATTEMPTS: Final = 3


class Sharing(Generic[T]):
    """The loads of one family in this process."""

    def __init__(self, shared: Shared, loading: Loading[T]) -> None:
        self._shared = shared
        self._loading = loading

    async def load(self, key: str, found: Found[T], fetch: Callable[[], Awaitable[T]], wanted: Wanted) -> T:
        """The value at *key*, where nothing fresh was found; see `Cache.get_or_load`."""
        flight = await self._joined(key, found, fetch, wanted)
        if flight is None:
            assert found.entry is not None  # noqa: S101
            self._loading.tally.stale += 1
            return found.entry.value
        entry = self._loading.given(flight)
        self._loading.tally.stale += entry.failed
        return entry.value

    def early(
        self, key: str, entry: Entry[Any], left: float, fetch: Callable[[], Awaitable[T]], wanted: Wanted
    ) -> None:
        """Perhaps load an entry anew that has so many seconds *left*, in the background."""
        shared = self._shared
        # XFetch: Vattani, Chierichetti, Lowenstein, "Optimal probabilistic cache stampede prevention" (2015).
        chance = -log(1 - shared.random()) * entry.load_seconds * self._loading.lifetime.early
        if chance < left or entry.failed or shared.early_room <= 0 or shared.flights.flying(key):
            return
        wanted = wanted._replace(newer_than=entry.created, patient=False)
        with suppress(Overloaded):
            self._begin(key, entry.marks, fetch, wanted).future.add_done_callback(self._early_done)
            shared.early_room -= 1
            self._loading.tally.early += 1

    async def _joined(
        self, key: str, found: Found[T], fetch: Callable[[], Awaitable[T]], wanted: Wanted
    ) -> Flight | None:
        """A load that has ended; None if it takes too long for who has a stale value."""
        flights, lifetime = self._shared.flights, self._loading.lifetime
        marks, seconds = found.marks, lifetime.hard_timeout if found.entry is None else lifetime.soft_timeout
        attempts = 0
        while True:
            if wanted.tags or attempts:
                marks = await self._loading.marks(wanted)
            flight, attempts = flights.get(key, marks, self._loading.codec.number), attempts + 1
            ours = flight is None
            if flight is None:
                flight = self._begin(key, marks, fetch, wanted)
            await flights.join((flight,), seconds)
            if not flight.future.done():
                if found.entry is not None:
                    return None
                raise LoadFailed(f"a loader took longer than {seconds:g} s; what it gives is kept")
            # What was overtaken is no answer for those who asked after that.
            if ours or not flight.void or attempts >= ATTEMPTS:
                return flight

    def _begin(self, key: str, marks: bytes, fetch: Callable[[], Awaitable[T]], wanted: Wanted) -> Flight:
        async def work(flights: dict[str, Flight]) -> None:
            await self._loading.load(flights[key], key, fetch, wanted)

        return self._shared.flights.begin({key: marks}, self._loading.codec.number, work)[key]

    def _early_done(self, _: asyncio.Future[Any]) -> None:
        self._shared.early_room += 1
