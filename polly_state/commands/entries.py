"""Entries of a cache: strings that one loader at a time computes, while its claim beside the key holds.

A claim is ended by whoever writes or drops the entry, so that a loader which began before that stores nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from polly_state.commands.base import Command, Effect, Script, command, milliseconds
from polly_state.wire import Reply, Words

if TYPE_CHECKING:
    from polly_state.keyspace import Keyspace

__all__ = ["ClaimLoad", "DropEntry", "EndLoad", "LoadClaim", "PutEntry", "RenewLoad", "claim_key", "of_cache"]


class LoadClaim(NamedTuple):
    """Who is to load an entry."""

    won: bool
    left: float
    """Seconds until another one's claim lapses, unless it is renewed."""
    content: bytes | None
    """What is at the key now."""


@command
class ClaimLoad(Command[LoadClaim]):
    """Claim the load of *key* for *token* and *liveness* seconds, unless another one has it; and what is there."""

    effect = Effect.CACHE
    script = Script("claim_load")

    token: str
    liveness: float

    def encode(self) -> Words:
        return _call(self, self.token, milliseconds(self.liveness))

    def decode(self, reply: Reply) -> LoadClaim:
        won, left, content = reply
        return LoadClaim(bool(won), max(0, left) / 1000, content)

    def apply(self, keyspace: Keyspace) -> LoadClaim:
        content, beside = keyspace.string(self.key), claim_key(self.key)
        holder, ends = keyspace.string(beside), keyspace.expires_at(beside)
        if holder is not None:
            return LoadClaim(holder == self.token.encode(), 0.0 if ends is None else ends - keyspace.now(), content)
        _claim(keyspace, self.key, self.token, self.liveness)
        return LoadClaim(won=True, left=self.liveness, content=content)

    def learn(self, keyspace: Keyspace, result: LoadClaim) -> None:
        if result.won:
            # An outage may come before the load ends.
            _claim(keyspace, self.key, self.token, self.liveness)


@command
class RenewLoad(Command[bool]):
    """Let the claim of *token* hold *liveness* seconds from now; False if it is lost."""

    effect = Effect.CACHE
    script = Script("renew_load")

    token: str
    liveness: float

    def encode(self) -> Words:
        return _call(self, self.token, milliseconds(self.liveness))

    def decode(self, reply: Reply) -> bool:
        return bool(reply)

    def apply(self, keyspace: Keyspace) -> bool:
        held = keyspace.string(claim_key(self.key)) == self.token.encode()
        if held:
            _claim(keyspace, self.key, self.token, self.liveness)
        return held

    def answerable(self, keyspace: Keyspace) -> bool:
        return keyspace.knows(claim_key(self.key))

    def learn(self, keyspace: Keyspace, result: bool) -> None:
        if result:
            _claim(keyspace, self.key, self.token, self.liveness)
        else:
            keyspace.forget(claim_key(self.key))


@command
class EndLoad(Command[bool]):
    """End the claim of *token*, with *content* for *ttl* seconds or as it is with None; False if it was lost.

    Whoever waits for the load is told, in either case.
    """

    effect = Effect.CACHE
    script = Script("end_load")

    token: str
    content: bytes | None = None
    ttl: float | None = None

    def encode(self) -> Words:
        ttl = "" if self.content is None else milliseconds(self.ttl)
        return _call(self, self.token, self.content or b"", ttl)

    def decode(self, reply: Reply) -> bool:
        return bool(reply)

    def apply(self, keyspace: Keyspace) -> bool:
        if keyspace.string(claim_key(self.key)) != self.token.encode():
            return False
        _put(keyspace, self.key, self.content, self.ttl)
        return True

    def answerable(self, keyspace: Keyspace) -> bool:
        return keyspace.knows(claim_key(self.key))

    def learn(self, keyspace: Keyspace, result: bool) -> None:
        if result:
            _put(keyspace, self.key, self.content, self.ttl)
        else:
            keyspace.forget(claim_key(self.key))

    def settled(self, result: bool, stamp: str) -> tuple[Command[Any], ...]:
        return (DropEntry(self.key),) if result and self.content is not None else ()


@command
class PutEntry(Command[bool]):
    """Put *content* at *key* for *ttl* seconds, and end the claim of whoever loads it."""

    effect = Effect.CACHE
    told = True
    script = Script("put_entry")

    content: bytes
    ttl: float | None

    def encode(self) -> Words:
        return _call(self, self.content, milliseconds(self.ttl))

    def decode(self, reply: Reply) -> bool:
        return bool(reply)

    def apply(self, keyspace: Keyspace) -> bool:
        _put(keyspace, self.key, self.content, self.ttl)
        return True

    def settled(self, result: bool, stamp: str) -> tuple[Command[Any], ...]:
        return (DropEntry(self.key),)


@command
class DropEntry(Command[bool]):
    """Remove the entry at *key*, and end the claim of whoever loads it; False if there was neither."""

    effect = Effect.CACHE
    told = True

    def encode(self) -> Words:
        return ("DEL", self.key, claim_key(self.key))

    def decode(self, reply: Reply) -> bool:
        return bool(reply)

    def apply(self, keyspace: Keyspace) -> bool:
        claimed = keyspace.string(claim_key(self.key)) is not None
        keyspace.forget(claim_key(self.key))
        return keyspace.remove(self.key) or claimed

    def learn(self, keyspace: Keyspace, result: bool) -> None:
        self.apply(keyspace)

    def settled(self, result: bool, stamp: str) -> tuple[Command[Any], ...]:
        return (self,)


def claim_key(key: str) -> str:
    """Where the claim of who loads the entry at *key* is, in the same slot."""
    namespace, _, rest = key.partition(":")
    return f"{namespace}:~m:~load:{rest}"


def of_cache(key: str) -> bool:
    """Whether an entry is at *key*, or the claim of a load."""
    return key.partition(":")[2].startswith(("cache.", "~m:~load:"))


def _call(command: Command[Any], *arguments: str | bytes | int) -> Words:
    assert command.script is not None  # noqa: S101
    return ("EVALSHA", command.script.digest, 2, command.key, claim_key(command.key), *arguments)


def _claim(keyspace: Keyspace, key: str, token: str, liveness: float) -> None:
    keyspace.put(claim_key(key), token.encode(), expires_at=keyspace.now() + liveness)


def _put(keyspace: Keyspace, key: str, content: bytes | None, ttl: float | None) -> None:
    keyspace.forget(claim_key(key))
    if content is not None:
        keyspace.put(key, content, expires_at=None if ttl is None else keyspace.now() + ttl)
