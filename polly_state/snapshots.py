"""What a state tells of itself at one moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from polly_state.events import Mode

if TYPE_CHECKING:
    from polly_state.cache import CacheStatistics
    from polly_state.connection import ConnectionStatistics
    from polly_state.near import NearStatistics
    from polly_state.store import OperationStatistics
    from polly_state.store.journal import JournalStatistics
    from polly_state.store.repair import RepairStatistics
    from polly_state.store.replay import ReplayStatistics

__all__ = ["Health", "Statistics"]


class Health(NamedTuple):
    """Whether the bot can work. Degraded is ready: calls are answered, from here."""

    ready: bool
    mode: Mode
    redis_available: bool
    pending: int
    """Writes that wait for Redis."""


class Statistics(NamedTuple):
    """A snapshot of everything that is counted."""

    mode: Mode
    pending: int
    operations: dict[str, OperationStatistics]
    connection: ConnectionStatistics | None
    """None without Redis."""
    journal: JournalStatistics | None
    """None in memory alone."""
    replay: ReplayStatistics | None
    repair: RepairStatistics | None
    cache: dict[str, CacheStatistics]
    """By the name of the family."""
    near: NearStatistics | None
    local_entries: int
    local_bytes: int
