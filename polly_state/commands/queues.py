"""Queues: messages in the order of their arrival, each of them once."""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from polly_state.commands.base import Command, Effect, Script, Stamped, command, milliseconds
from polly_state.commands.endings import ending
from polly_state.commands.logs import Item
from polly_state.entries import Kind
from polly_state.stamps import is_stamp
from polly_state.wire import Reply, Words

if TYPE_CHECKING:
    from polly_state.keyspace import Keyspace

__all__ = ["Enqueue", "Queued", "message"]

FIELDS: Final = 4


@command
class Queued(Command[list[Item]]):
    """The first *count* messages of the queue at *key*, in the order in which they arrived.

    What something else has put there has no stamp.
    """

    effect = Effect.READ

    count: int

    def encode(self) -> Words:
        return ("XRANGE", self.key, "-", "+", "COUNT", self.count)

    def decode(self, reply: Reply) -> list[Item]:
        return [Item(*message(fields)) for _, fields in reply]

    def apply(self, keyspace: Keyspace) -> list[Item]:
        messages = keyspace.fields(self.key, Kind.QUEUE)
        return [Item(stamp, content or b"") for stamp, content in islice(messages.items(), self.count)]

    def answerable(self, keyspace: Keyspace) -> bool:
        return keyspace.knows(self.key)

    def learn(self, keyspace: Keyspace, result: list[Item]) -> None:
        if len(result) < self.count:
            messages = {item.stamp: item.content for item in result if item.stamp}
            keyspace.patch(self.key, dict(messages), kind=Kind.QUEUE, whole=True)
        else:
            keyspace.forget(self.key)


@command
class Enqueue(Stamped[bool]):
    """Put a message with *content* at the end of the queue at *key*, unless it came before under the same stamp.

    A *ttl* in seconds is for the whole queue and starts again with each message.
    """

    script = Script("enqueue", "sweep")

    content: bytes
    ttl: float | None = None

    def encode(self) -> Words:
        return self.call(self.stamp, milliseconds(self.ttl), self.content)

    def decode(self, reply: Reply) -> bool:
        return bool(reply)

    def apply(self, keyspace: Keyspace) -> bool:
        keyspace.fields(self.key, Kind.QUEUE)
        entry = keyspace.entry(self.key)
        if entry is not None and self.slot in entry.stamps:
            return True
        ends = ending(keyspace, self.key, self.stamp, self.ttl)
        stamps = {self.slot: self.stamp} | ends.stamps
        keyspace.patch(self.key, {self.stamp: self.content}, kind=Kind.QUEUE, durable=True, stamps=stamps)
        ends.settle(keyspace, self.key)
        return True

    def learn(self, keyspace: Keyspace, result: bool) -> None:
        # A mirror does not see what others take from a queue: it would only ever grow there.
        keyspace.forget(self.key)

    def settled(self, result: bool, stamp: str) -> tuple[Command[Any], ...]:
        return (self,)

    @property
    def slot(self) -> str:
        return f"q:{self.stamp}"


def message(fields: list[bytes]) -> tuple[str, bytes]:
    """Stamp and content of an entry of a stream; of one that is no message no stamp, and all of its fields as JSON."""
    if len(fields) == FIELDS and fields[0] == b"id" and is_stamp(stamp := fields[1].decode("ascii", "replace")):
        return stamp, fields[3]
    return "", json.dumps([field.decode(errors="backslashreplace") for field in fields]).encode()
