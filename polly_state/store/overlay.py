"""The overlay: a keyspace and the journal of what no Redis has, changed together or not at all."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, Final, TypeVar

from polly_state.commands import Command, Outdated, Stamped
from polly_state.errors import CommandRejected, LocalStoreFull, StateUnavailable, StoreUnavailable
from polly_state.keyspace import Keyspace
from polly_state.stamps import HybridClock
from polly_state.store.base import apply_current
from polly_state.store.journal import Journal, JournalBusy

__all__ = ["Overlay"]

T = TypeVar("T")

FIRST_PAUSE: Final = 0.0002
LONGEST_PAUSE: Final = 0.005
ALL: Final = 1 << 30
CHUNK: Final = 256


class Overlay:
    """What is known here, with what was written here or by another process of the host on top."""

    def __init__(self, keyspace: Keyspace, journal: Journal, clock: HybridClock, deadline: float) -> None:
        self.keyspace = keyspace
        self.journal = journal
        self._clock = clock
        self._deadline = deadline
        self.on_news: Callable[[str], None] = lambda _: None
        """Told of each key that another process has written to, when that is taken in."""

    async def write(self, command: Command[T]) -> T:
        """Apply a durable *command* and keep it, both or neither; the result.

        Raises:
            LocalStoreFull: The keyspace or the journal is at its bounds, or the disk is full.
            StoreUnavailable: The journal cannot be used, or others kept it busy until the deadline.
            CommandRejected: The command cannot work on what is at its key.
        """
        return await self.patiently(lambda: self._write(command))

    async def patiently(self, action: Callable[[], T]) -> T:
        """Do what may meet a `JournalBusy`, until it does not. Raises `StoreUnavailable` at the deadline."""
        try:
            return action()
        except JournalBusy:
            pass
        loop = asyncio.get_running_loop()
        ends, pause = loop.time() + self._deadline, FIRST_PAUSE
        while True:
            # Whoever writes is done in far less than this; to wait in a thread would take longer.
            await asyncio.sleep(random.uniform(0, pause))
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                return action()
            except JournalBusy as busy:
                if loop.time() >= ends:
                    raise StoreUnavailable("other processes kept the journal busy until the deadline") from busy

    async def keep(self, commands: list[Command[Any]]) -> None:
        """Keep commands that were applied before. Raises as `write` does."""
        await self.patiently(lambda: self._keep(commands))

    async def tell(self, commands: list[Command[Any]]) -> None:
        """Let other processes hear of commands that were applied here. Raises as `write` does."""
        await self.patiently(lambda: self._tell(commands))

    def check(self, command: Command[Any]) -> None:
        """Raises `StateUnavailable` if what is known here does not suffice for the true result."""
        if not command.answerable(self.keyspace):
            raise StateUnavailable("Redis is away, and the answer depends on a value that this process has not seen")

    def catch_up(self) -> None:
        """Take in what other processes have written."""
        for row in self.journal.news():
            self._take(row.command)
            self.on_news(row.command.key)

    async def load(self) -> None:
        """Take in all that is kept, before anybody asks."""
        # Nobody else uses the journal yet, and the event loop has others to serve.
        rows = await asyncio.to_thread(self.journal.news)
        for number, row in enumerate(rows):
            if number % CHUNK == 0:
                await asyncio.sleep(0)
            self._take(row.command)

    def reload(self) -> None:
        """Take in all that is kept, into a keyspace that was cleared."""
        for row in self.journal.batch(ALL):
            self._take(row.command)

    def _write(self, command: Command[T]) -> T:
        held: Any = None
        try:
            with self.journal.writing():
                # Nobody else writes until this is done: what it finds is what it changes.
                if self.journal.stirred():
                    self.catch_up()
                self.check(command)
                entry = self.keyspace.entry(command.key)
                held = (None if entry is None else entry.copy(),)
                if not self.keyspace.mirror:
                    command = command.merged(row.command for row in self.journal.pending(command.key))
                command, value = apply_current(command, self.keyspace, self._clock)
                kept = command.settled(value, self._clock.stamp())
                self.journal.record(kept, self._clock.now())
        except (LocalStoreFull, StoreUnavailable, CommandRejected, JournalBusy):
            if held is not None:
                self.keyspace.restore(command.key, *held)
            raise
        if self.keyspace.mirror and (kept or command.key in self.journal):
            self.keyspace.pin(command.key)
        return value

    def _keep(self, commands: list[Command[Any]]) -> None:
        with self.journal.writing():
            self.catch_up()
            self.journal.record(commands, self._clock.now())
        for command in commands:
            if command.key in self.journal:
                self.keyspace.pin(command.key)

    def _tell(self, commands: list[Command[Any]]) -> None:
        with self.journal.writing():
            if self.journal.stirred():
                self.catch_up()
            self.journal.record(commands, self._clock.now())

    def _take(self, command: Command[Any]) -> None:
        if isinstance(command, Stamped):
            self._clock.see(command.stamp)
        if not command.answerable(self.keyspace):
            return
        try:
            command.late(self._clock.now()).apply(self.keyspace)
        except Outdated:
            return
        except (LocalStoreFull, CommandRejected):
            self.keyspace.forget(command.key)
            return
        if self.keyspace.mirror:
            self.keyspace.pin(command.key)
