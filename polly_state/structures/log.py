"""Logs: the newest entries for each id."""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from polly_state.commands import Append, ClearLog, Item, Latest
from polly_state.store import Ack
from polly_state.structures.base import Binding, Read, Structure, positive
from polly_state.structures.codec import Codec
from polly_state.structures.keys import Id

__all__ = ["MAX_ENTRIES", "Log"]

T = TypeVar("T")

ANY = Ack.LOCAL_VOLATILE
MAX_ENTRIES: Final = 10_000


class Log(Structure, Generic[T]):
    """Durable logs that keep the newest *limit* entries of one type, in the order in which they were made.

    The ttl is that of the whole log, and starts anew with each entry.
    """

    def __init__(self, binding: Binding, declared: type[T], limit: int) -> None:
        """Raises `ValueError` unless *limit* is from 1 to 10 000."""
        super().__init__(binding)
        self._codec = Codec(declared, max_bytes=binding.max_value_bytes)
        self._limit = positive(limit, MAX_ENTRIES)

    async def append(self, id: Id, value: T, *, require: Ack = ANY) -> Ack:
        """Put an entry at the end; the oldest one makes room."""
        command = Append(self._key(id), self._stamp(), self._codec.encode(value), self._limit, self._ttl)
        return await self._ack(command, require)

    async def latest(self, id: Id, count: int | None = None) -> list[T]:
        """The newest *count* entries, or all of them, newest first; empty only if there is none."""
        return self._values((await self._store.execute(self._latest(id, count))).value)

    async def read(self, id: Id, count: int | None = None) -> Read[list[T]]:
        """The newest entries with their origin and age; none by default if none is known."""
        found = await self._read(self._latest(id, count), [])
        return Read(self._values(found.value), found.origin, found.age)

    async def touch(self, id: Id) -> bool:
        """Start the family's ttl anew; False if there is no entry. Raises `ValueError` in a family without a ttl."""
        return await self._touch(id)

    async def clear(self, id: Id, *, require: Ack = ANY) -> Ack:
        """Drop every entry."""
        return await self._ack(ClearLog(self._key(id), self._stamp()), require)

    def _latest(self, id: Id, count: int | None) -> Latest:
        return Latest(self._key(id), self._limit if count is None else min(positive(count), self._limit))

    def _values(self, items: list[Item]) -> list[T]:
        return [self._codec.decode(item.content) for item in items]
