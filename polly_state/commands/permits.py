"""Permits: a number of tokens that may hold something at once, each for a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polly_state.commands.base import command, milliseconds
from polly_state.commands.leases import Claim
from polly_state.commands.script import Script
from polly_state.entries import Kind
from polly_state.wire import Words

if TYPE_CHECKING:
    from polly_state.keyspace import Keyspace

__all__ = ["Enter", "Keep", "Leave"]


@command
class Enter(Claim):
    """Hold one of *limit* permits for *ttl* seconds; False if all are held by others."""

    script = Script("enter", alone=True)

    limit: int
    ttl: float

    def encode(self) -> Words:
        return self.call_alone(self.token, self.limit, milliseconds(self.ttl))

    def apply(self, keyspace: Keyspace) -> bool:
        held, now = _held(keyspace, self.key), int(keyspace.now() * 1000)
        if self.token not in held and len(held) >= self.limit:
            return False
        _put(keyspace, self.key, held | {self.token: now + int(milliseconds(self.ttl))})
        return True


@command
class Keep(Claim):
    """Hold on to a permit for *ttl* seconds from now; False if the token holds none."""

    script = Script("keep", alone=True)

    ttl: float

    def encode(self) -> Words:
        return self.call_alone(self.token, milliseconds(self.ttl))

    def apply(self, keyspace: Keyspace) -> bool:
        held = _held(keyspace, self.key)
        if self.token not in held:
            return False
        _put(keyspace, self.key, held | {self.token: int(keyspace.now() * 1000) + int(milliseconds(self.ttl))})
        return True


@command
class Leave(Claim):
    """Give a permit back; False if the token held none."""

    script = Script("leave", alone=True)

    def encode(self) -> Words:
        return self.call_alone(self.token)

    def apply(self, keyspace: Keyspace) -> bool:
        held = keyspace.fields(self.key, Kind.TIMES)
        if self.token not in held:
            return False
        keyspace.patch(self.key, {self.token: None}, kind=Kind.TIMES, durable=True)
        return True


def _held(keyspace: Keyspace, key: str) -> dict[str, int]:
    now = int(keyspace.now() * 1000)
    ends = {token: int(content or b"0") for token, content in keyspace.fields(key, Kind.TIMES).items()}
    return {token: end for token, end in ends.items() if end > now}


def _put(keyspace: Keyspace, key: str, held: dict[str, int]) -> None:
    parts = {token: b"%d" % end for token, end in held.items()}
    keyspace.patch(key, parts, kind=Kind.TIMES, durable=True, whole=True)
    keyspace.expire(key, max(held.values()) / 1000)
