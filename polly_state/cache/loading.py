"""Loading: how one entry of a family is claimed, loaded and kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from inspect import isawaitable
from time import perf_counter
from typing import Final, TypeVar

from polly_state.cache.entries import Entry
from polly_state.cache.flights import Flight
from polly_state.cache.looks import Turn, Wanted
from polly_state.cache.lookup import Lookup
from polly_state.cache.writing import writing
from polly_state.commands import ClaimLoad, EndLoad, RenewLoad
from polly_state.errors import (
    CommandRejected,
    LoadFailed,
    LocalStoreFull,
    StateError,
    StateUnavailable,
    StoreUnavailable,
)
from polly_state.store.channels import Topic

__all__ = ["Loading", "called"]

T = TypeVar("T")
U = TypeVar("U")
UNCHANGING: Final = frozenset((type(None), bool, int, float, str, bytes))
LATE: Final = 4
"""After so many hard timeouts a loader is given up."""
DEAF: Final = 0.1
"""Seconds between looks while the end of another process' load can not be heard."""


class Loading(Lookup[T]):
    """The entries of one family and type."""

    def made(self, value: T, wanted: Wanted, marks: bytes, load_seconds: float = 0.0) -> Entry[T]:
        """An entry of a value that is known now."""
        lifetime, now = self.lifetime, self._store.clock.now()
        ttl = self._ttl(value) if wanted.ttl is None else wanted.ttl
        if load_seconds:
            ttl *= 1 - lifetime.jitter * self._shared.random()
        expires = now + ttl
        ends_ms = (expires + lifetime.stale) * 1000
        return Entry(value, expires, load_seconds, failed=False, marks=marks, created_ms=now * 1000, ends_ms=ends_ms)

    async def load(self, flight: Flight, key: str, fetch: Callable[[], Awaitable[T]], wanted: Wanted) -> None:
        """Bring the *flight* of a key to its end: with what another process loads meanwhile, or *fetch* gives."""
        token = self._store.clock.stamp()
        turn = await self._turn(key, token, wanted)
        flight.marks = turn.marks
        entry, content = turn.held, None
        try:
            if entry is None or not self.will_do(turn, wanted):
                async with self.kept_alive([(key, token)]):
                    entry = await self._fetched(fetch, wanted, turn)
                content = self.codec.encode(entry)
        finally:
            flight.closing = True
            if turn.claimed:
                ttl = 0.0 if entry is None else self.left(entry)
                flight.lost = not await self.end(EndLoad(key, token, content, ttl))
        kept = turn.content if content is None else content
        flight.land(entry, kept)  # pyright: ignore[reportArgumentType]

    def given(self, flight: Flight) -> Entry[T]:
        """What a *flight* has brought, for one caller alone: the first gets what was loaded, others a copy each.

        Raises what the loader raised.
        """
        entry: Entry[T] = flight.future.result()
        if flight.given and type(entry.value) not in UNCHANGING:
            entry = self.codec.decode(flight.content)
        flight.given = True
        return entry

    async def run(self, fetch: Callable[[], Awaitable[U]]) -> tuple[U, float]:
        """What a loader gives, and how many seconds it took. Raises what it raises, and `LoadFailed`."""
        self.tally.loads += 1
        began, bound = perf_counter(), asyncio.timeout(LATE * self.lifetime.hard_timeout)
        try:
            async with bound:
                value = await called(fetch)
        except BaseException as error:
            # To be cancelled is no failure; to raise a cancellation is one.
            self.tally.load_errors += not (isinstance(error, asyncio.CancelledError) and _cancelled())
            if isinstance(error, TimeoutError) and bound.expired():
                raise LoadFailed(f"a loader of {self._name} was given up after {LATE} hard timeouts") from error
            raise
        finally:
            taken = perf_counter() - began
            self.tally.load_seconds += taken
        return value, taken

    def left(self, entry: Entry[T]) -> float:
        """For how many seconds it may be given from now on."""
        return entry.ends - self._store.clock.now()

    def again(self, held: Entry[T] | None) -> Entry[T] | None:
        """What was *held*, to be given again since its loader has failed, unless it is past its end."""
        now = self._store.clock.now()
        if held is None or held.ends <= now:
            return None
        # A source that is sick is left alone for a while, and at least for as long as what is held is fresh.
        return held._replace(expires=min(max(held.expires, now + self.lifetime.throttle), held.ends), failed=True)

    @asynccontextmanager
    async def kept_alive(self, claims: Iterable[tuple[str, str]]) -> AsyncGenerator[None]:
        """Renew claims while their loader runs, so that nobody else takes it for dead."""
        renewal = asyncio.create_task(self._renew([*claims]), name="polly_state load renewal")
        try:
            yield
        finally:
            renewal.cancel()
            await asyncio.gather(renewal, return_exceptions=True)

    async def _renew(self, claims: list[tuple[str, str]]) -> None:
        liveness, now = self._shared.liveness, asyncio.get_running_loop().time
        # A loader that cannot even be cancelled must not keep the key from everybody else for good.
        ends = now() + LATE * self.lifetime.hard_timeout
        while now() < ends:
            await asyncio.sleep(liveness / 3)
            with suppress(StateError):
                await self._store.execute_many([RenewLoad(key, token, liveness) for key, token in claims])

    async def _fetched(self, fetch: Callable[[], Awaitable[T]], wanted: Wanted, turn: Turn[T]) -> Entry[T]:
        try:
            value, taken = await self.run(fetch)
        except Exception:
            held = self.again(turn.held)
            if held is None:
                raise
            return held
        return self.made(value, wanted, turn.marks, taken)

    async def _turn(self, key: str, token: str, wanted: Wanted) -> Turn[T]:
        """Wait until the load is ours, or another one's will do."""
        turn = await self.claim(key, token, wanted)
        if turn.ours or self.will_do(turn, wanted):
            return turn
        with self._shared.channels.waking(Topic(key)) as wake:
            while True:
                wake.clear()
                turn = await self.claim(key, token, wanted)
                if turn.ours or self.will_do(turn, wanted):
                    return turn
                await wake.wait(turn.left, deaf=DEAF)

    async def claim(self, key: str, token: str, wanted: Wanted) -> Turn[T]:
        """Say that the load of *key* is ours, if nobody else has."""
        # Before the claim, and so before the load: what is invalidated from here on is seen.
        marks = await self.marks(wanted)
        try:
            claim = (await self._store.execute(ClaimLoad(key, token, self._shared.liveness))).value
        except (StoreUnavailable, StateUnavailable, LocalStoreFull):
            return Turn(marks, ours=True, claimed=False, left=0.0, held=None)
        except CommandRejected:
            self.unreadable()
            return Turn(marks, ours=True, claimed=False, left=0.0, held=None)
        held = await self.usable(claim.content, marks)
        return Turn(marks, claim.won, claim.won, claim.left, held, claim.content or b"")

    def will_do(self, turn: Turn[T], wanted: Wanted) -> bool:
        """Whether what is there makes a load needless."""
        held = turn.held
        if held is None:
            return False
        fresh = held.expires > self._store.clock.now() and held.created > wanted.newer_than
        return fresh or not (turn.ours or wanted.patient)

    async def end(self, command: EndLoad) -> bool:
        """End a claim; whether the claim held until then, as far as is known."""
        try:
            with writing(self._shared.near, command.key):
                held = (await self._store.execute(command)).value
        except StateError:
            # The value is good, and whoever waits for it gets it; it is only not kept.
            return True
        finally:
            # Those who wait in this process; Redis tells the others, if there is one.
            self._shared.channels.tell(Topic(command.key))
        if held and command.content is not None:
            self.tally.bytes_written += len(command.content)
        return held

    def _ttl(self, value: T) -> float:
        lifetime = self.lifetime
        if not lifetime.statuses:
            return lifetime.ttl
        name = lifetime.status_field
        status = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
        return lifetime.statuses.get(str(getattr(status, "value", status)), lifetime.ttl)


async def called(fetch: Callable[[], Awaitable[U]]) -> U:
    """What *fetch* gives when it is awaited. Raises `TypeError` for what is no async function."""
    awaitable = fetch()
    _check(awaitable)
    return await awaitable


def _check(awaitable: object) -> None:
    if not isawaitable(awaitable):
        raise TypeError(f"a loader is an async function, and gives no {type(awaitable).__name__} before it is awaited")


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
