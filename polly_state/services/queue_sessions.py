"""Queue sessions: what a guild is listening to, and snapshots of it to go on from."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from polly_state.store import Ack
from polly_state.structures import Handles, Id

__all__ = ["QueueSessions", "Snapshot", "Snapshots"]

TTL: Final = 7200.0
MAX_AGE: Final = 1800.0
THERE: Final = "~"
"""The field that every session has."""


class QueueSessions:
    """One session for each guild, until it has not been used for 2 hours."""

    def __init__(self, handles: Handles) -> None:
        self._fields = handles.fields("queue_sessions", object, ttl=TTL)

    async def create(self, guild_id: Id, **fields: object) -> Ack:
        """Begin a session, or go on with it."""
        return await self._fields.patch(guild_id, {**fields, THERE: True})

    async def get(self, guild_id: Id) -> dict[str, object] | None:
        """The fields of the session; None only if there is none."""
        fields = await self._fields.all(guild_id)
        return fields if fields.pop(THERE, None) is not None else None

    async def patch(self, guild_id: Id, **fields: object) -> bool:
        """Set these fields, and no other; False if there is no session, and then none is made."""
        return await self._fields.patch_if(guild_id, {THERE: True}, fields)

    async def touch(self, guild_id: Id) -> bool:
        """Let the session live for 2 hours from now; False if there is none."""
        return await self._fields.touch(guild_id)

    async def end(self, guild_id: Id) -> Ack:
        """End the session."""
        return await self._fields.clear(guild_id)


@dataclass(frozen=True)
class Snapshot:
    """What is needed to go on."""

    content: object
    saved_at: float
    """Seconds since the epoch."""


class Snapshots:
    """The newest snapshot of each guild, for 2 hours, given to whoever comes first to restore it and to nobody else."""

    def __init__(self, handles: Handles, now: Callable[[], float] = time.time) -> None:
        self._snapshots = handles.map("queue_snapshots", Snapshot, ttl=TTL)
        self._now = now

    async def save(self, guild_id: Id, content: object) -> Ack:
        """Keep *content*, which JSON must give back equal, instead of what was kept before."""
        return await self._snapshots.set(guild_id, Snapshot(content, self._now()))

    async def get(self, guild_id: Id) -> Snapshot | None:
        """What is kept, which stays; None only if there is none."""
        return await self._snapshots.get(guild_id)

    async def restore(self, guild_id: Id, max_age: float = MAX_AGE) -> Snapshot | None:
        """Claim the snapshot, which is gone then; None if there is none, another was faster, or it is too old.

        Raises `StateUnavailable` while Redis is away, since nobody could tell who was first.
        """
        taken = await self._snapshots.take(guild_id)
        return None if taken is None or self._now() - taken.saved_at > max_age else taken

    async def delete(self, guild_id: Id) -> Ack:
        """Keep none."""
        return await self._snapshots.delete(guild_id)
