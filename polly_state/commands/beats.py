"""Beats: who was heard of, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polly_state.commands.base import Command, Effect, command, milliseconds
from polly_state.commands.script import Script
from polly_state.entries import Kind
from polly_state.wire import Reply, Words

if TYPE_CHECKING:
    from polly_state.keyspace import Keyspace

__all__ = ["Beat", "Heard", "Unheard"]


@command
class Beat(Command[int]):
    """Say that *names* are there; how many of all were heard of within *ttl* seconds.

    Those that were not heard of for *memory* seconds are forgotten.
    """

    effect = Effect.EPHEMERAL
    script = Script("beat", alone=True)

    names: tuple[str, ...]
    ttl: float
    memory: float
    at: float
    """Seconds since the epoch, for who has no Redis to ask."""

    def encode(self) -> Words:
        times = (milliseconds(self.ttl), milliseconds(self.memory))
        return self.call_alone(*times, *self.names)

    def decode(self, reply: Reply) -> int:
        return int(reply)

    def apply(self, keyspace: Keyspace) -> int:
        now = int(self.at * 1000)
        parts = dict(keyspace.fields(self.key, Kind.TIMES)) | dict.fromkeys(self.names, b"%d" % now)
        oldest = now - int(milliseconds(self.memory))
        heard = {name: content for name, content in parts.items() if int(content or b"0") >= oldest}
        keyspace.patch(self.key, heard, kind=Kind.TIMES, whole=True)
        keyspace.expire(self.key, keyspace.now() + self.memory)
        return sum(int(content or b"0") >= now - int(milliseconds(self.ttl)) for content in heard.values())

    def learn(self, keyspace: Keyspace, result: int) -> None:
        pass


@command
class Heard(Command[dict[str, float]]):
    """When each name was heard of, in seconds since the epoch by Redis' clock."""

    effect = Effect.READ

    def encode(self) -> Words:
        return ("ZRANGE", self.key, 0, -1, "WITHSCORES")

    def decode(self, reply: Reply) -> dict[str, float]:
        # Pairs in RESP3, one after another in RESP2.
        pairs = reply if not reply or isinstance(reply[0], list) else zip(reply[::2], reply[1::2], strict=True)
        return {name.decode(): float(time) / 1000 for name, time in pairs}

    def apply(self, keyspace: Keyspace) -> dict[str, float]:
        parts = keyspace.fields(self.key, Kind.TIMES)
        return {name: int(content or b"0") / 1000 for name, content in parts.items()}

    def answerable(self, keyspace: Keyspace) -> bool:
        return keyspace.knows(self.key)

    def learn(self, keyspace: Keyspace, result: dict[str, float]) -> None:
        parts = {name: b"%d" % (time * 1000) for name, time in result.items()}
        keyspace.patch(self.key, dict(parts), kind=Kind.TIMES, whole=True)


@command
class Unheard(Command[bool]):
    """Forget *name*; False if it was not there."""

    effect = Effect.EPHEMERAL

    name: str

    def encode(self) -> Words:
        return ("ZREM", self.key, self.name)

    def decode(self, reply: Reply) -> bool:
        return bool(reply)

    def apply(self, keyspace: Keyspace) -> bool:
        known = self.name in keyspace.fields(self.key, Kind.TIMES)
        if known:
            keyspace.patch(self.key, {self.name: None}, kind=Kind.TIMES)
        return known

    def learn(self, keyspace: Keyspace, result: bool) -> None:
        pass
