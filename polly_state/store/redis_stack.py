"""What stands behind the handles with a Redis: connection, resilient store, journal, and the watch on the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from functools import partial

from polly_state.connection import ConnectionManager, ConnectionStatistics, ReplyError
from polly_state.connection.link import Link
from polly_state.connection.packing import pack
from polly_state.errors import ConfigurationError
from polly_state.events import Event, EvictingServer, Mode, ModeChanged, Observer
from polly_state.keyspace import Keyspace
from polly_state.near import NearCache, NearStatistics
from polly_state.near.tracking import Tracking
from polly_state.settings import Settings
from polly_state.stamps import HybridClock
from polly_state.store.base import Store
from polly_state.store.channels import Channels
from polly_state.store.eviction import eviction_policy
from polly_state.store.journal import JournalStatistics
from polly_state.store.local_stack import TIDY_INTERVAL, open_journal
from polly_state.store.overlay import Overlay
from polly_state.store.redis import RedisStore
from polly_state.store.repair import RepairStatistics, Ring, ServerWatch
from polly_state.store.replay import ReplayStatistics
from polly_state.store.resilient import ResilientStore
from polly_state.store.subscriber import Subscriber
from polly_state.store.upkeep import Upkeep
from polly_state.wire import Reply

__all__ = ["RedisStack"]

#: What the keys of caches begin with, after the namespace.
CACHES = "cache"
TICK = 0.5
SCANNED = 500
SKEW = 0.05


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
        self._connection = ConnectionManager(settings.address, settings, clock=clock, observe=observe)
        prefix, bounds = f"{settings.namespace}:{CACHES}", settings.bounds
        near = NearCache(bounds.near_entries, bounds.near_bytes, clock.now, prefix=prefix) if settings.near else None
        self.near = near
        self._tracking = None if near is None else Tracking(near, prefix)
        self._upkeep = Upkeep((TICK, self._tick), (TIDY_INTERVAL, self._tidy))
        self._overlay: Overlay | None = None
        self._resilient: ResilientStore | None = None
        self._watch: ServerWatch | None = None
        self._policy: str | None = None

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
        self._watch = ServerWatch(
            settings.namespace,
            clock,
            ring,
            again=self._resilient.keep,
            wiped=self._resilient.wiped,
            observe=self._observe,
            repair=settings.repair,
        )
        self._connection.greet = self._greet
        await self._connection.start()
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
        return await self._connection.ping()

    async def purge(self) -> None:
        """See `Stack`."""
        assert self._watch is not None  # noqa: S101
        # The clocks of others may be a little ahead: what they wrote before this goes too.
        self._clock.see(self._clock.stamp(), SKEW)
        await self._ask("SET", self._watch.epoch_key, self._clock.stamp())
        await self._watch.check(self._ask)
        cursor = b"0"
        while True:
            pattern = f"{self._settings.namespace}:*"
            cursor, keys = await self._ask("SCAN", cursor, "MATCH", pattern, "COUNT", SCANNED)
            # What tells the others of the wipe, and of what the server has, stays.
            doomed = [
                key for key in keys if not key.startswith(f"{self._settings.namespace}:~".encode()) or b":~m:" in key
            ]
            if doomed:
                await self._ask("UNLINK", *doomed)
            if cursor == b"0":
                break
        # What is written from now on is after the wipe.
        await asyncio.sleep(SKEW)

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
        return None if self._watch is None else self._watch.statistics()

    def near_statistics(self) -> NearStatistics | None:
        """See `Stack`."""
        return None if self.near is None else self.near.statistics()

    async def _greet(self, link: Link) -> None:
        assert self._watch is not None  # noqa: S101

        def ask(*words: str | bytes | int) -> Awaitable[Reply]:
            return link.submit(pack(words))

        await self._watch.check(ask, connected=True)
        policy = await eviction_policy(ask)
        if policy not in (None, self._policy):
            self._observe(EvictingServer(str(policy)))
        self._policy = policy
        if self._tracking is not None:
            await self._tracking.follow(link)

    async def _tick(self) -> None:
        assert self._watch is not None and self._resilient is not None  # noqa: S101, PT018
        self._resilient.look()
        if self._connection.circuits.link.closed:
            check = partial(self._watch.check, self._send)
            await (check() if self._tracking is None else self._tracking.beat(check))

    async def _tidy(self) -> None:
        assert self._overlay is not None  # noqa: S101
        await asyncio.to_thread(self._overlay.journal.upkeep, None)

    def _noted(self, event: Event) -> None:
        if isinstance(event, ModeChanged) and event.mode is Mode.CONNECTED:
            # What was written and read here may have met something newer in Redis, which tells of no change then.
            self._channels.stir_all()
        self._observe(event)

    def _send(self, *words: str | bytes | int) -> Awaitable[Reply]:
        return self._connection.send(words)

    async def _ask(self, *words: str | bytes | int) -> Reply:
        reply = await self._send(*words)
        if isinstance(reply, ReplyError):
            raise self._connection.refused(reply)
        return reply
