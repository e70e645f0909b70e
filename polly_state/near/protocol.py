"""What a cache asks of a near cache, and in which order."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Final, NamedTuple, Protocol

from polly_state.near.sieve import Kept

__all__ = ["MISSING", "Near", "Ticket"]


class Missing(Enum):
    """Nothing usable is held, which is not the same as a value of None."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING


class Ticket(NamedTuple):
    """When a read began: how many invalidations had come by then, and the monotonic time in seconds."""

    number: int
    at: float


class Near(Protocol):
    """Values by key that are the same as in Redis, or not there.

    A reader asks `get`; if that gives `MISSING`, it takes a ticket with `begin`, *then* sends the read to Redis, and
    offers the answer of Redis, and nothing else, to `fill`. A writer calls `drop` before it sends a write, and again
    when that is over, however it ended.
    """

    in_order: bool
    """Whether a change is told of before the answers to what is asked after it, as by a single server."""

    def get(self, key: str) -> object:
        """The value, for the caller to keep: changing it changes nothing here. `MISSING` if none can be vouched for."""
        ...

    def held(self, key: str) -> Kept | None:
        """The same as it is kept, with what is `about` it."""
        ...

    def proven(self, key: str, proof: int, other: int) -> Kept | None:
        """The same, if it bears one of the two as its `proof`: who has looked at all about it once compares numbers."""
        ...

    def begin(self, key: str) -> Ticket | None:
        """A ticket for a read that is about to be sent; None if its answer could not be kept at present."""
        ...

    def fill(
        self,
        key: str,
        ticket: Ticket | None,
        value: object,
        size: int,
        expires_at: float | None,
        *,
        about: tuple[object, ...] = (),
    ) -> None:
        """Keep what Redis answered, unless the key was invalidated since `begin`.

        Args:
            key: What was read.
            ticket: What `begin` gave; with None nothing is kept.
            value: What `get` is to give. It is not touched after this call, and may be changed by the caller.
            size: Its encoded size in bytes; if it takes more in memory, that counts.
            expires_at: When it ends, in seconds since the epoch by Redis' clock; None if that is not known.
            about: What is to be kept beside it, and cannot be changed.
        """
        ...

    def attend(self, prefix: str, changed: Callable[[str | None], None]) -> None:
        """Tell of each key with the *prefix* that is dropped, at once; with None, of all there are."""
        ...

    def until(self, key: str, ticket: Ticket | None) -> float | None:
        """Until when what was read counts at most, by the monotonic clock in seconds, for who keeps it elsewhere.

        None if the key was invalidated since `begin`. It counts while Redis `vouches`, and until a change is told of.
        """
        ...

    def vouches(self, until: float) -> bool:
        """Whether what counts *until* then may be handed out now."""
        ...

    def drop(self, key: str) -> None:
        """Hold nothing of *key*, nor what a read that has begun is still to bring."""
        ...
