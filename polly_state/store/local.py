"""The local store: a keyspace in this process that is the authority, or several processes' by way of a journal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from polly_state.commands import Command, Effect, TakeMessages
from polly_state.errors import StoreUnavailable
from polly_state.keyspace import Keyspace
from polly_state.stamps import HybridClock
from polly_state.store.base import Ack, Answer, Origin, apply_current
from polly_state.store.overlay import Overlay

__all__ = ["LocalStore"]

T = TypeVar("T")


class LocalStore:
    """What is used when no Redis is configured.

    With an overlay over a journal on disk, durable data outlive the process, and the processes that use the same
    directory see each other's writes; without one, nothing does.
    """

    def __init__(self, keyspace: Keyspace, clock: HybridClock, overlay: Overlay | None = None) -> None:
        self.keyspace = keyspace
        self.clock = clock
        self._overlay = overlay

    async def execute(self, command: Command[T], require: Ack = Ack.LOCAL_VOLATILE) -> Answer[T]:
        """See `Store`."""
        overlay = self._overlay
        kept = overlay is not None and command.effect in (Effect.DURABLE, Effect.READ)
        ack = Ack.LOCAL_DURABLE if kept else Ack.LOCAL_VOLATILE
        if require > ack:
            raise StoreUnavailable(f"{require.name} cannot be given: no Redis is configured; set REDIS_URL")
        if overlay is not None and command.effect is not Effect.DURABLE and overlay.journal.stirred():
            overlay.catch_up()
        if overlay is not None and (command.effect is Effect.DURABLE or self._hands_out(command)):
            return Answer(await overlay.write(command), Origin.LOCAL, ack)
        _, value = apply_current(command, self.keyspace, self.clock)
        return Answer(value, Origin.LOCAL, ack)

    def _hands_out(self, command: Command[Any]) -> bool:
        """Whether all processes must know of it who has which message."""
        entry = self.keyspace.entry(command.key) if isinstance(command, TakeMessages) else None
        return entry is not None and entry.present

    async def execute_many(self, commands: Iterable[Command[Any]]) -> list[Answer[Any]]:
        """See `Store`."""
        return [await self.execute(command) for command in commands]
