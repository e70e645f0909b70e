"""Lookup: how an entry of a family is found, near or in Redis."""

from __future__ import annotations

import asyncio
from typing import Final, Generic, TypeVar

from polly_state.cache.entries import Entry, EntryCodec
from polly_state.cache.looks import Found, Wanted, found
from polly_state.cache.markers import Reading
from polly_state.cache.shared import Shared
from polly_state.cache.statistics import Tally
from polly_state.commands import Get
from polly_state.errors import (
    CommandRejected,
    CorruptValue,
    StateUnavailable,
)
from polly_state.events import CacheEntryUnreadable
from polly_state.lifetime import Lifetime
from polly_state.store import Ack, Answer, Origin

__all__ = ["Lookup"]

T = TypeVar("T")

NEAR: Final = Answer[bytes | None](None, Origin.NEAR, Ack.REMOTE)


class Lookup(Generic[T]):
    """Finds the entries of one family and type that count."""

    def __init__(self, shared: Shared, name: str, codec: EntryCodec[T], lifetime: Lifetime, tally: Tally) -> None:
        self.lifetime = lifetime
        self.tally = tally
        self.codec = codec
        self._shared = shared
        self._store = shared.store
        self._execute = shared.store.execute
        self._markers = shared.markers
        self._name = name
        self._now = shared.store.clock.now
        self._number = codec.number
        self._keeps = lifetime.near

    async def look(self, key: str) -> Found[T]:
        """The entry at *key* as it is stored, unless it is invalid or past its end."""
        entry = self.near(key)
        return await self.fetch(key) if entry is None else found(entry, entry.marks, NEAR)

    async def fetch(self, key: str) -> Found[T]:
        """The same, whatever is near."""
        markers, near = self._markers, self._shared.near if self._keeps else None
        ticket = None if near is None else near.begin(key)
        known = markers.known
        reading = markers.reading if known is None else known
        if reading is None:
            answer, reading = await self._led(key)
        else:
            # No further coroutine on the way of a hit: each would be felt.
            try:
                answer = await self._execute(Get(key))
            except StateUnavailable:
                answer = None
            except CommandRejected:
                self.unreadable()
                answer = None
            if known is not None:
                # Perhaps another one by now.
                reading = markers.told() or await markers.read()
            elif not reading.done and not await reading.wait():
                reading = await markers.read()
        marks = reading.of(self._name)
        content = None if answer is None else answer[0]
        if answer is None or content is None:
            return found(None, marks, answer)
        entry = self._read(content)
        if entry is not None:
            if entry.marks != marks and not await self._counts(entry.marks, marks):
                entry = None
            elif near is not None and ticket is not None and answer.origin is Origin.REDIS:
                near.fill(key, ticket, entry, len(content), entry.expires)
        return found(entry, marks, answer)

    def near(self, key: str) -> Entry[T] | None:
        """The fresh entry that this process holds and Redis vouches for; asks nobody."""
        near = self._shared.near if self._keeps else None
        if near is None:
            return None
        # No further call than is needed: each is a tenth of such a hit.
        entry = near.get(key)
        if not isinstance(entry, Entry) or entry.codec != self._number:
            return None
        known = self._markers.told()
        if known is None:
            return None
        marks = known.of(self._name)
        if entry.marks != marks and not self._markers.near_valid(entry.marks, marks):
            return None
        self.tally.near_hits += 1
        return entry

    async def _led(self, key: str) -> tuple[Answer[bytes | None] | None, Reading]:
        # The markers go first: their reply is there before those that others wait for.
        entry = asyncio.create_task(self._stored(key), name="polly_state cache")
        try:
            reading = await self._markers.read()
            return await entry, reading
        finally:
            entry.cancel()

    async def _stored(self, key: str) -> Answer[bytes | None] | None:
        try:
            return await self._execute(Get(key))
        except StateUnavailable:
            return None
        except CommandRejected:
            self.unreadable()
            return None

    async def marks(self, wanted: Wanted) -> bytes:
        """The marks that an entry which is loaded from now on is to carry."""
        return await self._markers.current(self._name, wanted.tags)

    async def usable(self, content: bytes | None, marks: bytes) -> Entry[T] | None:
        """The entry in *content*, if it counts under the *marks* of the family now."""
        entry = None if content is None else self._read(content)
        if entry is None or entry.marks == marks or await self._counts(entry.marks, marks):
            return entry
        return None

    def unreadable(self) -> None:
        """Note that something else is where an entry should be."""
        self.tally.unreadable += 1
        self._shared.observe(CacheEntryUnreadable(self._name))

    async def _counts(self, marks: bytes, now: bytes) -> bool:
        try:
            return await self._markers.valid(marks, now)
        except CorruptValue:
            self.unreadable()
            return False

    def _read(self, content: bytes) -> Entry[T] | None:
        self.tally.bytes_read += len(content)
        try:
            entry = self.codec.decode(content)
        except CorruptValue:
            self.unreadable()
            return None
        now = self._now()
        return entry if entry.expires > now or entry.ends > now else None
