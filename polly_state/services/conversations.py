"""Conversations: what a user and a bot have said to each other last."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from polly_state.store import Ack
from polly_state.structures import Handles, Id

__all__ = ["Conversations", "Turn"]

HOUR: Final = 3600.0
TURNS: Final = 50


@dataclass(frozen=True)
class Turn:
    """One message of a conversation."""

    role: str
    content: str
    timestamp: str = ""


class Conversations:
    """The newest 50 messages of each conversation, until nobody has written or read it for an hour."""

    def __init__(self, handles: Handles) -> None:
        self._turns = handles.log("conversations", Turn, limit=TURNS, ttl=HOUR)

    async def add(self, conversation: Id, role: str, content: str, timestamp: str = "") -> Ack:
        """Put a message at the end."""
        return await self._turns.append(conversation, Turn(role, content, timestamp))

    async def history(self, conversation: Id, limit: int | None = None) -> list[Turn]:
        """The newest messages, in the order in which they were said."""
        turns, _ = await asyncio.gather(self._turns.latest(conversation, limit), self._turns.touch(conversation))
        return turns[::-1]

    async def clear(self, conversation: Id) -> Ack:
        """Forget the conversation."""
        return await self._turns.clear(conversation)
