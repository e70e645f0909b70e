"""Markers: what makes every entry of a family, of a tag, or of everything invalid in one write.

A marker is a durable register, so that an invalidation in an outage is journaled and replayed. An entry carries the
markers that were read *before* its load began, and counts only while they are the same: equality, not order, so that
no clock can let a slow loader store what was invalidated meanwhile, in whatever order things arrive.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterable
from typing import Final
from urllib.parse import quote, unquote

from polly_state.commands import Get, GetFields, PatchFields, SetRegister
from polly_state.errors import StateError, StateUnavailable
from polly_state.lifetime import MAX_CACHED
from polly_state.store import Ack, Store
from polly_state.structures import Family

__all__ = ["Markers"]

ABSENT, UNKNOWN = b"-", b"?"
EVERYTHING: Final = "*"
#: Longer than any entry lives: an entry from before a tag's first marker must not come to life when that is gone.
TAG_TTL: Final = 2 * MAX_CACHED
MAX_REMEMBERED: Final = 10_000


class Markers:
    """The markers of one namespace. What several callers ask for in one turn of the event loop is read once."""

    def __init__(self, store: Store, namespace: str) -> None:
        self._store = store
        self._families = Family(namespace, "cache.markers").key("families")
        self._tag_key = Family(namespace, "cache.tags").key
        self._waiting: dict[str, list[tuple[str, asyncio.Future[bytes]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        # What was last seen, for an outage in which nothing else is known.
        self._last_families: dict[str, bytes] | None = None
        self._last_tags: OrderedDict[str, bytes] = OrderedDict()

    def family(self, name: str) -> asyncio.Future[bytes]:
        """The marks of a family without tags, read after this call and not before."""
        return self._ask(self._families, name)

    async def current(self, name: str, tags: Collection[str] = ()) -> bytes:
        """The marks of a family with *tags*, as an entry carries them."""
        base = self.family(name)
        return await self._with_tags(base, [*tags]) if tags else await base

    async def valid(self, marks: bytes, base: bytes) -> bool:
        """Whether an entry with such *marks* still counts, given those of its family now."""
        if marks == base:
            return True
        base = b" ".join(base.split(b" ", 2)[:2])
        tags = [unquote(part.rpartition("=")[0]) for part in marks.decode().split(" ")[2:]]
        return bool(tags) and marks.startswith(base) and marks == await self._with_tags(_given(base), tags)

    async def mark_families(self, names: Iterable[str] = (EVERYTHING,)) -> Ack:
        """Make all entries of these families invalid; of all there are, if none is named."""
        stamp = self._store.clock.stamp()
        changes: dict[str, bytes | None] = {name: stamp.encode() for name in names}
        answer = await self._store.execute(PatchFields(self._families, stamp, changes))
        self._last_families = {**(self._last_families or {}), **dict.fromkeys(changes, stamp.encode())}
        return answer.ack

    async def mark_tag(self, tag: str) -> Ack:
        """Make all entries with *tag* invalid. Raises `ValueError` or `TypeError` for one that cannot be used."""
        stamp = self._store.clock.stamp()
        key = self._tag_key(tag)
        answer = await self._store.execute(SetRegister(key, stamp, stamp.encode(), TAG_TTL))
        self._remember(key, stamp.encode())
        return answer.ack

    async def aclose(self) -> None:
        """End what is being read."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _with_tags(self, base: asyncio.Future[bytes], tags: list[str]) -> bytes:
        asked = [base, *(self._ask(self._tag_key(tag), "") for tag in tags)]
        marks, *found = await asyncio.gather(*asked)
        return marks + b"".join(
            b" %b=%b" % (quote(tag, safe="").encode(), each) for tag, each in zip(tags, found, strict=True)
        )

    def _ask(self, key: str, name: str) -> asyncio.Future[bytes]:
        # A future for each: one that is shared would be cancelled with the first who gives up.
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes] = loop.create_future()
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append((name, future))
            return future
        self._waiting[key] = [(name, future)]
        task = loop.create_task(self._answer(key), name="polly_state markers")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return future

    async def _answer(self, key: str) -> None:
        # Who asks from here on asks for something newer.
        waiting = self._waiting.pop(key)
        try:
            answers = await self._read(key, {name for name, _ in waiting})
        except asyncio.CancelledError:
            for _, future in waiting:
                future.cancel()
            raise
        except (StateError, RuntimeError) as error:
            for _, future in waiting:
                if not future.done():
                    future.set_exception(error)
            return
        for name, future in waiting:
            if not future.done():
                future.set_result(answers[name])

    async def _read(self, key: str, names: set[str]) -> dict[str, bytes]:
        if key != self._families:
            return {"": await self._read_tag(key)}
        try:
            self._last_families = (await self._store.execute(GetFields(key))).value
            missing = ABSENT
        except StateUnavailable:
            missing = UNKNOWN
        held = self._last_families or {}
        everything = held.get(EVERYTHING, missing)
        return {name: b"%b %b" % (everything, held.get(name, missing)) for name in names}

    async def _read_tag(self, key: str) -> bytes:
        try:
            found = (await self._store.execute(Get(key))).value
        except StateUnavailable:
            return self._last_tags.get(key, UNKNOWN)
        mark = ABSENT if found is None else found
        self._remember(key, mark)
        return mark

    def _remember(self, key: str, mark: bytes) -> None:
        self._last_tags[key] = mark
        self._last_tags.move_to_end(key)
        if len(self._last_tags) > MAX_REMEMBERED:
            self._last_tags.popitem(last=False)


def _given(marks: bytes) -> asyncio.Future[bytes]:
    future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    future.set_result(marks)
    return future
