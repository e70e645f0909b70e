"""Members: fields of a hash that end one by one, of which it holds a number at most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from polly_state.commands.base import Command, Script, Stamped, command, milliseconds
from polly_state.commands.endings import ending
from polly_state.commands.fields import PatchFields, slot_of
from polly_state.commands.parts import check_stamps, entered
from polly_state.stamps import time_of
from polly_state.wire import Reply, Words

if TYPE_CHECKING:
    from polly_state.keyspace import Keyspace

__all__ = ["PutMembers"]


@command
class PutMembers(Stamped[tuple[str, ...]]):
    """Set fields of the hash at *key*, with the stamp before each content; the fields that have to go for them.

    Those are the ones that were set more than *lifetime* seconds before, and the oldest ones above the *limit*; of two
    with one stamp the lesser name is the older. The newest write to a field stays, so that whatever the order of
    arrival the newest *limit* fields are left. Who knows only some of the fields tells only of those. The *ttl* in
    seconds is for the whole hash.
    """

    script = Script("put_members", "sweep")

    contents: Mapping[str, bytes]
    lifetime: float
    limit: int
    ttl: float | None = None

    def encode(self) -> Words:
        arguments: list[str | bytes | int] = [
            self.stamp,
            milliseconds(self.ttl),
            milliseconds(self.lifetime),
            self.limit,
        ]
        for field, content in self.contents.items():
            arguments += (field, content)
        return self.call(*arguments)

    def decode(self, reply: Reply) -> tuple[str, ...]:
        return tuple(field.decode() for field in reply)

    def apply(self, keyspace: Keyspace) -> tuple[str, ...]:
        entry = keyspace.entry(self.key)
        check_stamps(entry, map(slot_of, self.contents), self.stamp)
        known = {**keyspace.fields(self.key), **self._stored}
        fields = {field: entered(content) or "" for field, content in known.items() if content is not None}
        order = sorted(fields, key=lambda field: (fields[field], field))
        excess = max(0, len(order) - self.limit)
        # In whole milliseconds, as Redis has it.
        last = round(time_of(self.stamp) * 1000) - int(milliseconds(self.lifetime))
        gone = [field for number, field in enumerate(order) if number < excess or _time(fields[field]) <= last]
        self.learn(keyspace, tuple(gone))
        return tuple(gone)

    def learn(self, keyspace: Keyspace, result: tuple[str, ...]) -> None:
        changes = self._stored | dict.fromkeys(result)
        stamps = dict.fromkeys(map(slot_of, changes), self.stamp)
        ends = ending(keyspace, self.key, self.stamp, self.ttl)
        keyspace.patch(self.key, changes, durable=True, stamps=stamps | ends.stamps)
        ends.settle(keyspace, self.key)

    def settled(self, result: tuple[str, ...], stamp: str) -> tuple[Command[Any], ...]:
        kept = [replace(self, contents={field: self.contents[field]}) for field in self.contents if field not in result]
        return (*kept, *(PatchFields(self.key, self.stamp, {field: None}) for field in result))

    @property
    def slot(self) -> str:
        return slot_of("\0".join(self.contents))

    @property
    def _stored(self) -> dict[str, bytes | None]:
        stamp = self.stamp.encode()
        return {field: stamp + content for field, content in self.contents.items()}


def _time(stamp: str) -> int:
    return int(stamp[:12] or "0", 16)
