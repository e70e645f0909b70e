"""What is watched during an outage: the modes of a state, and how long the event loop let others wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import perf_counter
from typing import Any

from polly_state import Mode
from polly_state.events import ModeChanged

__all__ = ["Stall", "Watch", "watched"]

TICK = 0.001


class Watch:
    """Notes when a mode was last entered; an observer of a state."""

    def __init__(self) -> None:
        self.entered: dict[Mode, float] = {}
        self.changed = asyncio.Event()

    def __call__(self, event: Any) -> None:
        if isinstance(event, ModeChanged):
            self.entered[event.mode] = perf_counter()
            self.changed.set()
            self.changed = asyncio.Event()


class Stall:
    """The longest delay of a task that wants its turn each millisecond, in seconds."""

    def __init__(self) -> None:
        self.longest = 0.0

    def note(self, seconds: float) -> None:
        self.longest = max(self.longest, seconds)

    def taken(self) -> float:
        """The longest so far; from now on, that of what comes."""
        longest, self.longest = self.longest, 0.0
        return longest


@asynccontextmanager
async def watched() -> AsyncIterator[Stall]:
    """Watch the loop for as long as the context lasts."""
    stall = Stall()
    task = asyncio.create_task(_watch(stall), name="stall watch")
    try:
        yield stall
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _watch(stall: Stall) -> None:
    while True:
        due = perf_counter() + TICK
        await asyncio.sleep(TICK)
        stall.note(perf_counter() - due)
