"""Fenced writes: those of a holder, which come to nothing once a later holder has written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polly_state.commands.base import Script, command
from polly_state.commands.registers import SetRegister
from polly_state.errors import Fenced
from polly_state.wire import Words

if TYPE_CHECKING:
    from polly_state.keyspace import Keyspace

__all__ = ["SetFenced"]

FENCE = "~fence"


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

    def _write(self, keyspace: Keyspace) -> None:
        SetRegister._write(self, keyspace)  # noqa: SLF001 - its own
        keyspace.note(self.key, {FENCE: str(self.fence)})
