"""Sets: each member is there or not, by the write with the newest stamp."""

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

__all__ = ["ClearSet", "Contains", "Members", "PatchSet"]


@command
class Members(Command[set[str]]):
    """All members of the set at *key*; empty if there is none."""

    effect = Effect.READ

    def encode(self) -> Words:
        return ("SMEMBERS", self.key)

    def decode(self, reply: Reply) -> set[str]:
        return {member.decode() for member in reply}

    def apply(self, keyspace: Keyspace) -> set[str]:
        members = keyspace.fields(self.key, Kind.SET)
        return {member for member, content in members.items() if content is not None}

    def answerable(self, keyspace: Keyspace) -> bool:
        return keyspace.knows(self.key)

    def learn(self, keyspace: Keyspace, result: set[str]) -> None:
        keyspace.patch(self.key, dict.fromkeys(result, b""), kind=Kind.SET, whole=True)


@command
class Contains(Command[bool]):
    """Whether *member* is in the set at *key*."""

    effect = Effect.READ

    member: str

    def encode(self) -> Words:
        return ("SISMEMBER", self.key, self.member)

    def decode(self, reply: Reply) -> bool:
        return bool(reply)

    def apply(self, keyspace: Keyspace) -> bool:
        return keyspace.fields(self.key, Kind.SET).get(self.member) is not None

    def answerable(self, keyspace: Keyspace) -> bool:
        return keyspace.knows(self.key, self.member, Kind.SET)

    def learn(self, keyspace: Keyspace, result: bool) -> None:
        keyspace.patch(self.key, {self.member: b"" if result else None}, kind=Kind.SET)


@command
class PatchSet(Stamped[bool]):
    """Add the members that are given as True to the set at *key*, and drop the others; the rest stay as they are.

    A *ttl* in seconds is for the whole set and starts again with each patch.
    """

    script = Script("set", "sweep")

    changes: Mapping[str, bool]
    ttl: float | None = None

    def encode(self) -> Words:
        arguments: list[str | bytes | int] = [self.stamp, milliseconds(self.ttl)]
        for member, there in self.changes.items():
            arguments += (member, "add" if there else "drop")
        return self.call(*arguments)

    def decode(self, reply: Reply) -> bool:
        return bool(reply)

    def apply(self, keyspace: Keyspace) -> bool:
        check_stamps(keyspace.entry(self.key), map(slot_of, self.changes), self.stamp)
        self.learn(keyspace, True)
        return True

    def learn(self, keyspace: Keyspace, result: bool) -> None:
        entry = keyspace.entry(self.key)
        held = {} if entry is None else entry.stamps
        # To add wins a tie.
        changes = {
            member: b"" if there else None
            for member, there in self.changes.items()
            if there or held.get(slot_of(member)) != self.stamp
        }
        stamps = dict.fromkeys(map(slot_of, self.changes), self.stamp)
        ends = ending(keyspace, self.key, self.stamp, self.ttl)
        keyspace.patch(self.key, changes, kind=Kind.SET, durable=True, stamps=stamps | ends.stamps)
        ends.settle(keyspace, self.key)

    def settled(self, result: bool, stamp: str) -> tuple[Command[Any], ...]:
        return tuple(
            PatchSet(self.key, self.stamp, {member: there}, self.ttl) for member, there in self.changes.items()
        )

    @property
    def slot(self) -> str:
        return slot_of("\0".join(self.changes))

    @property
    def tombstone(self) -> bool:
        return not any(self.changes.values())


@command
class ClearSet(Clear):
    """See `Clear`: of the set, its members."""

    script = Script("clear_set")
    kind = Kind.SET


def slot_of(member: str) -> str:
    """Where a member's stamp is kept, apart from those of other kinds."""
    return f"e:{member}"
