"""Holding: what tasks hold for a time, and are told before they lose it."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Final, NamedTuple

from polly_state.errors import LeaseLost, LockTaken, StateError, StoreUnavailable
from polly_state.store.channels import Topic
from polly_state.structures.base import Binding, Structure
from polly_state.structures.keys import Id
from polly_state.structures.turns import Turns
from polly_state.structures.watchdog import Watchdog

__all__ = ["AGAIN", "Claimed", "Holding", "Lease"]

#: What clocks may differ in while a lease runs: a part of it, and seconds at least.
DRIFT, LEAST_DRIFT = 0.01, 0.002
#: Seconds after which who waits looks though nobody has told of a release: it may have been lost, or the holder died.
LOOK: Final = 1.0
#: The same while others can not be heard: at first, and at last.
DEAF, LONGEST_DEAF = 0.008, 0.05
#: Redis ends a lease at its next millisecond.
AFTER: Final = 0.002
AGAIN: Final = 0.25
FOREVER: Final = float("inf")


class Claimed(NamedTuple):
    """What came of a claim."""

    fence: int | None
    """None if others hold it."""
    remaining: float = FOREVER
    """Seconds until they hold it no more, unless they renew it."""


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
        if not isinstance(lease, Lease) and timeout != 0:
            lease = await self._wait(key, ends)
        if not isinstance(lease, Lease):
            raise LockTaken("others hold it")
        return lease

    async def try_acquire(self, id: Id) -> Lease | None:
        """What is held from now on; None if others hold it. Raises `StoreUnavailable` if nobody knows."""
        lease = await self._attempt(self._key(id))
        return lease if isinstance(lease, Lease) else None

    async def renew(self, key: str, token: str) -> bool:
        """For `Lease`: hold on for the whole lifetime; False if it is not held any more."""
        raise NotImplementedError

    async def let_go(self, key: str, token: str) -> bool:
        """For `Lease`: hold it no more; False if it was lost before."""
        try:
            return await self._release(key, token)
        finally:
            self._channels.tell(Topic(key))

    async def _claim(self, key: str, token: str) -> Claimed:
        raise NotImplementedError

    async def _release(self, key: str, token: str) -> bool:
        raise NotImplementedError

    async def _wait(self, key: str, ends: float) -> Lease | None:
        loop = asyncio.get_running_loop()
        deaf = DEAF
        # One of each process asks Redis, the others wait for their turn.
        async with self._turns.turn(key, ends) as mine:
            if not mine:
                return None
            with self._channels.waking(Topic(key)) as wake:
                while True:
                    wake.clear()
                    lease = await self._attempt(key)
                    if isinstance(lease, Lease):
                        return lease
                    left = ends - loop.time()
                    if left <= 0:
                        return None
                    # The processes that wait do not all ask at the same moment.
                    look = min(lease + random.uniform(AFTER, 2 * AFTER), random.uniform(LOOK / 2, LOOK))
                    await wake.wait(min(look, left), deaf=deaf)
                    deaf = min(deaf * 1.1, LONGEST_DEAF)

    async def _attempt(self, key: str) -> Lease | float:
        """What is held from now on, or the seconds that others hold it for at least, unless they let go."""
        token = f"{self._store.clock.origin}-{os.urandom(8).hex()}"
        since = asyncio.get_running_loop().time()
        try:
            fence, remaining = await self._claim(key, token)
        except (StoreUnavailable, asyncio.CancelledError) as error:
            if not isinstance(error, StoreUnavailable) or error.maybe_applied:
                # It may be held by now, by nobody.
                _ = self.watchdog.spawn(self._disown(key, token))
            raise
        if fence is None:
            return remaining
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
