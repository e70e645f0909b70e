"""The journal of a process that has no directory."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Collection, Generator, Iterable
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

from polly_state.commands import Command, ended, outlived, stamp_of
from polly_state.stamps import time_of
from polly_state.store.base import Ack
from polly_state.store.journal import MAX_DEAD, DeadRow, JournalStatistics, Row, full, prolonged, weight

__all__ = ["MemoryJournal"]

FOREVER: Final = float("inf")


class Slots(dict[str, Row]):
    """The rows of one key by slot, oldest first, with what spares most writes a look at all of them."""

    __slots__ = ("end", "newest", "soonest")

    def __init__(self) -> None:
        super().__init__()
        self.newest = ""
        """No row has a newer stamp."""
        self.soonest = FOREVER
        """No row that had not ended by `newest` ends before this, in seconds since the epoch."""
        self.end: tuple[str, float] | None = None
        """The stamp of a write, and when it lets the key end: older rows are yet to be told."""

    def told(self) -> Slots:
        """The same, after telling all rows of `end`: they must not be gone before the key is replayed."""
        if self.end is not None:
            for slot, row in self.items():
                self[slot] = self._told(row, *self.end)
            self.end = None
        return self

    def at(self, slot: str) -> Row | None:
        """The row of *slot*, told of `end`."""
        row = self.get(slot)
        return row if row is None or self.end is None else self._told(row, *self.end)

    def _told(self, row: Row, stamp: str, ends: float) -> Row:
        # What had ended before the write that settles the end is not brought back by it.
        held = row.command
        older = stamp_of(held) < stamp and not ended(held, stamp)
        return row._replace(command=held.ending(ends)) if older else row


NOTHING: Final = Slots()


class MemoryJournal:
    """Kept in this process only."""

    ack = Ack.LOCAL_VOLATILE
    shared = False

    def __init__(self, max_entries: int, max_bytes: int = 64 * 1024 * 1024) -> None:
        self.dead: deque[DeadRow] = deque(maxlen=MAX_DEAD)
        self._rows: dict[str, Slots] = {}
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
        slots = self._rows.get(key)
        return [] if slots is None else list(slots.told().values())

    def batch(self, size: int, passing: Collection[str] = ()) -> list[Row]:
        """See `Journal`: oldest keys first."""
        wanted = (slots for key, slots in self._rows.items() if key not in passing)
        rows = (row for slots in wanted for row in slots.told().values())
        return list(islice(rows, size))

    @contextmanager
    def writing(self) -> Generator[None]:
        """See `Journal`: a record over the bounds changes nothing, and is the last of its context."""
        yield

    def record(self, commands: Iterable[Command[Any]], now: float) -> None:
        """See `Journal`."""
        kept = list(commands)
        self._check_room(kept)
        for command in kept:
            slots = self._rows.setdefault(command.key, Slots())
            if command.sweeps:
                for slot in [slot for slot, row in slots.items() if stamp_of(row.command) < stamp_of(command)]:
                    self._drop(slots.pop(slot))
            held = slots.at(command.slot)
            if held is not None:
                if not command.supersedes(held.command):
                    continue
                command = command.replacing(held.command)  # noqa: PLW2901
                self._drop(slots.pop(command.slot))
            command = self._settle_end(slots, command)  # noqa: PLW2901
            slots[command.slot] = Row(next(self._numbers), now, command)
            self._count += 1
            self._bytes += weight(command)
            self._trim(slots, command)

    def settle(self, rows: Iterable[Row]) -> None:
        """See `Journal`."""
        for row in rows:
            slots = self._rows.get(row.command.key, NOTHING)
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

    def _settle_end(self, slots: Slots, command: Command[Any]) -> Command[Any]:
        """*command* as it is to be kept: the newest end is that of the whole key, and what has ended goes."""
        stamp, ends = stamp_of(command), command.expires_at
        late = stamp < slots.newest
        if late or (stamp and slots.soonest <= time_of(stamp)):
            ends = self._drop_outlived(slots, command)
        if not late:
            slots.newest = stamp
        if ends is None:
            return command
        slots.end = (stamp, ends)
        slots.soonest = min(slots.soonest, ends)
        if late:
            # The next end may leave out what this one keeps alive.
            slots.told()
        return command if ends == command.expires_at else command.ending(ends)

    def _drop_outlived(self, slots: Slots, command: Command[Any]) -> float | None:
        """Drop what is moot once *command* is kept, and find out when that ends."""
        stamp, newest = stamp_of(command), max(slots.newest, stamp_of(command))
        for slot, row in list(slots.told().items()):
            if outlived(row.command, stamp):
                self._drop(slots.pop(slot))
        kept = [(row.command, row.command.expires_at) for row in slots.values()]
        slots.soonest = min((at for each, at in kept if at is not None and not ended(each, newest)), default=FOREVER)
        later = [(stamp_of(each), at) for each, at in kept if at is not None and stamp_of(each) > stamp]
        return prolonged(command.expires_at, later)

    def _trim(self, slots: dict[str, Row], command: Command[Any]) -> None:
        if command.keeps is not None and len(slots) > command.keeps:
            slot = min(slots, key=lambda each: stamp_of(slots[each].command))
            self._drop(slots.pop(slot))

    def _check_room(self, commands: list[Command[Any]]) -> None:
        entries, size = self._count, self._bytes
        for command in commands:
            slots = self._rows.get(command.key, NOTHING)
            held = slots.get(command.slot)
            trims = command.keeps is not None and len(slots) >= command.keeps
            entries += held is None and not trims
            size += weight(command) - (0 if held is None else weight(held.command))
        full(entries, size, self._max_entries, self._max_bytes)
