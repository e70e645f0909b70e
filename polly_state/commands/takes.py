"""Takes: a durable string is handed to one caller, and is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polly_state.commands.base import Command, Outdated, Script, Stamped, command
from polly_state.commands.registers import VALUE, SetRegister
from polly_state.wire import Reply, Words

if TYPE_CHECKING:
    from polly_state.keyspace import Keyspace

__all__ = ["TakeValue"]


@command
class TakeValue(Stamped[bytes | None]):
    """Remove the string at *key*; what it was, or None if there was none.

    Only where it is kept can be told that there was no other taker: a mirror cannot answer. Redis remembers what a
    stamp has taken, so that a take whose reply was lost is sent again and still gets it.
    """

    script = Script("take_value")

    def encode(self) -> Words:
        return self.call(self.stamp)

    def decode(self, reply: Reply) -> bytes | None:
        return reply  # type: ignore[no-any-return]

    def apply(self, keyspace: Keyspace) -> bytes | None:
        content, entry = keyspace.string(self.key), keyspace.entry(self.key)
        held = "" if entry is None else entry.stamps.get(VALUE, "")
        if held > self.stamp:
            raise Outdated(held)
        self.learn(keyspace, content)
        return content

    def answerable(self, keyspace: Keyspace) -> bool:
        return not keyspace.mirror

    def learn(self, keyspace: Keyspace, result: bytes | None) -> None:
        if result is None:
            keyspace.remove(self.key)
        else:
            keyspace.remove(self.key, slot=VALUE, stamp=self.stamp)

    def settled(self, result: bytes | None, stamp: str) -> tuple[Command[Any], ...]:
        return () if result is None else (SetRegister(self.key, self.stamp, None),)

    @property
    def tombstone(self) -> bool:
        return True
