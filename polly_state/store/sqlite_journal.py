"""The journal on disk, shared by the processes of a host."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from polly_state.commands import Command, outlived, stamp_of
from polly_state.errors import CorruptValue
from polly_state.stamps import time_of
from polly_state.store.base import Ack
from polly_state.store.database import Database
from polly_state.store.journal import MAX_DEAD, TOLD_FOR, DeadRow, JournalStatistics, Row, full, prolonged, weight
from polly_state.store.rows import dump, kinds, load

__all__ = ["SqliteJournal"]

COLUMNS: Final = "number, recorded_at, key, kind, fields, expires_at"
SELECT: Final = f"SELECT {COLUMNS} FROM journal WHERE "
SLOT: Final = "key = ? AND slot = ?"
FORGET_DEAD: Final = """DELETE FROM dead WHERE number IN (SELECT number FROM (
    SELECT number, COUNT(*) OVER newer AS rows, SUM(LENGTH(key) + LENGTH(fields)) OVER newer AS bytes
    FROM dead WINDOW newer AS (ORDER BY died_at DESC, number DESC)) WHERE rows > ? OR bytes > ?)"""
LEASE: Final = 2.0
TOMBSTONE: Final = 86_400.0


class SqliteJournal:
    """See `Journal`. Its processes see each other's rows, and any of them may replay them."""

    ack = Ack.LOCAL_DURABLE
    shared = True

    def __init__(self, path: Path, *, max_entries: int, max_bytes: int, wall: Callable[[], float] = time.time) -> None:
        """Open the file at *path*, or make it; blocks. Raises `ConfigurationError`."""
        self._database = Database(path)
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._wall = wall
        self._kinds = kinds()
        #: The last turn of which everything is known here.
        self._seen = 0
        #: As they are within a transaction.
        self._entries = self._bytes = self._turn = 0

    def __len__(self) -> int:
        return int(self._database.ask("SELECT entries FROM totals")[0][0])

    def __contains__(self, key: str) -> bool:
        return bool(self._database.ask("SELECT 1 FROM journal WHERE key = ? LIMIT 1", key))

    def pending(self, key: str) -> list[Row]:
        """See `Journal`."""
        return self._rows("key = ? ORDER BY number", key)

    def batch(self, size: int, passing: Collection[str] = ()) -> list[Row]:
        """See `Journal`."""
        others = f"key NOT IN ({','.join('?' * len(passing))})"
        columns = self._database.ask(f"{SELECT} {others} ORDER BY number LIMIT ?", *passing, size)
        rows = list(self._readable(columns))
        if len(rows) < len(columns):
            numbers = {row.number for row in rows}
            for number, *_ in columns:
                if number not in numbers:
                    self._set_aside(number, "CORRUPT", self._wall())
        return rows

    @contextmanager
    def writing(self) -> Generator[None]:
        """See `Journal`: one transaction, with which no other process's overlaps."""
        with self._database.transaction():
            self._entries, self._bytes, self._turn = self._database.ask("SELECT entries, bytes, turn FROM totals")[0]
            before = self._turn
            yield
            if self._turn != before:
                totals = (self._entries, self._bytes, self._turn)
                self._database.do("UPDATE totals SET entries = ?, bytes = ?, turn = ?", *totals)
                self._database.tell(self._turn)
        if self._seen == before:
            # Nobody else's news lie between.
            self._seen = self._turn

    def record(self, commands: Iterable[Command[Any]], now: float) -> None:
        """See `Journal`."""
        for command in commands:
            if command.sweeps:
                self._delete("key = ? AND stamp < ?", command.key, stamp_of(command))
            found = self._database.ask(f"SELECT size, {COLUMNS} FROM journal WHERE {SLOT}", command.key, command.slot)
            held = next(self._readable(columns for _, *columns in found), None)
            if held is not None and not command.supersedes(held.command):
                continue
            if held is not None:
                command = command.replacing(held.command)  # noqa: PLW2901
            for size, *_ in found:
                # The row that comes takes its place.
                self._change(-1, -size)
            for row in self._rows(
                f"key = ? AND expires_at <= ? AND NOT ({SLOT})", command.key, now, command.key, command.slot
            ):
                if outlived(row.command, stamp_of(command)):
                    self._delete("number = ?", row.number)
            self._insert(command, now)

    def settle(self, rows: Iterable[Row]) -> None:
        """See `Journal`."""
        with self.writing():
            for row in rows:
                self._delete("number = ?", row.number)

    def bury(self, row: Row, code: str, now: float) -> None:
        """See `Journal`."""
        self._set_aside(row.number, code, now)

    def forget(self, before: float) -> None:
        """See `Journal`."""
        with self.writing():
            self._delete("recorded_at < ?", before)

    def stirred(self) -> bool:
        """See `Journal`."""
        return self._database.turn != self._seen

    def news(self) -> list[Row]:
        """See `Journal`."""
        # Rows of a later turn are news again the next time.
        ((turn,),) = self._database.ask("SELECT turn FROM totals")
        rows = self._rows("number > ? ORDER BY number", self._seen)
        self._seen = turn
        return rows

    def lease_replay(self, holder: str) -> bool:
        """See `Journal`."""
        now = self._wall()
        with self.writing():
            # A time further off than a lease is long comes from before the clock was set.
            lease = "UPDATE replay SET holder = ?, until = ? WHERE holder = ? OR until NOT BETWEEN ? AND ?"
            return bool(self._database.do(lease, holder, now + LEASE, holder, now, now + LEASE))

    def statistics(self) -> JournalStatistics:
        """See `Journal`."""
        found = self._database.ask("SELECT entries, bytes, forgotten + (SELECT COUNT(*) FROM dead) FROM totals")
        return JournalStatistics(*found[0])

    def dead(self) -> list[DeadRow]:
        """What was given up, oldest first."""
        found = self._database.ask(f"SELECT {COLUMNS}, code, died_at FROM dead ORDER BY number")
        codes = {columns[0]: columns[-2:] for columns in found}
        return [DeadRow(row, *codes[row.number]) for row in self._readable([columns[:-2] for columns in found])]

    def revive(self, now: float) -> int:
        """Keep again what was given up, unless something newer is kept; how many rows that were."""
        dead = self.dead()
        with self.writing():
            for each in dead:
                self.record((each.row.command,), now)
            return self._database.do("DELETE FROM dead")

    def drop(self, *, dead: bool) -> int:
        """Forget what was given up, or what is kept; how many rows that were."""
        with self.writing():
            if not dead:
                return self._delete("TRUE")
            self._database.do("UPDATE totals SET forgotten = 0")
            return self._database.do("DELETE FROM dead")

    def upkeep(self, now: float | None) -> None:
        """See `Journal`."""
        if now is None:
            self._database.tidy()
            return
        told = [name for name, kind in self._kinds.items() if kind.told]
        self._database.tidy(
            ("DELETE FROM journal WHERE expires_at < ?", now),
            ("DELETE FROM journal WHERE tombstone AND recorded_at < ?", now - TOMBSTONE),
            *((f"DELETE FROM journal WHERE kind = '{name}' AND recorded_at < ?", now - TOLD_FOR) for name in told),
            ("UPDATE totals SET (entries, bytes) = (SELECT COUNT(*), TOTAL(size) FROM journal)", None),
        )

    def close(self) -> None:
        """See `Journal`."""
        self._database.close()

    def _insert(self, command: Command[Any], now: float) -> None:
        key, stamp, size = command.key, stamp_of(command), weight(command)
        self._change(1, size)
        full(self._entries, self._bytes, self._max_entries, self._max_bytes)
        later = "key = ? AND stamp > ? AND expires_at IS NOT NULL"
        later_ends = self._database.ask(f"SELECT stamp, expires_at FROM journal WHERE {later}", key, stamp)
        ends = prolonged(command.expires_at, later_ends)
        self._database.do(
            "INSERT OR REPLACE INTO journal (number, recorded_at, key, slot, stamp, kind, fields, expires_at, "
            "tombstone, size) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            *(self._turn, now, key, command.slot, stamp, type(command).__name__, dump(command), ends),
            *(command.tombstone, size),
        )
        if ends is not None:
            # The newest end is that of the whole key: the older parts must not be gone before it is replayed, unless
            # they had ended before it was written.
            older = "key = ? AND stamp < ? AND (expires_at IS NULL OR expires_at > ?)"
            given = time_of(stamp) if stamp else 0.0
            self._database.do(f"UPDATE journal SET expires_at = ? WHERE {older}", ends, key, stamp, given)
        if command.keeps is not None:
            oldest = "stamp <= (SELECT stamp FROM journal WHERE key = ? ORDER BY stamp DESC LIMIT 1 OFFSET ?)"
            self._delete(f"key = ? AND {oldest}", key, key, command.keeps)

    def _delete(self, condition: str, *parameters: object) -> int:
        count, size = self._database.ask(f"SELECT COUNT(*), TOTAL(size) FROM journal WHERE {condition}", *parameters)[0]
        if count:
            self._database.do(f"DELETE FROM journal WHERE {condition}", *parameters)
            self._change(-count, -int(size))
        return int(count)

    def _change(self, entries: int, size: int) -> None:
        """Note what comes or goes within a transaction, each time in another turn, which numbers the row that comes."""
        self._entries += entries
        self._bytes += size
        self._turn += 1

    def _set_aside(self, number: int, code: str, now: float) -> None:
        with self.writing():
            bury = f"INSERT OR REPLACE INTO dead SELECT {COLUMNS}, ?, ? FROM journal WHERE number = ?"
            self._database.do(bury, code, now, number)
            self._delete("number = ?", number)
            forgotten = self._database.do(FORGET_DEAD, MAX_DEAD, self._max_bytes)
            self._database.do("UPDATE totals SET forgotten = forgotten + ?", forgotten)

    def _rows(self, condition: str, *parameters: object) -> list[Row]:
        return list(self._readable(self._database.ask(SELECT + condition, *parameters)))

    def _readable(self, found: Iterable[Any]) -> Iterator[Row]:
        for columns in found:
            # What this version cannot read is for another one to replay; `batch` puts it with the dead.
            with suppress(CorruptValue):
                yield self._row(columns)

    def _row(self, columns: tuple[Any, ...]) -> Row:
        number, at, key, kind, fields, ends = columns
        command = load(self._kinds.get(kind), key, fields)
        return Row(number, at, command if ends is None else command.ending(ends))
