"""Inboxes: messages to a bot, a room or everybody, and answers to them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from polly_state.store import Ack
from polly_state.structures import Delivery, Handles, Id

__all__ = ["Inboxes", "Letter"]

HOUR: Final = 3600.0
WEEK: Final = 7 * 86_400.0
ANSWER_TTL: Final = 300.0
RECIPIENTS: Final = 1000
ALL: Final = "all"
DRAINED: Final = 100


@dataclass(frozen=True)
class Letter:
    """A message in an inbox."""

    content: object
    answer_to: str = ""
    """Where an answer is waited for; nothing if none is."""


class Inboxes:
    """One inbox under each name, such as that of a bot or the URL of a room, whose messages wait for an hour.

    Nothing is lost when whoever reads it dies: what was not acknowledged is delivered again, and says so.
    """

    def __init__(self, handles: Handles) -> None:
        self._letters = handles.queue("inboxes", Letter, ttl=HOUR)
        self._answers = handles.queue("inbox_answers", Letter, ttl=ANSWER_TTL)
        self._names = handles.members("inbox_names", bool, limit=RECIPIENTS, ttl=WEEK)

    async def send(self, inbox: str, content: object) -> Ack:
        """Put a message, which JSON must give back equal, into an inbox."""
        return await self._letters.put(inbox, Letter(content))

    async def broadcast(self, content: object) -> int:
        """Put a message into every inbox that somebody has listened to in the last 7 days; how many there are."""
        names = await self._names.all(ALL)
        await asyncio.gather(*(self.send(name, content) for name in names))
        return len(names)

    async def listen(
        self, inbox: str, *, count: int = 1, visibility: float = 30.0
    ) -> AsyncGenerator[Delivery[Letter], None]:
        """The messages of an inbox as they come; acknowledge each one, or it comes again after *visibility* seconds."""
        await self._names.put(ALL, inbox, value=True)
        async with aclosing(self._letters.listen(inbox, count=count, visibility=visibility)) as letters:
            async for letter in letters:
                yield letter

    async def take(self, inbox: str, count: int = DRAINED) -> list[Delivery[Letter]]:
        """What is there now, oldest first; acknowledge each one, or it comes again."""
        return await self._letters.take(inbox, count)

    async def drain(self, inbox: str) -> list[object]:
        """Take and acknowledge what is there now, oldest first; in the worst case something comes twice."""
        letters = await self.take(inbox)
        await asyncio.gather(*(letter.ack() for letter in letters))
        return [letter.value.content for letter in letters]

    async def request(self, inbox: str, content: object, timeout: float = 10.0) -> object:
        """Send a message and wait for the answer to it. Raises `TimeoutError` after *timeout* seconds."""
        place = secrets.token_hex(16)
        async with asyncio.timeout(timeout), aclosing(self._answers.listen(place)) as answers:
            await self._letters.put(inbox, Letter(content, place))
            async for answer in answers:
                await answer.ack()
                return answer.value.content
        raise TimeoutError

    async def answer(self, letter: Delivery[Letter], content: object) -> Ack:
        """Answer a message and acknowledge it. Raises `ValueError` if nobody waits for an answer."""
        if not letter.value.answer_to:
            raise ValueError("nobody waits for an answer to this message")
        await self._answers.put(letter.value.answer_to, Letter(content))
        return await letter.ack()

    async def dead(self, inbox: Id) -> list[object]:
        """What was delivered too often without being acknowledged."""
        return [message.value.content for message in await self._letters.dead(inbox)]
