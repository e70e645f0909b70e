"""Fenced writes: those of a holder, which come to nothing once a later holder has written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from polly_state.commands.base import Command, Script, Stamped, command, stamp_of
from polly_state.commands.registers import SetRegister
from polly_state.entries import FENCE
from polly_state.errors import Fenced
from polly_state.wire import Reply, Words

if TYPE_CHECKING:
    from polly_state.keyspace import Keyspace

__all__ = ["SetFenced"]


@command
class SetFenced(SetRegister):
    """The same, unless the register was written to with a higher *fence*: then it is `Fenced`.

    Without Redis nobody could tell, so it is not kept for later.
    """

    script = Script("fence", "claims", then="register")

    fence: int = 0

    def encode(self) -> Words:
        return (*SetRegister.encode(self), self.fence)

    def apply(self, keyspace: Keyspace) -> bool:
        entry = keyspace.entry(self.key)
        if entry is not None and int(entry.stamps.get(FENCE, "0")) > self.fence:
            raise Fenced("a later holder has written")
        return SetRegister.apply(self, keyspace)

    def settled(self, result: bool, stamp: str) -> tuple[Command[Any], ...]:
        # A row of its own: whoever writes without a fence takes the place of the other one.
        return (*SetRegister.settled(self, result, stamp), NoteFence(self.key, self.stamp, self.fence))

    def late(self, now: float) -> Command[bool]:
        # It was let through already, and is not asked again, in whatever order things are learned.
        return SetRegister(self.key, self.stamp, self.content, self.ttl).late(now)

    def _write(self, keyspace: Keyspace) -> None:
        SetRegister._write(self, keyspace)  # noqa: SLF001 - its own
        keyspace.note(self.key, {FENCE: str(self.fence)})


@command
class NoteFence(Stamped[bool]):
    """The register at *key* was written to with this *fence*, whatever was written there since.

    For processes that have a directory in common; a Redis is told by the write itself.
    """

    fence: int

    def encode(self) -> Words:
        return ("EXISTS", self.key)

    def decode(self, reply: Reply) -> bool:
        return bool(reply)

    def apply(self, keyspace: Keyspace) -> bool:
        entry, noted = keyspace.entry(self.key), {FENCE: str(self.fence)}
        if entry is None:
            if not keyspace.mirror:
                keyspace.remove(self.key, slot=FENCE, stamp=noted[FENCE])
        elif int(entry.stamps.get(FENCE, "0")) < self.fence:
            keyspace.note(self.key, noted)
        return True

    def learn(self, keyspace: Keyspace, result: bool) -> None:
        """A mirror asks nobody for a fence."""

    def supersedes(self, other: Command[Any]) -> bool:
        return self.fence >= other.fence if isinstance(other, NoteFence) else self.stamp >= stamp_of(other)

    @property
    def slot(self) -> str:
        return FENCE

    @property
    def tombstone(self) -> bool:
        # It is kept for a day, as it is beside a Redis' value.
        return True
