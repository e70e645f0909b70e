"""Locks: one holder at a time, with a fence that only ever rises."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from polly_state.commands import Acquire, Release, Renew
from polly_state.errors import LeaseLost, StoreUnavailable
from polly_state.structures.holding import AGAIN, Claimed, Holding, Lease
from polly_state.structures.keys import Id

__all__ = ["Locks"]


class Locks(Holding):
    """Locks under ids of one's own.

    A holder that is stopped for longer than the ttl, and goes on, does not know yet that it has lost the lock: only
    the fence, checked where the guarded thing is written, keeps it out. The same goes for a Redis that forgets.
    """

    async def lead(self, id: Id, work: Callable[[Lease], Awaitable[None]]) -> None:
        """Do *work* whenever this process holds the lock, until it has come to its end.

        It is cancelled when the lock is lost, and starts again with the next term, whose number is the lease's `fence`.
        What it raises itself ends all; a Redis that is away does not.
        """
        while True:
            try:
                lease = await self.acquire(id)
            except StoreUnavailable:
                await asyncio.sleep(random.uniform(AGAIN / 2, AGAIN))
                continue
            try:
                async with lease.body():
                    await work(lease)
                    return
            except LeaseLost:
                continue

    async def renew(self, key: str, token: str) -> bool:
        """See `Holding`."""
        return (await self._store.execute(Renew(key, token, self.lifetime))).value

    async def _claim(self, key: str, token: str) -> Claimed:
        grant = (await self._store.execute(Acquire(key, token, self.lifetime))).value
        return Claimed(grant.fence if grant.granted else None, grant.remaining)

    async def _release(self, key: str, token: str) -> bool:
        return (await self._store.execute(Release(key, token))).value
