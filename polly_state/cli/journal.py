"""``polly-state journal``: what waits for Redis in the directory of this host, and what was given up."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from polly_state import ConfigurationError, Mode, PollyState, Settings
from polly_state.errors import StoreUnavailable
from polly_state.store.journal import DeadRow, JournalBusy, Row
from polly_state.store.local_stack import journal_path
from polly_state.store.rows import dump
from polly_state.store.sqlite_journal import SqliteJournal

__all__ = ["run", "show"]

PATIENCE: Final = 5.0
POLL: Final = 0.02
ALL: Final = 1 << 30


def run(settings: Settings, arguments: argparse.Namespace) -> dict[str, Any]:
    """What the wanted action found or did.

    Raises:
        ConfigurationError: There is no directory, or no journal in it.
        StoreUnavailable: Redis is away, or others kept the journal busy.
        LookupError: There is no such row.
        OSError: A file cannot be written.
    """
    actions: dict[str, Callable[[Settings, argparse.Namespace], dict[str, Any]]] = {
        "list": _list,
        "show": _show,
        "replay": _replay,
        "export": _export,
        "drop": _drop,
    }
    return actions[arguments.action](settings, arguments)


def _list(settings: Settings, arguments: argparse.Namespace) -> dict[str, Any]:
    with _opened(settings) as journal:
        entries, size, dead = journal.statistics()
        rows: list[Row | DeadRow] = [*(journal.dead() if arguments.dead else journal.batch(arguments.limit))]
        found = [_summary(row) for row in rows[: arguments.limit]]
    return {"pending": entries, "bytes": size, "dead": dead, "rows": found}


def _show(settings: Settings, arguments: argparse.Namespace) -> dict[str, Any]:
    with _opened(settings) as journal:
        for row in _rows(journal):
            summary = _summary(row)
            if summary["number"] == arguments.number:
                return summary | {"fields": json.loads(dump(_row(row).command))}
    raise LookupError(f"there is no row {arguments.number}; 'polly-state journal list' has their numbers")


def _replay(settings: Settings, arguments: argparse.Namespace) -> dict[str, Any]:
    revived = 0
    if arguments.dead:
        with _opened(settings) as journal:
            revived = _patiently(lambda: journal.revive(time.time()))
    return asyncio.run(_send(settings, arguments.seconds)) | {"revived": revived}


async def _send(settings: Settings, seconds: float) -> dict[str, Any]:
    async with PollyState(replace(settings, required=True), observers=()) as state:
        ends = time.monotonic() + seconds
        while state.mode is not Mode.CONNECTED and time.monotonic() < ends:  # noqa: ASYNC110 - once, for one operator
            await asyncio.sleep(POLL)
        found = state.statistics()
    if found.pending:
        raise StoreUnavailable(f"{found.pending} writes still wait for Redis after {seconds:g} s; run it again")
    assert found.replay is not None  # noqa: S101 - this state has a Redis
    return found.replay._asdict() | {"pending": found.pending}


def _export(settings: Settings, arguments: argparse.Namespace) -> dict[str, Any]:
    with _opened(settings) as journal:
        rows = _rows(journal)
    # Values are in it: nobody else's to read.
    path = Path(arguments.file)
    path.touch(mode=0o600, exist_ok=False)
    with path.open("w") as file:
        for row in rows:
            fields = json.loads(dump(_row(row).command))
            file.write(json.dumps(_summary(row) | {"fields": fields}, ensure_ascii=False) + "\n")
    return {"exported": len(rows), "file": str(path)}


def _drop(settings: Settings, arguments: argparse.Namespace) -> dict[str, Any]:
    with _opened(settings) as journal:
        return {"dropped": _patiently(lambda: journal.drop(dead=not arguments.pending))}


@contextmanager
def _opened(settings: Settings) -> Generator[SqliteJournal]:
    path = journal_path(settings)
    if path is None:
        raise ConfigurationError("POLLY_STATE_DIR: it is not set, and a journal in memory ends with its process")
    if not path.exists():
        raise ConfigurationError(f"POLLY_STATE_DIR: there is no journal of the namespace {settings.namespace!r} in it")
    bounds = settings.bounds
    journal = SqliteJournal(path, max_entries=bounds.journal_entries, max_bytes=bounds.journal_bytes)
    try:
        yield journal
    finally:
        journal.close()


def _patiently(action: Callable[[], int]) -> int:
    ends = time.monotonic() + PATIENCE
    while True:
        try:
            return action()
        except JournalBusy as busy:
            if time.monotonic() > ends:
                raise StoreUnavailable("other processes keep the journal busy; try again") from busy
            time.sleep(POLL)


def _rows(journal: SqliteJournal) -> list[Row | DeadRow]:
    return [*journal.batch(ALL), *journal.dead()]


def _row(row: Row | DeadRow) -> Row:
    return row.row if isinstance(row, DeadRow) else row


def _summary(row: Row | DeadRow) -> dict[str, Any]:
    number, recorded_at, command = _row(row)
    found = {"number": number, "recorded_at": recorded_at, "kind": type(command).__name__, "key": command.key}
    return found | ({"dead": row.code} if isinstance(row, DeadRow) else {})


def show(found: dict[str, Any]) -> None:
    """Print what `run` gave, for people."""
    for name, fact in found.items():
        if name == "rows":
            for row in fact:
                at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["recorded_at"]))
                line = f"{row['number']:>8}  {at}  {row['kind']:<12}  {row['key']}  {row.get('dead', '')}"
                sys.stdout.write(line.rstrip() + "\n")
        else:
            sys.stdout.write(f"{name.replace('_', ' ')}: {fact}\n")
