"""Markers: what makes every entry of a family, of a tag, or of everything invalid in one write.

A marker is a durable register, so that an invalidation in an outage is journaled and replayed. An entry carries the
markers that were read *before* its load began, and counts only while they are the same: equality, not order, so that
no clock can let a slow loader store what was invalidated meanwhile, in whatever order things arrive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from polly_state.cache.known import Known
from polly_state.cache.reading import ABSENT, EVERYTHING, UNKNOWN, Reading
from polly_state.cache.tags import Tags, check_tag
from polly_state.cache.writing import writing
from polly_state.commands import Command, GetFields, PatchFields, SetRegister
from polly_state.errors import StateUnavailable
from polly_state.lifetime import MAX_CACHED
from polly_state.store import Ack, Answer, Origin, Store
from polly_state.structures import Family

if TYPE_CHECKING:
    from polly_state.near import Near

__all__ = ["Markers"]

MARKS: Final = "cache-"
#: Longer than any entry lives: an entry from before a tag's first marker must not come to life when that is gone.
TAG_TTL: Final = 2 * MAX_CACHED


class Markers:
    """The markers of one namespace. What several callers ask for in one turn of the event loop is read once."""

    def __init__(self, store: Store, namespace: str) -> None:
        self.reading: Reading | None = None
        """What who asks now can share."""
        self._store = store
        self.near: Near | None = None
        self._families = Family(namespace, f"{MARKS}markers").key("families")
        self._tags = Tags(store, namespace)
        self._tag_key = self._tags.key
        self.known = Known(f"{namespace}:{MARKS}", self._families)
        """What is known without asking."""
        # What was last seen, for an outage in which nothing else is known.
        self._last_families: dict[str, bytes] | None = None

    def attend(self, near: Near | None) -> None:
        """Keep them *near*, which tells of what has changed."""
        self.near = self._tags.near = near
        if near is not None:
            self.known.attend(near)

    def near_valid(self, marks: bytes, base: bytes) -> bool:
        """As `valid`, for *marks* with tags; False if that is not known in this process."""
        near = self.near
        if near is None:
            return False
        tags = [part.rpartition("=") for part in marks.decode().split(" ")[2:]]
        same = (near.get(self._tag_key(unquote(tag))) == mark.encode() for tag, _, mark in tags)
        return bool(tags) and marks.startswith(base) and all(same)

    async def read(self) -> Reading:
        """The markers of all families, read after this call and not before."""
        reading = self.reading
        if reading is not None and await reading.wait():
            return reading
        reading = self.reading = Reading()
        asyncio.get_running_loop().call_soon(self._close_reading)
        ticket = None if self.near is None else self.near.begin(self._families)
        try:
            answer = await self._store.execute(GetFields(self._families))
            self._last_families = answer.value
            reading.end(answer.value, ABSENT, sure=answer.origin in (Origin.REDIS, Origin.LOCAL))
            if self.near is not None and answer.origin is Origin.REDIS:
                self.known.know(reading, self.near.until(self._families, ticket))
        except StateUnavailable:
            reading.end(self._last_families or {}, UNKNOWN)
        finally:
            reading.give_up()
        return reading

    async def current(self, name: str, tags: Collection[str] = ()) -> bytes:
        """The marks of a family with *tags*, as an entry carries them, read after this call and not before."""
        base = (await self.read()).of(name)
        return base + await self._tags.marks([*tags]) if tags else base

    async def valid(self, marks: bytes, base: bytes) -> bool:
        """Whether an entry with such *marks* still counts, given those of its family now.

        Raises `CorruptValue` for what no entry carries.
        """
        if marks == base:
            return True
        base = b" ".join(base.split(b" ", 2)[:2])
        tags = self._tags.named(marks)
        return bool(tags) and marks.startswith(base + b" ") and marks == base + await self._tags.marks(tags)

    async def mark_families(self, names: Iterable[str] = (EVERYTHING,)) -> Ack:
        """Make all entries of these families invalid; of all there are, if none is named."""
        stamp = self._store.clock.stamp()
        changes: dict[str, bytes | None] = {name: stamp.encode() for name in names}
        answer = await self._written(PatchFields(self._families, stamp, changes))
        self._last_families = {**(self._last_families or {}), **dict.fromkeys(changes, stamp.encode())}
        return answer.ack

    async def mark_tag(self, tag: str) -> Ack:
        """Make all entries with *tag* invalid. Raises `ValueError` or `TypeError` for one that cannot be used."""
        check_tag(tag)
        stamp, key = self._store.clock.stamp(), self._tag_key(tag)
        answer = await self._written(SetRegister(key, stamp, stamp.encode(), TAG_TTL))
        self._tags.remember(key, stamp.encode())
        return answer.ack

    async def aclose(self) -> None:
        """End what is being read."""
        await self._tags.aclose()

    async def _written(self, command: Command[bool]) -> Answer[bool]:
        try:
            with writing(self.near, command.key):
                return await self._store.execute(command)
        finally:
            # Without Redis that took no turn: who asks next must not share what was read before.
            self.reading = None

    def _close_reading(self) -> None:
        self.reading = None
