"""Leases: what one token holds for a time, with a fence that only ever rises."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from polly_state.commands.base import Command, Effect, command, companion, milliseconds
from polly_state.commands.script import Script
from polly_state.wire import Reply, Words

if TYPE_CHECKING:
    from polly_state.keyspace import Keyspace

__all__ = ["Acquire", "Grant", "Holder", "Release", "Renew"]

MEMORY = 86_400.0
MICRO = 1_000_000


class Grant(NamedTuple):
    """Who holds a lease."""

    granted: bool
    """Whether the asker does."""
    token: str
    fence: int
    """Above that of every earlier holder: whoever guards a resource refuses a lower one than it has seen."""
    phase: str
    remaining: float
    """Seconds until it ends, unless it is renewed."""
    silent: float
    """Seconds since it was acquired or renewed."""


@command
class Claim(Command[bool]):
    """What concerns a holder: known again by the *token*, so that sending it twice is sending it once.

    A mirror learns nothing of it: what was held a moment ago is no answer.
    """

    effect = Effect.HOLD

    token: str

    def learn(self, keyspace: Keyspace, result: object) -> None:
        pass

    def decode(self, reply: Reply) -> bool:
        return bool(reply)


@command
class Acquire(Command[Grant]):
    """Hold the lease at *key* for *ttl* seconds, unless another token does, and was heard of in *stale* seconds."""

    effect = Effect.HOLD
    script = Script("acquire", alone=True)

    token: str
    ttl: float
    phase: str = ""
    stale: float | None = None

    def encode(self) -> Words:
        return self.call(self.token, milliseconds(self.ttl), self.phase, milliseconds(self.stale))

    def decode(self, reply: Reply) -> Grant:
        return _grant(reply)

    def apply(self, keyspace: Keyspace) -> Grant:
        held = holder(keyspace, self.key)
        mine = held is not None and held.token == self.token
        if held is not None and not mine and (self.stale is None or held.silent <= self.stale):
            return held._replace(granted=False)
        fence = held.fence if held is not None and mine else self._next_fence(keyspace)
        parts = {"token": self.token, "fence": str(fence), "phase": self.phase}
        _put(keyspace, self.key, parts, self.ttl)
        return Grant(True, self.token, fence, self.phase, self.ttl, 0.0)

    def learn(self, keyspace: Keyspace, result: Grant) -> None:
        pass

    def _next_fence(self, keyspace: Keyspace) -> int:
        last = (keyspace.string(companion(self.key)) or b"0").partition(b" ")[0]
        fence = max(int(last) + 1, time.time_ns() // 1000)
        keyspace.put(companion(self.key), f"{fence} {self.token}".encode(), expires_at=keyspace.now() + MEMORY)
        return fence


@command
class Renew(Claim):
    """Hold on for *ttl* seconds from now, in a *phase* if one is given; False if the token does not hold it."""

    script = Script("renew", alone=True)

    ttl: float
    phase: str = ""

    def encode(self) -> Words:
        return self.call_alone(self.token, milliseconds(self.ttl), self.phase)

    def apply(self, keyspace: Keyspace) -> bool:
        held = holder(keyspace, self.key)
        if held is None or held.token != self.token:
            return False
        _put(keyspace, self.key, {"phase": self.phase} if self.phase else {}, self.ttl)
        return True


@command
class Release(Claim):
    """Hold it no longer; False if another token has held it since."""

    script = Script("release", alone=True)

    def encode(self) -> Words:
        return self.call(self.token)

    def apply(self, keyspace: Keyspace) -> bool:
        held = holder(keyspace, self.key)
        if held is None:
            last = keyspace.string(companion(self.key)) or b""
            return last.partition(b" ")[2] == self.token.encode()
        if held.token != self.token:
            return False
        keyspace.remove(self.key)
        return True


@command
class Holder(Command[Grant | None]):
    """Who holds the lease at *key*; None if nobody does."""

    effect = Effect.READ
    script = Script("holder", alone=True)

    def encode(self) -> Words:
        return self.call_alone()

    def decode(self, reply: Reply) -> Grant | None:
        return None if reply is None else _grant(reply)

    def apply(self, keyspace: Keyspace) -> Grant | None:
        return holder(keyspace, self.key)

    def answerable(self, keyspace: Keyspace) -> bool:
        return not keyspace.mirror

    def learn(self, keyspace: Keyspace, result: Grant | None) -> None:
        pass


def holder(keyspace: Keyspace, key: str) -> Grant | None:
    """Who holds the lease at *key* of an authority; None if nobody does."""
    parts = keyspace.fields(key)
    token = parts.get("token")
    if token is None:
        return None
    fence, phase, beat = ((parts.get(name) or b"").decode() for name in ("fence", "phase", "beat"))
    remaining = (keyspace.expires_at(key) or 0.0) - keyspace.now()
    silent = keyspace.now() - int(beat) / MICRO
    return Grant(True, token.decode(), int(fence), phase, remaining, silent)


def _put(keyspace: Keyspace, key: str, parts: dict[str, str], ttl: float) -> None:
    beat = {"beat": f"{keyspace.now() * MICRO:.0f}"}
    keyspace.patch(key, {name: text.encode() for name, text in (parts | beat).items()}, durable=True)
    keyspace.expire(key, keyspace.now() + ttl)


def _grant(reply: Reply) -> Grant:
    granted, token, fence, phase, left, silent = reply
    return Grant(granted == 1, token.decode(), int(fence), phase.decode(), left / 1000, silent / 1000)
