"""The local store: a keyspace in this process that is the authority, or several processes' by way of a journal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from polly_state.commands import Command, Effect, TakeMessages, of_cache
from polly_state.errors import StoreUnavailable
from polly_state.keyspace import Keyspace
from polly_state.stamps import HybridClock
from polly_state.store.base import Ack, Answer, Origin, apply_current
from polly_state.store.journal import TOLD_FOR
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
        self._looked_at = clock.now()

    async def execute(self, command: Command[T], require: Ack = Ack.LOCAL_VOLATILE) -> Answer[T]:
        """See `Store`."""
        answer = await self._carried_out(command, require)
        if command.told:
            await self._tell([(command, answer)])
        return answer

    async def execute_many(self, commands: Iterable[Command[Any]]) -> list[Answer[Any]]:
        """See `Store`. What others have to hear of, they hear of at once."""
        wanted = list(commands)
        answers = [await self._carried_out(command, Ack.LOCAL_VOLATILE) for command in wanted]
        await self._tell([(command, answer) for command, answer in zip(wanted, answers, strict=True) if command.told])
        return answers

    def look(self) -> bool:
        """Take in what other processes have written; whether there was anything."""
        overlay, now = self._overlay, self.clock.now()
        if overlay is None:
            return False
        stirred = overlay.journal.stirred()
        if stirred:
            overlay.catch_up()
            if now - self._looked_at > TOLD_FOR / 2:
                # This process was stopped, and what it was told meanwhile may be gone.
                for key in filter(of_cache, [*self.keyspace]):
                    self.keyspace.forget(key)
        self._looked_at = now
        return stirred

    async def _tell(self, done: list[tuple[Command[Any], Answer[Any]]]) -> None:
        if self._overlay is None or not done:
            return
        stamp = self.clock.stamp()
        told = [part for each, answer in done for part in each.settled(answer.value, stamp)]
        if told:
            await self._overlay.tell(told)

    async def _carried_out(self, command: Command[T], require: Ack) -> Answer[T]:
        overlay = self._overlay
        kept = overlay is not None and command.effect in (Effect.DURABLE, Effect.READ)
        ack = Ack.LOCAL_DURABLE if kept else Ack.LOCAL_VOLATILE
        if require > ack:
            raise StoreUnavailable(f"{require.name} cannot be given: no Redis is configured; set REDIS_URL")
        if overlay is not None and overlay.journal.stirred():
            # Before a write too, which would take it in without a look at how long ago the last one was.
            self.look()
        if overlay is not None and (command.effect is Effect.DURABLE or self._hands_out(command)):
            return Answer(await overlay.write(command), Origin.LOCAL, ack)
        _, value = apply_current(command, self.keyspace, self.clock)
        return Answer(value, Origin.LOCAL, ack)

    def _hands_out(self, command: Command[Any]) -> bool:
        """Whether all processes must know of it who has which message."""
        entry = self.keyspace.entry(command.key) if isinstance(command, TakeMessages) else None
        return entry is not None and entry.present
