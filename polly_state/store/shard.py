"""Shards: the servers behind a stack, one or those of a Cluster, and what watches over each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from polly_state.connection import ConnectionManager, ReplyError
from polly_state.connection.link import Link
from polly_state.connection.packing import pack
from polly_state.events import EvictingServer, Observer
from polly_state.near import NearCache
from polly_state.near.joint import JointTrust, Voucher
from polly_state.near.tracking import SILENCE, Tracking
from polly_state.stamps import HybridClock
from polly_state.store.eviction import eviction_policy
from polly_state.store.repair import RepairStatistics, ServerWatch
from polly_state.wire import Reply

__all__ = ["CACHES", "Shard", "Shards"]

#: What the keys of caches begin with, after the namespace.
CACHES: Final = "cache"
SCANNED: Final = 500
#: Seconds by which the clocks of other processes may be ahead.
SKEW: Final = 0.05


class Shard:
    """All keys there are, or those that one server of a Cluster has."""

    def __init__(
        self, connection: ConnectionManager, watch: ServerWatch, tracking: Tracking | None, observe: Observer
    ) -> None:
        self.watch = watch
        self._connection = connection
        self._tracking = tracking
        self._observe = observe
        self._policy: str | None = None
        connection.greet = self._greet

    async def tick(self) -> None:
        """See whether the server is still the same one, and whether it answers."""
        if not self._connection.circuits.link.closed:
            return
        if self._tracking is None:
            await self._check()
        else:
            await self._tracking.beat(self._check)

    async def purge(self, namespace: str, stamp: str) -> None:
        """Delete everything in *namespace*, and leave word to all who write there that this was meant."""
        await self._ask("SET", self.watch.epoch_key, stamp)
        await self._check()
        cursor = b"0"
        while True:
            cursor, keys = await self._ask("SCAN", cursor, "MATCH", f"{namespace}:*", "COUNT", SCANNED)
            # What tells the others of the wipe, and of what the server has, stays.
            doomed = [key for key in keys if not key.startswith(f"{namespace}:~".encode()) or b":~m:" in key]
            await asyncio.gather(*(self._ask("UNLINK", key) for key in doomed))
            if cursor == b"0":
                break

    async def _greet(self, link: Link) -> None:
        def ask(*words: str | bytes | int) -> Awaitable[Reply]:
            return link.submit(pack(words))

        await self.watch.check(ask, connected=True)
        policy = await eviction_policy(ask)
        if policy not in (None, self._policy):
            self._observe(EvictingServer(str(policy)))
        self._policy = policy
        if self._tracking is not None:
            await self._tracking.follow(link)

    async def _check(self) -> None:
        await self.watch.check(self._send)

    def _send(self, *words: str | bytes | int) -> Awaitable[Reply]:
        return self._connection.send(words)

    async def _ask(self, *words: str | bytes | int) -> Reply:
        reply = await self._send(*words)
        if isinstance(reply, ReplyError):
            raise self._connection.refused(reply)
        return reply


class Shards:
    """All servers there are at present, as the `Audience` of a Cluster.

    What is near is handed out while each of them is watched over.
    """

    def __init__(
        self,
        namespace: str,
        clock: HybridClock,
        make_watch: Callable[[str], ServerWatch],
        observe: Observer,
        near: NearCache | None,
    ) -> None:
        self._namespace = namespace
        self._clock = clock
        self._make_watch = make_watch
        self._observe = observe
        self._near = near
        self._trust = None if near is None else JointTrust(near)
        #: That all servers are known, where there may be others.
        self._topology: Voucher | None = None
        self._vouchers: dict[ConnectionManager, Voucher] = {}
        self._shards: dict[ConnectionManager, Shard] = {}
        #: By tag: whichever server has its slot, it is to have what was acknowledged there.
        self._watches: dict[str, ServerWatch] = {}

    def joined(self, node: ConnectionManager, tag: str) -> None:
        """See `Audience`."""
        watch = self._watches.get(tag)
        if watch is None:
            watch = self._watches[tag] = self._make_watch(tag)
        held = self._shards.get(node)
        if held is not None:
            held.watch = watch
            return
        tracking = None
        if self._trust is not None:
            if tag and self._topology is None:
                self._topology = self._trust.voucher()
            voucher = self._vouchers[node] = self._trust.voucher()
            tracking = Tracking(voucher, f"{self._namespace}:{CACHES}")
        self._shards[node] = Shard(node, watch, tracking, self._observe)

    def left(self, node: ConnectionManager) -> None:
        """See `Audience`."""
        del self._shards[node]
        if self._trust is not None:
            self._trust.dismiss(self._vouchers.pop(node))

    def known(self, asked_at: float) -> None:
        """See `Audience`: a server that is not known could change what is near, and nobody would tell."""
        if self._topology is not None:
            self._topology.trust(asked_at + SILENCE)

    def doubted(self) -> None:
        """See `Audience`."""
        if self._near is not None:
            self._near.flush()

    async def tick(self) -> None:
        """Look after each of them; the failure of one is no reason to leave out another."""
        failures = await asyncio.gather(*(shard.tick() for shard in self._shards.values()), return_exceptions=True)
        for failure in failures:
            if failure is not None:
                raise failure

    async def purge(self) -> None:
        """Delete everything, and leave word of that. Raises `StoreUnavailable`."""
        # The clocks of others may be a little ahead: what they wrote before this goes too.
        self._clock.see(self._clock.stamp(), SKEW)
        stamp = self._clock.stamp()
        await asyncio.gather(*(shard.purge(self._namespace, stamp) for shard in self._shards.values()))
        # What is written from now on is after the wipe.
        await asyncio.sleep(SKEW)

    def statistics(self) -> RepairStatistics:
        """What they have lost so far, together."""
        parts = [watch.statistics() for watch in self._watches.values()]
        return RepairStatistics(sum(part.resent for part in parts), sum(part.possible_loss for part in parts))
