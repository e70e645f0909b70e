"""Semaphore: a number of holders at a time."""

from __future__ import annotations

from polly_state.commands import Enter, Keep, Leave
from polly_state.structures.base import Binding, positive
from polly_state.structures.holding import Claimed, Holding
from polly_state.structures.watchdog import Watchdog

__all__ = ["Semaphore"]


class Semaphore(Holding):
    """Permits under ids of one's own, so many for each id; those of who has died come back after the ttl."""

    def __init__(self, binding: Binding, watchdog: Watchdog, lifetime: float, limit: int) -> None:
        """Make one of *limit* permits for each id."""
        super().__init__(binding, watchdog, lifetime)
        self._limit = positive(limit)

    async def renew(self, key: str, token: str) -> bool:
        """See `Holding`."""
        return (await self._store.execute(Keep(key, token, self.lifetime))).value

    async def _claim(self, key: str, token: str) -> Claimed:
        entered = (await self._store.execute(Enter(key, token, self._limit, self.lifetime))).value
        return Claimed(0 if entered else None)

    async def _release(self, key: str, token: str) -> bool:
        return (await self._store.execute(Leave(key, token))).value
