"""What stands behind the handles without a Redis: the local store, and its directory if there is one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from polly_state.errors import StoreUnavailable
from polly_state.events import Mode
from polly_state.keyspace import Keyspace
from polly_state.settings import Settings
from polly_state.stamps import HybridClock
from polly_state.store.base import Store
from polly_state.store.local import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

    from polly_state.connection import ConnectionStatistics
    from polly_state.near import NearStatistics
    from polly_state.store.channels import Channels
    from polly_state.store.journal import Journal, JournalStatistics
    from polly_state.store.overlay import Overlay
    from polly_state.store.repair import RepairStatistics
    from polly_state.store.replay import ReplayStatistics
    from polly_state.store.upkeep import Upkeep

__all__ = ["LocalStack", "journal_path", "open_journal"]

TIDY_INTERVAL = 5.0
LOOK_INTERVAL = 0.05
"""Seconds until a message from another process is seen; to look costs a tenth of a microsecond."""


class LocalStack:
    """See `Stack`."""

    mode = Mode.EMBEDDED
    pending = 0
    near = None

    def __init__(self, settings: Settings, keyspace: Keyspace, clock: HybridClock, channels: Channels) -> None:
        self._settings = settings
        self._keyspace = keyspace
        self._clock = clock
        self._channels = channels
        self._overlay: Overlay | None = None
        self._upkeep: Upkeep | None = None
        self._store: LocalStore | None = None

    async def open(self) -> Store:
        """See `Stack`."""
        if self._settings.directory is not None:
            journal = await open_journal(self._settings)
            from polly_state.store.overlay import Overlay
            from polly_state.store.upkeep import Upkeep

            self._overlay = Overlay(self._keyspace, journal, self._clock, self._settings.deadlines.operation)
            await self._overlay.load()
            self._upkeep = Upkeep((TIDY_INTERVAL, self._tidy), (LOOK_INTERVAL, self._look))
            self._upkeep.start()
        self._store = LocalStore(self._keyspace, self._clock, self._overlay)
        return self._store

    async def aclose(self) -> None:
        """See `Stack`."""
        if self._upkeep is not None:
            await self._upkeep.aclose()
        if self._overlay is not None:
            await asyncio.to_thread(self._overlay.journal.close)
            self._overlay = None

    async def ping(self) -> float:
        """See `Stack`."""
        raise StoreUnavailable("no Redis is configured; set REDIS_URL")

    async def purge(self) -> None:
        """See `Stack`."""
        overlay = self._overlay
        if overlay is not None:
            await overlay.patiently(lambda: overlay.journal.forget(float("inf")))
        self._keyspace.clear()
        self._channels.stir_all()

    def journal(self) -> JournalStatistics | None:
        """See `Stack`."""
        return None if self._overlay is None else self._overlay.journal.statistics()

    def connection(self) -> ConnectionStatistics | None:
        """See `Stack`."""
        return None

    def replay(self) -> ReplayStatistics | None:
        """See `Stack`."""
        return None

    def repair(self) -> RepairStatistics | None:
        """See `Stack`."""
        return None

    def near_statistics(self) -> NearStatistics | None:
        """See `Stack`."""
        return None

    async def _look(self) -> None:
        if self._store is not None and self._store.look():
            self._channels.stir_all()

    async def _tidy(self) -> None:
        assert self._overlay is not None  # noqa: S101
        await asyncio.to_thread(self._overlay.journal.upkeep, self._clock.now())


def journal_path(settings: Settings) -> Path | None:
    """Where the journal on disk is; None if it is in memory."""
    return None if settings.directory is None else settings.directory / f"{settings.namespace}.sqlite3"


async def open_journal(settings: Settings) -> Journal:
    """The journal that *settings* ask for, on disk if there is a directory. Raises `ConfigurationError`."""
    bounds = settings.bounds
    path = journal_path(settings)
    if path is None:
        from polly_state.store.memory_journal import MemoryJournal

        return MemoryJournal(bounds.journal_entries, bounds.journal_bytes)
    from polly_state.store.sqlite_journal import SqliteJournal

    return await asyncio.to_thread(
        SqliteJournal,
        path,
        max_entries=bounds.journal_entries,
        max_bytes=bounds.journal_bytes,
    )
