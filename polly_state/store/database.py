"""The SQLite file that a journal lives in: opened with care, set aside when it is damaged, shared by processes."""

from __future__ import annotations

import logging
import mmap
import os
import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from polly_state.errors import ConfigurationError, LocalStoreFull, StoreUnavailable
from polly_state.store.directory import locked, private_file, set_aside
from polly_state.store.journal import JournalBusy

__all__ = ["Database"]

_log = logging.getLogger("polly_state")

APPLICATION: Final = 0x706F6C79
VERSION: Final = 2
SCHEMA: Final = f"""
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE journal (
    number INTEGER PRIMARY KEY, recorded_at REAL NOT NULL, key TEXT NOT NULL,
    slot TEXT NOT NULL, stamp TEXT NOT NULL, kind TEXT NOT NULL, fields TEXT NOT NULL, expires_at REAL,
    tombstone INTEGER NOT NULL, size INTEGER NOT NULL, UNIQUE (key, slot)
);
CREATE TABLE dead (
    number INTEGER PRIMARY KEY, recorded_at REAL NOT NULL, key TEXT NOT NULL, kind TEXT NOT NULL, fields TEXT NOT NULL,
    expires_at REAL, code TEXT NOT NULL, died_at REAL NOT NULL
);
CREATE TABLE totals (
    entries INTEGER NOT NULL, bytes INTEGER NOT NULL, turn INTEGER NOT NULL, forgotten INTEGER NOT NULL DEFAULT 0
);
INSERT INTO totals VALUES (0, 0, 0, 0);
CREATE TABLE replay (holder TEXT NOT NULL, until REAL NOT NULL);
INSERT INTO replay VALUES ('', 0);
PRAGMA application_id = {APPLICATION};
PRAGMA user_version = {VERSION};
COMMIT;
"""
MIGRATION: Final = f"""
BEGIN;
ALTER TABLE totals ADD COLUMN forgotten INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
UPDATE totals SET turn = (
    SELECT IFNULL(MAX(number), 0) FROM (SELECT number FROM journal UNION ALL SELECT number FROM dead)
);
PRAGMA user_version = {VERSION};
COMMIT;
"""
SETTINGS: Final = """
PRAGMA synchronous = NORMAL;
PRAGMA trusted_schema = OFF;
PRAGMA wal_autocheckpoint = 0;
PRAGMA journal_size_limit = 16777216;
"""
PATIENCE: Final = 5.0
TURN: Final = 8
PRIMARY_CODE: Final = 0xFF
WAITING: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
NO_ROOM: Final = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
)


class Database:
    """One connection to the file, for one thread at a time; it never waits for another one.

    A commit costs tens of microseconds, since the write-ahead log goes to the disk by itself and at `tidy`: what was
    committed survives the end of the process, however that comes.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, or make it; blocks.

        Raises `ConfigurationError` if it is not a journal, or a newer version's, or not private to this user.
        """
        self.path = private_file(path.parent, path.name)
        turn = private_file(path.parent, f"{path.name}-turn")
        with locked(private_file(path.parent, f"{path.name}-lock")):
            self._connection = _opened(self.path)
        self._connection.execute("PRAGMA busy_timeout = 0")
        # Whoever writes leaves a turn here: to look at it takes a tenth of a microsecond, and no system call.
        self._descriptor = os.open(turn, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        if os.fstat(self._descriptor).st_size < TURN:
            os.ftruncate(self._descriptor, TURN)
        self._turn = mmap.mmap(self._descriptor, TURN)

    @property
    def turn(self) -> int:
        """What was last told by whichever process; if that is committed, it is in the file as well."""
        return int.from_bytes(self._turn[:TURN], "big")

    def tell(self, turn: int) -> None:
        """Show all processes another *turn*, as the last thing in a transaction that puts it into the file."""
        # Before the commit, while nobody else writes: so none is shown after a later one. One whose commit fails only
        # makes others look in vain.
        self._turn[:TURN] = turn.to_bytes(TURN, "big")

    def ask(self, question: str, *parameters: object) -> list[Any]:
        """The rows that *question* finds."""
        try:
            return self._connection.execute(question, parameters).fetchall()
        except sqlite3.Error as error:
            raise _failure(error) from error

    def do(self, statement: str, *parameters: object) -> int:
        """How many rows *statement* has changed."""
        try:
            return self._connection.execute(statement, parameters).rowcount
        except sqlite3.Error as error:
            raise _failure(error) from error

    @contextmanager
    def transaction(self) -> Generator[None]:
        """All that is done in it, or after an error nothing; no other process's overlaps. Raises `JournalBusy`."""
        self.do("BEGIN IMMEDIATE")
        try:
            yield
            self.do("COMMIT")
        finally:
            if self._connection.in_transaction:
                self.do("ROLLBACK")

    def tidy(self, *statements: tuple[str, object]) -> None:
        """Carry out *statements* and bring the write-ahead log into the file, over a connection of its own; blocks."""
        connection = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None)
        try:
            connection.executescript(SETTINGS)
            if statements:
                connection.execute("BEGIN IMMEDIATE")
                for statement, parameter in statements:
                    connection.execute(statement, () if parameter is None else (parameter,))
                connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error as error:
            raise _failure(error) from error
        finally:
            connection.close()

    def close(self) -> None:
        """Let go of the file; blocks."""
        self._connection.close()
        self._turn.close()
        os.close(self._descriptor)


def _opened(path: Path) -> sqlite3.Connection:
    try:
        return _checked(path)
    except sqlite3.DatabaseError as error:
        if (error.sqlite_errorcode & PRIMARY_CODE) not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise ConfigurationError(
                f"the journal cannot be opened ({error.sqlite_errorname}); it needs a writable local file system"
            ) from error
    aside = set_aside(path)
    connection = _checked(private_file(path.parent, path.name))
    _log.error(
        "the journal was damaged: %d writes could be read, and the file is kept as %s",
        _salvage(aside, connection),
        aside.name,
    )
    return connection


def _checked(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        _check_owner(connection)
        connection.executescript(SETTINGS)
        _check_content(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_owner(connection: sqlite3.Connection) -> None:
    """See to it that the file is a journal of this version, as a new one is not yet."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
        connection.executescript(SCHEMA)
    elif application != APPLICATION:
        raise ConfigurationError("POLLY_STATE_DIR: its journal was made by something else; use another directory")
    elif version > VERSION:
        raise ConfigurationError(
            "POLLY_STATE_DIR: its journal was written by a newer version; upgrade polly_state, or use another directory"
        )
    elif version < VERSION:
        connection.executescript(MIGRATION)


def _check_content(connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        raise ConfigurationError("POLLY_STATE_DIR: a local file system is needed, not one of the network")
    if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
        raise _damaged()


def _damaged() -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError("the journal is damaged")
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_CORRUPT, "SQLITE_CORRUPT"
    return error


def _salvage(aside: Path, connection: sqlite3.Connection) -> int:
    """Copy the rows that can still be read from a damaged file; how many."""
    copied = 0
    damaged = sqlite3.connect(aside, isolation_level=None)
    try:
        for row in damaged.execute("SELECT * FROM journal NOT INDEXED ORDER BY number"):
            connection.execute(f"INSERT INTO journal VALUES ({', '.join('?' * len(row))})", row)
            copied += 1
    except sqlite3.Error as error:
        _log.warning("the damaged journal could be read no further (%s)", error.sqlite_errorname)
    finally:
        damaged.close()
    connection.execute(
        "UPDATE totals SET (entries, bytes, turn) = (SELECT COUNT(*), TOTAL(size), IFNULL(MAX(number), 0) FROM journal)"
    )
    return copied


def _failure(error: sqlite3.Error) -> Exception:
    # An error of the module itself, such as on a closed connection, has no code.
    code = getattr(error, "sqlite_errorcode", 0) & PRIMARY_CODE
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    if code in WAITING:
        return JournalBusy(name)
    if code in NO_ROOM:
        return LocalStoreFull(f"the disk of the journal takes no more ({name}); make room, or let Redis return")
    return StoreUnavailable(f"the journal cannot be used ({name}); it is looked after at the next start")
