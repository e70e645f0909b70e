"""Lookup: how an entry of a family is found, near or in Redis."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection
from typing import TYPE_CHECKING, Generic, TypeVar

from polly_state.cache.entries import Entry, EntryCodec
from polly_state.cache.known import Proofs
from polly_state.cache.looks import NEAR, Found, Wanted, found
from polly_state.cache.reading import Reading
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
from polly_state.store import Answer, Origin
from polly_state.structures import Family, Id

if TYPE_CHECKING:
    from polly_state.near.sieve import Kept

__all__ = ["Lookup"]

T = TypeVar("T")


class Lookup(Generic[T]):
    """Finds the entries of one family and type that count."""

    def __init__(self, shared: Shared, name: str, codec: EntryCodec[T], lifetime: Lifetime, tally: Tally) -> None:
        self.lifetime = lifetime
        self.tally = tally
        self.codec = codec
        self.family = Family(shared.namespace, f"cache.{name}")
        self._prefix = self.family.prefix
        self._shared = shared
        self._store = shared.store
        self._execute = shared.store.execute
        self._markers = shared.markers
        self._name = name
        self._now = shared.store.clock.now
        self._number = codec.number
        # What is never kept near bears no proof.
        self._proofs = shared.markers.known.proofs(codec.number) if lifetime.near else Proofs()
        self._keeps = lifetime.near

    async def look(self, key: str) -> Found[T]:
        """The entry at *key* as it is stored, unless it is invalid or past its end."""
        return self._near_found(key) or await self.fetch(key)

    async def look_many(self, keys: Collection[str]) -> list[Found[T]]:
        """The same for each of the *keys*, in one round trip for those that are not near."""
        looks = [self._near_found(key) for key in keys]
        asked = [self.fetch(key) for key, look in zip(keys, looks, strict=True) if look is None]
        answers = iter(await asyncio.gather(*asked))
        return [next(answers) if look is None else look for look in looks]

    async def fetch(self, key: str) -> Found[T]:  # noqa: C901 - each further call on the way of a hit would be felt
        """The same, whatever is near."""
        markers, near = self._markers, self._shared.near if self._keeps else None
        ticket = None if near is None else near.begin(key)
        known = markers.known.reading if self._keeps or markers.known.in_order else None
        reading = markers.reading if known is None else known
        if reading is None:
            answer, reading = await self._led(key)
        else:
            try:
                answer = await self._execute(Get(key))
            except StateUnavailable:
                answer = None
            except CommandRejected:
                self.unreadable()
                answer = None
            if known is not None:
                # Perhaps another one by now.
                reading = markers.known.told() or await markers.read()
            elif not reading.done and not await reading.wait():
                reading = await markers.read()
        marks = reading.of(self._name)
        content = None if answer is None else answer[0]
        if answer is None or content is None:
            return found(None, marks, answer, 0.0)
        if not reading.sure:
            # Another server has the markers, and is away: nobody here knows of what it was told meanwhile.
            answer = answer._replace(origin=Origin.MIRROR)
        entry, left = self._read(content)
        if entry is not None:
            if entry.marks != marks and not await self._counts(entry.marks, marks):
                entry = None
            elif near is not None and ticket is not None and answer.origin is Origin.REDIS:
                near.fill(key, ticket, entry.value, len(content), entry.expires, about=entry.apart(marks))
        return found(entry, marks, answer, left)

    def fresh(self, found: Found[T]) -> Entry[T] | None:
        """The entry that was found if it is fresh; counts it as a hit, or as a miss."""
        entry, tally = found.entry, self.tally
        if found.answer is NEAR:
            # It has been counted, and ends there when it expires.
            return entry
        if entry is None or found.left <= 0:
            tally.misses += 1
            return None
        tally.hits += 1
        tally.stale += entry.failed
        return entry

    def held(self, id: Id) -> Kept | None:
        """What is `near` of *id*, if it was found to count there and no marker has changed since."""
        proofs = self._proofs
        near = proofs.near
        # The text of a tuple, or of a class of one's own, may be that of another id.
        if near is None or not (type(id) is str or type(id) is int):
            return None
        kept = near.proven(f"{self._prefix}{id}}}", proofs.untagged, proofs.tagged)
        if kept is not None:
            self.tally.near_hits += 1
        return kept

    def near(self, key: str) -> Kept | None:
        """What this process holds of a fresh entry, and Redis vouches for; asks nobody, and counts as a hit."""
        proofs = self._proofs
        kept = None if proofs.near is None else proofs.near.held(key)
        if kept is None or kept.about.codec != self._number:
            return None
        if abs(kept.proof) not in (proofs.untagged, proofs.tagged):
            proof = self._proof(kept.about)
            if proof is None:
                return None
            # It counts for `held` as well if the id stands in the key as it is.
            kept.proof = proof if self.family.plain(key) else -proof
        self.tally.near_hits += 1
        self.tally.stale += kept.about.failed
        return kept

    def _near_found(self, key: str) -> Found[T] | None:
        kept = self.near(key)
        if kept is None:
            return None
        about = kept.about
        return found(about.around(kept.given()), about.marks, NEAR, about.expires - self._now())

    def _proof(self, about: Entry[None]) -> int | None:
        """A number that proves for as long as nothing changes that an entry counts; 0 if it does now, None if not."""
        reading = self._markers.known.told()
        if reading is None:
            return None
        marks = reading.of(self._name)
        untagged = about.marks == marks
        if not untagged and not self._markers.near_valid(about.marks, marks):
            return None
        if about.failed or reading.until < math.inf:
            return 0
        return self._proofs.untagged if untagged else self._proofs.tagged

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
        entry = None if content is None else self._read(content)[0]
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

    def _read(self, content: bytes) -> tuple[Entry[T] | None, float]:
        """The entry in *content* unless it is past its end, and for how many seconds more it is fresh."""
        self.tally.bytes_read += len(content)
        try:
            entry = self.codec.decode(content)
        except CorruptValue:
            self.unreadable()
            return None, 0.0
        now = self._now()
        left = entry.expires - now
        return (entry, left) if left > 0 or entry.ends > now else (None, 0.0)
