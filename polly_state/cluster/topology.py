"""The topology of a Cluster: which servers there are, and which slots each of them has."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from polly_state.address import Address
from polly_state.cluster.circuits import ClusterCircuits
from polly_state.cluster.seeds import Seeds
from polly_state.cluster.slots import QUESTIONS, SLOTS, Place, Range, View, tag_in, view_in
from polly_state.connection import ConnectionManager
from polly_state.errors import ConfigurationError, StateError
from polly_state.events import Observer
from polly_state.settings import Settings
from polly_state.stamps import HybridClock

__all__ = ["Audience", "Topology"]


class Audience(Protocol):
    """Who is told what becomes of a Cluster's servers."""

    def joined(self, node: ConnectionManager, tag: str) -> None:
        """A server has slots, among them that of *tag*; before it is connected to, and again when that slot moves."""
        ...

    def left(self, node: ConnectionManager) -> None:
        """A server has no slots any more."""
        ...

    def known(self, asked_at: float) -> None:
        """The topology, by now taken in, was asked for then; by the monotonic clock in seconds."""
        ...

    def doubted(self) -> None:
        """A server answers for another one, which may not be known yet."""
        ...


class Topology:
    """A connection manager for each master, and who has which slot, as it was found out last."""

    def __init__(self, address: Address, settings: Settings, *, clock: HybridClock, observe: Observer) -> None:
        self.nodes: dict[Place, ConnectionManager] = {}
        self.circuits = ClusterCircuits(self.nodes)
        self.slots: list[ConnectionManager | None] = [None] * SLOTS
        self.audience: Audience
        """To be set before the first `refresh`."""
        self._address = address
        self._settings = settings
        self._clock = clock
        self._observe = observe
        self._seeds = Seeds(address, settings)
        self._ranges: tuple[Range, ...] = ()
        self._tags: dict[ConnectionManager, str] = {}
        #: Those without slots so far: by the next change they have some, and are greeted as such, or are done with.
        self._guests: dict[Place, ConnectionManager] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    async def refresh(self) -> None:
        """Find out what has changed, once for all who ask meanwhile.

        Raises:
            StoreUnavailable: No server answers.
            ConfigurationError: A server is in no Cluster, or refuses the password or the certificate.
        """
        await asyncio.shield(self.begin_refresh())

    def begin_refresh(self) -> asyncio.Task[None]:
        """The same, for who does not wait."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._refresh(), name="polly_state cluster")
            self._refreshing.add_done_callback(_retrieved)
        return self._refreshing

    async def node_at(self, place: Place) -> ConnectionManager:
        """The server there, connected to if it answers."""
        node = self.nodes.get(place) or self._guests.get(place)
        if node is None:
            node = self._guests[place] = self._manager(place)
            await node.start()
        return node

    async def aclose(self) -> None:
        """End every task and connection."""
        tasks = [*self._leaving, *([] if self._refreshing is None else [self._refreshing])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(node.aclose() for node in (*self.nodes.values(), *self._guests.values())))

    async def _refresh(self) -> None:
        asked_at = time.monotonic()
        try:
            view = await self._view()
        except ConfigurationError as fault:
            self._note(fault)
            raise
        self._note(None)
        if view.ranges != self._ranges:
            await self._rearrange(view.ranges)
        if view.healthy:
            self.audience.known(asked_at)

    async def _view(self) -> View:
        """How one of the servers sees the Cluster: one that the others are in touch with, if there is any."""
        view = None
        for node in [*self.nodes.values()]:
            if node.circuits.link.closed:
                with suppress(StateError):
                    view = view_in(await asyncio.gather(*map(node.send, QUESTIONS)), node.address)
                    if view.healthy:
                        return view
        return view or await self._seeds.view()

    async def _rearrange(self, ranges: tuple[Range, ...]) -> None:
        """Take in who has which slots now."""
        by_place: dict[Place, list[Range]] = {}
        for each in ranges:
            by_place.setdefault(each.place, []).append(each)
        slots: list[ConnectionManager | None] = [None] * SLOTS
        new: list[ConnectionManager] = []
        for place, owned in by_place.items():
            node = self.nodes.get(place)
            if node is None:
                node = self.nodes[place] = self._manager(place)
                node.circuits.on_change.append(self.circuits.changed)
                new.append(node)
            tag = tag_in(owned)
            if self._tags.get(node) != tag:
                self._tags[node] = node.canary.tag = tag
                self.audience.joined(node, tag)
            for first, last, _ in owned:
                slots[first : last + 1] = [node] * (last + 1 - first)
        gone = [self.nodes.pop(place) for place in self.nodes.keys() - by_place.keys()]
        for node in gone:
            del self._tags[node]
            self.audience.left(node)
        gone += self._guests.values()
        self._guests = {}
        self.slots = slots
        self._ranges = ranges
        if gone:
            self._part_with(gone)
        # One that refuses the password, or cannot be reached, says so by its circuits.
        await asyncio.gather(*(node.start() for node in new), return_exceptions=True)
        self.circuits.changed()

    def _manager(self, place: Place) -> ConnectionManager:
        address = self._address.at(*place)
        # Whether a start without Redis is an error is for the whole Cluster to say.
        settings = replace(self._settings, address=address, required=False)
        return ConnectionManager(address, settings, clock=self._clock, observe=self._observe)

    def _part_with(self, nodes: list[ConnectionManager]) -> None:
        async def part() -> None:
            try:
                # What is on its way to them may still be answered.
                await asyncio.sleep(self._settings.deadlines.operation)
            finally:
                await asyncio.gather(*(node.aclose() for node in nodes))

        task = asyncio.create_task(part(), name="polly_state cluster leaving")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    def _note(self, fault: ConfigurationError | None) -> None:
        if fault is not self.circuits.found:
            self.circuits.found = fault
            self.circuits.changed()


def _retrieved(task: asyncio.Task[None]) -> None:
    # Who waited for it was told; nobody may have.
    _ = task.cancelled() or task.exception()
