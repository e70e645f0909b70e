"""Markers: what makes every entry of a family, of a tag, or of everything invalid in one write.

A marker is a durable register, so that an invalidation in an outage is journaled and replayed. An entry carries the
markers that were read *before* its load began, and counts only while they are the same: equality, not order, so that
no clock can let a slow loader store what was invalidated meanwhile, in whatever order things arrive.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from polly_state.cache.known import Known
from polly_state.cache.reading import ABSENT, EVERYTHING, UNKNOWN, Reading
from polly_state.cache.writing import writing
from polly_state.commands import Command, Get, GetFields, PatchFields, SetRegister
from polly_state.errors import StateError, StateUnavailable
from polly_state.lifetime import MAX_CACHED
from polly_state.store import Ack, Answer, Origin, Store
from polly_state.structures import Family

if TYPE_CHECKING:
    from polly_state.near import Near

__all__ = ["Markers"]

MARKS: Final = "cache-"
#: Longer than any entry lives: an entry from before a tag's first marker must not come to life when that is gone.
TAG_TTL: Final = 2 * MAX_CACHED
MAX_REMEMBERED: Final = 10_000


class Markers:
    """The markers of one namespace. What several callers ask for in one turn of the event loop is read once."""

    def __init__(self, store: Store, namespace: str) -> None:
        self.reading: Reading | None = None
        """What who asks now can share."""
        self._store = store
        self._families = Family(namespace, f"{MARKS}markers").key("families")
        self._tag_key = Family(namespace, f"{MARKS}tags").key
        self.known = Known(f"{namespace}:{MARKS}", self._families)
        """What is known without asking."""
        self._waiting: dict[str, list[asyncio.Future[bytes]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # What was last seen, for an outage in which nothing else is known.
        self._last_families: dict[str, bytes] | None = None
        self._last_tags: OrderedDict[str, bytes] = OrderedDict()

    def attend(self, near: Near | None) -> None:
        """Keep them *near*, which tells of what has changed."""
        self.near = near
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
            reading.end(answer.value, ABSENT)
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
        return await self._with_tags(base, [*tags]) if tags else base

    async def valid(self, marks: bytes, base: bytes) -> bool:
        """Whether an entry with such *marks* still counts, given those of its family now."""
        if marks == base:
            return True
        base = b" ".join(base.split(b" ", 2)[:2])
        tags = [unquote(part.rpartition("=")[0]) for part in marks.decode().split(" ")[2:]]
        return bool(tags) and marks.startswith(base) and marks == await self._with_tags(base, tags)

    async def mark_families(self, names: Iterable[str] = (EVERYTHING,)) -> Ack:
        """Make all entries of these families invalid; of all there are, if none is named."""
        stamp = self._store.clock.stamp()
        changes: dict[str, bytes | None] = {name: stamp.encode() for name in names}
        answer = await self._written(PatchFields(self._families, stamp, changes))
        self._last_families = {**(self._last_families or {}), **dict.fromkeys(changes, stamp.encode())}
        return answer.ack

    async def mark_tag(self, tag: str) -> Ack:
        """Make all entries with *tag* invalid. Raises `ValueError` or `TypeError` for one that cannot be used."""
        stamp = self._store.clock.stamp()
        key = self._tag_key(tag)
        answer = await self._written(SetRegister(key, stamp, stamp.encode(), TAG_TTL))
        self._remember(key, stamp.encode())
        return answer.ack

    async def aclose(self) -> None:
        """End what is being read."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _written(self, command: Command[bool]) -> Answer[bool]:
        with writing(self.near, command.key):
            return await self._store.execute(command)

    def _close_reading(self) -> None:
        self.reading = None

    async def _with_tags(self, base: bytes, tags: list[str]) -> bytes:
        found = await asyncio.gather(*(self._ask(self._tag_key(tag)) for tag in tags))
        named = zip((quote(tag, safe="").encode() for tag in tags), found, strict=True)
        return base + b"".join(b" %b=%b" % pair for pair in named)

    def _ask(self, key: str) -> asyncio.Future[bytes]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        waiting = self._waiting.setdefault(key, [])
        waiting.append(future)
        if len(waiting) == 1:
            task = loop.create_task(self._answer(key), name="polly_state markers")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return future

    async def _answer(self, key: str) -> None:
        # Who asks from here on asks for something newer.
        waiting = self._waiting.pop(key)
        try:
            mark = await self._read_tag(key)
        except (StateError, RuntimeError) as error:
            for future in waiting:
                if not future.done():
                    future.set_exception(error)
        else:
            for future in waiting:
                if not future.done():
                    future.set_result(mark)
        finally:
            for future in waiting:
                future.cancel()

    async def _read_tag(self, key: str) -> bytes:
        ticket = None if self.near is None else self.near.begin(key)
        try:
            answer = await self._store.execute(Get(key))
        except StateUnavailable:
            return self._last_tags.get(key, UNKNOWN)
        mark = ABSENT if answer.value is None else answer.value
        if self.near is not None and answer.origin is Origin.REDIS:
            self.near.fill(key, ticket, mark, len(mark), None)
        self._remember(key, mark)
        return mark

    def _remember(self, key: str, mark: bytes) -> None:
        self._last_tags[key] = mark
        self._last_tags.move_to_end(key)
        if len(self._last_tags) > MAX_REMEMBERED:
            self._last_tags.popitem(last=False)
