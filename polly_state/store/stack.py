"""What stands behind the handles, with a Redis or without one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from polly_state.events import Mode
from polly_state.store.base import Store

if TYPE_CHECKING:
    from polly_state.connection import ConnectionStatistics
    from polly_state.near import Near, NearStatistics
    from polly_state.store.journal import JournalStatistics
    from polly_state.store.repair import RepairStatistics
    from polly_state.store.replay import ReplayStatistics

__all__ = ["Stack"]


class Stack(Protocol):
    """Everything that is opened and closed together."""

    @property
    def mode(self) -> Mode:
        """Where commands are answered now."""
        ...

    @property
    def pending(self) -> int:
        """Writes that wait for Redis."""
        ...

    @property
    def near(self) -> Near | None:
        """What caches keep in process; None where that would gain nothing, or settings switch it off."""
        ...

    async def open(self) -> Store:
        """Make it ready for commands.

        Raises:
            ConfigurationError: Redis refuses the password or the certificate, or the directory cannot be used.
            StoreUnavailable: Redis is away, and settings say that it is required.
        """
        ...

    async def aclose(self) -> None:
        """End all tasks, connections and files."""
        ...

    async def ping(self) -> float:
        """See `PollyState.ping`."""
        ...

    async def purge(self) -> None:
        """See `PollyState.purge`."""
        ...

    def connection(self) -> ConnectionStatistics | None:
        """How the connection is; None without Redis."""
        ...

    def journal(self) -> JournalStatistics | None:
        """How full the journal is; None without one."""
        ...

    def replay(self) -> ReplayStatistics | None:
        """What became of kept writes; None without Redis."""
        ...

    def repair(self) -> RepairStatistics | None:
        """What the server has lost; None without Redis."""
        ...

    def near_statistics(self) -> NearStatistics | None:
        """What caches keep in process; None without a near cache."""
        ...
