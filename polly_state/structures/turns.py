"""Turns: of the tasks of this process that wait for the same thing, one at a time asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

__all__ = ["Turns"]

FOREVER = float("inf")


class Turn:
    """The turn of whoever waits for one key, and those behind."""

    def __init__(self) -> None:
        self.tasks = 0
        self.lock = asyncio.Lock()


class Turns:
    """One turn for each key that somebody waits for, first come, first served."""

    def __init__(self) -> None:
        self._turns: dict[str, Turn] = {}

    def waiting(self, key: str) -> bool:
        """Whether anybody waits for *key*."""
        return key in self._turns

    @asynccontextmanager
    async def turn(self, key: str, ends: float) -> AsyncGenerator[bool]:
        """Wait for one's turn; False if it does not come until *ends*, in the loop's time."""
        turn = self._turns.setdefault(key, Turn())
        turn.tasks += 1
        mine = False
        try:
            try:
                async with asyncio.timeout_at(None if ends == FOREVER else ends):
                    mine = await turn.lock.acquire()
            except TimeoutError:
                pass
            yield mine
        finally:
            if mine:
                turn.lock.release()
            turn.tasks -= 1
            if not turn.tasks:
                del self._turns[key]
