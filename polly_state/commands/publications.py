"""Publications: what whoever listens at the moment is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polly_state.commands.base import Command, Effect, command
from polly_state.wire import Reply, Words

if TYPE_CHECKING:
    from polly_state.keyspace import Keyspace

__all__ = ["Publish"]


@command
class Publish(Command[bool]):
    """Tell whoever listens on the channel *key* of *content*; nothing is kept."""

    effect = Effect.EPHEMERAL

    content: bytes

    def encode(self) -> Words:
        return ("PUBLISH", self.key, self.content)

    def decode(self, reply: Reply) -> bool:
        # How many it was is known of one node only.
        return True

    def apply(self, keyspace: Keyspace) -> bool:
        return True

    def learn(self, keyspace: Keyspace, result: bool) -> None:
        pass
