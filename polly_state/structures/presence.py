"""Presence: who is there, told apart from who cannot be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from polly_state.commands import Beat, Heard, Unheard
from polly_state.store import Origin
from polly_state.structures.base import Binding, Structure, field_name
from polly_state.structures.keys import Id
from polly_state.structures.watchdog import PART, Watchdog

__all__ = ["Presence", "Roll", "Standing"]

MEMORY: Final = 10
"""Who was not heard of for so many times the ttl is not listed any more."""


class Roll(NamedTuple):
    """Who is there; every list is sorted."""

    alive: list[str]
    """Heard of within the ttl."""
    stalled: list[str]
    """Not heard of, though Redis was there all the time."""
    unknown: list[str]
    """Not heard of while Redis was away, or a moment after that: they could not have been."""
    origin: Origin


class Standing:
    """Names that this process says are there, at one id."""

    def __init__(self, presence: Presence, id: Id) -> None:
        self.names: set[str] = set()
        self.ttl = presence.lifetime
        self.heard = 0
        """How many were alive at the last beat."""
        self._presence = presence
        self._id = id

    async def renew(self) -> bool:
        """See `Kept`."""
        self.heard = await self._presence.beat(self._id, *self.names) if self.names else 0
        return bool(self.names)

    async def release(self) -> bool:
        """See `Kept`."""
        for name in list(self.names):
            await self._presence.leave(self._id, name)
        return True

    def renewed(self, since: float) -> None:
        """See `Kept`."""

    def lose(self) -> None:
        """See `Kept`."""


class Presence(Structure):
    """Names under ids of one's own: processes of a bot, users in a room.

    Nobody is declared dead by an outage: those who could not be heard of are `unknown` while Redis is away, and for
    one ttl after that.
    """

    def __init__(
        self, binding: Binding, watchdog: Watchdog, lifetime: float, steady: Callable[[], float] = lambda: float("inf")
    ) -> None:
        """Make one for a ttl of *lifetime* seconds; *steady* tells for how long Redis has been there."""
        super().__init__(binding)
        self.lifetime = lifetime
        self._watchdog = watchdog
        self._steady = steady
        self._standings: dict[str, Standing] = {}

    def join(self, id: Id, name: str) -> Standing:
        """Say that *name* is there, now and until it is to `leave`, over all outages."""
        standing = self._standings.setdefault(self._key(id), Standing(self, id))
        standing.names.add(field_name(name))
        # It is due at once.
        self._watchdog.keep(standing, asyncio.get_running_loop().time() - self.lifetime / PART)
        return standing

    async def leave(self, id: Id, name: str) -> bool:
        """Say that *name* is gone; False if it was not there. Raises `StoreUnavailable`, and then it ends by itself."""
        key = self._key(id)
        standing = self._standings.get(key)
        if standing is not None:
            standing.names.discard(name)
            if not standing.names:
                self._watchdog.drop(standing)
                del self._standings[key]
        return (await self._store.execute(Unheard(key, field_name(name)))).value

    async def beat(self, id: Id, *names: str) -> int:
        """Say once that *names* are there; how many are alive at *id*. Raises `StoreUnavailable`."""
        if not names:
            raise ValueError("name who is there")
        checked = tuple(field_name(name) for name in names)
        now = self._store.clock.now()
        beat = Beat(self._key(id), checked, self.lifetime, self.lifetime * MEMORY, now)
        return (await self._store.execute(beat)).value

    async def read(self, id: Id) -> Roll:
        """Who is there; never fails in an outage, when all that were listed before are `unknown`."""
        found = await self._read(Heard(self._key(id)), {})
        names = sorted(found.value)
        if found.stale:
            return Roll([], [], names, found.origin)
        now = self._store.clock.now()
        alive = [name for name in names if now - found.value[name] <= self.lifetime]
        silent = sorted(set(names).difference(alive))
        known = self._steady() >= self.lifetime
        return Roll(alive, silent if known else [], [] if known else silent, found.origin)
