"""The Cluster as one way to Redis: which server has which slots now, and each command to the one it belongs to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Final

from polly_state.address import Address
from polly_state.cluster.slots import Place, key_of, slot_of
from polly_state.cluster.topology import Audience, Topology
from polly_state.connection import ConnectionManager, ConnectionStatistics, ReplyError
from polly_state.connection.breaker import CircuitState
from polly_state.connection.server_time import round_trip
from polly_state.errors import StoreUnavailable
from polly_state.events import Observer
from polly_state.settings import Settings
from polly_state.stamps import HybridClock
from polly_state.wire import Reply, Words

__all__ = ["Cluster"]

REDIRECTIONS: Final = 16
#: From the best state of a circuit to the worst.
SEVERITY: Final = (
    CircuitState.CLOSED,
    CircuitState.PROBING,
    CircuitState.OPEN,
    CircuitState.ISOLATED,
    CircuitState.MISCONFIGURED,
)
#: Seconds until a slot that is on its way to another server is asked for again.
MOVING: Final = 0.01


class Cluster:
    """Carries each command to the server that has its slot, over a `ConnectionManager` for each master.

    So each server has circuits of its own: while one is away, its keys alone are answered without it. It belongs to
    one event loop.
    """

    def __init__(self, address: Address, settings: Settings, *, clock: HybridClock, observe: Observer) -> None:
        self.deadline = settings.deadlines.operation
        self._address = address
        self._required = settings.required
        self._topology = topology = Topology(address, settings, clock=clock, observe=observe)
        self.refresh: Final = topology.refresh
        self.aclose: Final = topology.aclose
        self._nodes = self._topology.nodes
        self.circuits = self._topology.circuits

    async def start(self, audience: Audience) -> None:
        """Find the servers, and connect to them; while none can be reached, `refresh` tries again.

        Raises as `ConnectionManager.start` does.
        """
        self._topology.audience = audience
        try:
            await self.refresh()
        except StoreUnavailable:
            if self._required:
                raise
        if self.circuits.fault is not None or (self._required and not self.circuits.link.closed):
            raise self.circuits.refusal()

    def send(self, words: Words) -> Awaitable[Reply]:
        """See `ConnectionManager.send`."""
        return self.node_of(words).send(words)

    def node_of(self, words: Words) -> ConnectionManager:
        """The way to the server that has the slot. Raises `StoreUnavailable` if there is none."""
        node = self._topology.slots[slot_of(key_of(words))]
        if node is None:
            self._check_known()
            raise StoreUnavailable("no server of the Cluster has the slot of the key")
        return node

    async def redirected(self, words: Words, reply: Reply) -> Reply:
        """The reply to *words*, if *reply* says that another server has the slot, or will have it in a moment.

        Raises `StoreUnavailable` if the servers do not agree in time.
        """
        for _ in range(REDIRECTIONS):
            code = reply.code if isinstance(reply, ReplyError) else None
            if code == "MOVED":
                node = await self._topology.node_at(self._place(words, reply))
                _ = self._topology.begin_refresh()
                reply = await node.send(words)
            elif code == "ASK":
                self._topology.audience.doubted()
                node = await self._topology.node_at(self._place(words, reply))
                _, reply = await asyncio.gather(node.send(("ASKING",)), node.send(words))
            elif code == "TRYAGAIN":
                await asyncio.sleep(MOVING)
                reply = await self.send(words)
            else:
                return reply
        raise StoreUnavailable("the servers of the Cluster do not agree which of them has a slot")

    async def ping(self) -> float:
        """Seconds for a round trip to the slowest server."""
        self._check_known()
        return max(await asyncio.gather(*(round_trip(node.send) for node in self._nodes.values())))

    def any_node(self) -> ConnectionManager:
        """A server that answers; what is published on one is heard on all. Raises as `send` does."""
        for node in self._nodes.values():
            if node.circuits.link.closed:
                return node
        raise self.circuits.refusal()

    def statistics(self) -> ConnectionStatistics:
        """All servers together; the circuits are those of the one that is worst off."""
        parts = [node.statistics() for node in self._nodes.values()]
        return ConnectionStatistics(
            address=str(self._address),
            link=max((part.link for part in parts), key=SEVERITY.index, default=CircuitState.OPEN),
            write=max((part.write for part in parts), key=SEVERITY.index, default=CircuitState.CLOSED),
            connections=sum(part.connections for part in parts),
            connected=bool(parts) and all(part.connected for part in parts),
            in_flight=sum(part.in_flight for part in parts),
            commands=sum(part.commands for part in parts),
            overdue=sum(part.overdue for part in parts),
            retries=sum(part.retries for part in parts),
        )

    def _check_known(self) -> None:
        if not self._nodes:
            raise self.circuits.refusal()

    def _place(self, words: Words, error: ReplyError) -> Place:
        # As in "MOVED 3999 127.0.0.1:6381"; a server that does not know the other's name means its own host.
        host, _, port = str(error).rpartition(" ")[2].rpartition(":")
        return host.strip("?") or self.node_of(words).address.host, int(port)
