"""Identities: who takes part in a room."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from polly_state.structures import Handles, Id

__all__ = ["Identities"]

DAY: Final = 86_400.0
PARTICIPANTS: Final = 1000


class Identities:
    """What is known of each participant of a room, for 24 hours after it was written, and for the newest 1000."""

    def __init__(self, handles: Handles) -> None:
        self._participants = handles.members("identities", dict, limit=PARTICIPANTS, ttl=DAY)

    async def write(self, room: Id, participant: str, identity: Mapping[str, object]) -> None:
        """Put what is known of a participant."""
        await self._participants.put(room, participant, dict(identity))

    async def read(self, room: Id, participant: str) -> dict[str, object] | None:
        """What is known of a participant; None only if nothing is."""
        return await self._participants.get(room, participant)

    async def all(self, room: Id) -> dict[str, dict[str, object]]:
        """Every participant of just this room, whatever its name looks like."""
        return await self._participants.all(room)

    async def remove(self, room: Id, participant: str) -> None:
        """Forget a participant."""
        await self._participants.remove(room, participant)

    async def remove_stale(self, room: Id) -> int:
        """Drop those that were written more than 24 hours ago; how many there were. Each `write` does so too."""
        return await self._participants.remove_ended(room)
