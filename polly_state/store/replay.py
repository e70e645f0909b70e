"""Replay: kept writes go to Redis as they stand, and leave the journal with their own reply."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any, Final, NamedTuple

from polly_state.commands import Command, Outdated
from polly_state.connection import REDIRECTIONS
from polly_state.errors import CommandRejected, Fenced, LocalStoreFull, Overloaded, StoreUnavailable
from polly_state.events import Observer, OperationDead, Replayed
from polly_state.store.journal import Row
from polly_state.store.overlay import Overlay
from polly_state.store.redis import RedisStore
from polly_state.store.repair import Ring

__all__ = ["Replay", "ReplayStatistics"]

MAX_AGE: Final = 86_400.0
"""Seconds for which Redis keeps the stamps of what is gone; an older write might bring it back."""
RATE: Final = 10_000.0
"""Rows for each second, so that users' calls have the greater share of Redis."""
#: Rows at once, and the part of them by which the next batch is larger.
LARGEST, GROWTH = 200, 4
SLOW: Final = 0.05
MENDABLE: Final = frozenset({"NOPERM", "UNKNOWN", *REDIRECTIONS})
"""Refusals that are the server's fault, its ACL's or the address': the row waits until somebody mends that."""
ELSEWHERE: Final = 0.1
MOST_PASSED: Final = 5000
CROWDED: Final = 0.005


class ReplayStatistics(NamedTuple):
    """What became of kept writes so far."""

    replayed: int
    superseded: int
    """Of these, those that met a newer value in Redis, which stays."""
    dead: int


class Replay:
    """Sends kept writes. Sending one twice is harmless, so several may be at it at once."""

    def __init__(self, redis: RedisStore, overlay: Overlay, ring: Ring, observe: Observer) -> None:
        self._redis = redis
        self._overlay = overlay
        self._journal = overlay.journal
        self._ring = ring
        self._observe = observe
        self._size = LARGEST
        #: The keys that could not be sent lately.
        self._passing: set[str] = set()
        self._replayed = self._superseded = self._dead = 0

    def statistics(self) -> ReplayStatistics:
        """What became of them so far."""
        return ReplayStatistics(self._replayed, self._superseded, self._dead)

    async def send_batch(self) -> None:
        """Send the oldest rows, in the measure that Redis takes them, unless another process is at it.

        Raises as `send` does, but for `Overloaded`.
        """
        holder = self._redis.clock.origin
        if not await self._leased(holder):
            await asyncio.sleep(random.uniform(ELSEWHERE / 2, ELSEWHERE))
            return
        rows = self._journal.batch(self._size, self._passing)
        if not rows and self._passing:
            self._passing.clear()
            return
        began, before = time.monotonic(), self._replayed
        try:
            await self.send(rows)
        except Overloaded:
            # Users come first, with whatever they have in flight: next time it is no more than found room.
            sent = self._replayed - before
            self._size = max(1, sent)
            await asyncio.sleep(CROWDED * (1 - sent / len(rows)))
            return
        except LocalStoreFull:
            # To bring the log into the file makes room for what takes rows away, if anything does.
            await asyncio.to_thread(self._journal.upkeep, None)
            raise
        took = time.monotonic() - began
        self._size = max(1, self._size // 2) if took > SLOW else min(LARGEST, self._size + max(1, self._size // GROWTH))
        await asyncio.sleep(max(0.0, len(rows) / RATE - took))

    async def send(self, rows: list[Row]) -> None:
        """Send *rows*. A newer value in Redis stays; a row that Redis rejects for good, or that is too old, is buried.

        Raises:
            StoreUnavailable: Redis went away over it; what it did not answer is kept.
            LocalStoreFull: The disk of the journal is full; Redis has what it answered, and all is kept.
        """
        outcomes = await asyncio.gather(*map(self._attempt, rows), return_exceptions=True)
        done: list[Row] = []
        acknowledged: list[tuple[Command[Any], object]] = []
        overruled: set[str] = set()
        failure: BaseException | None = None
        superseded = 0
        for row, outcome in zip(rows, outcomes, strict=True):
            if isinstance(outcome, Outdated):
                self._redis.clock.see(outcome.stamp)
                superseded += 1
                if not self._known(row.command.key, outcome.stamp):
                    overruled.add(row.command.key)
            elif isinstance(outcome, Fenced):
                superseded += 1
                overruled.add(row.command.key)
            elif isinstance(outcome, CommandRejected) and outcome.code not in MENDABLE:
                await self._bury(row, outcome.code)
                overruled.add(row.command.key)
                continue
            elif isinstance(outcome, BaseException):
                self._pass_over(row.command.key, outcome)
                failure = outcome if failure is None or isinstance(failure, StoreUnavailable) else failure
                continue
            else:
                acknowledged.append((row.command, outcome))
            done.append(row)
        if done:
            await self._overlay.patiently(lambda: self._journal.settle(done))
        # Not before: what stays in the journal is sent again from there, maybe often.
        for command, result in acknowledged:
            self._ring.note(command, result)
        self._replayed += len(done)
        self._superseded += superseded
        self._release({row.command.key for row in rows}, overruled)
        self._observe(Replayed(len(done), superseded, len(self._journal)))
        if failure is not None:
            raise failure

    async def _leased(self, holder: str) -> bool:
        try:
            return await self._overlay.patiently(lambda: self._journal.lease_replay(holder))
        except LocalStoreFull:
            # Where there is no room to say who sends, all may: Redis has the room.
            return True

    async def _attempt(self, row: Row) -> object:
        if row.recorded_at < self._redis.clock.now() - MAX_AGE:
            raise CommandRejected("the write is older than the stamps of what is gone", code="TOO_OLD")
        return await self._redis.attempt(row.command)

    async def _bury(self, row: Row, code: str) -> None:
        await self._overlay.patiently(lambda: self._journal.bury(row, code, self._redis.clock.now()))
        self._dead += 1
        self._observe(OperationDead(type(row.command).__name__, code))

    def _pass_over(self, key: str, outcome: BaseException) -> None:
        # One server of several may be away for long, and the others' writes are not to wait behind its own.
        if isinstance(outcome, StoreUnavailable) and not isinstance(outcome, Overloaded):
            if len(self._passing) >= MOST_PASSED:
                self._passing.clear()
            self._passing.add(key)

    def _known(self, key: str, stamp: str) -> bool:
        entry = self._overlay.keyspace.entry(key)
        return entry is not None and stamp in entry.stamps.values()

    def _release(self, keys: set[str], overruled: set[str]) -> None:
        mirror = self._overlay.keyspace
        for key in keys:
            if key not in self._journal:
                mirror.unpin(key)
                if key in overruled:
                    # What is known here is not what Redis holds.
                    mirror.forget(key)
