"""Flights: loads on their way, each shared by all of a process who want its key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar, copy_context
from typing import Any, Final

from polly_state.cache.entries import Entry
from polly_state.errors import LoadFailed

__all__ = ["Flight", "Flights"]


class Load:
    """One run of a loader, and the runs that it waits for itself."""

    __slots__ = ("waits",)

    def __init__(self) -> None:
        self.waits: set[Load] = set()

    def waits_for(self, other: Load) -> bool:
        """Whether this cannot end before *other* has."""
        return self is other or any(each.waits_for(other) for each in self.waits)


CURRENT: Final[ContextVar[Load | None]] = ContextVar("polly_state_load", default=None)


class Flight:
    """The load of one key. Its future gives the entry, or what the loader raised."""

    __slots__ = ("future", "load", "lost", "marks")

    def __init__(self, load: Load, marks: bytes) -> None:
        self.load = load
        self.marks = marks
        self.future: asyncio.Future[Entry[Any]] = asyncio.get_running_loop().create_future()
        self.lost = False
        """Whether the key was written or dropped while it was loaded, so that nothing was stored."""


class Flights:
    """All flights of a process, by key. A flight goes on when nobody waits for it any more."""

    def __init__(self) -> None:
        self._flights: dict[str, Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._flights)

    def get(self, key: str, marks: bytes) -> Flight | None:
        """The flight of *key*, if it began under these *marks*: another one's result may be invalid already.

        One that has failed, and may still have claims to end, is for those who asked before that.
        """
        flight = self._flights.get(key)
        if flight is None or flight.marks != marks:
            return None
        return None if flight.future.done() and flight.future.exception() is not None else flight

    def flying(self, key: str) -> bool:
        """Whether *key* is being loaded."""
        return key in self._flights

    def begin(
        self, marks: Mapping[str, bytes], work: Callable[[dict[str, Flight]], Awaitable[None]]
    ) -> dict[str, Flight]:
        """Load some keys together: *work* gets a flight for each, and ends them all."""
        load = Load()
        flights = {key: Flight(load, mark) for key, mark in marks.items()}
        context = copy_context()
        context.run(CURRENT.set, load)
        task = asyncio.create_task(self._fly(flights, work), name="polly_state load", context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._flights |= flights
        return flights

    def detach(self, key: str) -> None:
        """Whoever asks for *key* from now on does not get what is on its way."""
        self._flights.pop(key, None)

    def detach_all(self) -> None:
        """See `detach`."""
        self._flights.clear()

    async def join(self, flight: Flight, seconds: float) -> bool:
        """Wait for a flight; False if it has not ended within *seconds*.

        Raises `RuntimeError` if it waits for the caller, who would then wait for itself.
        """
        current = CURRENT.get()
        if flight.future.done():
            return True
        if current is None:
            await asyncio.wait((flight.future,), timeout=seconds)
            return flight.future.done()
        if flight.load.waits_for(current):
            raise RuntimeError("a loader asked the cache for the very key that it loads")
        current.waits.add(flight.load)
        try:
            await asyncio.wait((flight.future,), timeout=seconds)
        finally:
            current.waits.discard(flight.load)
        return flight.future.done()

    async def aclose(self) -> None:
        """End all loads."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _fly(self, flights: dict[str, Flight], work: Callable[[dict[str, Flight]], Awaitable[None]]) -> None:
        error: BaseException | None = None
        try:
            await work(flights)
        except asyncio.CancelledError:
            error = LoadFailed("the cache was closed" if self._closed else "the loader was cancelled from within")
            if self._closed:
                raise
        except Exception as failure:  # noqa: BLE001 - whatever a loader raises is for those who asked for it
            error = failure
        finally:
            for key, flight in flights.items():
                if self._flights.get(key) is flight:
                    del self._flights[key]
                if not flight.future.done():
                    flight.future.set_exception(error or LoadFailed("the loader was stopped"))
                    # Perhaps nobody waits any more.
                    flight.future.exception()
