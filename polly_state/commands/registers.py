"""Registers: durable strings, where the write with the newest stamp stays."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from polly_state.commands.base import Command, Outdated, Script, Stamped, command, ended, milliseconds
from polly_state.commands.endings import TTL, ending, noted_ending
from polly_state.commands.parts import ALL
from polly_state.commands.values import Condition
from polly_state.wire import Reply, Words

if TYPE_CHECKING:
    from typing import Self

    from polly_state.keyspace import Keyspace

__all__ = ["SetRegister", "Touch"]

VALUE = "~value"


@command
class SetRegister(Stamped[bool]):
    """Put *content* at *key*, or delete it with None; False if the condition did not hold.

    The *ttl* in seconds runs from the stamp; if a newer `Touch` came first, its end stands. *expected* makes it a
    compare-and-set.
    """

    script = Script("register", "claims")

    content: bytes | None
    ttl: float | None = None
    condition: Condition = Condition.ALWAYS
    keep_ttl: bool = False
    expected: bytes | None = None

    def encode(self) -> Words:
        condition = "EQ" if self.expected is not None else self.condition.value
        operation = "del" if self.content is None else "set"
        ttl = "keep" if self.keep_ttl else milliseconds(self.ttl)
        return self.call(self.stamp, operation, ttl, condition, self.content or b"", self.expected or b"")

    def decode(self, reply: Reply) -> bool:
        return bool(reply)

    def apply(self, keyspace: Keyspace) -> bool:
        entry = keyspace.entry(self.key)
        held = "" if entry is None else entry.stamps.get(VALUE, "")
        if held > self.stamp:
            raise Outdated(held)
        content = keyspace.string(self.key)
        if held != self.stamp and not self._holds(content):
            return False
        self._write(keyspace)
        return True

    def answerable(self, keyspace: Keyspace) -> bool:
        unconditional = self.condition is Condition.ALWAYS and self.expected is None
        return unconditional or keyspace.knows(self.key)

    def learn(self, keyspace: Keyspace, result: bool) -> None:
        if result:
            self._write(keyspace)
        else:
            keyspace.forget(self.key)

    def settled(self, result: bool, stamp: str) -> tuple[Command[Any], ...]:
        if not result:
            return ()
        if self.condition is Condition.ALWAYS and self.expected is None:
            return (self,)
        return (replace(self, stamp=stamp, condition=Condition.ALWAYS, expected=None),)

    @property
    def tombstone(self) -> bool:
        return self.content is None

    def replacing(self, other: Command[Any]) -> Command[bool]:
        # The time that was left of a value which Redis never had.
        kept = self.keep_ttl and self.content is not None and not ended(other, self.stamp)
        return self.ending(other.expires_at) if kept and other.expires_at is not None else self

    def ending(self, expires_at: float) -> Self:
        ended = self if self.content is None else replace(self, keep_ttl=False)
        return super(SetRegister, ended).ending(expires_at)

    def _holds(self, content: bytes | None) -> bool:
        if self.expected is not None:
            return content == self.expected
        return self.condition is Condition.ALWAYS or (content is None) is (self.condition is Condition.IF_ABSENT)

    def _write(self, keyspace: Keyspace) -> None:
        if self.content is None:
            keyspace.remove(self.key, slot=VALUE, stamp=self.stamp)
            return
        expires_at = None if self.ttl is None else keyspace.now() + self.ttl
        noted = noted_ending(keyspace.entry(self.key))
        if noted is not None and noted[0] > self.stamp:
            expires_at = noted[1]
        elif self.keep_ttl:
            expires_at = keyspace.expires_at(self.key)
        keyspace.put(self.key, self.content, expires_at=expires_at, durable=True, stamps={VALUE: self.stamp})


@command
class Touch(Stamped[bool]):
    """Let a durable *key* and its stamps live *ttl* seconds from the stamp on; False if it is not there.

    A register that was written after the stamp keeps its own time, and so does what was cleared after it.
    """

    script = Script("touch")

    ttl: float

    def encode(self) -> Words:
        return self.call(self.stamp, milliseconds(self.ttl))

    def decode(self, reply: Reply) -> bool:
        return bool(reply)

    def apply(self, keyspace: Keyspace) -> bool:
        entry = keyspace.entry(self.key)
        if entry is None or not entry.present:
            return False
        if max(entry.stamps.get(slot, "") for slot in (VALUE, ALL)) <= self.stamp:
            ends = ending(keyspace, self.key, self.stamp, self.ttl)
            keyspace.note(self.key, ends.stamps)
            ends.settle(keyspace, self.key)
        return True

    def answerable(self, keyspace: Keyspace) -> bool:
        return keyspace.knows(self.key)

    def settled(self, result: bool, stamp: str) -> tuple[Command[Any], ...]:
        return (self,) if result else ()

    @property
    def slot(self) -> str:
        return TTL
