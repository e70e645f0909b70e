"""The journal: durable writes that Redis does not have yet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from polly_state.commands import Command
from polly_state.errors import LocalStoreFull
from polly_state.store.base import Ack

__all__ = ["MemoryJournal"]


class MemoryJournal:
    """Kept in this process: one row for each slot of a key, in which a later write takes the place of an earlier one.

    Bounded: at the bound a new row is refused, and none is dropped.
    """

    ack = Ack.LOCAL_VOLATILE

    def __init__(self, max_entries: int) -> None:
        self.rows: dict[str, dict[str, Command[Any]]] = {}
        self._max_entries = max_entries
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: str) -> bool:
        return key in self.rows

    def check_room(self, command: Command[Any]) -> None:
        """Raises `LocalStoreFull` if there is no room for *command*; what takes the place of another always has."""
        if self._count >= self._max_entries and command.slot not in self.rows.get(command.key, {}):
            raise LocalStoreFull(
                f"{self._count} writes wait for Redis already; it must return, or journal_entries be raised"
            )

    def record(self, commands: Iterable[Command[Any]]) -> None:
        """Keep absolute commands until they are settled."""
        for command in commands:
            slots = self.rows.setdefault(command.key, {})
            held = slots.get(command.slot)
            if held is None:
                self._count += 1
            elif not command.supersedes(held):
                continue
            else:
                del slots[command.slot]
            slots[command.slot] = command

    def pending(self, key: str) -> list[Command[Any]]:
        """What is kept for *key*, oldest first."""
        return list(self.rows.get(key, {}).values())

    def batch(self, size: int) -> list[Command[Any]]:
        """About *size* commands of whole keys, oldest keys first."""
        commands: list[Command[Any]] = []
        for slots in self.rows.values():
            commands += slots.values()
            if len(commands) >= size:
                break
        return commands

    def settle(self, command: Command[Any]) -> None:
        """Redis has *command*; what took its place meanwhile stays."""
        slots = self.rows.get(command.key, {})
        if slots.get(command.slot) is command:
            del slots[command.slot]
            self._count -= 1
            if not slots:
                del self.rows[command.key]
