"""Swaps: writes to a hash that happen only while some of its fields are as expected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from polly_state.commands.base import Command, Script, Stamped, command, milliseconds
from polly_state.commands.fields import PatchFields, slot_of
from polly_state.commands.parts import check_stamps
from polly_state.wire import Reply, Words

if TYPE_CHECKING:
    from polly_state.keyspace import Keyspace

__all__ = ["SwapFields"]


@command
class SwapFields(Stamped[bool]):
    """Make *changes*, as `PatchFields` does, if every *expected* field holds just that, or with None is not there.

    False if it was not so, and then nothing has changed.
    """

    script = Script("swap", "claims", "sweep")

    expected: Mapping[str, bytes | None]
    changes: Mapping[str, bytes | None]
    ttl: float | None = None

    def encode(self) -> Words:
        arguments: list[str | bytes | int] = [self.stamp, milliseconds(self.ttl), len(self.expected)]
        for field, content in self.expected.items():
            arguments += (field, "none", b"") if content is None else (field, "is", content)
        for field, content in self.changes.items():
            arguments += (field, "del", b"") if content is None else (field, "set", content)
        return self.call(*arguments)

    def decode(self, reply: Reply) -> bool:
        return bool(reply)

    def apply(self, keyspace: Keyspace) -> bool:
        held, entry = keyspace.fields(self.key), keyspace.entry(self.key)
        slots = [slot_of(field) for field in self.changes]
        if entry is not None and all(entry.stamps.get(slot) == self.stamp for slot in slots):
            return True
        check_stamps(entry, slots, self.stamp)
        if any(held.get(field) != content for field, content in self.expected.items()):
            return False
        self.learn(keyspace, True)
        return True

    def answerable(self, keyspace: Keyspace) -> bool:
        return all(keyspace.knows(self.key, field) for field in self.expected)

    def learn(self, keyspace: Keyspace, result: bool) -> None:
        if result:
            self._patch(self.stamp).learn(keyspace, True)
        else:
            keyspace.forget(self.key)

    def settled(self, result: bool, stamp: str) -> tuple[Command[Any], ...]:
        return self._patch(stamp).settled(True, stamp) if result else ()

    @property
    def slot(self) -> str:
        return slot_of("\0".join(self.changes))

    def _patch(self, stamp: str) -> PatchFields:
        return PatchFields(self.key, stamp, self.changes, self.ttl)
