"""Bulk loads: the missing ones of many keys with one call of a loader."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from polly_state.cache.flights import Flight, Flights
from polly_state.cache.loading import Loading
from polly_state.cache.looks import Turn, Wanted
from polly_state.commands import EndLoad
from polly_state.errors import LoadFailed, UnsupportedValue
from polly_state.structures import Id

__all__ = ["Bulk", "LeftOut"]

T = TypeVar("T")
I = TypeVar("I", bound=Id)  # noqa: E741


class LeftOut(LoadFailed):
    """A loader of many gave nothing for this one."""


class Bulk(Generic[I, T]):
    """One load of many ids."""

    def __init__(
        self,
        loading: Loading[T],
        stamp: Callable[[], str],
        loader: Callable[[list[I]], Awaitable[Mapping[I, T]]],
        wanted: Wanted,
    ) -> None:
        self._loading = loading
        self._stamp = stamp
        self._loader = loader
        self._wanted = wanted

    async def result(self, flights: Flights, keys: Mapping[I, str], marks: bytes) -> dict[I, T]:
        """What is loaded, by ids under their *keys*, those that are on their way already included."""
        flown = {each: flight for each, key in keys.items() if (flight := flights.get(key, marks)) is not None}
        mine = {key: each for each, key in keys.items() if each not in flown}
        if mine:
            begun = flights.begin(dict.fromkeys(mine, marks), lambda flights: self._fly(flights, mine))
            flown |= {mine[key]: flight for key, flight in begun.items()}
        timeout = self._loading.lifetime.hard_timeout
        landed = await asyncio.gather(*(flights.join(flight, timeout) for flight in flown.values()))
        if not all(landed):
            raise LoadFailed(f"a loader took longer than {timeout:g} s")
        results: dict[I, T] = {}
        for each, flight in flown.items():
            if not isinstance(flight.future.exception(), LeftOut):
                results[each] = flight.future.result().value
        return results

    async def _fly(self, flights: dict[str, Flight], ids: Mapping[str, I]) -> None:
        loading, token = self._loading, self._stamp()
        claims = (loading.claim(key, token, self._wanted) for key in flights)
        turns = dict(zip(flights, await asyncio.gather(*claims), strict=True))
        ours = {key: turn for key, turn in turns.items() if turn.ours and not loading.will_do(turn, self._wanted)}
        for key, turn in turns.items():
            flights[key].marks = turn.marks
            if turn.held is not None and loading.will_do(turn, self._wanted):
                if turn.claimed:
                    await loading.end(EndLoad(key, token))
                flights[key].future.set_result(turn.held)
        if ours:
            await self._load(flights, ids, ours, token)
        # What other processes load is waited for last, so that nobody waits for us meanwhile.
        others = [key for key, flight in flights.items() if not flight.future.done()]
        await asyncio.gather(*(self._follow(flights[key], key, ids[key]) for key in others))

    async def _load(
        self, flights: dict[str, Flight], ids: Mapping[str, I], ours: Mapping[str, Turn[T]], token: str
    ) -> None:
        loading, open_claims = self._loading, {key for key, turn in ours.items() if turn.claimed}
        try:
            async with loading.kept_alive([(key, token) for key in open_claims]):
                values, taken = await loading.run(lambda: self._loader([ids[key] for key in ours]))
            for key, turn in ours.items():
                if ids[key] not in values:
                    _fail(flights[key], LeftOut("the loader gave nothing for this id"))
                    continue
                entry = loading.made(values[ids[key]], self._wanted, turn.marks, taken)
                content = loading.codec.encode(entry)
                if turn.claimed:
                    open_claims.discard(key)
                    flights[key].lost = not await loading.end(EndLoad(key, token, content, entry.ends - entry.created))
                flights[key].future.set_result(entry)
        except Exception as error:  # noqa: BLE001 - whatever a loader raises is for those who asked for it
            for key, turn in ours.items():
                self._fail(flights[key], turn, error)
        finally:
            await asyncio.gather(*(loading.end(EndLoad(key, token)) for key in open_claims))

    def _fail(self, flight: Flight, turn: Turn[T], error: Exception) -> None:
        if flight.future.done():
            return
        held = self._loading.again(turn.held)
        if held is not None and not isinstance(error, UnsupportedValue):
            flight.future.set_result(held)
        else:
            _fail(flight, error)

    async def _follow(self, flight: Flight, key: str, id: I) -> None:
        async def fetch() -> T:
            values = await self._loader([id])
            if id not in values:
                raise LeftOut("the loader gave nothing for this id")
            return values[id]

        await self._loading.load(flight, key, fetch, self._wanted)


def _fail(flight: Flight, error: Exception) -> None:
    flight.future.set_exception(error)
    # Perhaps nobody waits any more.
    flight.future.exception()
