"""Replay: kept writes go to Redis as they stand, and leave the journal with their own reply."""

from __future__ import annotations

import asyncio
from typing import Any

from polly_state.commands import Command, Outdated
from polly_state.errors import CommandRejected, StoreUnavailable
from polly_state.events import Observer, OperationDead, Replayed
from polly_state.keyspace import Keyspace
from polly_state.store.journal import MemoryJournal
from polly_state.store.redis import RedisStore

__all__ = ["Replay"]


class Replay:
    """Sends kept writes. Sending one twice is harmless, so several may be at it at once."""

    def __init__(self, redis: RedisStore, journal: MemoryJournal, mirror: Keyspace, observe: Observer) -> None:
        self._redis = redis
        self._journal = journal
        self._mirror = mirror
        self._observe = observe

    async def send(self, commands: list[Command[Any]]) -> None:
        """Send *commands*. A newer value in Redis stays, and a command that Redis rejects for good is given up.

        Raises:
            StoreUnavailable: Redis went away over it; what it did not answer is kept.
        """
        outcomes = await asyncio.gather(*(self._redis.attempt(command) for command in commands), return_exceptions=True)
        overruled: set[str] = set()
        failure: BaseException | None = None
        superseded = done = 0
        for command, outcome in zip(commands, outcomes, strict=True):
            if isinstance(outcome, Outdated):
                self._redis.clock.see(outcome.stamp)
                superseded += 1
                overruled.add(command.key)
            elif isinstance(outcome, CommandRejected):
                self._observe(OperationDead(type(command).__name__, outcome.code))
                overruled.add(command.key)
            elif isinstance(outcome, BaseException):
                failure = outcome if failure is None or isinstance(failure, StoreUnavailable) else failure
                continue
            done += 1
            self._settle(command, overruled)
        self._observe(Replayed(done, superseded, len(self._journal)))
        if failure is not None:
            raise failure

    def _settle(self, command: Command[Any], overruled: set[str]) -> None:
        self._journal.settle(command)
        if command.key in self._journal:
            return
        self._mirror.unpin(command.key)
        if command.key in overruled:
            # What is known here is not what Redis holds.
            self._mirror.forget(command.key)
