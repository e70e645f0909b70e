"""Bulk loads: the missing ones of many keys with one call of a loader."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from polly_state.cache.entries import Entry
from polly_state.cache.flights import Flight, LeftOut
from polly_state.cache.loading import Loading, called
from polly_state.cache.looks import Turn, Wanted
from polly_state.cache.shared import Shared
from polly_state.commands import EndLoad
from polly_state.errors import LoadFailed
from polly_state.structures import Id

__all__ = ["Bulk"]

T = TypeVar("T")
I = TypeVar("I", bound=Id)  # noqa: E741


class Bulk(Generic[I, T]):
    """One load of many ids."""

    def __init__(
        self,
        shared: Shared,
        loading: Loading[T],
        loader: Callable[[list[I]], Awaitable[Mapping[I, T]]],
        wanted: Wanted,
    ) -> None:
        self._flights = shared.flights
        self._stamp = shared.store.clock.stamp
        self._loading = loading
        self._loader = loader
        self._wanted = wanted
        self._ids: dict[str, I] = {}

    async def result(self, keys: Mapping[I, str], held: Mapping[str, Entry[T]]) -> dict[I, T]:
        """What is loaded for ids with these *keys*, those that are on their way already included.

        What is *held* is given in place of what takes too long.
        """
        for each, key in keys.items():
            # Several ids may be written alike, such as 1 and "1".
            self._ids.setdefault(key, each)
        results = await self._results(held, await self._loading.marks(self._wanted))
        return {each: results[key] for each, key in keys.items() if key in results}

    async def _results(self, held: Mapping[str, Entry[T]], marks: bytes) -> dict[str, T]:
        ours, flights = self._begun([*self._ids], marks)
        await self._wait(flights, held)
        # What was overtaken is no answer for those who asked after that, nor is what somebody else left out.
        void = [key for key in flights.keys() - ours if flights[key].future.done() and flights[key].void]
        if void:
            _, anew = self._begun(void, await self._loading.marks(self._wanted))
            await self._wait(anew, held)
            flights |= anew
        results: dict[str, T] = {}
        for key, flight in flights.items():
            if flight.future.done():
                if not isinstance(flight.future.exception(), LeftOut):
                    results[key] = self._given(self._loading.given(flight))
            elif key in held:
                results[key] = self._given(held[key], late=True)
            else:
                raise LoadFailed(f"a loader took longer than {self._loading.lifetime.hard_timeout:g} s")
        return results

    def _begun(self, keys: list[str], marks: bytes) -> tuple[set[str], dict[str, Flight]]:
        number = self._loading.codec.number
        flown = {key: flight for key in keys if (flight := self._flights.get(key, marks, number)) is not None}
        mine = [key for key in keys if key not in flown]
        begun = self._flights.begin(dict.fromkeys(mine, marks), number, self._fly) if mine else {}
        return set(mine), flown | begun

    async def _wait(self, flights: Mapping[str, Flight], held: Mapping[str, Entry[T]]) -> None:
        lifetime, now = self._loading.lifetime, asyncio.get_running_loop().time
        ends = now() + lifetime.soft_timeout
        # Who has nothing to give for some of them waits for those, and may as well take what is fresh of the others.
        await self._flights.join([each for key, each in flights.items() if key not in held], lifetime.hard_timeout)
        await self._flights.join([each for key, each in flights.items() if key in held], max(0.0, ends - now()))

    def _given(self, entry: Entry[T], *, late: bool = False) -> T:
        self._loading.tally.stale += entry.failed or late
        return entry.value

    async def _fly(self, flights: dict[str, Flight]) -> None:
        loading, token = self._loading, self._stamp()
        claims = await asyncio.gather(
            *(loading.claim(key, token, self._wanted) for key in flights), return_exceptions=True
        )
        turns: dict[str, Turn[T]] = {}
        for (key, flight), turn in zip(flights.items(), claims, strict=True):
            if isinstance(turn, Turn):
                turns[key], flight.marks = turn, turn.marks
            elif isinstance(turn, Exception):
                flight.fail(turn)
        needless = {key for key, turn in turns.items() if loading.will_do(turn, self._wanted)}
        await asyncio.gather(*(loading.end(EndLoad(key, token)) for key in needless if turns[key].claimed))
        for key in needless:
            if (entry := turns[key].held) is not None:
                flights[key].land(entry, turns[key].content)
        ours = {key: turn for key, turn in turns.items() if turn.ours and key not in needless}
        if ours:
            await self._load(flights, ours, token)
        # What other processes load is waited for last, so that nobody waits for us meanwhile.
        await asyncio.gather(*(self._follow(each, key) for key, each in flights.items() if not each.future.done()))

    async def _load(self, flights: dict[str, Flight], ours: Mapping[str, Turn[T]], token: str) -> None:
        loading, claimed = self._loading, [key for key, turn in ours.items() if turn.claimed]
        made: dict[str, tuple[Entry[T], bytes] | Exception] = {}
        try:
            async with loading.kept_alive([(key, token) for key in claimed]):
                made = await self._made(ours)
        finally:
            for key in ours:
                flights[key].closing = True
            kept = await asyncio.gather(*(self._end(key, token, made.get(key)) for key in claimed))
        lost = {key for key, held in zip(claimed, kept, strict=True) if not held}
        for key, outcome in made.items():
            if isinstance(outcome, Exception):
                flights[key].fail(outcome)
            else:
                flights[key].lost = key in lost
                flights[key].land(*outcome)

    async def _made(self, ours: Mapping[str, Turn[T]]) -> dict[str, tuple[Entry[T], bytes] | Exception]:
        """What is to be stored for each key, or why nothing is."""
        loading, made = self._loading, dict[str, tuple[Entry[T], bytes] | Exception]()
        values: Mapping[I, T] | Exception
        try:
            values, taken = await loading.run(lambda: self._asked([self._ids[key] for key in ours]))
        except Exception as error:  # noqa: BLE001 - whatever a loader raises is for those who asked for it
            values, taken = error, 0.0
        for key, turn in ours.items():
            try:
                entry = self._entry(key, turn, values, taken)
                made[key] = entry, loading.codec.encode(entry)
            except Exception as error:  # noqa: BLE001 - of one value, and no reason to lose the others
                made[key] = error
        return made

    def _entry(self, key: str, turn: Turn[T], values: Mapping[I, T] | Exception, taken: float) -> Entry[T]:
        if not isinstance(values, Exception):
            return self._loading.made(_of(values, self._ids[key]), self._wanted, turn.marks, taken)
        held = self._loading.again(turn.held)
        if held is None:
            raise values
        return held

    async def _end(self, key: str, token: str, outcome: tuple[Entry[T], bytes] | Exception | None) -> bool:
        if not isinstance(outcome, tuple):
            return await self._loading.end(EndLoad(key, token))
        entry, content = outcome
        return await self._loading.end(EndLoad(key, token, content, self._loading.left(entry)))

    async def _follow(self, flight: Flight, key: str) -> None:
        async def fetch() -> T:
            return _of(await self._asked([self._ids[key]]), self._ids[key])

        try:
            await self._loading.load(flight, key, fetch, self._wanted)
        except Exception as error:  # noqa: BLE001 - of one value, and no reason to lose the others
            flight.fail(error)

    async def _asked(self, ids: list[I]) -> Mapping[I, T]:
        values = await called(lambda: self._loader(ids))
        _check(values)
        return values


def _check(values: object) -> None:
    if not isinstance(values, Mapping):
        raise TypeError(f"a loader of many gives a mapping from ids to values, not {type(values).__name__}")


def _of(values: Mapping[I, T], id: I) -> T:
    if id not in values:
        raise LeftOut("the loader gave nothing for this id")
    return values[id]
