"""What stands behind the handles with a Redis: connection, resilient store, journal, and the watch on the server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from polly_state.connection import ConnectionManager, ConnectionStatistics
from polly_state.connection.server_time import round_trip
from polly_state.errors import ConfigurationError
from polly_state.events import Event, Mode, ModeChanged, Observer
from polly_state.keyspace import Keyspace
from polly_state.near import NearCache, NearStatistics
from polly_state.settings import Settings
from polly_state.stamps import HybridClock
from polly_state.store.base import Store
from polly_state.store.channels import Channels
from polly_state.store.journal import JournalStatistics
from polly_state.store.local_stack import TIDY_INTERVAL, open_journal
from polly_state.store.overlay import Overlay
from polly_state.store.redis import RedisStore
from polly_state.store.repair import RepairStatistics, Ring, ServerWatch
from polly_state.store.replay import ReplayStatistics
from polly_state.store.resilient import ResilientStore
from polly_state.store.shard import CACHES, Shards
from polly_state.store.subscriber import Subscriber
from polly_state.store.upkeep import Upkeep

if TYPE_CHECKING:
    from polly_state.cluster import Cluster

__all__ = ["RedisStack"]

TICK = 0.5


class RedisStack:
    """See `Stack`."""

    def __init__(
        self, settings: Settings, keyspace: Keyspace, clock: HybridClock, observe: Observer, channels: Channels
    ) -> None:
        if settings.address is None:
            raise ConfigurationError("no Redis is configured; set REDIS_URL")
        self._settings = settings
        self._keyspace = keyspace
        self._clock = clock
        self._observe = observe
        self._channels = channels
        self._subscriber: Subscriber | None = None
        steps = [(TICK, self._tick), (TIDY_INTERVAL, self._tidy)]
        self._connection: ConnectionManager | Cluster
        if settings.address.cluster:
            from polly_state.cluster import Cluster

            self._connection = Cluster(settings.address, settings, clock=clock, observe=observe)
            steps.append((TICK, self._connection.refresh))
        else:
            self._connection = ConnectionManager(settings.address, settings, clock=clock, observe=observe)
        self.near = self._near_cache(settings) if settings.near else None
        self._upkeep = Upkeep(*steps)
        self._overlay: Overlay | None = None
        self._resilient: ResilientStore | None = None
        self._shards: Shards | None = None

    @property
    def mode(self) -> Mode:
        """See `Stack`."""
        return Mode.CONNECTED if self._resilient is None else self._resilient.mode

    @property
    def pending(self) -> int:
        """See `Stack`."""
        return 0 if self._resilient is None else self._resilient.pending

    async def open(self) -> Store:
        """See `Stack`."""
        settings, clock = self._settings, self._clock
        self._overlay = Overlay(self._keyspace, await open_journal(settings), clock, settings.deadlines.operation)
        await self._overlay.load()
        if self.near is not None:
            self._overlay.on_news = self.near.drop
        ring = Ring(clock, settings.bounds.ring_entries, settings.bounds.ring_bytes)
        self._resilient = ResilientStore(
            RedisStore(self._connection, clock),
            self._connection.circuits,
            self._overlay,
            ring,
            observe=self._noted,
        )
        resilient = self._resilient

        def watch(tag: str) -> ServerWatch:
            return ServerWatch(
                settings.namespace,
                clock,
                ring,
                again=resilient.keep,
                wiped=resilient.wiped,
                observe=self._observe,
                repair=settings.repair,
                tag=tag,
            )

        self._shards = Shards(settings.namespace, clock, watch, self._observe, self.near)
        if isinstance(self._connection, ConnectionManager):
            self._shards.joined(self._connection, "")
            await self._connection.start()
        else:
            await self._connection.start(self._shards)
        self._subscriber = Subscriber(self._connection, self._channels)
        self._resilient.look()
        self._upkeep.start()
        return self._resilient

    async def aclose(self) -> None:
        """See `Stack`."""
        await self._upkeep.aclose()
        if self._subscriber is not None:
            await self._subscriber.aclose()
        if self._resilient is not None:
            await self._resilient.aclose(self._settings.deadlines.close)
        await self._connection.aclose()
        if self._overlay is not None:
            await asyncio.to_thread(self._overlay.journal.close)

    async def ping(self) -> float:
        """See `Stack`."""
        if isinstance(self._connection, ConnectionManager):
            return await round_trip(self._connection.send)
        return await self._connection.ping()

    async def purge(self) -> None:
        """See `Stack`."""
        assert self._shards is not None  # noqa: S101
        await self._shards.purge()

    def journal(self) -> JournalStatistics | None:
        """See `Stack`."""
        return None if self._overlay is None else self._overlay.journal.statistics()

    def connection(self) -> ConnectionStatistics | None:
        """See `Stack`."""
        return self._connection.statistics()

    def replay(self) -> ReplayStatistics | None:
        """See `Stack`."""
        return None if self._resilient is None else self._resilient.replay.statistics()

    def repair(self) -> RepairStatistics | None:
        """See `Stack`."""
        return None if self._shards is None else self._shards.statistics()

    def near_statistics(self) -> NearStatistics | None:
        """See `Stack`."""
        return None if self.near is None else self.near.statistics()

    def _near_cache(self, settings: Settings) -> NearCache:
        bounds, prefix = settings.bounds, f"{settings.namespace}:{CACHES}"
        in_order = settings.address is not None and not settings.address.cluster
        return NearCache(bounds.near_entries, bounds.near_bytes, self._clock.now, prefix=prefix, in_order=in_order)

    async def _tick(self) -> None:
        assert self._shards is not None and self._resilient is not None  # noqa: S101, PT018
        self._resilient.look()
        if not isinstance(self._connection, ConnectionManager):
            await self._connection.refresh()
        await self._shards.tick()

    async def _tidy(self) -> None:
        assert self._overlay is not None  # noqa: S101
        await asyncio.to_thread(self._overlay.journal.upkeep, None)

    def _noted(self, event: Event) -> None:
        if isinstance(event, ModeChanged) and event.mode is Mode.CONNECTED:
            # What was written and read here may have met something newer in Redis, which tells of no change then.
            self._channels.stir_all()
        self._observe(event)
