"""Tokens: what may be taken once."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from polly_state.commands.base import Command, Effect, command, milliseconds
from polly_state.commands.script import Script
from polly_state.wire import Reply, Words

if TYPE_CHECKING:
    from polly_state.keyspace import Keyspace

__all__ = ["Fate", "Issue", "Take", "Taken"]

MEMORY = 86_400.0


class Fate(Enum):
    """What became of a token."""

    TAKEN = "taken"
    """It was good, and is used up now."""
    USED = "used"
    """It was taken before."""
    EXPIRED = "expired"
    """Nobody took it in time; this is remembered for a day."""
    UNKNOWN = "unknown"
    """There never was such a token, or that is long ago."""


class Taken(NamedTuple):
    """A fate, and the content of what was taken."""

    fate: Fate
    content: bytes


@command
class Issue(Command[bool]):
    """Let *content* be taken from *key* once, within *ttl* seconds."""

    effect = Effect.HOLD
    script = Script("issue", alone=True)

    content: bytes
    ttl: float

    def encode(self) -> Words:
        times = (milliseconds(self.ttl), milliseconds(MEMORY))
        return self.call_alone(self.content, *times)

    def decode(self, reply: Reply) -> bool:
        return bool(reply)

    def apply(self, keyspace: Keyspace) -> bool:
        until = int(keyspace.now() * 1000) + int(milliseconds(self.ttl))
        keyspace.patch(self.key, {"content": self.content, "until": b"%d" % until}, durable=True)
        keyspace.expire(self.key, keyspace.now() + self.ttl + MEMORY)
        return True

    def learn(self, keyspace: Keyspace, result: bool) -> None:
        pass


@command
class Take(Command[Taken]):
    """Take what is at *key*; the same *taker* takes it again by asking again."""

    effect = Effect.HOLD
    script = Script("take", alone=True)

    taker: str

    def encode(self) -> Words:
        return self.call_alone(self.taker)

    def decode(self, reply: Reply) -> Taken:
        fate, content = reply
        return Taken(Fate(fate.decode()), content)

    def apply(self, keyspace: Keyspace) -> Taken:
        parts = keyspace.fields(self.key)
        content, by = parts.get("content"), parts.get("by")
        if content is None:
            return Taken(Fate.UNKNOWN, b"")
        if by is not None:
            return Taken(Fate.TAKEN, content) if by == self.taker.encode() else Taken(Fate.USED, b"")
        if int(keyspace.now() * 1000) >= int(parts.get("until") or b"0"):
            return Taken(Fate.EXPIRED, b"")
        keyspace.patch(self.key, {"by": self.taker.encode()}, durable=True)
        return Taken(Fate.TAKEN, content)

    def learn(self, keyspace: Keyspace, result: Taken) -> None:
        pass
