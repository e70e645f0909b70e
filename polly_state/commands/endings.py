"""When a key ends: the newest write with a ttl settles it, in whatever order such writes come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from polly_state.stamps import STAMP_LENGTH

if TYPE_CHECKING:
    from polly_state.keyspace import Entry, Keyspace

__all__ = ["TTL", "Ending", "ending", "noted_ending"]

TTL: Final = "~ttl"
"""The slot of the write that has settled when a key ends, and of that time."""


class Ending(NamedTuple):
    """What a write does to the end of its key."""

    stamps: dict[str, str]
    """What to note with it."""
    at: float | None
    """By the keyspace's clock; None leaves the end as it is, and what is new without one."""

    def settle(self, keyspace: Keyspace, key: str) -> None:
        """Let *key* end so, now that the write was done."""
        if self.at is not None:
            keyspace.expire(key, self.at)


def ending(keyspace: Keyspace, key: str, stamp: str, ttl: float | None) -> Ending:
    """The end of *key* for a write that is about to be done.

    A write that comes late, or again, leaves the end of what is there as it is, and what it brings back ends when the
    newest would have had it end. A write without a ttl settles nothing, and what was deleted has no end: so whoever
    writes to one key with a ttl and without may find it with an end or without, as the writes happen to arrive.
    """
    if ttl is None:
        return Ending({}, None)
    entry = keyspace.entry(key)
    noted = noted_ending(entry)
    if noted is None or noted[0] < stamp:
        at = keyspace.now() + ttl
        return Ending({TTL: f"{stamp} {at!r}"}, at)
    return Ending({}, None if entry is not None and entry.present else noted[1])


def noted_ending(entry: Entry | None) -> tuple[str, float] | None:
    """The stamp of the write that has settled when the key ends, and that time by the keyspace's clock."""
    noted = None if entry is None else entry.stamps.get(TTL)
    return None if noted is None else (noted[:STAMP_LENGTH], float(noted[STAMP_LENGTH:]))
