"""Deliveries: messages of a queue that are handed out, until somebody says that they are done."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from polly_state.commands.base import Command, Effect, Script, Stamped, command, milliseconds
from polly_state.commands.queues import message
from polly_state.entries import Kind
from polly_state.stamps import time_of
from polly_state.wire import Reply, Words

if TYPE_CHECKING:
    from polly_state.keyspace import Keyspace

__all__ = ["Acknowledge", "Handed", "HandedOut", "TakeMessages"]

OUT: Final = "t:"
"""Before the stamp of a message, in a local keyspace: when it was handed out last, and how often so far."""


class Handed(NamedTuple):
    """A message that was handed out."""

    stamp: str
    """Nothing if something else has put it there."""
    content: bytes
    entry: str
    """Its id in the stream; nothing where there is no stream."""
    deliveries: int
    """How often it was handed out so far."""


class HandedOut(NamedTuple):
    """What a take has come to."""

    messages: list[Handed]
    left: int
    """How many messages there are, those that are handed out included."""


@command
class TakeMessages(Command[HandedOut]):
    """Hand out *count* messages of the queue at *key*, oldest first.

    Those that are in somebody's hands are left there, unless it is *visibility* seconds since they were handed out.
    """

    effect = Effect.CLAIM
    script = Script("take_messages")

    count: int
    visibility: float

    def encode(self) -> Words:
        return self.call(self.count, milliseconds(self.visibility))

    def decode(self, reply: Reply) -> HandedOut:
        left, *found = reply
        messages = []
        for entry, deliveries, fields in zip(*[iter(found)] * 3, strict=True):
            messages.append(Handed(*message(fields), entry.decode(), deliveries))
        return HandedOut(messages, left)

    def apply(self, keyspace: Keyspace) -> HandedOut:
        held, entry = keyspace.fields(self.key, Kind.QUEUE), keyspace.entry(self.key)
        out = {} if entry is None else entry.stamps
        now, taken = keyspace.now(), list[Handed]()
        for stamp, content in held.items():
            if len(taken) == self.count:
                break
            at, _, deliveries = out.get(OUT + stamp, "-inf 0").partition(" ")
            if now - float(at) >= self.visibility:
                taken.append(Handed(stamp, content or b"", "", int(deliveries) + 1))
        if taken:
            keyspace.note(self.key, {OUT + each.stamp: f"{now} {each.deliveries}" for each in taken})
        return HandedOut(taken, len(held))

    def learn(self, keyspace: Keyspace, result: HandedOut) -> None:
        """A mirror does not see who holds what."""

    def settled(self, result: HandedOut, stamp: str) -> tuple[Command[Any], ...]:
        # For the processes that have a directory in common, and no Redis.
        return tuple(NoteHandedOut(self.key, stamp, each.stamp, each.deliveries) for each in result.messages)


@command
class NoteHandedOut(Stamped[bool]):
    """The *message* of the queue at *key* was handed out when the stamp says, *age* seconds ago, and so often so far.

    Only processes without a Redis need to tell each other; to a Redis that comes later it says nothing.
    """

    message: str
    deliveries: int
    age: float = 0.0

    def encode(self) -> Words:
        return ("EXISTS", self.key)

    def decode(self, reply: Reply) -> bool:
        return bool(reply)

    def apply(self, keyspace: Keyspace) -> bool:
        there = self.message in keyspace.fields(self.key, Kind.QUEUE)
        if there:
            keyspace.note(self.key, {OUT + self.message: f"{keyspace.now() - self.age} {self.deliveries}"})
        return there

    def late(self, now: float) -> NoteHandedOut:
        return replace(self, age=max(0.0, now - time_of(self.stamp)))

    def learn(self, keyspace: Keyspace, result: bool) -> None:
        """A mirror does not see who holds what."""

    @property
    def slot(self) -> str:
        return OUT + self.message

    @property
    def tombstone(self) -> bool:
        # It is kept for a day, as that a message is done.
        return True


@command
class Acknowledge(Stamped[bool]):
    """The *message* of the queue at *key* is done, and never handed out again, whenever it may still arrive.

    *entry* is its id in the stream, as it was handed out.
    """

    script = Script("acknowledge", "sweep")

    message: str
    entry: str = ""

    def encode(self) -> Words:
        return self.call(self.stamp, self.message, self.entry)

    def decode(self, reply: Reply) -> bool:
        return bool(reply)

    def apply(self, keyspace: Keyspace) -> bool:
        keyspace.fields(self.key, Kind.QUEUE)
        entry = keyspace.entry(self.key)
        if entry is not None:
            entry.unstamp(OUT + self.message)
        keyspace.patch(self.key, {self.message: None}, kind=Kind.QUEUE, durable=True, stamps={self.slot: self.stamp})
        return True

    def learn(self, keyspace: Keyspace, result: bool) -> None:
        keyspace.forget(self.key)

    def settled(self, result: bool, stamp: str) -> tuple[Command[Any], ...]:
        return (self,)

    @property
    def slot(self) -> str:
        return f"q:{self.message}"

    @property
    def tombstone(self) -> bool:
        return True
