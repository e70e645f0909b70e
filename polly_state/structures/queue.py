"""Queues: messages for each id, in the order in which they arrived."""

from __future__ import annotations

from typing import Final, Generic, NamedTuple, TypeVar

from polly_state.commands import Enqueue, Item, Queued
from polly_state.store import Ack
from polly_state.structures.base import Binding, Read, Structure, positive
from polly_state.structures.codec import Codec
from polly_state.structures.keys import Id

__all__ = ["Message", "Queue"]

T = TypeVar("T")

ANY = Ack.LOCAL_VOLATILE
FIRST: Final = 100


class Message(NamedTuple, Generic[T]):
    """A value in a queue."""

    id: str
    """What tells it from every other one, also when it is sent or seen twice."""
    value: T


class Queue(Structure, Generic[T]):
    """Durable queues of values of one type, each of which is there once, however often it had to be sent.

    The ttl is that of the whole queue, and starts anew with each message.
    """

    def __init__(self, binding: Binding, declared: type[T]) -> None:
        super().__init__(binding)
        self._codec = Codec(declared, max_bytes=binding.max_value_bytes)

    async def put(self, id: Id, value: T, *, require: Ack = ANY) -> Ack:
        """Put a message at the end."""
        return await self._ack(Enqueue(self._key(id), self._stamp(), self._codec.encode(value), self._ttl), require)

    async def waiting(self, id: Id, count: int = FIRST) -> list[Message[T]]:
        """The first *count* messages, which stay; empty only if there is none."""
        return self._messages((await self._store.execute(self._queued(id, count))).value)

    async def read(self, id: Id, count: int = FIRST) -> Read[list[Message[T]]]:
        """The first messages with their origin and age; none by default if none is known."""
        found = await self._read(self._queued(id, count), [])
        return Read(self._messages(found.value), found.origin, found.age)

    def _queued(self, id: Id, count: int) -> Queued:
        return Queued(self._key(id), positive(count))

    def _messages(self, items: list[Item]) -> list[Message[T]]:
        return [Message(item.stamp, self._codec.decode(item.content)) for item in items]
