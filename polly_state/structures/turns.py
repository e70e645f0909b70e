"""Turns: of the tasks of this process that wait for the same thing, one at a time asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

__all__ = ["Turn", "Turns"]

FOREVER = float("inf")


class Turn:
    """The turn of whoever asks for one key, and those behind."""

    def __init__(self) -> None:
        self.tasks = 0
        self.lock = asyncio.Lock()
        self._freed = asyncio.Event()

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until it may be free."""
        self._freed.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._freed.wait()
        except TimeoutError:
            pass

    def wake(self) -> None:
        """End a pause."""
        self._freed.set()


class Turns:
    """One turn for each key that somebody waits for, first come, first served."""

    def __init__(self) -> None:
        self._turns: dict[str, Turn] = {}

    def waiting(self, key: str) -> bool:
        """Whether anybody waits for *key*."""
        return key in self._turns

    def wake(self, key: str) -> None:
        """What is at *key* may be free."""
        turn = self._turns.get(key)
        if turn is not None:
            turn.wake()

    @asynccontextmanager
    async def turn(self, key: str, ends: float) -> AsyncGenerator[Turn | None]:
        """Wait for one's turn; None if it does not come until *ends*, in the loop's time."""
        turn = self._turns.setdefault(key, Turn())
        turn.tasks += 1
        mine = False
        try:
            try:
                async with asyncio.timeout_at(None if ends == FOREVER else ends):
                    mine = await turn.lock.acquire()
            except TimeoutError:
                pass
            yield turn if mine else None
        finally:
            if mine:
                turn.lock.release()
            turn.tasks -= 1
            if not turn.tasks:
                del self._turns[key]
