"""Holding: what tasks hold for a time, and are told before they lose it."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final

from polly_state.errors import LeaseLost, LockTaken, StateError, StoreUnavailable
from polly_state.structures.base import Binding, Structure
from polly_state.structures.keys import Id
from polly_state.structures.turns import Turns
from polly_state.structures.watchdog import Watchdog

__all__ = ["AGAIN", "Holding", "Lease"]

#: What clocks may differ in while a lease runs: a part of it, and seconds at least.
DRIFT, LEAST_DRIFT = 0.01, 0.002
FIRST_PAUSE, LONGEST_PAUSE = 0.004, 0.05
AGAIN: Final = 0.25
FOREVER: Final = float("inf")


class Holding(Structure):
    """What locks and semaphores have in common.

    They fail closed: a Redis that is away is an error, and neither "free" nor "taken".
    """

    def __init__(self, binding: Binding, watchdog: Watchdog, lifetime: float) -> None:
        """Make one for what lives *lifetime* seconds without a sign from its holder."""
        super().__init__(binding)
        self.lifetime = lifetime
        self.watchdog = watchdog
        self._turns = Turns()

    @asynccontextmanager
    async def hold(self, id: Id, *, timeout: float | None = None) -> AsyncGenerator[Lease]:
        """Hold it for the length of the block, which is cancelled before it could be lost.

        Raises:
            LockTaken: Others hold it, for *timeout* seconds from now at least.
            LeaseLost: It could not be kept; the block was cancelled.
            StoreUnavailable: Redis is away, so that nobody knows.
        """
        lease = await self.acquire(id, timeout=timeout)
        async with lease.body():
            yield lease

    async def acquire(self, id: Id, *, timeout: float | None = None) -> Lease:
        """What is held until it is released; raises as `hold` does."""
        key = self._key(id)
        ends = FOREVER if timeout is None else asyncio.get_running_loop().time() + timeout
        at_once = timeout == 0 or not self._turns.waiting(key)
        lease = await self._attempt(key) if at_once else None
        if lease is None and timeout != 0:
            lease = await self._wait(key, ends)
        if lease is None:
            raise LockTaken("others hold it")
        return lease

    async def try_acquire(self, id: Id) -> Lease | None:
        """What is held from now on; None if others hold it. Raises `StoreUnavailable` if nobody knows."""
        return await self._attempt(self._key(id))

    async def renew(self, key: str, token: str) -> bool:
        """For `Lease`: hold on for the whole lifetime; False if it is not held any more."""
        raise NotImplementedError

    async def let_go(self, key: str, token: str) -> bool:
        """For `Lease`: hold it no more; False if it was lost before."""
        try:
            return await self._release(key, token)
        finally:
            self._turns.wake(key)

    async def _claim(self, key: str, token: str) -> int | None:
        """The fence, or None if others hold it."""
        raise NotImplementedError

    async def _release(self, key: str, token: str) -> bool:
        raise NotImplementedError

    async def _wait(self, key: str, ends: float) -> Lease | None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        # One of each process asks Redis, the others wait for their turn.
        async with self._turns.turn(key, ends) as turn:
            while turn is not None:
                lease = await self._attempt(key)
                if lease is not None or loop.time() >= ends:
                    return lease
                await turn.pause(min(random.uniform(pause / 2, pause), ends - loop.time()))
                pause = min(pause * 1.1, LONGEST_PAUSE)
        return None

    async def _attempt(self, key: str) -> Lease | None:
        token = f"{self._store.clock.origin}-{os.urandom(8).hex()}"
        since = asyncio.get_running_loop().time()
        try:
            fence = await self._claim(key, token)
        except (StoreUnavailable, asyncio.CancelledError) as error:
            if not isinstance(error, StoreUnavailable) or error.maybe_applied:
                # It may be held by now, by nobody.
                _ = self.watchdog.spawn(self._disown(key, token))
            raise
        if fence is None:
            return None
        lease = Lease(self, key, token, fence, since)
        self.watchdog.keep(lease, since)
        return lease

    async def _disown(self, key: str, token: str) -> None:
        loop = asyncio.get_running_loop()
        ends = loop.time() + self.lifetime
        while loop.time() < ends:
            with suppress(StoreUnavailable):
                await self.let_go(key, token)
                return
            await asyncio.sleep(AGAIN)


class Lease:
    """What this process holds, for as long as it is `held`."""

    def __init__(self, holding: Holding, key: str, token: str, fence: int, since: float) -> None:
        self.fence = fence
        """Of a lock: above that of every earlier holder. Hand it to what is guarded, to refuse a lower one."""
        self.ttl = holding.lifetime
        self.watchdog = holding.watchdog
        self._holding = holding
        self._key = key
        self._token = token
        self._scope: asyncio.Timeout | None = None
        self._ended = False
        self._valid_until = self._ending(since)

    @property
    def held(self) -> bool:
        """Whether it is certain that it is still held."""
        return not self._ended and asyncio.get_running_loop().time() < self._valid_until

    async def release(self) -> bool:
        """Hold it no more; False if it was lost before. Raises `StoreUnavailable`, and then it ends by itself."""
        self._ended = True
        self.watchdog.drop(self)
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(None)
        # Whoever is cancelled here lets go all the same.
        return bool(await asyncio.shield(self.watchdog.spawn(self._holding.let_go(self._key, self._token))))

    async def renew(self) -> bool:
        """See `Kept`."""
        return await self._holding.renew(self._key, self._token)

    def renewed(self, since: float) -> None:
        """See `Kept`."""
        self._valid_until = self._ending(since)
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(self._valid_until)

    def lose(self) -> None:
        """See `Kept`: the block under it is cancelled."""
        self.watchdog.drop(self)
        self._valid_until = 0.0
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(0.0)

    @asynccontextmanager
    async def body(self) -> AsyncGenerator[None]:
        """Release it after the block, and cancel the block before it ends. Raises `LeaseLost` then."""
        scope = asyncio.timeout_at(self._valid_until)
        try:
            async with scope:
                self._scope = scope
                yield
        except TimeoutError as error:
            if not scope.expired():
                raise
            raise LeaseLost("it could not be kept, and the block under it was cancelled") from error
        finally:
            self._scope = None
            ended, lost = self._ended, not self.held
            if not ended:
                with suppress(StateError):
                    await self.release()
        if lost and not ended:
            raise LeaseLost("it could not be kept while the block was under way")

    def _ending(self, since: float) -> float:
        return since + self.ttl - max(LEAST_DRIFT, self.ttl * DRIFT)
