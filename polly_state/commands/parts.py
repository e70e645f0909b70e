"""Parts: how fields, members and entries, each with a stamp of its own, are outdated and cleared."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from polly_state.commands.base import Command, Outdated, Stamped, command
from polly_state.commands.endings import TTL, noted_ending
from polly_state.entries import Kind
from polly_state.stamps import STAMP_LENGTH
from polly_state.wire import Reply, Words

if TYPE_CHECKING:
    from polly_state.keyspace import Entry, Keyspace

__all__ = ["ALL", "Clear", "check_stamps", "entered", "part_stamps"]

ALL: Final = "~all"
"""The slot of when all parts were cleared."""
STAMP: Final = re.compile(rb"[0-9a-f]{24}").match


def part_stamps(entry: Entry | None, kind: Kind) -> dict[str, str]:
    """When each part was written, or dropped, as far as that is known."""
    prefix = kind.prefix
    if entry is None or prefix is None:
        return {}
    return {slot.removeprefix(prefix): stamp for slot, stamp in entry.stamps.items() if slot.startswith(prefix)}


def check_stamps(entry: Entry | None, slots: Iterable[str], stamp: str) -> None:
    """Raises `Outdated` if any of *slots*, or the whole, was written later."""
    if entry is None:
        return
    newest = max(entry.stamps.get(slot, "") for slot in (ALL, *slots))
    if newest > stamp:
        raise Outdated(newest)


def entered(content: bytes | None) -> str | None:
    """The stamp under which a part was written, which stands before its *content*; None if there is none."""
    return None if content is None or STAMP(content) is None else content[:STAMP_LENGTH].decode()


@command
class Clear(Stamped[bool]):
    """Drop all parts that are older from what is at *key*, also those that older writes are still to bring.

    If newer ones stay, it is `Outdated` afterwards.
    """

    sweeps = True
    kind: ClassVar[Kind]

    def encode(self) -> Words:
        return self.call(self.stamp)

    def decode(self, reply: Reply) -> bool:
        return bool(reply)

    def apply(self, keyspace: Keyspace) -> bool:
        # In whatever order such commands come, the same is left: so parts go also if newer ones make it outdated.
        parts = keyspace.fields(self.key, self.kind)
        entry = keyspace.entry(self.key)
        cleared = "" if entry is None else entry.stamps.get(ALL, "")
        stamps = self.written(keyspace)
        newest = max(cleared, *stamps.values(), "")
        if newest < self.stamp:
            self.learn(keyspace, True)
            return True
        if cleared <= self.stamp:
            older = {part: None for part in parts if stamps.get(part, "") < self.stamp}
            keyspace.patch(self.key, older, kind=self.kind, stamps={ALL: self.stamp})
            noted = noted_ending(entry)
            if entry is not None and noted is not None and noted[0] < self.stamp:
                # What is left is newer than what has settled that end.
                entry.unstamp(TTL)
                keyspace.expire(self.key, None)
        if newest > self.stamp:
            raise Outdated(newest)
        return True

    def learn(self, keyspace: Keyspace, result: bool) -> None:
        keyspace.remove(self.key, slot=ALL, stamp=self.stamp)

    def settled(self, result: bool, stamp: str) -> tuple[Command[Any], ...]:
        return (self,)

    @property
    def tombstone(self) -> bool:
        return True

    def written(self, keyspace: Keyspace) -> Mapping[str, str]:
        """When each part was written, as far as that is known."""
        return part_stamps(keyspace.entry(self.key), self.kind)
