"""The local store: a keyspace in this process that is the authority."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from polly_state.commands import Command
from polly_state.errors import StoreUnavailable
from polly_state.keyspace import Keyspace
from polly_state.stamps import HybridClock
from polly_state.store.base import Ack, Answer, Origin, apply_current

__all__ = ["LocalStore"]

T = TypeVar("T")


class LocalStore:
    """What is used when no Redis is configured; nothing in it outlives the process."""

    def __init__(self, keyspace: Keyspace, clock: HybridClock) -> None:
        self.keyspace = keyspace
        self.clock = clock

    async def execute(self, command: Command[T], require: Ack = Ack.LOCAL_VOLATILE) -> Answer[T]:
        """See `Store`."""
        if require > Ack.LOCAL_VOLATILE:
            raise StoreUnavailable(f"{require.name} cannot be given: no Redis is configured; set REDIS_URL")
        _, value = apply_current(command, self.keyspace, self.clock)
        return Answer(value, Origin.LOCAL, Ack.LOCAL_VOLATILE)

    async def execute_many(self, commands: Iterable[Command[Any]]) -> list[Answer[Any]]:
        """See `Store`."""
        return [await self.execute(command) for command in commands]
