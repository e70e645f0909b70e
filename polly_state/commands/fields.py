"""Fields: durable hashes, where each field keeps the write with the newest stamp."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from polly_state.commands.base import Command, Effect, Script, Stamped, command, milliseconds
from polly_state.commands.endings import ending
from polly_state.commands.parts import Clear, check_stamps
from polly_state.entries import Kind
from polly_state.wire import Reply, Words

if TYPE_CHECKING:
    from polly_state.keyspace import Keyspace

__all__ = ["ClearFields", "GetField", "GetFields", "PatchFields", "ToggleField"]


@command
class GetField(Command[bytes | None]):
    """One field of the hash at *key*; None if there is none."""

    effect = Effect.READ

    field: str

    def encode(self) -> Words:
        return ("HGET", self.key, self.field)

    def decode(self, reply: Reply) -> bytes | None:
        return reply  # type: ignore[no-any-return]

    def apply(self, keyspace: Keyspace) -> bytes | None:
        return keyspace.fields(self.key).get(self.field)

    def answerable(self, keyspace: Keyspace) -> bool:
        return keyspace.knows(self.key, self.field)

    def learn(self, keyspace: Keyspace, result: bytes | None) -> None:
        keyspace.patch(self.key, {self.field: result})


@command
class GetFields(Command[dict[str, bytes]]):
    """All fields of the hash at *key*; empty if there is none."""

    effect = Effect.READ

    def encode(self) -> Words:
        return ("HGETALL", self.key)

    def decode(self, reply: Reply) -> dict[str, bytes]:
        return {field.decode(): content for field, content in reply.items()}

    def apply(self, keyspace: Keyspace) -> dict[str, bytes]:
        return {field: content for field, content in keyspace.fields(self.key).items() if content is not None}

    def answerable(self, keyspace: Keyspace) -> bool:
        return keyspace.knows(self.key)

    def learn(self, keyspace: Keyspace, result: dict[str, bytes]) -> None:
        keyspace.patch(self.key, result, whole=True)


@command
class PatchFields(Stamped[bool]):
    """Set fields of the hash at *key*, or drop those given as None; the others stay as they are.

    A *ttl* in seconds is for the whole hash and starts again with each patch.
    """

    script = Script("fields", "sweep")

    changes: Mapping[str, bytes | None]
    ttl: float | None = None

    def encode(self) -> Words:
        arguments: list[str | bytes | int] = [self.stamp, milliseconds(self.ttl)]
        for field, content in self.changes.items():
            arguments += (field, "del", b"") if content is None else (field, "set", content)
        return self.call(*arguments)

    def decode(self, reply: Reply) -> bool:
        return bool(reply)

    def apply(self, keyspace: Keyspace) -> bool:
        check_stamps(keyspace.entry(self.key), map(slot_of, self.changes), self.stamp)
        self.learn(keyspace, True)
        return True

    def learn(self, keyspace: Keyspace, result: bool) -> None:
        stamps = dict.fromkeys(map(slot_of, self.changes), self.stamp)
        ends = ending(keyspace, self.key, self.stamp, self.ttl)
        keyspace.patch(self.key, self.changes, durable=True, stamps=stamps | ends.stamps)
        ends.settle(keyspace, self.key)

    def settled(self, result: bool, stamp: str) -> tuple[Command[Any], ...]:
        return tuple(
            PatchFields(self.key, self.stamp, {field: content}, self.ttl) for field, content in self.changes.items()
        )

    @property
    def slot(self) -> str:
        return slot_of("\0".join(self.changes))

    @property
    def tombstone(self) -> bool:
        return not any(content is not None for content in self.changes.values())


@command
class ToggleField(Stamped[bool]):
    """Turn a field on if it was off or missing, and off if it was on; the new state."""

    script = Script("toggle", "claims")

    field: str
    on: bytes
    off: bytes
    ttl: float | None = None

    def encode(self) -> Words:
        return self.call(self.stamp, milliseconds(self.ttl), self.field, self.on, self.off)

    def decode(self, reply: Reply) -> bool:
        return bool(reply)

    def apply(self, keyspace: Keyspace) -> bool:
        entry = keyspace.entry(self.key)
        check_stamps(entry, (slot_of(self.field),), self.stamp)
        on = keyspace.fields(self.key).get(self.field) == self.on
        if entry is not None and entry.stamps.get(slot_of(self.field)) == self.stamp:
            return on
        self.learn(keyspace, not on)
        return not on

    def answerable(self, keyspace: Keyspace) -> bool:
        return keyspace.knows(self.key, self.field)

    def learn(self, keyspace: Keyspace, result: bool) -> None:
        self._patch(result, self.stamp).learn(keyspace, True)

    def settled(self, result: bool, stamp: str) -> tuple[Command[Any], ...]:
        return (self._patch(result, stamp),)

    def _patch(self, result: bool, stamp: str) -> PatchFields:
        return PatchFields(self.key, stamp, {self.field: self.on if result else self.off}, self.ttl)


@command
class ClearFields(Clear):
    """See `Clear`: of the hash, its fields."""

    script = Script("clear")
    kind = Kind.HASH


def slot_of(field: str) -> str:
    """Where a field's stamp is kept, apart from those of other kinds."""
    return f"f:{field}"
