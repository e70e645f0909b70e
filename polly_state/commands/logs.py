"""Logs: the newest entries, in the order of their stamps, whenever they arrive."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from polly_state.commands.base import Command, Effect, Script, Stamped, command, milliseconds
from polly_state.commands.endings import Ending, ending
from polly_state.commands.parts import ALL, Clear, check_stamps, entered
from polly_state.entries import Kind
from polly_state.wire import Reply, Words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from polly_state.keyspace import Keyspace

__all__ = ["Append", "ClearLog", "Item", "Latest"]

KNOWN_FROM: Final = "~from"
"""The slot of the stamp from which on a mirror knows all entries."""


class Item(NamedTuple):
    """An entry of a log, or a message of a queue."""

    stamp: str
    content: bytes


@command
class Latest(Command[list[Item]]):
    """The newest *count* entries of the log at *key*, newest first; fewer if there are no more."""

    effect = Effect.READ

    count: int

    def encode(self) -> Words:
        return ("ZRANGE", self.key, 0, self.count - 1, "REV")

    def decode(self, reply: Reply) -> list[Item]:
        return [_item(member) for member in reply]

    def apply(self, keyspace: Keyspace) -> list[Item]:
        entries = keyspace.fields(self.key, Kind.LOG)
        return [Item(stamp, entries[stamp] or b"") for stamp in islice(reversed(entries), self.count)]

    def answerable(self, keyspace: Keyspace) -> bool:
        return keyspace.knows(self.key) or knows_newest(keyspace, self.key, self.count)

    def learn(self, keyspace: Keyspace, result: list[Item]) -> None:
        entry = keyspace.entry(self.key)
        if (
            entry is not None
            and entry.kind is Kind.LOG
            and self.answerable(keyspace)
            and self.apply(keyspace) == result
        ):
            entry.learned_at = keyspace.now()
            return
        entries = {item.stamp: item.content for item in reversed(result)}
        stamps = {KNOWN_FROM: result[-1].stamp} if result else {}
        keyspace.patch(self.key, dict(entries), kind=Kind.LOG, whole=True, stamps=stamps)
        entry = keyspace.entry(self.key)
        if entry is not None:
            entry.whole = len(result) < self.count


@command
class Append(Stamped[bool]):
    """Put an entry with *content* into the log at *key*, which keeps its *limit* newest; False if it is none of them.

    No entry outdates another, only a newer `ClearLog` does. A *ttl* in seconds is for the whole log and starts again
    with each entry.
    """

    script = Script("append")

    content: bytes
    limit: int
    ttl: float | None = None

    def encode(self) -> Words:
        return self.call(self.stamp, milliseconds(self.ttl), self.content, self.limit)

    def decode(self, reply: Reply) -> bool:
        return bool(reply)

    def apply(self, keyspace: Keyspace) -> bool:
        check_stamps(keyspace.entry(self.key), (), self.stamp)
        entries = keyspace.fields(self.key, Kind.LOG)
        late = bool(entries) and self.stamp < next(reversed(entries))
        excess = max(0, len(entries) + (self.stamp not in entries) - self.limit)
        dropped = set(islice(sorted({*entries, self.stamp}) if late else entries, excess))
        kept = self.stamp not in dropped
        changes = dict.fromkeys(dropped - {self.stamp}) | ({self.stamp: self.content} if kept else {})
        if changes:
            self._patch(keyspace, changes, kept=kept, late=late)
        return kept

    def learn(self, keyspace: Keyspace, result: bool) -> None:
        entry = keyspace.entry(self.key)
        if result and (entry is None or entry.stamps.get(ALL, "") < self.stamp):
            self.apply(keyspace)

    def settled(self, result: bool, stamp: str) -> tuple[Command[Any], ...]:
        return (self,) if result else ()

    @property
    def keeps(self) -> int:
        return self.limit

    @property
    def slot(self) -> str:
        return f"l:{self.stamp}"

    def _patch(self, keyspace: Keyspace, changes: dict[str, bytes | None], *, kept: bool, late: bool) -> None:
        # Redis keeps no more than the limit: a mirror that knows as many knows all.
        complete = not late and knows_newest(keyspace, self.key, self.limit - 1)
        ends = ending(keyspace, self.key, self.stamp, self.ttl) if kept else Ending({}, None)
        keyspace.patch(self.key, changes, kind=Kind.LOG, durable=True, stamps=ends.stamps)
        entry = keyspace.entry(self.key)
        assert entry is not None and isinstance(entry.content, dict)  # noqa: S101, PT018
        if late:
            entry.content = dict(sorted(entry.content.items()))
        entry.whole = entry.whole or complete
        ends.settle(keyspace, self.key)


@command
class ClearLog(Clear):
    """See `Clear`: of the log, its entries."""

    script = Script("clear_log")
    kind = Kind.LOG

    def written(self, keyspace: Keyspace) -> Mapping[str, str]:
        return {stamp: stamp for stamp in keyspace.fields(self.key, Kind.LOG)}


def knows_newest(keyspace: Keyspace, key: str, count: int) -> bool:
    """Whether a mirror knows the *count* newest entries of the log at *key*."""
    entry = keyspace.entry(key)
    if entry is None or entry.whole:
        return entry is not None
    if entry.kind is not Kind.LOG or KNOWN_FROM not in entry.stamps:
        return False
    newest = list(islice(reversed(keyspace.fields(key, Kind.LOG)), count))
    return len(newest) == count and (not newest or newest[-1] >= entry.stamps[KNOWN_FROM])


def _item(member: bytes) -> Item:
    stamp = entered(member)
    if stamp is None:
        raise ValueError("an entry of a log starts with its stamp")
    return Item(stamp, member[len(stamp) :])
