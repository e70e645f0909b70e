"""The journal of a process that has no directory."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any

from polly_state.commands import Command, ended, outlived, stamp_of
from polly_state.store.base import Ack
from polly_state.store.journal import MAX_DEAD, DeadRow, JournalStatistics, Row, full, prolonged, weight

__all__ = ["MemoryJournal"]


class MemoryJournal:
    """Kept in this process only."""

    ack = Ack.LOCAL_VOLATILE
    shared = False

    def __init__(self, max_entries: int, max_bytes: int = 64 * 1024 * 1024) -> None:
        self.dead: deque[DeadRow] = deque(maxlen=MAX_DEAD)
        self._rows: dict[str, dict[str, Row]] = {}
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._numbers = itertools.count(1)
        self._count = self._bytes = self._died = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def pending(self, key: str) -> list[Row]:
        """See `Journal`."""
        return sorted(self._rows.get(key, {}).values())

    def batch(self, size: int) -> list[Row]:
        """See `Journal`: whole keys, oldest keys first."""
        rows: list[Row] = []
        for slots in self._rows.values():
            rows += sorted(slots.values())
            if len(rows) >= size:
                break
        return rows

    @contextmanager
    def writing(self) -> Generator[None]:
        """See `Journal`: a record over the bounds changes nothing, and is the last of its context."""
        yield

    def record(self, commands: Iterable[Command[Any]], now: float) -> None:
        """See `Journal`."""
        kept = list(commands)
        self._check_room(kept)
        for command in kept:
            slots = self._rows.setdefault(command.key, {})
            if command.sweeps:
                for slot in [slot for slot, row in slots.items() if stamp_of(row.command) < stamp_of(command)]:
                    self._drop(slots.pop(slot))
            held = slots.get(command.slot)
            if held is not None:
                if not command.supersedes(held.command):
                    continue
                command = command.replacing(held.command)  # noqa: PLW2901
                self._drop(slots.pop(command.slot))
            for slot in [slot for slot, row in slots.items() if outlived(row.command, stamp_of(command))]:
                self._drop(slots.pop(slot))
            command = self._prolonged(slots, command)  # noqa: PLW2901
            slots[command.slot] = Row(next(self._numbers), now, command)
            self._count += 1
            self._bytes += weight(command)
            self._trim(slots, command)

    def settle(self, rows: Iterable[Row]) -> None:
        """See `Journal`."""
        for row in rows:
            slots = self._rows.get(row.command.key, {})
            held = slots.get(row.command.slot)
            if held is not None and held.number == row.number:
                self._drop(slots.pop(row.command.slot))
                if not slots:
                    del self._rows[row.command.key]

    def bury(self, row: Row, code: str, now: float) -> None:
        """See `Journal`."""
        self.dead.append(DeadRow(row, code, now))
        while sum(weight(each.row.command) for each in self.dead) > self._max_bytes:
            self.dead.popleft()
        self._died += 1
        self.settle((row,))

    def forget(self, before: float) -> None:
        """See `Journal`."""
        self.settle([row for slots in self._rows.values() for row in slots.values() if row.recorded_at < before])

    def stirred(self) -> bool:
        """See `Journal`."""
        return False

    def news(self) -> list[Row]:
        """See `Journal`: nobody else writes here."""
        return []

    def lease_replay(self, holder: str) -> bool:  # noqa: ARG002
        """See `Journal`."""
        return True

    def statistics(self) -> JournalStatistics:
        """See `Journal`."""
        return JournalStatistics(self._count, self._bytes, self._died)

    def upkeep(self, now: float | None) -> None:
        """See `Journal`."""

    def close(self) -> None:
        """See `Journal`."""

    def _drop(self, row: Row) -> None:
        self._count -= 1
        self._bytes -= weight(row.command)

    def _prolonged(self, slots: dict[str, Row], command: Command[Any]) -> Command[Any]:
        # The newest end is that of the whole key: the older parts must not be gone before it is replayed, unless they
        # had ended before it was written.
        stamp = stamp_of(command)
        later = [(stamp_of(row.command), row.command.expires_at) for row in slots.values()]
        ends = prolonged(command.expires_at, [(each, at) for each, at in later if each > stamp and at is not None])
        if ends is None:
            return command
        for slot, row in slots.items():
            held = row.command
            if stamp_of(held) < stamp and not ended(held, stamp):
                slots[slot] = row._replace(command=held.ending(ends))
        return command if ends == command.expires_at else command.ending(ends)

    def _trim(self, slots: dict[str, Row], command: Command[Any]) -> None:
        if command.keeps is not None and len(slots) > command.keeps:
            slot = min(slots, key=lambda each: stamp_of(slots[each].command))
            self._drop(slots.pop(slot))

    def _check_room(self, commands: list[Command[Any]]) -> None:
        entries, size = self._count, self._bytes
        for command in commands:
            slots = self._rows.get(command.key, {})
            held = slots.get(command.slot)
            trims = command.keeps is not None and len(slots) >= command.keeps
            entries += held is None and not trims
            size += weight(command) - (0 if held is None else weight(held.command))
        full(entries, size, self._max_entries, self._max_bytes)
