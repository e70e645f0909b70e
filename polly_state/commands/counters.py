"""Counters: plain integers that each writer adds its own running total to, so that sending twice is harmless."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from polly_state.commands.base import Command, Effect, Script, Stamped, command, ended, milliseconds
from polly_state.commands.endings import ending
from polly_state.errors import CommandRejected
from polly_state.stamps import new_origin
from polly_state.wire import Reply, Words

if TYPE_CHECKING:
    from polly_state.keyspace import Keyspace

__all__ = ["MAX_COUNT", "Add", "Count"]

INTEGER: Final = re.compile(rb"-?[1-9][0-9]{0,18}|0").fullmatch
MAX_INTEGER: Final = 2**63
MAX_COUNT: Final = 2**53 - 1
"""Redis' Lua counts in doubles, so totals are exact up to here."""


@command
class Count(Command[int]):
    """The integer at *key*; 0 if there is none."""

    effect = Effect.READ

    def encode(self) -> Words:
        return ("GET", self.key)

    def decode(self, reply: Reply) -> int:
        return parse(reply)

    def apply(self, keyspace: Keyspace) -> int:
        return parse(keyspace.string(self.key))

    def answerable(self, keyspace: Keyspace) -> bool:
        return countable(keyspace, self.key)

    def learn(self, keyspace: Keyspace, result: int) -> None:
        if result != 0:
            keyspace.remember(self.key, b"%d" % result)
            return
        # 0 may be a counter at 0, or none: enough to count on from, and for no other question.
        keyspace.remove(self.key)
        entry = keyspace.entry(self.key)
        if entry is not None:
            entry.whole = False


@command
class Add(Stamped[int]):
    """Bring what *origin* has added to the counter up to *total*; the new value.

    *total* is all that the origin has ever added, of which *by* is the newest part; the sign of *by* tells whether the
    additions or the subtractions are meant, which are totalled apart. Its stamp only tells when: no addition outdates
    another. A counter with a *ttl* in seconds lives so long after its last change. What of the total had ended with it
    by then, the *base*, is not counted again, and neither is an addition that comes later than its own ttl.
    """

    script = Script("add")
    cumulative = True

    origin: str
    total: int
    by: int
    ttl: float | None = None
    base: int = 0

    def encode(self) -> Words:
        sign = "-" if self.by < 0 else "+"
        return self.call(self.stamp, milliseconds(self.ttl), sign, self.origin, self.total, self.base)

    def decode(self, reply: Reply) -> int:
        return int(reply)

    def apply(self, keyspace: Keyspace) -> int:
        entry = keyspace.entry(self.key)
        value = parse(keyspace.string(self.key))
        seen = None if entry is None else entry.stamps.get(self.slot)
        # In process no addition is lost on the way: what an unknown origin added before is in the value.
        step = abs(self.by) if seen is None else max(0, self.total - max(int(seen), self.base))
        if self.ttl is not None and self.ttl <= 0:
            keyspace.note(self.key, {self.slot: str(max(self.total, int(seen or 0)))})
            return value
        if step == 0:
            return value
        value += -step if self.by < 0 else step
        if not -MAX_INTEGER <= value < MAX_INTEGER:
            raise CommandRejected("increment or decrement would overflow")
        self.learn(keyspace, value)
        return value

    def answerable(self, keyspace: Keyspace) -> bool:
        return countable(keyspace, self.key)

    def learn(self, keyspace: Keyspace, result: int) -> None:
        expires_at = keyspace.expires_at(self.key)
        entry = keyspace.entry(self.key)
        seen = 0 if entry is None else int(entry.stamps.get(self.slot, "0"))
        ends = ending(keyspace, self.key, self.stamp, self.ttl)
        stamps = ends.stamps | {self.slot: str(max(self.total, seen))}
        keyspace.put(self.key, b"%d" % result, expires_at=expires_at, durable=True, stamps=stamps)
        ends.settle(keyspace, self.key)

    def settled(self, result: int, stamp: str) -> tuple[Command[Any], ...]:
        return (self,)

    def supersedes(self, other: Command[Any]) -> bool:
        return isinstance(other, Add) and self.total >= other.total

    def replacing(self, other: Command[Any]) -> Command[int]:
        assert isinstance(other, Add)  # noqa: S101
        if ended(other, self.stamp):
            return replace(self, base=other.total)
        # *by* is what Redis does not have of the total, for who knows only the value.
        by = abs(other.by) + self.total - other.total
        return replace(self, by=-by if self.by < 0 else by, base=other.base)

    def merged(self, pending: Iterable[Command[Any]]) -> Command[int]:
        for other in pending:
            if isinstance(other, Add) and (other.by < 0) is (self.by < 0):
                return replace(self, origin=other.origin, total=other.total + abs(self.by))
        # Several may add to this row, which the origin of one of them does not know of.
        return replace(self, origin=new_origin(), total=abs(self.by))

    @property
    def slot(self) -> str:
        return ("-" if self.by < 0 else "+") + self.origin


def countable(keyspace: Keyspace, key: str) -> bool:
    """Whether the number at *key* is known, be it 0 because there is none."""
    entry = keyspace.entry(key)
    return keyspace.knows(key) or (entry is not None and entry.content is None)


def parse(content: bytes | None) -> int:
    """What Redis takes for an integer; nothing is 0. Raises `CommandRejected` for anything else."""
    if content is None:
        return 0
    if INTEGER(content) is None or not -MAX_INTEGER <= int(content) < MAX_INTEGER:
        raise CommandRejected("the value is not an integer; it was written by something else")
    return int(content)
