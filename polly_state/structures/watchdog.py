"""The watchdog: one task that renews whatever this process holds, all of it together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Final, Protocol

from polly_state.errors import StateError

__all__ = ["Kept", "Watchdog"]

_log = logging.getLogger("polly_state")

PART: Final = 3
"""What is held is renewed after this part of its time."""
SOON: Final = 12


class Kept(Protocol):
    """Something that is held for a time, and renewed."""

    ttl: float

    async def renew(self) -> bool:
        """Hold on; False if it is not held any more. Raises `StateError` if nobody knows."""
        ...

    async def release(self) -> bool:
        """Hold it no more."""
        ...

    def renewed(self, since: float) -> None:
        """It is held for its ttl from *since*, in the loop's time."""
        ...

    def lose(self) -> None:
        """It is held no more."""
        ...


class Watchdog:
    """Renews at a third of the time to live, in one round trip for all; there is a task only while something is held.

    It also ends what must be ended when nobody waits for it any more.
    """

    def __init__(self) -> None:
        self.rounds = 0
        """How many times it has renewed."""
        self._due: dict[Kept, float] = {}
        self._task: asyncio.Task[None] | None = None
        self._sooner = asyncio.Event()
        self._errands: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        """How many things are held."""
        return len(self._due)

    def keep(self, kept: Kept, since: float) -> None:
        """Renew it from now on; it was acquired at *since*, in the loop's time."""
        self._due[kept] = since + kept.ttl / PART
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="polly_state watchdog")
        self._sooner.set()

    def drop(self, kept: Kept) -> None:
        """Renew it no more."""
        self._due.pop(kept, None)

    def spawn(self, errand: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Let something come to its end, whoever waits for it."""
        task = asyncio.create_task(errand, name="polly_state errand")
        self._errands.add(task)
        task.add_done_callback(self._errand_done)
        return task

    async def aclose(self, patience: float) -> None:
        """Hold nothing any more; errands have *patience* seconds."""
        for kept in list(self._due):
            kept.lose()
            _ = self.spawn(kept.release())
        self._due.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._errands:
            await asyncio.wait(self._errands, timeout=patience)
        for errand in list(self._errands):
            errand.cancel()
        await asyncio.gather(*self._errands, return_exceptions=True)

    def _errand_done(self, task: asyncio.Task[Any]) -> None:
        self._errands.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            # Whoever waits for it is told; what nobody could let go of ends by itself.
            _log.debug("an errand failed: %s", error)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._due:
            self._sooner.clear()
            try:
                async with asyncio.timeout_at(min(self._due.values())):
                    await self._sooner.wait()
            except TimeoutError:
                await self._round(loop.time())

    async def _round(self, now: float) -> None:
        # What would be due a little later comes along.
        batch = [kept for kept, due in self._due.items() if due <= now + kept.ttl / PART / 2]
        if not batch:
            return
        self.rounds += 1
        results = await asyncio.gather(*(kept.renew() for kept in batch), return_exceptions=True)
        for kept, held in zip(batch, results, strict=True):
            if kept not in self._due:
                continue
            if isinstance(held, BaseException):
                # It may still be held: there is time for more attempts before it ends.
                self._due[kept] = now + kept.ttl / SOON
                if not isinstance(held, StateError):
                    _log.error("renewing failed", exc_info=held)
            elif held:
                self._due[kept] = now + kept.ttl / PART
                kept.renewed(now)
            else:
                del self._due[kept]
                kept.lose()
