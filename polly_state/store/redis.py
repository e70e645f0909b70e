"""The Redis store: commands go over the wire, or fail as `StoreUnavailable`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol, TypeVar

from polly_state.commands import Command, Outdated, Stamped
from polly_state.connection import ReplyError
from polly_state.errors import CommandRejected, CorruptValue, StateError, StoreUnavailable
from polly_state.stamps import HybridClock
from polly_state.store.base import Ack, Answer, Origin
from polly_state.wire import Reply, Words

__all__ = ["Connection", "RedisStore"]

T = TypeVar("T")

OVERTAKEN_LIMIT = 8


class Connection(Protocol):
    """What carries words to Redis, as `ConnectionManager` does."""

    async def call(self, words: Words, *, repeatable: bool) -> Reply:
        """Send a command; its reply may be a `ReplyError`."""

    def refused(self, error: ReplyError) -> StateError:
        """The error to raise for an error reply."""


class RedisStore:
    """Strict: what Redis does not do, is not done. Wrap it in a `ResilientStore` for the rest."""

    def __init__(self, connection: Connection, clock: HybridClock) -> None:
        self.clock = clock
        self._connection = connection

    async def execute(self, command: Command[T], require: Ack = Ack.LOCAL_VOLATILE) -> Answer[T]:
        """See `Store`. A write that another one has overtaken is sent again with a newer stamp."""
        if require is Ack.REPLICATED:
            raise StoreUnavailable("REPLICATED cannot be given: WAIT is not supported yet")
        try:
            return Answer(await self.attempt(command), Origin.REDIS, Ack.REMOTE)
        except Outdated as newer:
            return Answer(await self._catch_up(command, newer), Origin.REDIS, Ack.REMOTE)

    async def execute_many(self, commands: Iterable[Command[Any]]) -> list[Answer[Any]]:
        """See `Store`."""
        return await asyncio.gather(*(self.execute(command) for command in commands))

    async def attempt(self, command: Command[T]) -> T:
        """Send *command* as it stands. Raises `Outdated` if a newer write is there already."""
        words = command.encode()
        reply = await self._connection.call(words, repeatable=command.effect.repeatable)
        if reply.__class__ is ReplyError:
            if command.script is not None and reply.code == "NOSCRIPT":
                words = ("EVAL", command.script.source, *words[2:])
                reply = await self._connection.call(words, repeatable=command.effect.repeatable)
            if isinstance(reply, ReplyError):
                raise self._meaning(reply)
        try:
            return command.decode(reply)
        except (ValueError, TypeError, AttributeError) as error:
            raise CorruptValue("Redis holds something here that this package did not write") from error

    async def _catch_up(self, command: Command[T], newer: Outdated) -> T:
        for _ in range(OVERTAKEN_LIMIT):
            assert isinstance(command, Stamped)  # noqa: S101
            self.clock.see(newer.stamp)
            command = command.restamped(self.clock.stamp())
            try:
                return await self.attempt(command)
            except Outdated as still_newer:
                newer = still_newer
        raise CommandRejected("another writer's clock is far ahead; check the clocks of all hosts", code="OUTDATED")

    def _meaning(self, reply: ReplyError) -> Exception:
        if reply.code == "OUTDATED":
            return Outdated(str(reply).rpartition(" ")[2])
        return self._connection.refused(reply)
