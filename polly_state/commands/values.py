"""Plain strings: what caches are made of, and how any string is read."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from polly_state.commands.base import Command, Effect, command, milliseconds
from polly_state.wire import Reply, Words

if TYPE_CHECKING:
    from polly_state.keyspace import Keyspace

__all__ = ["Condition", "Delete", "Expire", "Get", "Persist", "Set", "TimeToLive"]


class Condition(Enum):
    """When a write is to happen."""

    ALWAYS = ""
    IF_ABSENT = "NX"
    IF_PRESENT = "XX"


@command
class Get(Command[bytes | None]):
    """The string at *key*; None if there is none."""

    effect = Effect.READ

    def encode(self) -> Words:
        return ("GET", self.key)

    def decode(self, reply: Reply) -> bytes | None:
        if reply is not None and reply.__class__ is not bytes:
            raise TypeError("the reply to another command")
        return reply

    def apply(self, keyspace: Keyspace) -> bytes | None:
        return keyspace.string(self.key)

    def answerable(self, keyspace: Keyspace) -> bool:
        return keyspace.knows(self.key)

    def learn(self, keyspace: Keyspace, result: bytes | None) -> None:
        keyspace.remember(self.key, result)


@command
class TimeToLive(Command[float | None]):
    """Seconds until *key* expires; None if it does not, or is not there."""

    effect = Effect.READ

    def encode(self) -> Words:
        return ("PTTL", self.key)

    def decode(self, reply: Reply) -> float | None:
        return None if reply < 0 else reply / 1000

    def apply(self, keyspace: Keyspace) -> float | None:
        expires_at = keyspace.expires_at(self.key)
        return None if expires_at is None else expires_at - keyspace.now()

    def answerable(self, keyspace: Keyspace) -> bool:
        # A mirror that has learned a value by reading it does not know when it ends.
        return not keyspace.mirror or keyspace.expires_at(self.key) is not None

    def learn(self, keyspace: Keyspace, result: float | None) -> None:
        entry = keyspace.entry(self.key)
        if entry is not None and result is not None:
            entry.expires_at = keyspace.now() + result


@command
class Set(Command[bool]):
    """Put *content* at *key*; False if the condition did not hold.

    Without a *ttl* (seconds) the value stays; with *keep_ttl* the time that is left goes on running.
    """

    effect = Effect.CACHE

    content: bytes
    ttl: float | None = None
    condition: Condition = Condition.ALWAYS
    keep_ttl: bool = False

    def encode(self) -> Words:
        words: Words = ("SET", self.key, self.content)
        if self.keep_ttl:
            words += ("KEEPTTL",)
        elif self.ttl is not None:
            words += ("PX", milliseconds(self.ttl))
        return words if self.condition is Condition.ALWAYS else (*words, self.condition.value)

    def decode(self, reply: Reply) -> bool:
        return reply is not None

    def apply(self, keyspace: Keyspace) -> bool:
        entry = keyspace.entry(self.key)
        present = entry is not None and entry.content is not None
        if self.condition is not Condition.ALWAYS and present is (self.condition is Condition.IF_ABSENT):
            return False
        expires_at = None if self.ttl is None else keyspace.now() + self.ttl
        if self.keep_ttl:
            expires_at = keyspace.expires_at(self.key)
        keyspace.put(self.key, self.content, expires_at=expires_at)
        return True

    def answerable(self, keyspace: Keyspace) -> bool:
        return self.condition is Condition.ALWAYS or keyspace.knows(self.key)

    def learn(self, keyspace: Keyspace, result: bool) -> None:
        if not result:
            keyspace.forget(self.key)
        elif self.answerable(keyspace):
            self.apply(keyspace)
        else:
            keyspace.remember(self.key, self.content)

    def settled(self, result: bool, stamp: str) -> tuple[Command[Any], ...]:
        return (Delete(self.key),)


@command
class Delete(Command[bool]):
    """Remove whatever is at *key*; False if nothing was, or none is known of in an outage."""

    effect = Effect.CACHE

    def encode(self) -> Words:
        return ("DEL", self.key)

    def decode(self, reply: Reply) -> bool:
        return bool(reply)

    def apply(self, keyspace: Keyspace) -> bool:
        return keyspace.remove(self.key)

    def learn(self, keyspace: Keyspace, result: bool) -> None:
        keyspace.remove(self.key)

    def settled(self, result: bool, stamp: str) -> tuple[Command[Any], ...]:
        return (self,)


@command
class Expire(Command[bool]):
    """Let *key* live *ttl* seconds from now; False if it is not there."""

    effect = Effect.CACHE

    ttl: float

    def encode(self) -> Words:
        return ("PEXPIRE", self.key, milliseconds(self.ttl))

    def decode(self, reply: Reply) -> bool:
        return bool(reply)

    def apply(self, keyspace: Keyspace) -> bool:
        return keyspace.expire(self.key, keyspace.now() + self.ttl)

    def answerable(self, keyspace: Keyspace) -> bool:
        return keyspace.knows(self.key)

    def settled(self, result: bool, stamp: str) -> tuple[Command[Any], ...]:
        return (self,) if result else ()

    @property
    def slot(self) -> str:
        return "~ttl"


@command
class Persist(Command[bool]):
    """Let *key* live for good; False if it is not there or does so already."""

    effect = Effect.CACHE

    def encode(self) -> Words:
        return ("PERSIST", self.key)

    def decode(self, reply: Reply) -> bool:
        return bool(reply)

    def apply(self, keyspace: Keyspace) -> bool:
        return keyspace.expires_at(self.key) is not None and keyspace.expire(self.key, None)

    def answerable(self, keyspace: Keyspace) -> bool:
        return not keyspace.mirror or keyspace.expires_at(self.key) is not None

    def settled(self, result: bool, stamp: str) -> tuple[Command[Any], ...]:
        return (self,) if result else ()

    @property
    def slot(self) -> str:
        return "~ttl"
