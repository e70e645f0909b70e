"""Tokens: texts that are good for one thing, once."""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from hashlib import blake2b
from typing import Generic, NamedTuple, TypeVar

from polly_state.commands import Delete, Fate, Issue, Take
from polly_state.structures.base import Binding, Structure
from polly_state.structures.codec import Codec

__all__ = ["Redemption", "Tokens"]

T = TypeVar("T")

BYTES = 24


class Redemption(NamedTuple, Generic[T]):
    """What became of a token."""

    fate: Fate
    value: T | None
    """What it was issued for, if it was good."""


class Tokens(Structure, Generic[T]):
    """One-time tokens, each with a value. What Redis holds is a digest of the token, and no token."""

    def __init__(self, binding: Binding, declared: type[T], lifetime: float) -> None:
        """Make one whose tokens are good for *lifetime* seconds."""
        super().__init__(binding)
        self._codec = Codec(declared, max_bytes=binding.max_value_bytes)
        self._lifetime = lifetime

    async def issue(self, value: T) -> str:
        """A new token of 32 characters, fit for a URL. Raises `StoreUnavailable` while Redis is away."""
        token = urlsafe_b64encode(os.urandom(BYTES)).decode()
        await self._store.execute(Issue(self._place(token), self._codec.encode(value), self._lifetime))
        return token

    async def redeem(self, token: str) -> Redemption[T]:
        """Use a token up, if it is good: of any number that try, one gets the value.

        Raises `StoreUnavailable` while Redis is away; if ``maybe_applied`` then, the token may be used up.
        """
        key = self._place(token)
        fate, content = (await self._store.execute(Take(key, os.urandom(8).hex()))).value
        return Redemption(fate, self._codec.decode(content) if fate is Fate.TAKEN else None)

    async def revoke(self, token: str) -> None:
        """Let a token be good for nothing; in an outage that reaches Redis later."""
        await self._store.execute(Delete(self._place(token)))

    def _place(self, token: str) -> str:
        if not isinstance(token, str):
            raise TypeError(f"a token is a str, not {type(token).__name__}")
        return self._key(blake2b(token.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest())
