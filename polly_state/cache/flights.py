"""Flights: loads on their way, each shared by all of a process who want its key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextvars import ContextVar, copy_context
from typing import Any, Final

from polly_state.cache.entries import Entry
from polly_state.errors import LoadFailed, Overloaded
from polly_state.store.channels import CLOSED

__all__ = ["Flight", "Flights", "LeftOut"]


class LeftOut(LoadFailed):
    """A loader of many gave nothing for this one."""


class Load:
    """One run of a loader, and the runs that it waits for itself, as often as its tasks do."""

    __slots__ = ("waits",)

    def __init__(self) -> None:
        self.waits: list[Load] = []

    def waits_for(self, other: Load) -> bool:
        """Whether this cannot end before *other* has."""
        seen: set[Load] = {self}
        ahead: list[Load] = [self]
        while ahead:
            new = {*ahead.pop().waits} - seen
            seen |= new
            ahead.extend(new)
        return other in seen


#: Keys that are loaded at once at most: loaders that hang must not take all memory.
MOST: Final = 100_000
CURRENT: Final[ContextVar[Load | None]] = ContextVar("polly_state_load", default=None)


class Flight:
    """The load of one key. Its future gives the entry, or what the loader raised."""

    __slots__ = ("closing", "codec", "content", "future", "given", "load", "lost", "marks")

    def __init__(self, load: Load, marks: bytes, codec: int) -> None:
        self.load = load
        self.marks = marks
        self.codec = codec
        self.future: asyncio.Future[Entry[Any]] = asyncio.get_running_loop().create_future()
        self.closing = False
        """Whether it is being stored: who asks from then on may ask after somebody has deleted it there."""
        self.content = b""
        """The entry as it is stored, of which each who waited can have one of their own."""
        self.given = False
        """Whether somebody has got the entry that the future gives."""
        self.lost = False
        """Whether the key was written or dropped while it was loaded, so that nothing was stored."""

    @property
    def void(self) -> bool:
        """Whether what it ended with is no answer for who asked while it was on its way."""
        return self.lost or isinstance(self.future.exception(), LeftOut)

    def land(self, entry: Entry[Any], content: bytes) -> None:
        """End it with an entry, and with how that is stored."""
        self.content = content
        self.future.set_result(entry)

    def fail(self, error: Exception) -> None:
        """End it with an error, if it has not ended."""
        if not self.future.done():
            self.future.set_exception(error)
            # Perhaps nobody waits any more.
            self.future.exception()


class Flights:
    """All flights of a process, by key. A flight goes on when nobody waits for it any more."""

    def __init__(self, most: int = MOST) -> None:
        """Let so many keys be loaded at once, *most*."""
        self.most = most
        self._flying = 0
        self._flights: dict[str, Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._flights)

    def get(self, key: str, marks: bytes, codec: int) -> Flight | None:
        """The flight of *key*, if it began under these *marks*: another one's result may be invalid already.

        What it brings for a handle of another type, by the number of its *codec*, is none for this one. And one that
        has ended, or is being stored, is for those who asked before that.
        """
        flight = self._ahead(key)
        return None if flight is None or (flight.marks, flight.codec) != (marks, codec) else flight

    def flying(self, key: str) -> bool:
        """Whether *key* is being loaded."""
        return self._ahead(key) is not None

    def begin(
        self, marks: Mapping[str, bytes], codec: int, work: Callable[[dict[str, Flight]], Awaitable[None]]
    ) -> dict[str, Flight]:
        """Load some keys together: *work* gets a flight for each, and ends them all.

        Raises `RuntimeError` once all is closed, and as `join` does; `Overloaded` if too many are on their way.
        """
        if self._closed:
            raise RuntimeError(CLOSED)
        if self._flying + len(marks) > self.most:
            raise Overloaded(f"{self._flying} keys are being loaded already")
        # One that is on its way under other marks, or for another type, has the claim until it ends.
        before = [held.load for key in marks if (held := self._ahead(key)) is not None]
        _check(before)
        load = Load()
        load.waits += before
        flights = {key: Flight(load, mark, codec) for key, mark in marks.items()}
        context = copy_context()
        context.run(CURRENT.set, load)
        task = asyncio.create_task(self._fly(flights, work), name="polly_state load", context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: self._gone(flights))
        self._flying += len(flights)
        self._flights |= flights
        return flights

    def detach(self, key: str) -> None:
        """Whoever asks for *key* from now on does not get what is on its way."""
        self._flights.pop(key, None)

    async def join(self, flights: Collection[Flight], seconds: float) -> None:
        """Wait for flights, for so many *seconds* at most.

        Raises `RuntimeError` if one of them waits for the caller, who would then wait for itself.
        """
        ahead = [flight for flight in flights if not flight.future.done()]
        if not ahead:
            return
        loads = [flight.load for flight in ahead]
        current = _check(loads)
        current.waits += loads
        try:
            await asyncio.wait([flight.future for flight in ahead], timeout=seconds)
        finally:
            for load in loads:
                current.waits.remove(load)

    async def aclose(self) -> None:
        """End all loads."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ahead(self, key: str) -> Flight | None:
        flight = self._flights.get(key)
        return None if flight is None or flight.closing or flight.future.done() else flight

    def _gone(self, flights: dict[str, Flight]) -> None:
        self._flying -= len(flights)
        # Of a task that was cancelled before its first step nothing has run.
        self._end(flights, LoadFailed("the cache was closed"))

    def _end(self, flights: dict[str, Flight], error: Exception) -> None:
        for key, flight in flights.items():
            if self._flights.get(key) is flight:
                del self._flights[key]
            flight.fail(error)

    async def _fly(self, flights: dict[str, Flight], work: Callable[[dict[str, Flight]], Awaitable[None]]) -> None:
        error: Exception = LoadFailed("the loader was stopped")
        try:
            await work(flights)
        except asyncio.CancelledError:
            error = LoadFailed("the cache was closed" if self._closed else "the loader was cancelled from within")
            if self._closed:
                raise
        except Exception as failure:  # noqa: BLE001 - whatever a loader raises is for those who asked for it
            error = failure
        finally:
            self._end(flights, error)


def _check(loads: list[Load]) -> Load:
    """The load that the caller is part of, or one that nobody waits for; raises `RuntimeError` if one of these does."""
    current = CURRENT.get()
    if current is None:
        return Load()
    if any(load.waits_for(current) for load in loads):
        raise RuntimeError("a loader asked the cache for the very key that it loads")
    return current
